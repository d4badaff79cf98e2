use std::env;

use hookrill_client::{Item, Subscription};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut orders = Subscription::builder(env::var("HOOKRILL_URL")?)
        .topic("orders")
        .since_earliest()
        .token(env::var("HOOKRILL_TOKEN")?)
        .build()?;
    while let Some(item) = orders.next().await {
        match item? {
            Item::Event(order) => println!("{}", order.data),
            Item::Gap(gap) => println!("missed: {}", gap.data),
            Item::Interrupted(lost) => eprintln!("again soon: {lost}"),
            _ => {}
        }
    }
    Ok(())
}
