//! The pages that are cached, and the reads that are under way for more.
//!
//! Bookkeeping only: nothing here waits or reads. Bounded in bytes; the oldest
//! page is evicted first. Invariants: a page is found only for exactly the topics
//! and types it was read for. They are compared as lists and never as one joined
//! text, in which `a` and `b.c` could pass for `a.b` and `c` (CVE-2026-39972 leaked
//! private updates that way). Every page has one entry in `by_age`, and `bytes` is
//! the sum of all.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use hookrill_core::{Selection, Sequence, Topic, Topics};

use super::{HistoryPage, InFlightRead};
use crate::wire::Frame;

/// How many pages that begin before a position are looked at. More than one,
/// since a page at the head may lie inside a longer one; a page that is overlooked
/// is read again.
const LOOK_BACK: usize = 8;
/// What a page takes apart from its frames, in bytes; an empty one too.
const PAGE_FIXED_BYTES: usize = 512;

/// The pages and reads of all selections.
pub(super) struct PageCache {
    selections: HashMap<Arc<Selection>, SelectionPages>,
    /// Where each page is, the oldest first.
    by_age: BTreeMap<u64, PageKey>,
    next_age: u64,
    bytes: usize,
    bytes_max: usize,
}

/// The pages and reads of one selection, by where they begin.
#[derive(Default)]
struct SelectionPages {
    pages: BTreeMap<Sequence, CachedPage>,
    reads: BTreeMap<Sequence, WaitedRead>,
    /// How many positions the last full page had: the guess at what a read will
    /// bring. `None` until one was full.
    span: Option<u64>,
}

/// A page, and what the cache has to know of it.
pub(super) struct CachedPage {
    page: Arc<HistoryPage>,
    /// Whether it ends where it does because it was full.
    full: bool,
    bytes: usize,
    age: u64,
}

/// A read, and how many wait for it.
struct WaitedRead {
    read: InFlightRead,
    waiters: usize,
}

struct PageKey {
    selection: Arc<Selection>,
    start: Sequence,
}

/// Which reads a reader joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JoinPolicy {
    /// Also one that began before its position and may cover it: of many that
    /// come at once from everywhere, few have to read.
    Nearby,
    /// Only one from exactly its own start.
    Exact,
}

/// What the cache has for a reader.
pub(super) enum Lookup {
    /// The page that it needs.
    Page(Arc<HistoryPage>),
    /// A read to wait for, and where it begins; the reader is counted as one of
    /// its waiters.
    Read(Sequence, InFlightRead),
    /// A page from there is known to end before the reader's position.
    TooShort,
}

