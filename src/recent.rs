//! What came lately and was not stored: refused deliveries, to be looked at and verified
//! again, and who sent duplicates and handshakes.
//!
//! In memory alone: unverified bytes go to no disk, and all of it is gone at a restart.
//! Who is refused buys a bounded copy of their own bytes and nothing else: nothing is
//! explained until somebody asks. Invariants: no more refused deliveries are kept than
//! configured, nor more than [`BYTES_MAX`] bytes of them, but for those that are being
//! added; what comes to one section pushes out others of that section, or of one that has
//! more, and not the last one of another.

mod attempt;
mod bucket;
mod kept;

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use metrics::Counter;
use parking_lot::{Mutex, RwLock};

pub use attempt::{
    AttemptKind, AttemptSummary, KeptAttempt, ListedAttempt, TakeError, TakePermit, content_hash,
};
use bucket::AttemptBucket;
pub use kept::{BODY_BYTES_KEPT_MAX, KeptRequest};

/// How many refused deliveries are kept, unless configured.
pub const REFUSED_MAX: usize = 256;
/// How many bytes of them, at most.
pub const BYTES_MAX: usize = 8 << 20;
/// How many of one section.
const SECTION_MAX: usize = 64;
/// How many of what no section covers, of what was not read, of duplicates, of handshakes.
const OTHERS_MAX: usize = 32;
/// How many of one address in a bucket.
const ADDRESS_MAX: usize = 8;

/// What shares a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum BucketName {
    /// The section of this name.
    Section(Arc<str>),
    /// Topics that no section covers, and texts that are no topic.
    NoSection,
    /// What was not read to its end, of whatever section.
    Unread,
}

/// What came lately and was not stored.
pub struct Recent {
    /// Those that have something in them, and those that are about to.
    refused: RwLock<HashMap<BucketName, Arc<AttemptBucket>>>,
    duplicates: AttemptBucket,
    handshakes: AttemptBucket,
    refused_max: AtomicUsize,
    /// Held by whoever makes room, so that no two do for the same reason.
    making_room: Mutex<()>,
    /// The number of the newest attempt.
    numbers: AtomicU64,
    /// Rises with each attempt, also with one that is counted with another.
    ticks: AtomicU64,
    dropped: Counter,
}

impl Recent {
    /// Keeps so many refused deliveries, none at 0; `dropped` counts those that had to go.
    #[must_use]
    pub fn new(refused_max: usize, dropped: Counter) -> Self {
        Self {
            refused: RwLock::default(),
            duplicates: AttemptBucket::new(OTHERS_MAX, OTHERS_MAX),
            handshakes: AttemptBucket::new(OTHERS_MAX, ADDRESS_MAX),
            refused_max: AtomicUsize::new(refused_max),
            making_room: Mutex::new(()),
            numbers: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            dropped,
        }
    }

    /// Keeps so many from now on.
    pub fn set_refused_max(&self, refused_max: usize) {
        self.refused_max.store(refused_max, Ordering::Relaxed);
        self.make_room();
    }

    /// Whether refused deliveries are kept at all.
    #[must_use]
    pub fn keeps_refused(&self) -> bool {
        self.refused_max.load(Ordering::Relaxed) > 0
    }

    /// Keeps a refused delivery, or counts it with one that is the same. `request` copies
    /// what is kept of it; returned is what was added, if anything was.
    pub fn refused(
        &self,
        summary: AttemptSummary,
        request: impl FnOnce() -> KeptRequest,
    ) -> Option<Arc<KeptAttempt>> {
        if !self.keeps_refused() {
            return None;
        }
        let bucket = self.bucket(BucketName::of(&summary));
        let added = self.add(&bucket, summary, request);
        if added.is_some() {
            self.make_room();
        }
        added
    }

    /// Notes a delivery that was stored before.
    pub fn duplicate(&self, summary: AttemptSummary) {
        self.add(&self.duplicates, summary, KeptRequest::default);
    }

    /// Notes a handshake that was answered.
    pub fn handshake(&self, summary: AttemptSummary) {
        self.add(&self.handshakes, summary, KeptRequest::default);
    }

