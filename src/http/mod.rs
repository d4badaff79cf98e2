//! Where bytes come in and go out: routes, limits, refusals, connections.
//!
//! Decides nothing about signatures, access or history; it asks the rooms below and
//! says their answers in HTTP. Invariant: every status is chosen in
//! `problem.rs` or stands next to the route that succeeds.

mod admin;
mod body;
mod captured;
mod client_ip;
mod cors;
mod dead_peers;
mod deliveries;
mod delivery_error;
mod events;
mod first_head;
mod grants;
mod guarded_body;
mod hijack;
mod host;
mod ingest;
mod keep;
mod limits;
mod log_budget;
mod media_types;
mod negotiation;
mod ops;
mod params;
mod prefixed;
mod problem;
mod query;
mod request_log;
mod server;
mod since;
mod socket;
mod stall_timeout;
mod stream_body;
mod stream_tasks;
mod streams;
mod tokens;

use std::{
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::get,
};
use hookrill_core::{Clock, Secret, Swap};
use hookrill_verify::Confidential;
use tokio::sync::Semaphore;

use crate::{
    access::Access,
    identity::{KeySets, Revocations},
    ingest::Ingest,
    rate::Bucket,
    recent::Recent,
    subscribe::Streams,
    telemetry::{Route, Telemetry},
};
pub use captured::decode_captured;
pub use cors::{LOOPBACK_ORIGINS, OriginError, OriginPattern};
pub use limits::AddressLimits;
pub use negotiation::Compression;
pub use server::{Drained, Server, raise_open_files_limit};
pub use streams::Settings as StreamsSettings;

/// How many requests may list deliveries at a time; each holds some megabytes.
const LISTS_MAX: usize = 4;
/// How many may have them listed as they come.
const LIVE_MAX: usize = 8;

/// The bounds of what a stranger may do, and who the operator is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// The longest body taken, in bytes.
    pub body_bytes_max: usize,
    /// The most streams at one time; ingest, health and admin have
    /// connections of their own beyond it.
    pub subscribers_max: usize,
    /// Whether somebody wrote that number: then it is worth a warning if it can\'t be kept.
    pub subscribers_max_is_written: bool,
    /// What one address may do.
    pub limits: AddressLimits,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Which pages may read streams across origins, each an [`OriginPattern`]:
    /// `https://app.example.com`, `https://*.example.com`, or `*` for any, without
    /// credentials.
    pub cors_origins: Vec<String>,
    /// Who is sent compressed streams.
    pub compression: Compression,
    /// Which headers these pages may send, besides those that subscribers and tracing
    /// send.
    pub cors_headers: Vec<http::HeaderName>,
    /// How long the gateway keeps serving after it was told to stop, with
    /// `/readyz` at 503, so that load balancers can stop sending requests first.
    pub shutdown_delay: Duration,
    /// How long a drain may take in all.
    pub shutdown_grace: Duration,
    /// The operator's bearer token; without one, admin routes are closed.
    pub admin_token: Option<Secret>,
    /// Whether `/metrics` is open to everybody.
    pub metrics_public: bool,
    /// How many refused deliveries are kept to be looked at; 0 keeps none.
    pub refused_max: usize,
    /// How `/streams` answers.
    pub streams: StreamsSettings,
}

impl Settings {
    /// These, with the bounds of `at_start`: what was made by them stays as
    /// large as it is.
    #[must_use]
    pub fn bounded_as(self, at_start: &Self) -> Self {
        Self {
            body_bytes_max: at_start.body_bytes_max,
            subscribers_max: at_start.subscribers_max,
            subscribers_max_is_written: at_start.subscribers_max_is_written,
            shutdown_delay: at_start.shutdown_delay,
            shutdown_grace: at_start.shutdown_grace,
            ..self
        }
    }
}

/// What the routes share.
pub struct Gateway {
    settings: Swap<Settings>,
    cors: Swap<cors::Cors>,
    /// Pages that were not let in, and that the operator was told of.
    missing_origins: cors::MissingOrigins,
    ingest: Ingest,
    access: Arc<Access>,
    key_sets: Arc<KeySets>,
    revocations: Revocations,
    streams: Arc<Streams>,
    clock: Clock,
    telemetry: Arc<Telemetry>,
    /// A permit per open stream.
    stream_permits: Arc<Semaphore>,
    /// How far addresses have used up what they may do.
    limits: Swap<limits::Limits>,
    /// The open streams of each address.
    stream_slots: Arc<limits::StreamSlots>,
    /// Memory for pages that are on their way.
    page_places: Arc<limits::PagePlaces>,
    /// Memory for bodies that are being read.
    body_budget: body::BodyBudget,
    /// Numbers for spans, so that a request's lines can be told from another's.
    request_numbers: AtomicU64,
    /// Held by whoever reads figures for `/metrics` from the disk.
    figures_permit: Arc<Semaphore>,
    /// Turns to decode long bodies.
    long_decodes: body::LongDecodes,
    /// Log lines about who was refused.
    log_budget: log_budget::LogBudget,
    /// What came lately and was not stored, to be looked at.
    recent: Recent,
    /// Held while a long body is hashed that was refused.
    digest_permit: Arc<Semaphore>,
    /// How many of them were.
    digests: Bucket,
    /// Held while a refused delivery is explained.
    explain_permit: Arc<Semaphore>,
    /// Held while deliveries are listed, and while they are listed as they come.
    list_permits: Semaphore,
    live_permits: Arc<Semaphore>,
    /// Where the secrets of all known schemes are in a delivery, once somebody looks at one.
    confidential: OnceLock<Confidential>,
    /// Who has tried wrong admin tokens.
    wrong_tokens: limits::WrongTokens,
}

