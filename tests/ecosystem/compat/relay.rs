//! Passes connections on to a gateway byte by byte, end by end, and counts those
//! that the gateway has ended: how often one listener was turned away.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

pub(super) struct Relay {
    pub(super) address: SocketAddr,
    cuts: Arc<AtomicUsize>,
}

impl Relay {
    /// One for as long as the test runs.
    pub(super) fn to(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let address = listener.local_addr().expect("it is bound");
        let cuts = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&cuts);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let counted = Arc::clone(&counted);
                thread::spawn(move || pass(&client, gateway, &counted));
            }
        });
        Self { address, cuts }
    }

    /// How many connections the gateway has ended.
    pub(super) fn cuts(&self) -> usize {
        self.cuts.load(Ordering::SeqCst)
    }
}

fn pass(client: &TcpStream, gateway: SocketAddr, cuts: &AtomicUsize) {
    let Ok(server) = TcpStream::connect(gateway) else {
        return;
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            _ = io::copy(&mut &*client, &mut &server);
            _ = server.shutdown(Shutdown::Write);
        });
        _ = io::copy(&mut &server, &mut &*client);
        cuts.fetch_add(1, Ordering::SeqCst);
        _ = client.shutdown(Shutdown::Write);
    });
}
