//! Peers of our own, each run as a process: the floor, a plain axum hub, a
//! server that lies, and an origin for Pushpin.

mod axum_hub;
mod floor;
mod http;
mod origin;

use std::{io, net::TcpListener};

/// Which peer, and where.
#[derive(Debug, clap::Subcommand)]
pub enum Peer {
    /// A bare loop of writes.
    Floor(At),
    /// The floor, but one subscriber in ten gets one event wrong.
    Liar {
        /// Where.
        #[command(flatten)]
        at: At,
        /// What is wrong.
        #[arg(long)]
        fault: Fault,
    },
    /// axum's `Sse` over a broadcast channel.
    Axum(At),
    /// Answers as an origin behind Pushpin does.
    Origin(At),
}

/// Where a peer listens.
#[derive(Debug, clap::Args)]
pub struct At {
    /// The port, on loopback.
    #[arg(long)]
    port: u16,
}

/// What a liar does with one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Fault {
    /// Leaves it out.
    Lose,
    /// Sends it twice.
    Double,
    /// Sends it behind the next one.
    Swap,
    /// Cuts its body short.
    Cut,
}

impl Peer {
    /// Serves until the process is ended.
    ///
    /// # Errors
    ///
    /// As the system says.
    pub fn run(&self) -> io::Result<()> {
        match self {
            Peer::Floor(at) => floor::serve(&at.listen()?, None),
            Peer::Liar { at, fault } => floor::serve(&at.listen()?, Some(*fault)),
            Peer::Axum(at) => axum_hub::serve(at.listen()?),
            Peer::Origin(at) => origin::serve(&at.listen()?),
        }
    }
}

impl At {
    fn listen(&self) -> io::Result<TcpListener> {
        TcpListener::bind(("127.0.0.1", self.port))
    }
}
