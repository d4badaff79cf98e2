use std::env;

use futures_util::StreamExt as _;
use sseer::reqwest::{EventSource, StreamEvent};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let request = reqwest13::Client::new().get(env::var("HOOKRILL_URL").unwrap());
    let mut source = EventSource::new(request).unwrap();
    while let Some(event) = source.next().await {
        match event {
            Ok(StreamEvent::Open) => {}
            Ok(StreamEvent::Event(event)) => {
                let body: serde_json::Value = serde_json::from_str(&event.data).unwrap();
                println!("event {} {}", event.id, body["n"]);
            }
            Err(error) => println!("error {error}"),
        }
    }
    println!("end");
}
