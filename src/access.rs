//! stub
use std::time::Duration;

/// Who may subscribe to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Those whose token covers it.
    #[default]
    Token,
    /// Everybody.
    Public,
}

/// How subscriber tokens are checked.
#[derive(Clone)]
pub struct Settings {
    /// The HS256 secret that signs subscriber tokens; `None` where no topic
    /// needs one.
    pub secret: Option<crate::verify::Secret>,
    /// By how much `exp` may be past.
    pub leeway: Duration,
    /// Per topic: who may subscribe.
    pub policies: crate::event::TopicMap<Policy>,
}
