//! Requests to one gateway, a connection for each.

use std::net::SocketAddr;

use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    ADMIN_TOKEN, Response, Subscriber, WAIT_MAX,
    http::{request_head, status_of},
};

/// Sends requests to a gateway.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// Where the gateway listens.
    pub address: SocketAddr,
}

impl Client {
    /// A connection that has sent nothing yet.
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends these bytes and reads the whole response. The request has to end
    /// the connection.
    pub async fn send(&self, request: impl AsRef<[u8]>) -> Response {
        let mut stream = self.connect().await;
        stream.write_all(request.as_ref()).await.unwrap();
        read_response(&mut stream).await
    }

    /// GETs a path.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        let head = request_head("GET", path, headers);
        self.send(head + "Connection: close\r\n\r\n").await
    }

    /// Posts a body to a topic.
    pub async fn post(&self, topic: &str, body: impl AsRef<[u8]>) -> Response {
        self.post_with(topic, &[], body).await
    }

    /// Posts a body with headers to a topic.
    pub async fn post_with(
        &self,
        topic: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Response {
        let body = body.as_ref();
        let mut request = request_head("POST", &format!("/ingest/{topic}"), headers);
        request += &format!(
            "Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        self.send([request.as_bytes(), body].concat()).await
    }

    /// Posts so many events to a topic, over a few connections at once.
    pub async fn fill(&self, topic: &str, count: usize, body_bytes: usize) {
        const CONNECTIONS: usize = 16;
        let body = "x".repeat(body_bytes);
        let head = request_head("POST", &format!("/ingest/{topic}"), &[]);
        let request = format!("{head}Content-Length: {body_bytes}\r\n\r\n{body}");
        let posting = (0..CONNECTIONS).map(|n| {
            let request = request.as_bytes();
            async move {
                let mut stream = self.connect().await;
                for _ in 0..count / CONNECTIONS + usize::from(n < count % CONNECTIONS) {
                    stream.write_all(request).await.unwrap();
                    is_stored(&mut stream).await;
                }
            }
        });
        join_all(posting).await;
    }

    /// Subscribes at a path such as `/events/orders`.
    pub async fn subscriber(&self, path: &str) -> Subscriber {
        self.subscriber_with(path, &[]).await
    }

    /// Subscribes with headers.
    pub async fn subscriber_with(&self, path: &str, headers: &[(&str, &str)]) -> Subscriber {
        let mut stream = self.connect().await;
        let request = request_head("GET", path, headers) + "\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        Subscriber::over(stream).await
    }

    /// The value of a metric, labels included in its name; 0 where it has none.
    pub async fn metric(&self, name: &str) -> f64 {
        let bearer = format!("Bearer {ADMIN_TOKEN}");
        let page = self.get("/metrics", &[("Authorization", &bearer)]).await;
        metric_of(page.text(), name).unwrap_or(0.0)
    }
}

/// Reads a response to the end of its connection.
pub(crate) async fn read_response(stream: &mut TcpStream) -> Response {
    let mut bytes = Vec::new();
    // A reset after the response is no concern of these tests.
    _ = timeout(WAIT_MAX, stream.read_to_end(&mut bytes))
        .await
        .expect("the response comes, and its end");
    Response::parse(&bytes)
}

/// Reads one response of a connection that stays open.
async fn is_stored(stream: &mut TcpStream) {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"}") {
        let read = timeout(WAIT_MAX, stream.read_buf(&mut bytes)).await;
        assert_ne!(read.expect("a response comes").unwrap(), 0, "cut off");
    }
    let response = String::from_utf8_lossy(&bytes);
    assert_eq!(status_of(&response), 200, "{response}");
}

/// The sum of the series of a metric that have the labels in its name, if there are any.
pub(crate) fn metric_of(page: &str, name: &str) -> Option<f64> {
    let (metric, wanted) = labels(name);
    let series = page.lines().filter_map(|line| {
        let (key, value) = line.rsplit_once(' ')?;
        let (found, has) = labels(key);
        let is_it = found == metric && wanted.iter().all(|label| has.contains(label));
        is_it.then(|| value.parse::<f64>().unwrap())
    });
    series.reduce(|sum, value| sum + value)
}

/// The name and the labels of a series. No label has a comma in its value.
fn labels(series: &str) -> (&str, Vec<&str>) {
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').unwrap_or_default().split(',');
    (name, labels.filter(|label| !label.is_empty()).collect())
}

impl Response {
    /// Reads a response to the end of its connection.
    pub async fn read(stream: &mut TcpStream) -> Self {
        read_response(stream).await
    }
}
