//! One target and its topics: reads their stream, and sends what comes.
//!
//! Reads no further than it may send. Invariant: the position is in front of the oldest
//! delivery that is not done, so whoever goes on from there misses none.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{anyhow, bail};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use hookrill_client::{
    Interruption, Item, ReceivedEvent, ReceivedGap, ReceivedGapReason, Subscription,
};
use hookrill_core::{Cursor, Timestamp, printable};
use tokio::time::sleep;

use super::{
    super::{
        journal::bar,
        plain::in_plain_words,
        tail::{away, explained},
    },
    delivery::StoredDelivery,
    gateway::Beginning,
    matching::{Match, is_wanted},
    session::{Patience, Session},
    target::{ForwardRoute, route_of},
};

/// How often it is looked whether `--until` was passed while nothing came.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How often the bar moves.
const BAR_INTERVAL: Duration = Duration::from_millis(100);
/// The most characters that are shown of what a gateway calls something.
const WORD_CHARS_MAX: usize = 80;

/// Where a run ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    Never,
    /// At the end of what is stored.
    Now,
    /// Behind this one.
    Position(Cursor),
}

/// What is read, and how.
pub(super) struct LaneOptions {
    pub(super) begin: Beginning,
    pub(super) until: Until,
    pub(super) types: Option<String>,
    pub(super) matches: Vec<Match>,
    pub(super) concurrency: usize,
}

/// One target and its topics.
pub(super) struct Lane<'a> {
    pub(super) session: &'a Session,
    pub(super) routes: &'a [ForwardRoute],
    /// Which of the routes, and of the session's programs.
    pub(super) index: usize,
    pub(super) options: &'a LaneOptions,
    /// Where to go on.
    pub(super) position: RefCell<Option<String>>,
}

/// The deliveries that are being sent, in their order.
#[derive(Default)]
struct PendingDeliveries(VecDeque<(Cursor, bool)>);

/// How far a stream has come.
struct StreamProgress {
    is_ready: bool,
    has_answered: bool,
    has_ended: bool,
    /// Whether old deliveries are being sent.
    is_replay: bool,
    began: Timestamp,
    first: Option<Timestamp>,
    count: u64,
    shown: Option<Instant>,
}

impl PendingDeliveries {
    fn begin(&mut self, id: Cursor) {
        self.0.push_back((id, false));
    }

    fn finish(&mut self, id: Cursor) {
        if let Some(entry) = self
            .0
            .iter_mut()
            .find(|(other, is_done)| *other == id && !is_done)
        {
            entry.1 = true;
        }
        while self.0.front().is_some_and(|(_, is_done)| *is_done) {
            self.0.pop_front();
        }
    }

    /// The position behind which nothing is done.
    fn position(&self) -> Option<Cursor> {
        let (oldest, _) = self.0.front()?;
        Some(Cursor {
            epoch: oldest.epoch,
            sequence: oldest.sequence.previous(),
        })
    }
}

