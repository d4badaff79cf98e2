use std::{env, time::Duration};

use eventsource_client::{Client, ClientBuilder, SSE};
use futures_util::TryStreamExt as _;
use launchdarkly_sdk_transport::HyperTransport;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let transport = HyperTransport::builder()
        .read_timeout(Duration::from_secs(60))
        .build_http()
        .unwrap();
    let client = ClientBuilder::for_url(&env::var("HOOKRILL_URL").unwrap())
        .unwrap()
        .build_with_transport(transport);
    let mut stream = client.stream();
    loop {
        match stream.try_next().await {
            Ok(Some(SSE::Event(event))) => {
                let body: serde_json::Value = serde_json::from_str(&event.data).unwrap();
                println!("event {} {}", event.id.unwrap_or_default(), body["n"]);
            }
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => println!("error {error}"),
        }
    }
    println!("end");
}