    fn add(
        &self,
        bucket: &AttemptBucket,
        summary: AttemptSummary,
        request: impl FnOnce() -> KeptRequest,
    ) -> Option<Arc<KeptAttempt>> {
        let tick = || self.ticks.fetch_add(1, Ordering::Relaxed) + 1;
        if bucket.count_again(&summary, tick) {
            return None;
        }
        // Copied while nobody waits.
        let request = request();
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let attempt = Arc::new(KeptAttempt::new(number, summary, request));
        let is_refused = attempt.summary.kind == AttemptKind::Refused;
        let removed = bucket.push(&attempt, tick);
        if is_refused {
            self.dropped.increment(removed as u64);
        }
        Some(attempt)
    }

    /// The bucket of this name; makes it where it is missing.
    fn bucket(&self, name: BucketName) -> Arc<AttemptBucket> {
        if let Some(bucket) = self.refused.read().get(&name) {
            return Arc::clone(bucket);
        }
        let mut buckets = self.refused.write();
        // What nobody else has, nobody is about to fill.
        buckets.retain(|_, bucket| !bucket.is_empty() || Arc::strong_count(bucket) > 1);
        let entries_max = match name {
            BucketName::Section(_) => SECTION_MAX,
            BucketName::NoSection | BucketName::Unread => OTHERS_MAX,
        };
        let bucket = buckets
            .entry(name)
            .or_insert_with(|| Arc::new(AttemptBucket::new(entries_max, ADDRESS_MAX)));
        Arc::clone(bucket)
    }

    /// Removes from the fullest buckets until all together are within their bounds. Of
    /// those that are equally full, the one to which nothing came for the longest.
    fn make_room(&self) {
        if !self.is_over() {
            return;
        }
        let _held = self.making_room.lock();
        while let Some(fullest) = self.fullest() {
            if !fullest.remove_one() {
                return;
            }
            self.dropped.increment(1);
        }
    }

    /// The bucket that has the most of what is too much; `None` where nothing is.
    fn fullest(&self) -> Option<Arc<AttemptBucket>> {
        let buckets = self.refused.read();
        let (entries, bytes) = totals(&buckets);
        let fullest = if entries > self.refused_max.load(Ordering::Relaxed) {
            let by = |bucket: &&Arc<AttemptBucket>| (bucket.entries(), Reverse(bucket.tick()));
            buckets.values().max_by_key(by)
        } else if bytes > BYTES_MAX {
            buckets.values().max_by_key(|bucket| bucket.bytes())
        } else {
            None
        };
        fullest.map(Arc::clone)
    }

    fn is_over(&self) -> bool {
        let (entries, bytes) = totals(&self.refused.read());
        entries > self.refused_max.load(Ordering::Relaxed) || bytes > BYTES_MAX
    }

    /// All of these kinds that `is_wanted`, the newest first.
    #[must_use]
    pub fn list(&self, is_wanted: impl Fn(&ListedAttempt) -> bool) -> Vec<ListedAttempt> {
        let refused: Vec<_> = self.refused.read().values().map(Arc::clone).collect();
        let buckets = refused.iter().map(Arc::as_ref);
        let mut listed = Vec::new();
        for bucket in buckets.chain([&self.duplicates, &self.handshakes]) {
            bucket.list(&is_wanted, &mut listed);
        }
        listed.sort_unstable_by_key(|one| Reverse(one.tick));
        listed
    }

    /// One of them, by its kind and number.
    #[must_use]
    pub fn find(&self, kind: AttemptKind, number: u64) -> Option<ListedAttempt> {
        let is_it =
            |one: &ListedAttempt| one.attempt.number == number && one.attempt.summary.kind == kind;
        self.list(is_it).into_iter().next()
    }

    /// The tick of the newest attempt.
    #[must_use]
    pub fn newest_tick(&self) -> u64 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// The number of the newest attempt.
    #[must_use]
    pub fn newest_number(&self) -> u64 {
        self.numbers.load(Ordering::Relaxed)
    }
}

/// How many entries and bytes all of them have.
fn totals(buckets: &HashMap<BucketName, Arc<AttemptBucket>>) -> (usize, usize) {
    let each = buckets.values();
    each.fold((0, 0), |(entries, bytes), bucket| {
        (entries + bucket.entries(), bytes + bucket.bytes())
    })
}

impl BucketName {
    fn of(summary: &AttemptSummary) -> Self {
        match &summary.section {
            _ if !summary.is_read => Self::Unread,
            Some(section) => Self::Section(Arc::clone(section)),
            None => Self::NoSection,
        }
    }
}

#[cfg(test)]
mod tests;
