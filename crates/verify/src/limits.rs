//! The bounds of this crate: what a sender or a configuration can make it do.

/// The most secrets that a verifier tries: each costs one more pass over the
/// body of a delivery that none of them signed.
pub const SECRETS_MAX: usize = 16;

/// The most signatures that one delivery may offer. DocuSign, which has the
/// most, sends one per configured key; each costs one comparison per secret.
pub const SIGNATURES_MAX: usize = 16;

/// The longest text of a sender that a handshake is answered with, in bytes.
pub const CHALLENGE_BYTES_MAX: usize = 1024;

/// The longest event type or delivery id that is taken out of a delivery, in
/// bytes.
pub const FACT_BYTES_MAX: usize = 256;

/// The longest body in bytes that is looked into although it was refused, to say what
/// the delivery calls itself.
pub const UNVERIFIED_BODY_BYTES_MAX: usize = 16 * 1024;
