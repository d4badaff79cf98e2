//! Where pages stand, and the reads that are under way for them.
//!
//! Bookkeeping only: nothing here waits or reads. Bounded in bytes; the page
//! that was put here first goes first. Invariant: what is found on a shelf was
//! read for exactly that shelf's topics. They are compared as what they are
//! and never as a joined text, in which `a` and `b.c` could pass for `a.b` and
//! `c` (CVE-2026-39972 leaked private updates that way).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use hookrill_core::{Sequence, Topic, Topics};

use super::{Flight, Page};
use crate::wire::Frame;

/// How many pages that begin before a position are looked at. More than one,
/// since a page at the head may stand inside a longer one; a page that is
/// overlooked is read again.
const LOOK_BACK: usize = 8;
/// What a page takes beside its frames, in bytes: also an empty one.
const PAGE_FIXED_BYTES: usize = 512;

/// The pages and reads of all topics.
pub(super) struct Shelves {
    everything: Shelf,
    named: HashMap<Box<[Topic]>, Shelf>,
    /// Where each page stands, the oldest first.
    by_age: BTreeMap<u64, Place>,
    next_age: u64,
    bytes: usize,
    bytes_max: usize,
}

/// Of one set of topics; by where they begin.
#[derive(Default)]
struct Shelf {
    pages: BTreeMap<Sequence, Standing>,
    flights: BTreeMap<Sequence, Manned>,
    /// How many positions the last full page had: the guess at what a flight
    /// will bring. `None` until one has landed.
    span: Option<u64>,
}

/// A page on its shelf.
pub(super) struct Standing {
    page: Arc<Page>,
    /// Whether it ends where it does because it was full.
    full: bool,
    bytes: usize,
    age: u64,
}

/// A flight, and how many wait for it.
struct Manned {
    flight: Flight,
    askers: usize,
}

struct Place {
    topics: Topics,
    start: Sequence,
}

/// Which flights a reader waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Also one that began before its place and may bring it along: of many
    /// who come at once from everywhere, few have to read.
    Near,
    /// Its own alone.
    Own,
}

/// What there is for a reader.
pub(super) enum Found {
    /// The page that it needs.
    Page(Arc<Page>),
    /// A read to wait for, and where it begins; the asker is counted in.
    Flight(Sequence, Flight),
    /// A page from there is known to end before the reader's position.
    Short,
}

