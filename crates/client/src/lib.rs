//! The Rust client of Hookrill.
