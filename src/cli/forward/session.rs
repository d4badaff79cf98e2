//! One run of the command: sends deliveries to programs, and tells what came of each.
//!
//! Everything runs in one task, so that a slow program makes its reader wait and nothing
//! grows. Invariant: a delivery that found its program away waits, and is neither counted
//! nor passed.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    rc::Rc,
    time::Duration,
};

use hookrill_client::RelayAnswer;
use hookrill_core::{Clock, Cursor};
use tokio::time::{Instant, sleep};

use super::{
    app::{LocalApp, SendAttempt, first_line, is_temporary, retry_after},
    delivery::StoredDelivery,
    gateway::{FetchedDelivery, RemoteGateway},
    outgoing::{HeaderChanges, Outgoing},
    saved::Saved,
    screen::{AttemptLine, Screen, duration},
    signing::{SignatureChoice, SignatureState},
    tally::{ForwardTally, LastSent},
};

/// Before a program that is away is tried again; it doubles up to the maximum.
const AWAY_WAIT: Duration = Duration::from_millis(250);
const AWAY_WAIT_MAX: Duration = Duration::from_secs(2);
/// Before a request is sent again that was not taken; it doubles up to the maximum.
const RETRY_WAIT: Duration = Duration::from_secs(1);
const RETRY_WAIT_MAX: Duration = Duration::from_secs(30);
/// So often at least a request is sent again whose connection broke: its program may have
/// been ended in the middle, by whoever works on it. Sooner, since it may be back at once.
const BROKEN_RETRIES_MIN: u32 = 3;
const BROKEN_WAIT: Duration = Duration::from_millis(100);
/// So many different notes are given.
const NOTES_MAX: usize = 100;

/// What a run of the command has.
pub(super) struct Session {
    pub(super) gateway: RemoteGateway,
    pub(super) clock: Clock,
    pub(super) signing: SignatureChoice,
    pub(super) headers: HeaderChanges,
    pub(super) retries: u32,
    pub(super) saved: Option<Saved>,
    pub(super) apps: Vec<LocalApp>,
    pub(super) screen: RefCell<Screen>,
    pub(super) tally: RefCell<ForwardTally>,
    /// What was said once.
    pub(super) notes: RefCell<BTreeSet<String>>,
}

/// Whether a delivery waits for a program that is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    Waits,
    /// Somebody has just pressed a key.
    Once,
}

/// What follows from an attempt.
enum AttemptVerdict {
    Delivered,
    /// Not taken, and not to be sent again.
    Refused,
    /// It is sent again after this time.
    Again(Duration),
    Failed,
    Away(String),
}

/// One delivery on its way.
struct Passage<'a> {
    app: &'a LocalApp,
    delivery: &'a StoredDelivery,
    /// How often it was sent.
    sent: u32,
    /// Since when its program is away.
    away_since: Option<Instant>,
    /// For how long it was.
    waited: Cell<Option<Duration>>,
    away_wait: Duration,
    /// What was last said of a program that is away.
    away_said: String,
}

