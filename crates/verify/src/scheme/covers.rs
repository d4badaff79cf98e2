//! What a signature covers: which facts nobody but the sender can have chosen.
//!
//! Errs on the side of "no": a fact that counts as covered by mistake would
//! let a replayed delivery pass for a new one.

use super::{MessagePart, Scheme, Source};

impl Scheme {
    /// Whether the signature covers what is at `source`, so that nobody but
    /// the sender can have chosen it.
    #[must_use]
    pub fn covers(&self, source: &Source) -> bool {
        let covers = |part: &MessagePart| match (part, source) {
            // A form with one field is read as the JSON in it.
            (
                MessagePart::Body | MessagePart::BodySha256 | MessagePart::BodyOrField(_),
                Source::Json(_),
            ) => true,
            (MessagePart::Form(signed), Source::Form(read)) => signed == read,
            (MessagePart::Json(signed) | MessagePart::JsonOrEmpty(signed), Source::Json(read)) => {
                signed == read
            }
            // The same names in the same order, or the one that is read here
            // may not be the one that was signed.
            (MessagePart::Header(signed), Source::Header(read)) => signed == read,
            // Not a sorted form: its names and values run into each other. And not
            // the query, whose end may run into what follows.
            _ => false,
        };
        self.parts().iter().any(covers)
    }

    /// Whether the signature covers the body byte for byte.
    #[must_use]
    pub fn covers_body(&self) -> bool {
        self.parts().iter().any(MessagePart::is_whole_body)
    }

    /// The parts of what is signed, in order; none for kinds that sign nothing.
    #[must_use]
    pub fn parts(&self) -> &[MessagePart] {
        match &self.message {
            Some(message) if self.kind.signs() => message,
            _ => &[],
        }
    }
}
