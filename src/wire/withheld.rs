//! Why nothing of an event is shown except that it exists.

/// Why nothing of an event is shown except that it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// Parts of it may be shown, and it is not JSON.
    NotJson,
    /// Its topic is not configured any more, so nothing says what may be shown.
    Unconfigured,
}

impl Withheld {
    /// The reason as subscribers see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::Unconfigured => "unconfigured",
        }
    }

    /// As JSON: `{"reason":…}`.
    pub(super) fn json(self) -> String {
        format!(r#"{{"reason":"{}"}}"#, self.as_str())
    }
}
