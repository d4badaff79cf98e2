//! The whole gateway over real sockets, in this process.

mod bodies;
mod came;
mod damage;
mod deliveries;
mod foreign_clients;
mod groups;
mod handshakes;
mod hostile;
mod identity;
mod ingest;
mod lifecycle;
mod limits;
mod metrics;
mod partial_events;
mod partition;
mod refusals_log;
mod reload;
mod revocation;
mod senders;
mod setup;
mod slow;
mod stopping;
mod stream_limits;
mod stuck;
mod topic_stats;
mod who_sees_what;
mod writer;

/// The same claims where a connection is taken back and written to…
#[path = "."]
mod to_a_socket {
    use hookrill_testing::Gateway;
    #[path = "cross_origin.rs"]
    mod cross_origin;
    #[path = "events.rs"]
    mod events;
    #[path = "streams.rs"]
    mod streams;
}

/// …and where a server takes the routes and knows nothing of that.
#[expect(clippy::duplicate_mod, reason = "the same cases, another way")]
#[path = "."]
mod as_a_body {
    use tempfile::TempDir;

    use hookrill_testing::GatewayBuilder;

    struct Gateway;

    impl Gateway {
        fn in_memory() -> GatewayBuilder {
            hookrill_testing::Gateway::in_memory().with_router_only()
        }

        fn on_disk() -> GatewayBuilder {
            hookrill_testing::Gateway::on_disk().with_router_only()
        }

        fn in_folder(folder: TempDir) -> GatewayBuilder {
            hookrill_testing::Gateway::in_folder(folder).with_router_only()
        }
    }

    #[path = "cross_origin.rs"]
    mod cross_origin;
    #[path = "events.rs"]
    mod events;
    #[path = "streams.rs"]
    mod streams;
}