impl Gateway {
    /// Puts the rooms behind their routes.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "each is a room's, by its name")]
    pub fn new(
        settings: Settings,
        ingest: Ingest,
        access: Arc<Access>,
        key_sets: Arc<KeySets>,
        revocations: Revocations,
        streams: Arc<Streams>,
        clock: Clock,
        telemetry: Arc<Telemetry>,
    ) -> Arc<Self> {
        Arc::new(Self {
            stream_permits: Arc::new(Semaphore::new(settings.subscribers_max)),
            limits: Swap::new(limits::Limits::new(&settings.limits)),
            stream_slots: Arc::default(),
            page_places: limits::PagePlaces::new(),
            body_budget: body::BodyBudget::new(settings.body_bytes_max),
            request_numbers: AtomicU64::new(0),
            figures_permit: Arc::new(Semaphore::new(1)),
            long_decodes: body::LongDecodes::default(),
            log_budget: log_budget::LogBudget::default(),
            recent: Recent::new(settings.refused_max, telemetry.refused_dropped.clone()),
            digest_permit: Arc::new(Semaphore::new(1)),
            digests: Bucket::default(),
            explain_permit: Arc::new(Semaphore::new(1)),
            list_permits: Semaphore::new(LISTS_MAX),
            live_permits: Arc::new(Semaphore::new(LIVE_MAX)),
            confidential: OnceLock::new(),
            wrong_tokens: limits::WrongTokens::new(),
            cors: Swap::new(cors::Cors::new(
                &settings.cors_origins,
                &settings.cors_headers,
            )),
            missing_origins: cors::MissingOrigins::default(),
            settings: Swap::new(settings),
            ingest,
            access,
            key_sets,
            revocations,
            streams,
            clock,
            telemetry,
        })
    }

    /// What holds now.
    fn settings(&self) -> Arc<Settings> {
        self.settings.load()
    }

    /// Lets no more than so many streams be open, whatever is configured.
    fn bound_streams(&self, streams_max: usize) {
        let configured = self.settings().subscribers_max;
        self.stream_permits
            .forget_permits(configured.saturating_sub(streams_max));
    }

    fn is_trusted_proxy(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        let settings = self.settings();
        settings
            .trusted_proxies
            .iter()
            .any(|net| net.contains(&peer))
    }

    /// A number for the span of a request.
    fn next_request_number(&self) -> u64 {
        self.request_numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes deliveries by the routes in use.
    #[must_use]
    pub fn ingest(&self) -> &Ingest {
        &self.ingest
    }

    /// Takes these settings into use, save for the bounds.
    pub fn reload(&self, settings: Settings) {
        let before = self.settings();
        let settings = settings.bounded_as(&before);
        if before.cors_origins != settings.cors_origins
            || before.cors_headers != settings.cors_headers
        {
            let cors = cors::Cors::new(&settings.cors_origins, &settings.cors_headers);
            self.cors.store(cors);
            self.missing_origins.clear();
        }
        // Who has used up a rate that stays is not given another.
        if before.limits != settings.limits {
            self.limits.store(limits::Limits::new(&settings.limits));
        }
        self.recent.set_refused_max(settings.refused_max);
        self.settings.store(settings);
    }

    /// Every route, as a router that any server can take.
    pub fn router(self: &Arc<Self>) -> Router {
        self.routes()
            .layer(cors::AcrossOrigins(Arc::clone(self)))
            .layer(from_fn_with_state(Arc::clone(self), count_response))
    }

    /// Every route, for a server that counts its responses itself, and marks them for
    /// pages of other origins.
    fn routes(self: &Arc<Self>) -> Router {
        let events = Router::new()
            .route("/events", get(events::subscribe))
            .route("/events/", get(events::subscribe))
            .route("/events/{*topic}", get(events::subscribe))
            .method_not_allowed_fallback(problem::method_not_allowed);
        let read = || get(streams::read).options(streams::options);
        let streams = Router::new()
            .route("/streams", read())
            .route("/streams/", read())
            .route("/streams/{*topic}", read())
            .method_not_allowed_fallback(streams::method_not_allowed);
        let operator = Router::new()
            .route("/healthz", get(ops::healthz))
            .route("/readyz", get(ops::readyz))
            .route("/metrics", get(ops::metrics))
            .route("/version", get(ops::version))
            .merge(admin::questions())
            .method_not_allowed_fallback(problem::method_not_allowed);
        let deliveries = Router::new()
            .route("/deliveries/{cursor}", get(deliveries::delivery))
            .route("/deliveries/{cursor}/body", get(deliveries::body))
            .method_not_allowed_fallback(problem::method_not_allowed);
        let admin = admin::orders().method_not_allowed_fallback(problem::not_a_post);
        Router::new()
            .merge(events)
            .merge(deliveries)
            .merge(streams)
            .merge(operator)
            .merge(admin)
            .route("/ingest", ingest::without_topic())
            .route("/ingest/", ingest::without_topic())
            .route("/ingest/{*topic}", ingest::route())
            .fallback(problem::no_such_route)
            .with_state(Arc::clone(self))
    }
}

async fn count_response(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
    next: Next,
) -> Response {
    let route = Route::of(request.uri().path());
    let response = next.run(request).await;
    let status = response.status().as_u16();
    gateway.telemetry.responses.count(route, status);
    response
}
