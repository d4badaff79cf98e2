//! Proves that a delivery came from whom it says, and signs likewise.
//!
//! The one door: what is stored or streamed is a [`Verified`], and only this
//! room can make one. Schemes are data (`scheme`, `presets.toml`), checked
//! whole before the first delivery (`plan`) and carried out over raw bytes
//! (`proof`, `message`, `token`); handshakes are data too (`challenge`), and
//! what cannot be data is in `functions`. No clock, no I/O, no logs; bodies
//! are parsed behind the proof, save for what a scheme names as signed or as a
//! handshake in them.

mod challenge;
mod delivery;
mod ed25519;
mod encoding;
mod error;
mod explain;
mod facts;
mod form;
mod functions;
mod grammar;
mod headers;
mod hint;
mod limits;
mod mac;
mod message;
mod names;
mod partition;
mod plan;
mod preset;
mod proof;
pub mod scheme;
mod settings;
mod sign;
#[cfg(test)]
mod tests;
mod timestamp;
mod token;
mod verifier;

pub use delivery::{Delivery, Facts, Outcome, Reply, Verified};
pub use error::{SchemeError, SignError, VerifyError};
pub use explain::{Explanation, ExplanationStep};
pub use limits::{CHALLENGE_BYTES_MAX, FACT_BYTES_MAX, SECRETS_MAX, SIGNATURES_MAX};
pub use partition::{Partition, PartitionError};
pub use preset::{Coverage, Preset, nearest_preset, preset, presets};
pub use scheme::Scheme;
pub use settings::Settings;
pub use sign::Signed;
pub use verifier::Verifier;
