//! What the proof of a delivery is worth when it is sent again.
//!
//! Says what a scheme signs; decides nothing. Invariant: a scheme and a verifier of it
//! give the same answer.

use std::time::Duration;

use crate::{
    check::{Check, signature::Algorithm, token::TokenLocation},
    scheme::{MessagePart, Scheme, SchemeKind},
    verifier::Verifier,
};

/// What the proof of a delivery is worth when it is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replay {
    /// Nothing was signed, and no token came.
    Unsigned,
    /// A token came with it, which nobody keeps.
    Token,
    /// It was signed.
    Signature {
        /// For how long the signature is good; `None`: for good.
        tolerance: Option<Duration>,
        /// Whether it covers the URL that the sender was given.
        signs_url: bool,
        /// Whether only the provider can sign.
        is_by_public_key: bool,
    },
}

impl Replay {
    /// That of a scheme's deliveries.
    #[must_use]
    pub fn of(scheme: &Scheme) -> Self {
        match scheme.kind {
            SchemeKind::None => Self::Unsigned,
            SchemeKind::Token => Self::Token,
            SchemeKind::Hmac | SchemeKind::Ed25519 => Self::Signature {
                tolerance: scheme.timestamp.as_ref().map(|rule| rule.tolerance),
                signs_url: scheme.parts().iter().any(MessagePart::needs_public_url),
                is_by_public_key: scheme.kind == SchemeKind::Ed25519,
            },
        }
    }
}

impl Verifier {
    /// What the proof of its deliveries is worth when they are sent again.
    #[must_use]
    pub fn replay(&self) -> Replay {
        match &self.compiled.check {
            Check::None => Replay::Unsigned,
            Check::Token(_) => Replay::Token,
            Check::Signature(check) => Replay::Signature {
                tolerance: check.timestamp.as_ref().map(|policy| policy.tolerance),
                signs_url: check.message.iter().any(MessagePart::needs_public_url),
                is_by_public_key: check.algorithm == Algorithm::Ed25519,
            },
        }
    }

    /// The same verifier for whoever was given another URL: signs and verifies with this
    /// in front of the path. No effect on a scheme that does not sign the URL.
    #[must_use]
    pub fn with_public_url(mut self, public_url: impl Into<String>) -> Self {
        if let Check::Signature(check) = &mut self.compiled.check {
            check.public_urls = vec![public_url.into()];
        }
        self
    }

    /// The body with the token where [`Verified`](crate::Verified) has emptied it; `None`
    /// where the scheme reads no token from the body, or there is no such place in it.
    #[must_use]
    pub fn with_token_in(&self, body: &[u8]) -> Option<Vec<u8>> {
        let Check::Token(check) = &self.compiled.check else {
            return None;
        };
        let TokenLocation::Json(pointer) = check.location() else {
            return None;
        };
        let token = String::from_utf8_lossy(check.first_secret().expose());
        let token = serde_json::to_vec(&token).ok()?;
        pointer.replaced(body, &token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Delivery, Outcome, Settings, presets};
    use hookrill_core::Timestamp;
    use http::{HeaderMap, Method};

    #[test]
    fn a_scheme_and_its_verifier_say_the_same() {
        let mut dated = 0;
        for preset in presets() {
            let of_scheme = Replay::of(&preset.scheme);
            let mut settings = Settings::new(Some("user:MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
            settings.public_url = Some("https://a.example".to_owned());
            if let Ok(verifier) = Verifier::offline(preset.scheme, settings) {
                assert_eq!(verifier.replay(), of_scheme, "{}", preset.name);
                let is_dated = matches!(
                    of_scheme,
                    Replay::Signature {
                        tolerance: Some(_),
                        ..
                    }
                );
                dated += usize::from(is_dated);
            }
        }
        assert!(dated > 10, "{dated}");
    }

    #[test]
    fn a_token_that_was_taken_out_of_a_body_is_put_back() {
        let scheme = "kind = \"token\"\ntoken = { json = \"/token\" }"
            .parse()
            .unwrap();
        let verifier = Verifier::new(scheme, Settings::new(Some("a\"b"))).unwrap();
        let body = br#"{ "token" :"a\"b", "x": 1e400 }"#;
        let at = Timestamp::from_unix_secs(1);
        let delivery =
            |sent: &[u8]| Delivery::new(Method::POST, "/", HeaderMap::new(), sent.to_vec(), at);
        let Ok(Outcome::Event(verified)) = verifier.verify(delivery(body), at) else {
            panic!("it verifies");
        };
        let emptied = verified.into_parts().0.body;
        assert!(verifier.verify(delivery(&emptied), at).is_err());
        assert_eq!(verifier.with_token_in(&emptied).unwrap(), body);
        assert_eq!(verifier.with_token_in(b"{}"), None);
    }
}