impl Shelves {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            everything: Shelf::default(),
            named: HashMap::new(),
            by_age: BTreeMap::new(),
            next_age: 0,
            bytes: 0,
            bytes_max,
        }
    }

    /// A page with what follows `after`.
    pub(super) fn find(&self, topics: &Topics, after: Sequence) -> Option<Arc<Page>> {
        self.shelf(topics)?.covering(after)
    }

    /// A page with what follows `after`, or a read to wait for: the one that
    /// begins at `start`, or one in reach. In one step with [`Shelves::put`],
    /// so that nobody reads what has just been read.
    pub(super) fn seek(
        &mut self,
        topics: &Topics,
        start: Sequence,
        reach: Reach,
        after: Sequence,
    ) -> Found {
        if let Some(page) = self.find(topics, after) {
            return Found::Page(page);
        }
        let shelf = self.shelf_or_new(topics);
        let near = match reach {
            Reach::Near => shelf.flight_towards(after),
            Reach::Own => None,
        };
        let start = match near {
            Some(near) => near,
            None if shelf.is_short(start, after) => return Found::Short,
            None => start,
        };
        let manned = shelf.flights.entry(start).or_insert_with(|| Manned {
            flight: Flight::default(),
            askers: 0,
        });
        manned.askers += 1;
        Found::Flight(start, Arc::clone(&manned.flight))
    }

    /// An asker waits no longer.
    pub(super) fn leave(&mut self, topics: &Topics, start: Sequence, flight: &Flight) {
        let Some(shelf) = self.shelf_mut(topics) else {
            return;
        };
        // A later flight from the same place is none of this asker's.
        if let Some(manned) = shelf.flights.get_mut(&start)
            && Arc::ptr_eq(&manned.flight, flight)
        {
            manned.askers -= 1;
            if manned.askers == 0 {
                shelf.flights.remove(&start);
            }
        }
        self.clear_away(topics);
    }

    /// Takes a page in the place of its flight, which has landed. What has to
    /// go for it is returned, to be dropped once the lock is free.
    pub(super) fn put(&mut self, topics: &Topics, page: &Arc<Page>, full: bool) -> Vec<Standing> {
        let start = page.after;
        let mut evicted = Vec::new();
        let shelf = self.shelf_or_new(topics);
        shelf.flights.remove(&start);
        if full {
            shelf.span = Some(page.scanned.0 - start.0);
        }
        let old = shelf.pages.remove(&start);
        if let Some(old) = old {
            self.by_age.remove(&old.age);
            self.bytes -= old.bytes;
            evicted.push(old);
        }
        let bytes = page.weight() + topics_weight(topics);
        // A page that found nothing new covers nobody, and one that is larger
        // than all there is room for would only push out the rest.
        if page.scanned > start && bytes <= self.bytes_max {
            self.stand(topics, page, full, bytes);
            self.make_room(&mut evicted);
        }
        self.clear_away(topics);
        evicted
    }

    fn stand(&mut self, topics: &Topics, page: &Arc<Page>, full: bool, bytes: usize) {
        let age = self.next_age;
        let standing = Standing {
            page: Arc::clone(page),
            full,
            bytes,
            age,
        };
        self.next_age += 1;
        self.bytes += bytes;
        let place = Place {
            topics: topics.clone(),
            start: page.after,
        };
        self.by_age.insert(age, place);
        self.shelf_or_new(topics).pages.insert(page.after, standing);
    }

    /// Takes down every page; flights go on.
    pub(super) fn take_down(&mut self) -> Vec<Standing> {
        self.by_age.clear();
        self.bytes = 0;
        let shelves = self.named.values_mut().chain([&mut self.everything]);
        let pages = shelves.flat_map(|shelf| std::mem::take(&mut shelf.pages).into_values());
        let pages = pages.collect();
        self.named.retain(|_, shelf| !shelf.is_empty());
        pages
    }

    fn make_room(&mut self, evicted: &mut Vec<Standing>) {
        while self.bytes > self.bytes_max {
            let Some((_, Place { topics, start })) = self.by_age.pop_first() else {
                break;
            };
            let shelf = self.shelf_mut(&topics);
            if let Some(oldest) = shelf.and_then(|shelf| shelf.pages.remove(&start)) {
                self.bytes -= oldest.bytes;
                evicted.push(oldest);
            }
            self.clear_away(&topics);
        }
    }

    /// Forgets topics that have nothing here any more: strangers name them.
    fn clear_away(&mut self, topics: &Topics) {
        if let Topics::These(topics) = topics
            && self.named.get(&**topics).is_some_and(Shelf::is_empty)
        {
            self.named.remove(&**topics);
        }
    }

    fn shelf(&self, topics: &Topics) -> Option<&Shelf> {
        match topics {
            Topics::All => Some(&self.everything),
            Topics::These(topics) => self.named.get(&**topics),
        }
    }

    fn shelf_mut(&mut self, topics: &Topics) -> Option<&mut Shelf> {
        match topics {
            Topics::All => Some(&mut self.everything),
            Topics::These(topics) => self.named.get_mut(&**topics),
        }
    }

    fn shelf_or_new(&mut self, topics: &Topics) -> &mut Shelf {
        match topics {
            Topics::All => &mut self.everything,
            Topics::These(topics) => self.named.entry(topics.clone()).or_default(),
        }
    }

    /// How much stands here, in bytes; and how many topics, pages and flights.
    #[cfg(test)]
    pub(super) fn census(&self) -> [usize; 4] {
        let shelves = || self.named.values().chain([&self.everything]);
        let pages = shelves().map(|shelf| shelf.pages.len()).sum();
        assert_eq!(pages, self.by_age.len(), "each page has one place");
        let standing = shelves().flat_map(|shelf| shelf.pages.values());
        let bytes: usize = standing.map(|standing| standing.bytes).sum();
        assert_eq!(self.bytes, bytes);
        let flights = shelves().map(|shelf| shelf.flights.len()).sum();
        [self.bytes, self.named.len(), pages, flights]
    }
}

impl Shelf {
    fn covering(&self, after: Sequence) -> Option<Arc<Page>> {
        let before = self.pages.range(..=after).rev().take(LOOK_BACK);
        let mut pages = before.map(|(_, standing)| &standing.page);
        pages.find(|page| page.scanned > after).map(Arc::clone)
    }

    /// Where the nearest flight began that may bring what follows `after`. As
    /// long as nobody knows how far flights go, any one may.
    fn flight_towards(&self, after: Sequence) -> Option<Sequence> {
        let (&start, _) = self.flights.range(..=after).next_back()?;
        let in_reach = |span| after.0 - start.0 < span;
        self.span.is_none_or(in_reach).then_some(start)
    }

    /// Whether the page from `start` was full before it came to `after`.
    fn is_short(&self, start: Sequence, after: Sequence) -> bool {
        let standing = self.pages.get(&start);
        standing.is_some_and(|standing| standing.full && standing.page.scanned <= after)
    }

    fn is_empty(&self) -> bool {
        self.pages.is_empty() && self.flights.is_empty()
    }
}

impl Page {
    fn weight(&self) -> usize {
        let frames = self.frames.iter();
        let frames = frames.map(|frame| frame.weight() + size_of::<Frame>());
        PAGE_FIXED_BYTES + frames.sum::<usize>()
    }
}

/// What the topics' names take; charged to each of their pages, so that it is
/// bounded with them.
fn topics_weight(topics: &Topics) -> usize {
    match topics {
        Topics::All => 0,
        Topics::These(topics) => {
            let each = |topic: &Topic| topic.as_str().len() + 2 * size_of::<Topic>();
            topics.iter().map(each).sum()
        }
    }
}
