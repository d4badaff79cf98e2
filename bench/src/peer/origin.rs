//! The origin that Pushpin asks about a subscriber: it answers with the GRIP
//! headers that hold the stream and name its channel.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpListener,
    thread,
};

use super::http;

/// Serves until the process is ended, a thread per connection: Pushpin keeps
/// few of them.
pub(super) fn serve(listener: &TcpListener) -> io::Result<()> {
    for socket in listener.incoming() {
        let mut socket = socket?;
        thread::spawn(move || {
            let mut unread = Vec::new();
            let mut buffer = [0; 4096];
            while let Ok(bytes @ 1..) = socket.read(&mut buffer) {
                unread.extend_from_slice(&buffer[..bytes]);
                while let Some(request) = http::request(&unread) {
                    let answer = answer(request.path);
                    let request_bytes = request.bytes;
                    unread.drain(..request_bytes);
                    if socket.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            }
        });
    }
    Ok(())
}

fn answer(path: &str) -> String {
    match path.strip_prefix("/events/") {
        Some(channel) => format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nGrip-Hold: stream\r\n\
             Grip-Channel: {channel}\r\nContent-Length: 0\r\n\r\n"
        ),
        None => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(),
    }
}
