//! What subscribers are shown of the events of a topic.
//!
//! Fails closed: an event whose body can't be cut is withheld, and subscribers are
//! told so.

use hookrill_core::{Event, Topic};

use super::{header::ShownHeader, projection::Projection, withheld::Withheld};

/// What subscribers are shown of the events of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// Whether the type is the SSE event name.
    pub event_names: bool,
    /// What of a JSON body is shown; `None` shows bodies as they are.
    pub projection: Option<Projection>,
    /// The headers that CloudEvents carry.
    pub headers: Box<[ShownHeader]>,
    /// Where the events are ingested to, if that is not their topic.
    pub source: Option<Topic>,
}

impl View {
    /// What is shown of the event's body; `None`: all of it.
    pub(super) fn cut(view: Option<&Self>, event: &Event) -> Result<Option<String>, Withheld> {
        let view = view.ok_or(Withheld::Unconfigured)?;
        let Some(projection) = &view.projection else {
            return Ok(None);
        };
        let cut = projection.cut(&event.draft.body);
        cut.map(Some).map_err(|_| Withheld::NotJson)
    }
}
