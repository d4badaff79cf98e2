//! An event with its encodings.
//!
//! Invariant: an event is encoded at most once per form, by whoever needs it
//! first, and all subscribers share the result.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use hookrill_core::{Event, Sequence};

use super::{
    cloudevents,
    encoder::Encoder,
    form::{Form, Format},
    notices,
    piece::Piece,
    sse,
    view::View,
};

/// An event with its encodings. Cheap to clone: all clones share one.
#[derive(Clone)]
pub struct Frame(Arc<Shared>);

struct Shared {
    event: Arc<Event>,
    encoder: Arc<Encoder>,
    /// `None` where nothing configures the topic any more.
    view: Option<Arc<View>>,
    /// The body as JSON, where it is that and does not look like it.
    json: OnceLock<Option<Box<str>>>,
    /// Boxed, since most forms are never asked for.
    encoded: [OnceLock<Box<Piece>>; Form::COUNT],
}

impl Frame {
    /// Wraps an event; nothing is encoded yet.
    #[must_use]
    pub fn new(event: Arc<Event>, encoder: &Arc<Encoder>) -> Self {
        Self(Arc::new(Shared {
            view: encoder.views.lookup(&event.draft.topic).cloned(),
            event,
            encoder: Arc::clone(encoder),
            json: OnceLock::new(),
            encoded: Default::default(),
        }))
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.0.event
    }

    /// The event's position.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.0.event.sequence
    }

    /// What a subscriber of this form gets.
    #[must_use]
    pub fn piece(&self, form: Form) -> &Piece {
        // Where nothing is hidden, all share what is full.
        let hides = |view: &View| view.projection.is_some();
        let full = form.full || !self.0.view.as_deref().is_none_or(hides);
        // Only what is not encoded yet needs the form: a changed copy of it costs
        // more than the rest of this, at each event of each subscriber.
        self.0.encoded[form.index_if(full)].get_or_init(|| {
            let form = Form { full, ..form };
            Box::new(Piece::new(&self.encode(form), form.coding))
        })
    }

    /// The same event for another encoder; nothing is encoded yet.
    #[must_use]
    pub fn reencoded(&self, encoder: &Arc<Encoder>) -> Self {
        Self::new(Arc::clone(&self.0.event), encoder)
    }

    /// About how much memory the frame takes once it is encoded in one form,
    /// in bytes. With every form asked for, up to six times as much: the
    /// compressed ones are small.
    #[must_use]
    pub fn weight(&self) -> usize {
        // What SSE writes before each line of a body, and the id.
        const LINE_BYTES: usize = "data: ".len();
        const FIELDS_BYTES: usize = 128;
        let draft = &self.event().draft;
        let lines = draft.body.iter().filter(|&&b| matches!(b, b'\n' | b'\r'));
        let encoded = draft.body.len() + LINE_BYTES * lines.count() + FIELDS_BYTES;
        draft.weight() + encoded + size_of::<Shared>()
    }

    /// The body as JSON, where it does not look like it: read once for all forms.
    fn json(&self, view: &View) -> Option<&str> {
        let json = self.0.json.get_or_init(|| view.json(&self.event().draft));
        json.as_deref()
    }

    fn encode(&self, form: Form) -> Bytes {
        let (event, encoder) = (self.event(), &*self.0.encoder);
        let id = encoder.cursor(event.sequence);
        let view = self.0.view.as_deref();
        let json = view.and_then(|view| self.json(view));
        let cut = match (form.full, view) {
            (true, _) => None,
            (false, view) => match View::cut(view, &event.draft, json) {
                Ok(cut) => cut,
                Err(why) => return notices::withheld(form.format, id, why, encoder),
            },
        };
        let json = cut.as_deref().or(json);
        let named = view.is_some_and(|view| view.event_names);
        let name = named.then_some(&*event.draft.event_type);
        let shown = cloudevents::Shown { event, json, view };
        match form.format {
            Format::Raw => {
                let body =
                    json.map_or_else(|| String::from_utf8_lossy(&event.draft.body), Cow::Borrowed);
                sse::event(id, name, &body)
            }
            Format::CloudEvents => sse::event(id, name, &shown.exact(encoder)),
            Format::NdJson => shown.line(encoder),
        }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({})", self.sequence())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hookrill_core::{Draft, Timestamp, TopicMap};

    use crate::wire::{Coding, Framing, Projection};

    fn frame(body: &'static [u8], views: TopicMap<Arc<View>>) -> Frame {
        let encoder = Encoder {
            epoch: "e".parse().unwrap(),
            public_url: "".into(),
            views,
        };
        let draft = Draft {
            received_at: Timestamp::from_unix_ms(0),
            topic: "t".parse().unwrap(),
            event_type: "webhook".into(),
            content_type: None,
            dedup_id: None,
            headers: vec![],
            body: Bytes::from_static(body),
        };
        Frame::new(Arc::new(draft.at(Sequence(1))), &Arc::new(encoder))
    }

    #[test]
    fn a_frame_weighs_no_less_than_it_takes_in_one_form() {
        // Every line has its own `data:`, and so six bytes for one.
        let any = TopicMap::new([].into(), Some(Arc::default()));
        let frame = frame(&[b'\n'; 10_000], any);
        let piece = frame.piece(Form {
            format: Format::Raw,
            coding: Coding::Identity,
            full: false,
        });
        let taken = frame.event().draft.weight() + piece.chunk().bytes(Framing::Chunked).len();
        let weight = frame.weight();
        assert!(taken <= weight, "takes {taken} bytes and weighs {weight}");
    }

    #[test]
    fn of_a_topic_that_nothing_configures_only_a_full_form_shows_anything() {
        let frame = frame(b"{\"a\":\"secret\"}", TopicMap::default());
        for format in [Format::Raw, Format::CloudEvents, Format::NdJson] {
            for full in [false, true] {
                let coding = Coding::Identity;
                let piece = frame.piece(Form {
                    format,
                    coding,
                    full,
                });
                let text = String::from_utf8(piece.chunk().payload().to_vec()).unwrap();
                assert_eq!(text.contains("secret"), full, "{text}");
                assert_ne!(text.contains("hookrill.withheld"), full, "{text}");
            }
        }
    }

    #[test]
    fn full_and_cut_share_one_encoding_where_nothing_is_hidden() {
        let any = TopicMap::new([].into(), Some(Arc::default()));
        let plain = frame(b"{}", any);
        let hiding = View {
            projection: Some(Projection::new(None, Vec::new())),
            ..View::default()
        };
        let cut = frame(b"{}", TopicMap::new([].into(), Some(Arc::new(hiding))));
        for (frame, shared) in [(&plain, true), (&cut, false)] {
            let [one, other] = [false, true].map(|full| {
                let (format, coding) = (Format::Raw, Coding::Identity);
                std::ptr::from_ref(frame.piece(Form {
                    format,
                    coding,
                    full,
                }))
            });
            assert_eq!(one == other, shared);
        }
    }
}
