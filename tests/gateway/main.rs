//! The whole gateway over real sockets, in this process.

mod harness;

mod events;
mod hostile;
mod ingest;
mod life;
mod slow;
