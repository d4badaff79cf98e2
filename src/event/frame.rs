//! An event as text on the wire: SSE and CloudEvents.
//!
//! A [`Frame`] is encoded at most once per form, by whoever needs it first, and
//! shared by all subscribers. What of it they are shown, the [`View`] of the
//! event's own topic decides, and not what they subscribed to.
//! Invariants: nothing in a body, type or id can start a field of its own; a
//! form that is not full has nothing in it that the view hides.

mod chunk;
mod cloudevents;
pub mod gzip;
mod piece;
pub mod sse;
mod view;

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use super::{Cursor, Epoch, Event, Sequence, TopicMap};
pub use chunk::{Chunk, Framing, LAST_CHUNK};
pub use cloudevents::{expiring_line, gap_line};
pub use piece::{Coded, Coding, Piece};
pub use view::{HeaderShown, HeaderShownError, View, Withheld};

/// How a subscriber wants its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// SSE, the body as data.
    Raw,
    /// SSE, a CloudEvents 1.0 JSON object as data.
    CloudEvents,
    /// One CloudEvents 1.0 JSON object per line (`application/x-ndjson`).
    NdJson,
}

impl Format {
    const COUNT: usize = 3;
}

/// All that two subscribers may want differently of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Form {
    /// How it is written.
    pub format: Format,
    /// How that is coded.
    pub coding: Coding,
    /// Whether bodies are whole, whatever their topics' views hide.
    pub full: bool,
}

impl Form {
    const COUNT: usize = 2 * Format::COUNT * Coding::COUNT;

    fn index(self) -> usize {
        let written = self.format as usize * Coding::COUNT + self.coding as usize;
        2 * written + usize::from(self.full)
    }
}

/// What the encoding of an event depends on beside the event.
#[derive(Debug)]
pub struct Encoder {
    /// Names the journal in cursors.
    pub epoch: Epoch,
    /// Under which address senders reach this gateway, without a trailing
    /// slash; empty where none is configured. Part of a CloudEvent's source.
    pub public_url: Box<str>,
    /// Per topic: what its subscribers are shown. Of a topic that is not here
    /// they are shown nothing.
    pub views: TopicMap<Arc<View>>,
}

impl Encoder {
    /// Where `sequence` is in this journal.
    #[must_use]
    pub fn cursor(&self, sequence: Sequence) -> Cursor {
        Cursor {
            epoch: self.epoch,
            sequence,
        }
    }
}

/// An event with its encodings. Cheap to clone: all clones share one.
#[derive(Clone)]
pub struct Frame(Arc<Shared>);

struct Shared {
    event: Arc<Event>,
    encoder: Arc<Encoder>,
    /// `None` where nothing configures the topic any more.
    view: Option<Arc<View>>,
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
        let form = Form { full, ..form };
        self.0.encoded[form.index()]
            .get_or_init(|| Box::new(Piece::new(&self.encode(form), form.coding)))
    }

    /// The same event, encoded anew.
    #[must_use]
    pub fn anew(&self, encoder: &Arc<Encoder>) -> Self {
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

    fn encode(&self, form: Form) -> Bytes {
        let (event, encoder) = (self.event(), &*self.0.encoder);
        let id = encoder.cursor(event.sequence);
        let view = self.0.view.as_deref();
        let cut = match (form.full, view) {
            (true, _) => None,
            (false, view) => match View::cut(view, event) {
                Ok(cut) => cut,
                Err(withheld) => return withheld.written(form.format, id, encoder),
            },
        };
        let named = view.is_some_and(|view| view.event_names);
        let name = named.then_some(&*event.draft.event_type);
        let shown = cloudevents::Shown {
            event,
            cut: cut.as_deref(),
            view,
        };
        match form.format {
            Format::Raw => {
                let body = cut
                    .as_deref()
                    .map_or_else(|| String::from_utf8_lossy(&event.draft.body), Cow::Borrowed);
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

/// Why a subscriber was not given what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// The id is another journal's; the stream goes on from the oldest event.
    Epoch,
    /// Retention deleted what was asked for; it goes on from the floor.
    Retention,
    /// The id is above the journal's head; it goes on from the head.
    Unknown,
}

/// A stretch of history that a subscriber asked for and can't be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Why.
    pub reason: GapReason,
    /// The cursor that was asked to continue from.
    pub asked: Cursor,
    /// The position just before what follows.
    pub resumed: Cursor,
}

impl GapReason {
    /// The reason as subscribers see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Epoch => "epoch",
            Self::Retention => "retention",
            Self::Unknown => "unknown",
        }
    }
}

impl Gap {
    /// The gap as JSON: `{"reason":…,"asked":…,"resumed":…}`.
    #[must_use]
    pub fn json(&self) -> String {
        // Cursors and reasons have no character that JSON would escape.
        format!(
            r#"{{"reason":"{}","asked":"{}","resumed":"{}"}}"#,
            self.reason.as_str(),
            self.asked,
            self.resumed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Draft, Timestamp};

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
            projection: Some(crate::event::Projection::new(None, Vec::new())),
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
