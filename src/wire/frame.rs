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
use hookrill_core::{Cursor, Event, Sequence};

use super::{
    cloudevents, delivery,
    encoder::Encoder,
    form::{Form, Format},
    ndjson, notices,
    piece::Piece,
    sse,
    view::View,
    withheld::Withheld,
};

/// An event with its encodings. Cheap to clone: all clones share one.
#[derive(Clone)]
pub struct Frame(Arc<Shared>);

struct Shared {
    event: Arc<Event>,
    encoder: Arc<Encoder>,
    /// `None` where nothing configures the topic any more.
    view: Option<Arc<View>>,
    /// Whether the view hides something, and whether it names events: each subscriber asks
    /// for both, several times for each event.
    is_cut: bool,
    is_named: bool,
    /// The body as JSON, where it is that and does not look like it.
    json: OnceLock<Option<Box<str>>>,
    /// Boxed, since most forms are never asked for.
    encoded: [OnceLock<Box<EncodedEvent>>; Form::COUNT],
    /// The same of deliveries, which few ask for.
    deliveries: OnceLock<Box<[OnceLock<Box<EncodedEvent>>; Form::DELIVERIES_COUNT]>>,
}

/// An event in one form.
struct EncodedEvent {
    piece: Piece,
    /// How long its data is, before it is compressed; 0 where it is withheld.
    data_bytes: u32,
    /// What stands in its place for those to whom it is too long: one for all, however
    /// their bounds differ.
    too_long: OnceLock<Box<Piece>>,
}

