//! What subscribers are shown of the events of a topic.
//!
//! Fails closed: an event whose body can't be cut is withheld, and subscribers are
//! told so.

use hookrill_core::{Draft, FormReader, Topic, begins_as_json, is_form, without_byte_order_mark};
use serde::de::IgnoredAny;

use super::{header::ShownHeader, projection::Projection, withheld::Withheld};

/// What subscribers are shown of the events of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// Whether the type is the SSE event name.
    pub event_names: bool,
    /// What of a JSON body is shown; `None` shows bodies as they are.
    pub projection: Option<Projection>,
    /// Reads forms as JSON, and JSON behind a byte order mark; `None` shows bodies as they
    /// are.
    pub forms: Option<FormReader>,
    /// The headers that CloudEvents carry.
    pub headers: Box<[ShownHeader]>,
    /// Where the events are ingested to, if that is not their topic.
    pub source: Option<Topic>,
}

impl View {
    /// The event's body as JSON, where it is that and does not look like it: a form, JSON
    /// called a form, or behind a byte order mark.
    pub(super) fn json(&self, draft: &Draft) -> Option<Box<str>> {
        let forms = self.forms.as_ref()?;
        let plain = without_byte_order_mark(&draft.body);
        let called_form = draft.content_type.as_deref().is_some_and(is_form);
        if called_form && !begins_as_json(plain) {
            return forms.json(plain).map(Into::into);
        }
        if called_form || plain.len() < draft.body.len() {
            let text = std::str::from_utf8(plain).ok()?;
            serde_json::from_str::<IgnoredAny>(text).ok()?;
            return Some(text.into());
        }
        None
    }

    /// What is shown of an event's body; `None`: all of it. `json`: what
    /// [`View::json`] says of it.
    pub(super) fn cut(
        view: Option<&Self>,
        draft: &Draft,
        json: Option<&str>,
    ) -> Result<Option<String>, Withheld> {
        let view = view.ok_or(Withheld::Unconfigured)?;
        let Some(projection) = &view.projection else {
            return Ok(None);
        };
        let cut = projection.cut(json.map_or(&draft.body, str::as_bytes));
        cut.map(Some).map_err(|_| Withheld::NotJson)
    }

    /// Whether subscribers see nothing of this event, because the parts that they may
    /// see cannot be cut out of its body.
    #[must_use]
    pub fn withholds(&self, draft: &Draft) -> bool {
        self.projection.is_some()
            && Self::cut(Some(self), draft, self.json(draft).as_deref()).is_err()
    }
}
