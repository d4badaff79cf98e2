use std::{env, io::BufReader, thread::sleep, time::Duration};

use serde_json::{Deserializer, Value};
use ureq::{Agent, Error};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = env::var("HOOKRILL_URL")? + "/events/orders?since=earliest";
    let bearer = format!("Bearer {}", env::var("HOOKRILL_TOKEN")?);
    let silence_max = Some(Duration::from_secs(60));
    let agent: Agent = Agent::config_builder()
        .timeout_per_read(silence_max)
        .build()
        .into();
    let mut cursor = String::new();
    loop {
        let request = agent.get(&url).header("Accept", "application/x-ndjson");
        let request = request
            .header("Authorization", &bearer)
            .header("Last-Event-ID", &cursor);
        match request.call() {
            Ok(answer) => {
                let body = BufReader::new(answer.into_body().into_reader());
                let events = Deserializer::from_reader(body).into_iter::<Value>();
                for event in events.map_while(Result::ok) {
                    match event["type"].as_str().unwrap_or_default() {
                        "hookrill.gap" => println!("missed: {}", event["data"]),
                        own if own.starts_with("hookrill.") => {}
                        _ => println!("{}", event["data"]),
                    }
                    event["id"]
                        .as_str()
                        .unwrap_or_default()
                        .clone_into(&mut cursor);
                }
            }
            Err(Error::StatusCode(status)) if !matches!(status, 429 | 502..=504) => {
                return Err(Error::StatusCode(status).into());
            }
            Err(lost) => eprintln!("again soon: {lost}"),
        }
        sleep(Duration::from_secs(3));
    }
}
