use std::env;

use eventsource_stream::Eventsource as _;
use futures_util::StreamExt as _;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut cursor = String::new();
    //+ loop { follow(&mut cursor).await.ok(); tokio::time::sleep(std::time::Duration::from_secs(1)).await }
    println!("end {:?}", follow(&mut cursor).await); //-
}

async fn follow(cursor: &mut String) -> reqwest::Result<()> {
    let request = reqwest::Client::new().get(env::var("HOOKRILL_URL").unwrap());
    let response = request.header("Last-Event-ID", &*cursor).send().await?;
    let mut events = response.error_for_status()?.bytes_stream().eventsource();
    while let Some(Ok(event)) = events.next().await {
        let body: serde_json::Value = serde_json::from_str(&event.data).unwrap();
        println!("event {} {}", event.id, body["n"]);
        *cursor = event.id;
    }
    Ok(())
}
