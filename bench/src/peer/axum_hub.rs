//! A plain hub as users of axum write it: `Sse` over a broadcast channel.
//!
//! No verification, no history, nothing on disk. A receiver that lags skips, and its
//! client is not told.

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::TcpListener,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::sse::{Event, KeepAlive, Sse},
    routing::{get, post},
};
use futures_util::{Stream, StreamExt as _};
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

const CHANNEL_EVENTS: usize = 1024;

type Senders = Arc<Mutex<HashMap<String, broadcast::Sender<String>>>>;

/// Serves until the process is ended.
pub(super) fn serve(listener: TcpListener) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let router = Router::new()
            .route("/ready", get(|| async {}))
            .route("/events/{topic}", get(events))
            .route("/publish/{topic}", post(publish))
            .with_state(Senders::default());
        axum::serve(listener, router).await
    })
}

async fn events(
    State(hub): State<Senders>,
    Path(topic): Path<String>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let stream = BroadcastStream::new(channel(&hub, topic).subscribe());
    let stream =
        stream.filter_map(|event| async move { Some(Ok(Event::default().data(event.ok()?))) });
    Sse::new(stream).keep_alive(KeepAlive::default())
}

async fn publish(
    State(hub): State<Senders>,
    Path(topic): Path<String>,
    body: String,
) -> StatusCode {
    // Fails only where nobody listens.
    let _ = channel(&hub, topic).send(body);
    StatusCode::OK
}

fn channel(hub: &Senders, topic: String) -> broadcast::Sender<String> {
    let mut hub = hub.lock().unwrap_or_else(PoisonError::into_inner);
    let new = || broadcast::channel(CHANNEL_EVENTS).0;
    hub.entry(topic).or_insert_with(new).clone()
}