impl Lane<'_> {
    /// Sends what comes, until the end that was asked for.
    ///
    /// # Errors
    ///
    /// Where waiting can't help.
    pub(super) async fn run(&self) -> anyhow::Result<()> {
        let options = self.options;
        let topics = &self.routes[self.index].topics;
        let gateway = &self.session.gateway;
        let mut stream = gateway.subscribe(topics, options.types.as_deref(), &options.begin)?;
        let mut progress = StreamProgress {
            is_ready: false,
            has_answered: false,
            has_ended: false,
            is_replay: options.begin.since.is_some() || options.begin.last.is_some(),
            began: self.session.clock.now(),
            first: None,
            count: 0,
            shown: None,
        };
        let mut pending = PendingDeliveries::default();
        let mut running = FuturesUnordered::new();
        let looks = matches!(options.until, Until::Position(_));
        while !progress.has_ended || !running.is_empty() {
            tokio::select! {
                biased;
                Some(sent) = running.next(), if !running.is_empty() => {
                    pending.finish(sent?);
                    self.show_bar(&mut progress);
                }
                item = stream.next(), if !progress.has_ended && running.len() < options.concurrency => {
                    let item = item.ok_or_else(|| anyhow!("the subscription has ended"))?;
                    let item = item.map_err(|error| gateway.ended(error))?;
                    if let Some(delivery) = self.taken(item, &mut progress)? {
                        pending.begin(delivery.id);
                        running.push(self.send(delivery));
                    }
                    self.end_at(stream_position(&stream), &mut progress)?;
                }
                () = sleep(LOOK_INTERVAL), if looks && !progress.has_ended => {
                    self.end_at(stream_position(&stream), &mut progress)?;
                }
            }
            let position = pending.position().map(|position| position.to_string());
            let position = position.or_else(|| stream.position().map(str::to_owned));
            if position.is_some() {
                self.position.replace(position);
            }
        }
        Ok(())
    }

    async fn send(&self, delivery: Rc<StoredDelivery>) -> anyhow::Result<Cursor> {
        let id = delivery.id;
        self.session
            .deliver(self.index, &delivery, Patience::Waits)
            .await?;
        Ok(id)
    }

    /// The delivery that is to be sent, if this is one.
    fn taken(
        &self,
        item: Item,
        progress: &mut StreamProgress,
    ) -> anyhow::Result<Option<Rc<StoredDelivery>>> {
        match item {
            Item::Event(event) => return self.wanted(&event, progress),
            Item::Gap(gap) => self.show_gap(&gap)?,
            Item::Withheld(withheld) if withheld.reason == "unconfigured" => {
                let id = printable(&withheld.id, WORD_CHARS_MAX);
                self.session.status(&format!(
                    "{id} is not sent: no section of the gateway's configuration covers its topic \
                     any more"
                ));
            }
            Item::Withheld(_) => bail!("{}", self.session.gateway.needs_deliveries()),
            Item::Connected => self.connected(progress),
            Item::CaughtUp => {
                progress.is_replay = false;
                self.session.screen.borrow_mut().clear();
                progress.has_ended |= self.options.until == Until::Now;
            }
            Item::Expiring(left) => self.session.note(&format!(
                "the token ends in {} s, and the stream with it: `hookrill token --deliveries` \
                 creates another",
                left.as_secs()
            )),
            Item::Interrupted(interruption) => self.interrupted(interruption, progress)?,
            _ => {}
        }
        Ok(None)
    }

    fn wanted(
        &self,
        event: &ReceivedEvent,
        progress: &mut StreamProgress,
    ) -> anyhow::Result<Option<Rc<StoredDelivery>>> {
        let delivery = StoredDelivery::from_json(event.data.as_bytes())?;
        if delivery.name() != event.id {
            bail!("the gateway sent a delivery under the id of another one");
        }
        if let Until::Position(last) = self.options.until
            && delivery.id.epoch == last.epoch
            && delivery.id.sequence > last.sequence
        {
            progress.has_ended = true;
            return Ok(None);
        }
        progress.first.get_or_insert(delivery.arrived);
        progress.count += 1;
        // The most specific of all topics has it.
        if route_of(self.routes, &delivery.topic) != Some(self.index) {
            return Ok(None);
        }
        if !is_wanted(&self.options.matches, &delivery) {
            self.session.tally.borrow_mut().passed_over += 1;
            return Ok(None);
        }
        Ok(Some(Rc::new(delivery)))
    }

    /// Ends where everything up to `--until` was handed out.
    fn end_at(
        &self,
        position: Option<Cursor>,
        progress: &mut StreamProgress,
    ) -> anyhow::Result<()> {
        let (Until::Position(last), Some(position)) = (self.options.until, position) else {
            return Ok(());
        };
        if position.epoch != last.epoch {
            bail!(
                "--until {last} is of another journal: the cursors of this gateway begin with {}-",
                position.epoch
            );
        }
        progress.has_ended |= position.sequence >= last.sequence;
        Ok(())
    }

    fn connected(&self, progress: &mut StreamProgress) {
        progress.has_answered = true;
        if std::mem::replace(&mut progress.is_ready, true) {
            self.session.status("connected again");
            return;
        }
        let route = &self.routes[self.index];
        let begin = &self.options.begin;
        let from = match (&begin.since, begin.last) {
            (Some(since), _) => format!("since {since}"),
            (None, Some(count)) => format!("the last {count}, then live"),
            (None, None) => "from now on".to_owned(),
        };
        let text = format!(
            "Ready: {} → {}        {from}, gateway {}",
            route.names(),
            route.target.url(),
            self.session.gateway.url
        );
        self.session.screen.borrow_mut().status(&text);
    }

    fn interrupted(
        &self,
        interruption: Interruption,
        progress: &mut StreamProgress,
    ) -> anyhow::Result<()> {
        let secs = interruption.retry_in.as_secs_f64();
        let url = &self.session.gateway.url;
        let why = match interruption.cause {
            None => "the stream has ended".to_owned(),
            Some(cause) => match away(&cause, progress.has_answered) {
                Some(why) => format!("{why} at {url}"),
                None => in_plain_words(explained(cause, url, &mut progress.has_answered)?.as_ref()),
            },
        };
        self.session
            .status(&format!("gateway away, again in {secs:.1} s: {why}"));
        Ok(())
    }

    fn show_gap(&self, gap: &ReceivedGap) -> anyhow::Result<()> {
        let id = printable(&gap.id, WORD_CHARS_MAX);
        let reason = match &gap.reason {
            ReceivedGapReason::Retention => "retention".to_owned(),
            ReceivedGapReason::Epoch => "epoch".to_owned(),
            ReceivedGapReason::Unknown => "unknown".to_owned(),
            ReceivedGapReason::Damaged => "damaged".to_owned(),
            ReceivedGapReason::Other(reason) => printable(reason, WORD_CHARS_MAX),
            _ => "other".to_owned(),
        };
        let text = format!("-- history before {id} is gone ({reason}) --");
        let object = serde_json::json!({ "gap": { "reason": reason, "resumed": id } });
        self.session.screen.borrow_mut().notice(&text, &object)
    }

    fn show_bar(&self, progress: &mut StreamProgress) {
        let is_early = progress
            .shown
            .is_some_and(|shown| shown.elapsed() < BAR_INTERVAL);
        if !progress.is_replay || is_early {
            return;
        }
        progress.shown = Some(Instant::now());
        let percent = match self.options.begin.last {
            Some(count) => progress.count * 100 / u64::from(count.max(1)),
            None => {
                let first = progress.first.unwrap_or(progress.began);
                let whole = progress.began.since(first).as_millis().max(1);
                let last = self
                    .session
                    .tally
                    .borrow()
                    .last
                    .as_ref()
                    .map(|it| it.delivery.arrived);
                let done = last.unwrap_or(first).since(first).as_millis();
                u64::try_from(done * 100 / whole).unwrap_or(100)
            }
        };
        let text = format!("{}  {} sent", bar(percent.min(100)), progress.count);
        self.session.screen.borrow_mut().in_place(&text);
    }
}

fn stream_position(stream: &Subscription) -> Option<Cursor> {
    stream.position()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_is_in_front_of_the_oldest_that_is_not_done() {
        let cursor = |number: u64| -> Cursor { format!("e-{number}").parse().unwrap() };
        let mut pending = PendingDeliveries::default();
        assert_eq!(pending.position(), None);
        for number in [5, 8, 9] {
            pending.begin(cursor(number));
        }
        assert_eq!(pending.position(), Some(cursor(4)));
        pending.finish(cursor(8));
        assert_eq!(pending.position(), Some(cursor(4)));
        pending.finish(cursor(5));
        assert_eq!(pending.position(), Some(cursor(8)));
        pending.finish(cursor(9));
        assert_eq!(pending.position(), None);
    }
}
