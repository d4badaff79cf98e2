//! Honest traffic beside an attack, and where each comes from.

use std::{
    env,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hookrill_testing::Process;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// What honest traffic may wait for, at most.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(3);
/// Where everybody else comes from.
pub(crate) const HONEST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 250));

/// How large an attack is, where it is `base` by default.
pub(crate) fn attack_size(base: usize) -> usize {
    let factor = env::var("SIEGE_FACTOR").map_or(1, |factor| factor.parse().unwrap());
    base * factor
}

/// A connection from one of many loopback addresses.
pub(crate) async fn connect_from(source: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(source, 0)).unwrap();
    socket.connect(to).await.unwrap()
}

/// One of eight addresses that strangers have.
pub(crate) fn stranger(n: usize) -> IpAddr {
    IpAddr::from([127, 0, 1, (n % 8) as u8])
}

/// The status of a request by an honest client, which has to be there in time: one late
/// answer may be this machine's, and not two in a row.
async fn honest(gateway: &Process, request: &str) -> u16 {
    for _ in 0..2 {
        if let Ok(status) = timeout(ANSWER_TIME_MAX, ask(gateway, request)).await {
            return status;
        }
    }
    panic!("no answer in time to {request:?}")
}

async fn ask(gateway: &Process, request: &str) -> u16 {
    let mut stream = connect_from(HONEST, gateway.address).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Health and ingest answer in time.
pub(crate) async fn check_honest_traffic(gateway: &Process) {
    let health = "GET /healthz HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n";
    assert_eq!(honest(gateway, health).await, 200);
    let post = "POST /ingest/open HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\
                Content-Length: 1\r\n\r\nx";
    assert_eq!(honest(gateway, post).await, 200);
}
