//! stub
/// How much is said, and in what form.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `tracing` filter directives: `info`, or `info,hookrill::hub=debug`.
    pub level: String,
    /// One line per event for people, or JSON for machines.
    pub format: LogFormat,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}
