//! Measures Hookrill against its neighbours on one machine, in one run.
//!
//! The rooms, from the ground up. Invariant: what is measured runs in
//! processes of its own; this one only offers, receives, checks and counts.
//!
//! ```text
//! servers/*.toml → Running ← Round (senders, subscribers) → Row → TargetResult
//! ```

pub mod wire;

pub mod ledger;

pub mod payload;

pub mod machine;

pub mod server;

pub mod round;

pub mod peer;

pub mod case;

pub mod report;