impl Session {
    /// Sends a delivery until it is taken or refused; returns whether it was taken.
    ///
    /// # Errors
    ///
    /// Where nothing can be shown or saved any more.
    pub(super) async fn deliver(
        &self,
        app_index: usize,
        delivery: &Rc<StoredDelivery>,
        patience: Patience,
    ) -> anyhow::Result<bool> {
        let mut passage = Passage {
            app: &self.apps[app_index],
            delivery,
            sent: 0,
            away_since: None,
            waited: Cell::new(None),
            away_wait: AWAY_WAIT,
            away_said: String::new(),
        };
        loop {
            let (outgoing, proof) = self.outgoing(passage.app, delivery);
            if let Some(saved) = self.saved.as_ref().filter(|_| passage.sent == 0) {
                saved.save(delivery, &outgoing, &passage.app.target)?;
            }
            let attempt = passage.app.attempt(&outgoing).await;
            let verdict = passage.verdict(&attempt, self.retries);
            if let AttemptVerdict::Away(why) = verdict {
                if patience == Patience::Once {
                    let message = format!("{why}; it was not sent");
                    self.show(&passage, proof, "failed", None, None, message)?;
                    self.tally.borrow_mut().count_failed(delivery.id, app_index);
                    return Ok(false);
                }
                self.wait_for_app(&mut passage, proof, why).await?;
                continue;
            }
            self.remember(app_index, delivery, &outgoing, &attempt);
            self.report(&passage, proof, &attempt, &verdict)?;
            let mut tally = self.tally.borrow_mut();
            match verdict {
                AttemptVerdict::Delivered => tally.count_delivered(&delivery.id),
                AttemptVerdict::Refused | AttemptVerdict::Failed => {
                    tally.count_failed(delivery.id, app_index);
                }
                AttemptVerdict::Again(wait) => {
                    drop(tally);
                    sleep(wait).await;
                    continue;
                }
                AttemptVerdict::Away(_) => {}
            }
            return Ok(matches!(verdict, AttemptVerdict::Delivered));
        }
    }

    /// The request of a delivery, with its signature.
    fn outgoing(&self, app: &LocalApp, delivery: &StoredDelivery) -> (Outgoing, SignatureState) {
        let mut outgoing = Outgoing::new(delivery, &app.target);
        let (proof, note) = self
            .signing
            .apply(&mut outgoing, delivery, &app.target.origin);
        outgoing.change_headers(&self.headers);
        if delivery.is_cut {
            self.note(
                "the gateway has not kept all headers of some deliveries: there were too many",
            );
        }
        if let Some(note) = note {
            self.note(&note);
        }
        (outgoing, proof)
    }

    /// Says something, once.
    pub(super) fn note(&self, text: &str) {
        let mut notes = self.notes.borrow_mut();
        if notes.len() < NOTES_MAX && notes.insert(text.to_owned()) {
            self.status(&format!("note: {text}"));
        }
    }

    /// Says what is going on.
    pub(super) fn status(&self, text: &str) {
        self.screen
            .borrow_mut()
            .status(&format!("hookrill: {text}"));
    }

    async fn wait_for_app(
        &self,
        passage: &mut Passage<'_>,
        proof: SignatureState,
        why: String,
    ) -> anyhow::Result<()> {
        let since = *passage.away_since.get_or_insert_with(Instant::now);
        let wait = passage.away_wait;
        if passage.away_said != why {
            let message = format!("{why}; it waits");
            self.show(passage, proof, "waiting", None, None, message)?;
            passage.away_said = why;
        }
        let host = passage.app.target.host();
        let text = format!("waiting for {host}: {}", duration(since.elapsed()));
        self.screen.borrow_mut().in_place(&text);
        sleep(wait).await;
        passage.away_wait = (wait * 2).min(AWAY_WAIT_MAX);
        passage.waited.set(Some(since.elapsed()));
        Ok(())
    }

    fn remember(
        &self,
        app: usize,
        delivery: &Rc<StoredDelivery>,
        outgoing: &Outgoing,
        attempt: &SendAttempt,
    ) {
        let answer = match attempt {
            SendAttempt::Answered(answer, _) => Some(answer.clone()),
            _ => None,
        };
        self.tally.borrow_mut().last = Some(LastSent {
            app,
            delivery: Rc::clone(delivery),
            request: outgoing.without_secrets(),
            answer,
        });
    }

    fn report(
        &self,
        passage: &Passage<'_>,
        proof: SignatureState,
        attempt: &SendAttempt,
        verdict: &AttemptVerdict,
    ) -> anyhow::Result<()> {
        let (status, took, mut message) = match attempt {
            SendAttempt::Answered(answer, took) => {
                let is_taken = matches!(verdict, AttemptVerdict::Delivered);
                let line = if is_taken {
                    String::new()
                } else {
                    explained(answer)
                };
                (Some(answer.status.as_u16()), Some(*took), line)
            }
            SendAttempt::TimedOut(after) => {
                (None, None, format!("no answer within {}", duration(*after)))
            }
            SendAttempt::Broken(why) | SendAttempt::Away(why) => (None, None, why.clone()),
        };
        let outcome = match verdict {
            AttemptVerdict::Delivered => "delivered",
            AttemptVerdict::Refused => "refused",
            AttemptVerdict::Again(wait) => {
                message.push_str(&format!("; again in {}", duration(*wait)));
                "retrying"
            }
            AttemptVerdict::Failed => "failed",
            AttemptVerdict::Away(_) => "waiting",
        };
        self.show(passage, proof, outcome, status, took, message)
    }