impl Frame {
    /// Wraps an event; nothing is encoded yet.
    #[must_use]
    pub fn new(event: Arc<Event>, encoder: &Arc<Encoder>) -> Self {
        let view = encoder.views.lookup(&event.draft.topic).cloned();
        Self(Arc::new(Shared {
            is_cut: view.as_ref().is_none_or(|view| view.projection.is_some()),
            is_named: view.as_ref().is_some_and(|view| view.event_names),
            view,
            event,
            encoder: Arc::clone(encoder),
            json: OnceLock::new(),
            encoded: Default::default(),
            deliveries: OnceLock::new(),
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
        let full = form.full || !self.0.is_cut;
        let named = form.names.unwrap_or(self.0.is_named);
        // Only what is not encoded yet needs the form: a changed copy of it costs
        // more than the rest of this, at each event of each subscriber.
        let index = form.index_if(full, named);
        let encoded = if form.format.shows_deliveries() {
            &self.0.deliveries.get_or_init(Box::default)[index]
        } else {
            &self.0.encoded[index]
        };
        let encoded = encoded.get_or_init(|| Box::new(self.encode(Form { full, ..form }, named)));
        if encoded.data_bytes <= form.data_bytes_max {
            return &encoded.piece;
        }
        let bytes = encoded.data_bytes;
        let told = || Box::new(self.withheld(form, Withheld::TooLong { bytes }));
        encoded.too_long.get_or_init(told)
    }

    /// The delivery as it came, as one JSON object.
    ///
    /// # Errors
    ///
    /// [`Withheld`] where parts of it are hidden and `full` does not show them.
    pub fn delivery(&self, full: bool) -> Result<String, Withheld> {
        self.check_shown(full)?;
        Ok(delivery::delivery(self.event(), &self.0.encoder))
    }

    /// The body as it was sent.
    ///
    /// # Errors
    ///
    /// As [`Frame::delivery`].
    pub fn delivered_body(&self, full: bool) -> Result<Bytes, Withheld> {
        self.check_shown(full)?;
        Ok(self.body_as_sent())
    }

    /// The same, for a caller that knows to whom it may be shown.
    #[must_use]
    pub fn body_as_sent(&self) -> Bytes {
        delivery::body(&self.event().draft).clone()
    }

    /// Refuses to show a delivery of which parts are hidden: without them it has another
    /// body than was signed.
    fn check_shown(&self, full: bool) -> Result<(), Withheld> {
        if full || !self.0.is_cut {
            return Ok(());
        }
        let view = self.0.view.as_ref();
        Err(view.map_or(Withheld::Unconfigured, |_| Withheld::Hidden))
    }

    /// The same event for another encoder; nothing is encoded yet.
    #[must_use]
    pub fn reencoded(&self, encoder: &Arc<Encoder>) -> Self {
        Self::new(Arc::clone(&self.0.event), encoder)
    }

    /// About how much memory the frame takes once it is encoded in one form,
    /// in bytes. With every form asked for, up to ten times as much: the
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

    fn encode(&self, form: Form, named: bool) -> EncodedEvent {
        let (event, encoder) = (self.event(), &*self.0.encoder);
        let id = encoder.cursor(event.sequence);
        let view = self.0.view.as_deref();
        if form.format.shows_deliveries()
            && let Err(why) = self.check_shown(form.full)
        {
            return EncodedEvent::new(self.withheld(form, why), 0);
        }
        let json = view.and_then(|view| self.json(view));
        let cut = match (form.full, view) {
            (true, _) => None,
            (false, view) => match View::cut(view, &event.draft, json) {
                Ok(cut) => cut,
                Err(why) => return EncodedEvent::new(self.withheld(form, why), 0),
            },
        };
        let json = cut.as_deref().or(json);
        let name = named.then_some(&*event.draft.event_type);
        let shown = cloudevents::Shown { event, json, view };
        let (text, data_bytes) = match form.format {
            Format::Raw => {
                let body =
                    json.map_or_else(|| String::from_utf8_lossy(&event.draft.body), Cow::Borrowed);
                (sse::event(id, name, &body), body.len())
            }
            Format::CloudEvents => {
                let data = shown.exact(encoder);
                (sse::event(id, name, &data), data.len())
            }
            Format::NdJson => of_line(shown.line(encoder)),
            Format::RawNdJson => of_line(shown.raw_line()),
            format => self.delivery_text(format, id, json),
        };
        EncodedEvent::new(Piece::new(&text, form.coding), data_bytes)
    }

    /// The delivery as it came, and how long its data is.
    fn delivery_text(&self, format: Format, id: Cursor, json: Option<&str>) -> (Bytes, usize) {
        let event = self.event();
        let data = match format {
            Format::Smee => delivery::smee(event, json),
            Format::Gosmee => delivery::gosmee(event),
            _ => delivery::delivery(event, &self.0.encoder),
        };
        let data_bytes = data.len();
        match format {
            Format::DeliveryLines => (ndjson::line(data), data_bytes),
            _ => (sse::event(id, None, &data), data_bytes),
        }
    }

    /// What stands in the event's place.
    fn withheld(&self, form: Form, why: Withheld) -> Piece {
        let encoder = &*self.0.encoder;
        let id = encoder.cursor(self.sequence());
        let text = notices::withheld(form.format, id, why, encoder);
        Piece::new(&text, form.coding)
    }
}

/// A line, and how long it is without its end.
fn of_line(line: Bytes) -> (Bytes, usize) {
    let data_bytes = line.len() - 1;
    (line, data_bytes)
}

impl EncodedEvent {
    fn new(piece: Piece, data_bytes: usize) -> Self {
        Self {
            piece,
            data_bytes: u32::try_from(data_bytes).unwrap_or(u32::MAX),
            too_long: OnceLock::new(),
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
    use hookrill_core::{Draft, Original, Proof, Timestamp, TopicMap};
    use proptest::prelude::*;

    use crate::wire::{Coding, Framing, Projection, ShownHeader};

    const PLAIN: Form = Form::PLAIN;

    fn text(frame: &Frame, form: Form) -> String {
        String::from_utf8(frame.piece(form).chunk().payload().to_vec()).unwrap()
    }

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
            headers: hookrill_core::HeaderList::default(),
            body: Bytes::from_static(body),
            original: hookrill_core::Original::default(),
            append_nonce: 0,
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
            ..PLAIN
        });
        let taken = frame.event().draft.weight() + piece.chunk().bytes(Framing::Chunked).len();
        let weight = frame.weight();
        assert!(taken <= weight, "takes {taken} bytes and weighs {weight}");
    }

    #[test]
    fn of_a_topic_that_nothing_configures_only_a_full_form_shows_anything() {
        let frame = frame(b"{\"a\":\"secret\"}", TopicMap::default());
        for format in [
            Format::Raw,
            Format::CloudEvents,
            Format::NdJson,
            Format::RawNdJson,
        ] {
            for full in [false, true] {
                let coding = Coding::Identity;
                let piece = frame.piece(Form {
                    format,
                    coding,
                    full,
                    ..PLAIN
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
                    ..PLAIN
                }))
            });
            assert_eq!(one == other, shared);
        }
    }