impl PageCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            selections: HashMap::new(),
            by_age: BTreeMap::new(),
            next_age: 0,
            bytes: 0,
            bytes_max,
        }
    }

    /// A page with what follows `after`.
    pub(super) fn find(&self, selection: &Selection, after: Sequence) -> Option<Arc<HistoryPage>> {
        self.selections.get(selection)?.covering(after)
    }

    /// A page with what follows `after`, or a read to wait for: the one that
    /// begins at `start`, or one nearby. Under the same lock as
    /// [`PageCache::insert`], so that nobody reads what has just been read.
    pub(super) fn find_or_join(
        &mut self,
        selection: &Arc<Selection>,
        start: Sequence,
        policy: JoinPolicy,
        after: Sequence,
    ) -> Lookup {
        if let Some(page) = self.find(selection, after) {
            return Lookup::Page(page);
        }
        let pages = self.pages_or_new(selection);
        let nearby = match policy {
            JoinPolicy::Nearby => pages.read_towards(after),
            JoinPolicy::Exact => None,
        };
        let begin = match nearby {
            Some(nearby) => nearby,
            None if pages.is_short(start, after) => return Lookup::TooShort,
            None => start,
        };
        let waited = pages.reads.entry(begin).or_insert_with(|| WaitedRead {
            read: InFlightRead::default(),
            waiters: 0,
        });
        waited.waiters += 1;
        Lookup::Read(begin, Arc::clone(&waited.read))
    }

    /// A waiter waits no longer.
    pub(super) fn leave(&mut self, selection: &Selection, start: Sequence, read: &InFlightRead) {
        let Some(pages) = self.selections.get_mut(selection) else {
            return;
        };
        // A later read from the same start is another one.
        if let Some(waited) = pages.reads.get_mut(&start)
            && Arc::ptr_eq(&waited.read, read)
        {
            assert!(waited.waiters > 0, "a waiter leaves once");
            waited.waiters -= 1;
            if waited.waiters == 0 {
                pages.reads.remove(&start);
            }
        }
        self.forget_unused(selection);
    }

    /// Caches a page in place of its read, which is done. Returns the pages that
    /// were evicted for it, to be dropped once the lock is free.
    pub(super) fn insert(
        &mut self,
        selection: &Arc<Selection>,
        page: &Arc<HistoryPage>,
        full: bool,
    ) -> Vec<CachedPage> {
        let start = page.after;
        let mut evicted = Vec::new();
        let pages = self.pages_or_new(selection);
        pages.reads.remove(&start);
        if full {
            pages.span = Some(page.scanned.0 - start.0);
        }
        let replaced = pages.pages.remove(&start);
        if let Some(replaced) = replaced {
            self.by_age.remove(&replaced.age);
            self.subtract(&replaced);
            evicted.push(replaced);
        }
        let bytes = page.weight() + selection_weight(selection);
        // A page that found nothing new covers nobody, and one that is larger than
        // the whole cache would only evict the rest.
        if page.scanned > start && bytes <= self.bytes_max {
            self.add(selection, page, full, bytes);
            self.make_room(&mut evicted);
        }
        self.forget_unused(selection);
        evicted
    }

    fn add(
        &mut self,
        selection: &Arc<Selection>,
        page: &Arc<HistoryPage>,
        full: bool,
        bytes: usize,
    ) {
        let age = self.next_age;
        let cached = CachedPage {
            page: Arc::clone(page),
            full,
            bytes,
            age,
        };
        self.next_age += 1;
        self.bytes += bytes;
        let key = PageKey {
            selection: Arc::clone(selection),
            start: page.after,
        };
        self.by_age.insert(age, key);
        self.pages_or_new(selection)
            .pages
            .insert(page.after, cached);
    }

    /// Removes every page and returns them, to be dropped once the lock is free;
    /// reads go on.
    pub(super) fn clear(&mut self) -> Vec<CachedPage> {
        self.by_age.clear();
        self.bytes = 0;
        let all = self.selections.values_mut();
        let removed = all
            .flat_map(|pages| std::mem::take(&mut pages.pages).into_values())
            .collect();
        self.selections.retain(|_, pages| !pages.is_empty());
        removed
    }

    fn make_room(&mut self, evicted: &mut Vec<CachedPage>) {
        while self.bytes > self.bytes_max {
            let Some((_, PageKey { selection, start })) = self.by_age.pop_first() else {
                debug_assert!(false, "bytes without a page");
                break;
            };
            let pages = self.selections.get_mut(&selection);
            if let Some(oldest) = pages.and_then(|pages| pages.pages.remove(&start)) {
                self.subtract(&oldest);
                evicted.push(oldest);
            }
            self.forget_unused(&selection);
        }
    }

    fn subtract(&mut self, page: &CachedPage) {
        assert!(page.bytes <= self.bytes, "each page is counted once");
        self.bytes -= page.bytes;
    }

    /// Forgets a selection that has no page and no read any more: strangers name
    /// them.
    fn forget_unused(&mut self, selection: &Selection) {
        let pages = self.selections.get(selection);
        if pages.is_some_and(SelectionPages::is_empty) {
            self.selections.remove(selection);
        }
    }

    fn pages_or_new(&mut self, selection: &Arc<Selection>) -> &mut SelectionPages {
        let pages = self.selections.entry(Arc::clone(selection));
        pages.or_default()
    }

    /// How many bytes are cached, and how many selections, pages and reads there are.
    #[cfg(test)]
    pub(super) fn stats(&self) -> [usize; 4] {
        let all = || self.selections.values();
        let pages = all().map(|of_one| of_one.pages.len()).sum();
        assert_eq!(pages, self.by_age.len(), "each page has one age");
        let cached = all().flat_map(|of_one| of_one.pages.values());
        let bytes: usize = cached.map(|page| page.bytes).sum();
        assert_eq!(self.bytes, bytes);
        let reads = all().map(|of_one| of_one.reads.len()).sum();
        [self.bytes, self.selections.len(), pages, reads]
    }
}

impl SelectionPages {
    fn covering(&self, after: Sequence) -> Option<Arc<HistoryPage>> {
        let before = self.pages.range(..=after).rev().take(LOOK_BACK);
        let mut pages = before.map(|(_, cached)| &cached.page);
        pages.find(|page| page.scanned > after).map(Arc::clone)
    }

    /// Where the nearest read begins that may bring what follows `after`. While
    /// nobody knows how far reads go, any one may.
    fn read_towards(&self, after: Sequence) -> Option<Sequence> {
        let (&start, _) = self.reads.range(..=after).next_back()?;
        let may_cover = self.span.is_none_or(|span| after.0 - start.0 < span);
        may_cover.then_some(start)
    }

    /// Whether the page from `start` was full before it came to `after`.
    fn is_short(&self, start: Sequence, after: Sequence) -> bool {
        let cached = self.pages.get(&start);
        cached.is_some_and(|cached| cached.full && cached.page.scanned <= after)
    }

    fn is_empty(&self) -> bool {
        self.pages.is_empty() && self.reads.is_empty()
    }
}

impl HistoryPage {
    fn weight(&self) -> usize {
        let frames = self.frames.iter();
        let frames = frames.map(|frame| frame.weight() + size_of::<Frame>());
        PAGE_FIXED_BYTES + frames.sum::<usize>()
    }
}

/// What the names of topics and types take; charged to each of their pages, so
/// that it is bounded with them.
fn selection_weight(selection: &Selection) -> usize {
    let topics = match &selection.topics {
        Topics::All => 0,
        Topics::These(topics) => {
            let each = |topic: &Topic| topic.as_str().len() + 2 * size_of::<Topic>();
            topics.iter().map(each).sum()
        }
    };
    let types = selection.types.iter().flatten();
    let types = types.map(|name| name.len() + 2 * size_of::<Box<str>>());
    topics + types.sum::<usize>()
}