    fn show(
        &self,
        passage: &Passage<'_>,
        proof: SignatureState,
        outcome: &'static str,
        status: Option<u16>,
        took: Option<Duration>,
        message: String,
    ) -> anyhow::Result<()> {
        let target = &passage.app.target;
        self.screen.borrow_mut().attempt(&AttemptLine {
            delivery: passage.delivery,
            url: &format!(
                "{}{}",
                target.origin,
                target.path_and_query(&passage.delivery.tail)
            ),
            host: (self.apps.len() > 1).then(|| target.host()),
            at: self.clock.now(),
            number: passage.sent,
            proof,
            outcome,
            status,
            took,
            waited: passage.waited.get().filter(|_| outcome != "waiting"),
            message,
        })
    }

    /// A delivery by its id, for which a gateway that is away is waited; `None` where it is
    /// gone, which was said then.
    pub(super) async fn fetched(
        &self,
        id: &Cursor,
        patience: Patience,
    ) -> anyhow::Result<Option<Rc<StoredDelivery>>> {
        let mut wait = RETRY_WAIT;
        loop {
            match self.gateway.fetch(id).await? {
                FetchedDelivery::Found(delivery) => return Ok(Some(Rc::from(delivery))),
                FetchedDelivery::Gone(why) => {
                    self.status(&format!("{id} can't be sent again: {why}"));
                    return Ok(None);
                }
                FetchedDelivery::Later(why) if patience == Patience::Once => {
                    self.status(&format!("{id} can't be fetched now: {why}"));
                    return Ok(None);
                }
                FetchedDelivery::Later(why) => {
                    let secs = wait.as_secs();
                    self.status(&format!("gateway away: {why}; again in {secs} s"));
                }
            }
            sleep(wait).await;
            wait = (wait * 2).min(RETRY_WAIT_MAX);
        }
    }
}

impl Passage<'_> {
    fn verdict(&mut self, attempt: &SendAttempt, retries: u32) -> AttemptVerdict {
        if let SendAttempt::Away(why) = attempt {
            return AttemptVerdict::Away(why.clone());
        }
        self.away_since = None;
        self.away_wait = AWAY_WAIT;
        self.away_said.clear();
        self.sent = self.sent.saturating_add(1);
        let (again, wait, asked) = match attempt {
            SendAttempt::Answered(answer, _) if answer.status.is_success() => {
                return AttemptVerdict::Delivered;
            }
            SendAttempt::Answered(answer, _) if is_temporary(answer.status) => {
                (retries, RETRY_WAIT, retry_after(answer))
            }
            SendAttempt::Answered(..) => return AttemptVerdict::Refused,
            SendAttempt::TimedOut(_) => (retries, RETRY_WAIT, None),
            SendAttempt::Broken(_) | SendAttempt::Away(_) => {
                (retries.max(BROKEN_RETRIES_MIN), BROKEN_WAIT, None)
            }
        };
        if self.sent > again {
            return AttemptVerdict::Failed;
        }
        let doubled = wait.saturating_mul(1 << (self.sent - 1).min(10));
        AttemptVerdict::Again(doubled.min(RETRY_WAIT_MAX).max(asked.unwrap_or_default()))
    }
}

/// What to say of an answer that is not a success.
fn explained(answer: &RelayAnswer) -> String {
    let line = first_line(answer);
    if answer.status.is_redirection() {
        return format!("a redirect, which is not followed  {line}")
            .trim_end()
            .to_owned();
    }
    line
}
