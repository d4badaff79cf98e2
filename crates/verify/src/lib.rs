//! Verifies webhooks, signs them, and explains what is wrong with them.
//!
#![doc = include_str!("../README.md")]
//!
//! # Inside
//!
//! A scheme is what a person writes (`scheme`). It is checked whole, together
//! with its [`Settings`], before the first delivery (`compile`), and carried
//! out on raw bytes (`check`). Bodies are parsed once the signature has
//! matched, except for what a scheme names as signed or as a handshake, and for the
//! id of a short one that a caller wants to name ([`Verifier::claimed_id`]).

mod check;
mod compile;
mod confidential;
mod delivery;
mod error;
mod explain;
mod facts;
mod hint;
mod limits;
mod partition;
mod preset;
mod replay;
pub mod scheme;
mod settings;
mod sign;
mod slips;
#[cfg(test)]
mod tests;
mod trace;
mod verifier;

pub use hookrill_core::{Pointer, PointerError, Secret, Timestamp};
pub use http;

pub use confidential::{Confidential, ShownValue};
pub use delivery::{Delivery, Facts, Outcome, Refused, Reply, Verified};
pub use error::{SchemeError, SignError, VerifyError};
pub use explain::Explanation;
pub use limits::{
    CHALLENGE_BYTES_MAX, FACT_BYTES_MAX, SECRETS_MAX, SIGNATURES_MAX, UNVERIFIED_BODY_BYTES_MAX,
};
pub use partition::{Partition, PartitionError};
pub use preset::{BodySize, Coverage, Expectation, Preset, SetupTraffic, preset, presets};
pub use replay::Replay;
pub use scheme::{Scheme, SchemeSyntaxError};
pub use settings::Settings;
pub use sign::Signed;
pub use trace::ExplanationStep;
pub use verifier::Verifier;
