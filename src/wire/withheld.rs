//! Why nothing of an event is shown except that it exists.

/// Why nothing of an event is shown except that it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// Parts of it may be shown, and it is not JSON.
    NotJson,
    /// Its topic is not configured any more, so nothing says what may be shown.
    Unconfigured,
    /// Parts of it are hidden, and the delivery would show them.
    Hidden,
    /// Its data has more bytes than the subscriber takes.
    TooLong {
        /// So many.
        bytes: u32,
    },
}

impl Withheld {
    /// The reason as subscribers see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJson => "not_json",
            Self::Unconfigured => "unconfigured",
            Self::Hidden => "hidden",
            Self::TooLong { .. } => "too_long",
        }
    }

    /// As JSON: `{"reason":…}`, and the length where that is the reason.
    pub(super) fn json(self) -> String {
        let reason = self.as_str();
        if let Self::TooLong { bytes } = self {
            return format!(r#"{{"reason":"{reason}","bytes":{bytes}}}"#);
        }
        format!(r#"{{"reason":"{reason}"}}"#)
    }
}
