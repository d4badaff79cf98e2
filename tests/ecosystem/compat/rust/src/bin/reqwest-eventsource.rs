use std::env;

use futures_util::StreamExt as _;
use reqwest_eventsource::{Event, EventSource};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut source = EventSource::get(env::var("HOOKRILL_URL").unwrap());
    while let Some(event) = source.next().await {
        match event {
            Ok(Event::Open) => {}
            Ok(Event::Message(event)) => {
                let body: serde_json::Value = serde_json::from_str(&event.data).unwrap();
                println!("event {} {}", event.id, body["n"]);
            }
            Err(error) => println!("error {error}"),
        }
    }
    println!("end");
}