    #[test]
    fn an_event_that_is_too_long_is_told_of_in_its_place_and_once_for_all() {
        let any = TopicMap::new([].into(), Some(Arc::default()));
        // 13 bytes, of which one is a line's end.
        let frame = frame("{\"a\":\n\"éé\"}".as_bytes(), any);
        let bounded = |format, data_bytes_max| Form {
            format,
            data_bytes_max,
            ..PLAIN
        };
        let whole = text(&frame, PLAIN);
        assert_eq!(text(&frame, bounded(Format::Raw, 13)), whole);
        assert_eq!(
            text(&frame, bounded(Format::Raw, 12)),
            "event: hookrill.withheld\nid: e-1\ndata: {\"reason\":\"too_long\",\"bytes\":13}\n\n"
        );
        let [one, other] = [12, 1].map(|max| frame.piece(bounded(Format::Raw, max)));
        assert!(std::ptr::eq(one, other), "bounds that differ share it");
        for format in [Format::CloudEvents, Format::NdJson] {
            let unbounded = text(&frame, bounded(format, u32::MAX));
            let data = unbounded.lines().filter_map(|line| match format {
                Format::NdJson => Some(line),
                _ => line.strip_prefix("data: "),
            });
            let data: Vec<_> = data.collect();
            let bytes = data.join("\n").len() as u32;
            assert_eq!(text(&frame, bounded(format, bytes)), unbounded);
            let told = text(&frame, bounded(format, bytes - 1));
            let expected = format!("{{\"reason\":\"too_long\",\"bytes\":{bytes}}}");
            assert!(told.contains(&expected), "{told}");
        }
    }

    #[test]
    fn what_is_cut_counts_as_it_is_shown() {
        let view = View {
            projection: Some(Projection::new(None, vec!["/long".parse().unwrap()])),
            ..View::default()
        };
        let body = br#"{"a":1,"long":"xxxxxxxxxxxxxxxxxxxx"}"#;
        let frame = frame(body, TopicMap::new([].into(), Some(Arc::new(view))));
        let bounded = |full| Form {
            full,
            data_bytes_max: 10,
            ..PLAIN
        };
        assert!(text(&frame, bounded(false)).ends_with("data: {\"a\":1}\n\n"));
        assert!(text(&frame, bounded(true)).contains("too_long"));
    }

    #[test]
    fn who_asks_has_names_or_none_whatever_the_section_says() {
        for by_view in [false, true] {
            let view = View {
                event_names: by_view,
                ..View::default()
            };
            let frame = frame(b"{}", TopicMap::new([].into(), Some(Arc::new(view))));
            for (names, named) in [(None, by_view), (Some(true), true), (Some(false), false)] {
                for format in [Format::Raw, Format::CloudEvents] {
                    let told = text(
                        &frame,
                        Form {
                            format,
                            names,
                            ..PLAIN
                        },
                    );
                    assert_eq!(
                        told.contains("event: webhook\n"),
                        named,
                        "{names:?}: {told}"
                    );
                }
                let lines = |asked| {
                    let format = Format::NdJson;
                    std::ptr::from_ref(frame.piece(Form {
                        format,
                        names: asked,
                        ..PLAIN
                    }))
                };
                assert_eq!(lines(names), lines(None), "a line has no name");
            }
        }
    }

    /// Every form but those that show deliveries.
    fn forms_for_subscribers() -> impl Iterator<Item = Form> {
        let formats = Format::ALL.into_iter();
        let formats = formats.filter(|format| !format.shows_deliveries());
        formats.flat_map(|format| {
            [(false, None), (true, Some(true)), (true, Some(false))].map(|(full, names)| Form {
                format,
                full,
                names,
                ..PLAIN
            })
        })
    }

    proptest! {
        /// Whatever the header is called, and whatever the view shows.
        #[test]
        fn no_byte_of_the_proof_is_in_what_subscribers_are_shown(
            value in "[a-z0-9]{24,60}",
            name in prop_oneof![Just("x-kind".to_owned()), "[a-z-]{1,20}"],
            hides: bool,
        ) {
            let proof = [(&*name, &*value), ("x-kind", &*value)];
            let mut draft = frame(b"{\"a\":1}", TopicMap::default()).event().draft.clone();
            draft.original = Original {
                proof: Proof::new(proof.into_iter().collect()),
                target: format!("?q={value}").into(),
                omitted: value.clone().into(),
                sent: Some(value.clone().into()),
                ..Original::default()
            };
            draft.headers = [("x-kind", "shown")].into_iter().collect();
            let view = View {
                headers: [ShownHeader::new("X-Kind").unwrap()].into(),
                projection: hides.then(|| Projection::new(None, vec!["/b".parse().unwrap()])),
                ..View::default()
            };
            let encoder = Encoder {
                epoch: "e".parse().unwrap(),
                public_url: "".into(),
                views: TopicMap::new([].into(), Some(Arc::new(view))),
            };
            let whole = Frame::new(Arc::new(draft.at(Sequence(1))), &Arc::new(encoder));
            let base64 = data_encoding::BASE64.encode(value.as_bytes());
            for form in forms_for_subscribers() {
                let shown = text(&whole, form);
                prop_assert!(!shown.contains(&value) && !shown.contains(&base64), "{}", shown);
            }
            for format in [Format::Delivery, Format::Smee, Format::Gosmee] {
                let shown = text(&whole, Form { format, ..PLAIN });
                prop_assert_eq!(shown.contains(&value), !hides, "{}", shown);
            }
        }
    }
}
