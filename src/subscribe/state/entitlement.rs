//! What ends a stream or interrupts it: the token, the rules, the drain, and
//! events that are shown differently from now on.
//!
//! Invariant: asked before anything is given out, so that nothing goes out by a
//! right that is over.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    feed::{Feed, Held, Stage, own},
    pulse::Call,
};

/// Which part of its lifetime a stream has left when its client is told that
/// the token ends.
const NOTICE_SHARE: u64 = 10;
/// The bounds of that, in seconds.
const NOTICE_SECS: std::ops::RangeInclusive<u8> = 5..=60;

impl Feed {
    /// When the token calls for a look: to tell of its end, or to end.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let notice = Duration::from_secs(self.notice_secs.into());
        self.end.map(|end| end.checked_sub(notice).unwrap_or(end))
    }

    /// Whether the token ends later than this.
    #[must_use]
    pub fn expires_after(&self, now: Instant) -> bool {
        self.end.is_none_or(|end| end > now)
    }

    /// Whether the stream is to end: its token was revoked, or it would not be
    /// granted any more.
    pub fn is_forbidden(&mut self) -> bool {
        let revoked = self.lease.as_ref().is_some_and(|lease| lease.is_over());
        revoked || !self.is_granted()
    }

    /// Looks at the grant again where anything changed since it was made: also
    /// at one that was made just before, and opened just after.
    fn is_granted(&mut self) -> bool {
        let edition = self.streams.access.policy_version();
        if self.edition == edition {
            return true;
        }
        let proven = self.lease.as_ref().map(|lease| lease.proven());
        let access = &self.streams.access;
        let granted = access.still_grants(&self.selection.topics, proven);
        if granted {
            self.edition = edition;
        }
        granted
    }

    /// Makes ready the word that the token is about to end, where nothing else
    /// is ready. All up to the position went out, so that is its id.
    pub fn give_notice(&mut self) {
        let Some(end) = self.end else { return };
        let left = end.saturating_duration_since(Instant::now());
        self.notice_secs = 0;
        let at = self.streams.hub.cursor(self.position);
        let secs = left.as_secs_f64().round() as u64;
        self.held = own(self.streams.expiring(self.form, at, secs));
    }

    /// Heeds what there is to be heard; says whether the token is about to end
    /// and the client does not know.
    pub(super) fn listen(&mut self) -> bool {
        self.forget_old_views();
        if self.has_ended() {
            return false;
        }
        let mut expiring = false;
        if self.is_forbidden() {
            self.end(None);
        }
        if let (Some(due), Some(end)) = (self.deadline(), self.end) {
            let now = Instant::now();
            expiring = now >= due;
            if now >= end {
                self.end(None);
            }
        }
        match self.streams.pulse.heard(&mut self.ear) {
            None => {}
            // The position is loaded before the channel is drained, so that
            // all up to it has been on the channel once it is empty.
            Some(Call::Beat) => self.beat_owed = Some(self.streams.hub.done()),
            Some(Call::Drain) => self.end(self.streams.farewell(self.form.format)),
        }
        expiring && !self.has_ended()
    }

    /// Lets go of what was encoded before events were encoded anew.
    fn forget_old_views(&mut self) {
        let recoded = self.streams.recoded.load(Ordering::Acquire);
        if std::mem::replace(&mut self.recoded, recoded) == recoded {
            return;
        }
        match self.held {
            Held::Nothing | Held::Own(_) => {}
            Held::Page(..) => self.held = Held::Nothing,
            Held::Slice(_) => self.look(),
        }
        if !self.rest.is_empty() {
            self.rest = Bytes::new();
            self.held = Held::Nothing;
            self.stage = Stage::Broken;
        }
    }
}

/// How long before its end a stream of this lifetime tells of it; 0 where it
/// is no longer than that.
pub(super) fn notice_secs(lifetime: Duration) -> u8 {
    let (least, most) = NOTICE_SECS.into_inner();
    let share = lifetime.as_secs() / NOTICE_SHARE;
    let secs = u8::try_from(share).unwrap_or(most).clamp(least, most);
    match lifetime > Duration::from_secs(secs.into()) {
        true => secs,
        false => 0,
    }
}
