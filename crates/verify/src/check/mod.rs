//! Carries out a compiled scheme on the raw bytes of a delivery.
//!
//! Nothing of a body is parsed before a secret has matched, except for what the
//! scheme names as signed or as a handshake. No clock, no I/O, no logs.

pub(crate) mod ed25519;
mod encoding;
pub(crate) mod form;
pub(crate) mod grammar;
pub(crate) mod handshake;
mod headers;
mod lookup;
pub(crate) mod mac;
mod message;
pub(crate) mod provider;
mod signable;
pub(crate) mod signature;
pub(crate) mod timestamp;
pub(crate) mod token;

use signature::SignatureCheck;
use token::TokenCheck;

/// How deliveries are verified; complete.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Check {
    /// By a signature over what was sent.
    Signature(Box<SignatureCheck>),
    /// By a shared secret that is sent along.
    Token(TokenCheck),
    /// Not at all.
    None,
}
