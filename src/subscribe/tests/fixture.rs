//! What streams need around them: a journal in memory and the real pump.

use futures_util::FutureExt as _;
use hookrill_core::{Draft, SteadyClock, Timestamp, TopicMap, Topics};
use tokio::task::JoinHandle;

use super::*;
use crate::{
    access::{self, Policy},
    hub::pump,
    journal::{self, Backend, CommitMetrics, Retention},
    wire::Encoder,
};

const HOUR: Duration = Duration::from_secs(3600);

/// Everything from the journal to the streams.
pub(crate) struct Fixture {
    way: Way,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) access: Arc<Access>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) pump: JoinHandle<()>,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// All topics are public but these.
fn everybody_but(closed: &[&str]) -> access::Settings {
    let closed = closed
        .iter()
        .map(|name| (name.parse().unwrap(), Policy::Token));
    access::Settings {
        secret: None,
        issuers: Vec::new(),
        leeway: Duration::ZERO,
        token_ttl_max: None,
        policies: TopicMap::new(closed.collect(), Some(Policy::Public)),
    }
}

impl Fixture {
    pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);

    /// With a ring and a journal of these sizes, and readers that go this way.
    pub(crate) async fn with(
        way: Way,
        ring_bytes: usize,
        retain_bytes: u64,
        heartbeat: Duration,
    ) -> Self {
        Self::with_settings(way, ring_bytes, retain_bytes, Self::settings(heartbeat)).await
    }

    pub(crate) fn settings(heartbeat: Duration) -> Settings {
        Settings {
            heartbeat,
            retry: Duration::from_secs(3),
            partial_events_bytes_max: 1 << 20,
            dead_peer_max: Duration::from_secs(60),
            stream_age_max: None,
        }
    }

    pub(crate) async fn with_settings(
        way: Way,
        ring_bytes: usize,
        retain_bytes: u64,
        streams: Settings,
    ) -> Self {
        let clock = Clock::fixed(Timestamp::from_unix_secs(1_000));
        let settings = journal::Settings {
            backend: Backend::Memory,
            retention: Retention {
                age: HOUR,
                bytes: retain_bytes,
            },
            dedup_entries_max: 10,
        };
        let journal = journal::open(
            settings,
            SteadyClock::silent(clock.clone()),
            CommitMetrics::noop(),
        )
        .await
        .unwrap();
        let encoder = Encoder {
            epoch: journal.epoch(),
            public_url: "".into(),
            views: TopicMap::new([].into(), Some(Arc::default())),
        };
        let hub = Hub::new(journal.head(), ring_bytes, encoder);
        let access = Arc::new(Access::new(&everybody_but(&[])));
        let opened = Streams::new(
            Arc::clone(&journal),
            Arc::clone(&hub),
            Arc::clone(&access),
            streams,
            clock,
            Telemetry::new().unwrap(),
        );
        let pump = pump(Arc::clone(&hub), Arc::clone(&journal)).map(|_| ());
        #[expect(clippy::disallowed_methods, reason = "the fixture aborts it")]
        let pump = tokio::spawn(pump);
        Self {
            way,
            journal,
            hub,
            access,
            streams: opened,
            pump,
        }
    }

    /// From now on this topic needs a token.
    pub(crate) fn close(&self, topic: &str) {
        assert!(self.access.reload(&everybody_but(&[topic])));
        self.streams.recheck_grants();
    }

    pub(crate) async fn store(&self, topic: &str, event_type: &str, body: &str) -> Sequence {
        let draft = Draft {
            received_at: Timestamp::from_unix_secs(1_000),
            topic: topic.parse().unwrap(),
            event_type: event_type.into(),
            content_type: None,
            dedup_id: None,
            headers: hookrill_core::HeaderList::default(),
            body: body.to_owned().into(),
            original: hookrill_core::Original::default(),
            append_nonce: 0,
        };
        self.journal.append(draft, None).await.unwrap().sequence
    }

    pub(crate) async fn store_many(&self, topic: &str, count: usize) {
        for _ in 0..count {
            self.store(topic, "t", &"x".repeat(100)).await;
            tokio::task::yield_now().await;
        }
    }

    /// Waits until every channel has been told of all up to here.
    pub(crate) async fn told(&self, sequence: u64) {
        while self.hub.published() < Sequence(sequence) {
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn open(&self, topics: &[&str], start: Start) -> Reader {
        self.open_with(topics, start, None, Format::Raw).await
    }

    /// A subscription to these topics, as it was opened.
    pub(crate) async fn subscribe(&self, topics: &[&str], start: Start) -> SubscriberStream {
        self.open_with(topics, start, None, Format::Raw)
            .await
            .subscription
    }

    pub(super) async fn open_with(
        &self,
        topics: &[&str],
        start: Start,
        types: Option<&[&str]>,
        format: Format,
    ) -> Reader {
        let topics = match topics {
            ["*"] => Topics::All,
            named => Topics::these(named.iter().map(|t| t.parse().unwrap()).collect()),
        };
        let request = Request {
            types: types.map(|types| types.iter().map(|&t| t.into()).collect()),
            format,
            ..self.request(start)
        };
        let grant = Grant::without_token(topics, None);
        Reader::new(
            self.streams.open(&grant, request, None).await.unwrap(),
            self.way,
        )
    }

    fn request(&self, start: Start) -> Request {
        Request {
            start,
            foreign_id: None,
            resumes: false,
            types: None,
            format: Format::Raw,
            coding: self.way.coding(),
            names: None,
            data_bytes_max: Form::DATA_BYTES_UNBOUNDED,
        }
    }

    /// As one client that comes with this sequence as its last id.
    pub(crate) async fn come_back(&self, topic: &str, sequence: u64) -> SubscriberStream {
        let visitor = Visitor {
            client: None,
            network: 1,
            user_agent: None,
        };
        let request = Request {
            resumes: true,
            ..self.request(self.after(sequence))
        };
        let topics = Topics::these(vec![topic.parse().unwrap()]);
        let grant = Grant::without_token(topics, None);
        let opened = self.streams.open(&grant, request, Some(&visitor)).await;
        opened.unwrap()
    }

    pub(super) fn cursor(&self, sequence: u64) -> Cursor {
        self.hub.cursor(Sequence(sequence))
    }

    pub(super) fn after(&self, sequence: u64) -> Start {
        Start::After(self.cursor(sequence))
    }
}
