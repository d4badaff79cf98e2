//! How many remembered deliveries each section of the configuration has.
//!
//! All sections together have a maximum. Where one more comes, the oldest one goes of
//! the section that has more than its share: otherwise whoever has the secret of one
//! section could make a gateway forget the deliveries of all others. While there is
//! room, a section may have as many as there are.

use hookrill_core::Topic;
use xxhash_rust::xxh3::xxh3_64;

/// A section, by a hash of its name: two sections that have the same one share a
/// share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct SectionHash(pub(super) u16);

impl SectionHash {
    /// The hash of a section; `None` is that of `"*"`.
    pub(super) fn new(section: Option<&Topic>) -> Self {
        let name = section.map_or("", Topic::as_str);
        Self((xxh3_64(name.as_bytes()) >> 48) as u16)
    }

    fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// How many entries each section has, by its hash: nothing is looked up where millions
/// of entries are counted at a start. Invariant: `sections` has each section that has
/// entries, once; `places` says where.
#[derive(Debug)]
pub(super) struct DedupShares {
    counts: Vec<u32>,
    /// Few, as the configuration is: whose entry makes room is asked with each delivery.
    sections: Vec<SectionHash>,
    places: Vec<u16>,
}

impl Default for DedupShares {
    fn default() -> Self {
        Self {
            counts: vec![0; 1 << u16::BITS],
            sections: Vec::new(),
            places: vec![0; 1 << u16::BITS],
        }
    }
}

impl DedupShares {
    pub(super) fn add(&mut self, section: SectionHash) {
        let count = &mut self.counts[section.index()];
        *count += 1;
        if *count == 1 {
            let place = u16::try_from(self.sections.len());
            self.places[section.index()] = place.expect("each hash is in the list once");
            self.sections.push(section);
        }
    }

    pub(super) fn remove(&mut self, section: SectionHash) {
        let count = &mut self.counts[section.index()];
        assert!(*count > 0, "an entry was counted");
        *count -= 1;
        if *count == 0 {
            let place = self.places[section.index()];
            let removed = self.sections.swap_remove(usize::from(place));
            assert_eq!(
                removed, section,
                "a section with entries is where it was put"
            );
            if let Some(moved) = self.sections.get(usize::from(place)) {
                self.places[moved.index()] = place;
            }
        }
    }

    /// Whose oldest entry makes room for the newest one, which is of `newest`.
    pub(super) fn who_makes_room(&self, newest: SectionHash, entries_max: usize) -> SectionHash {
        let share = entries_max / self.sections.len().max(1);
        let count = |section: SectionHash| self.counts[section.index()];
        if count(newest) as usize > share {
            return newest;
        }
        let sections = self.sections.iter().copied();
        let largest = sections.max_by_key(|section| (count(*section), section.0));
        largest.unwrap_or(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_more_than_a_share_makes_room() {
        let [flood, quiet] = ["flood", "quiet"].map(|name| {
            let name: Topic = name.parse().unwrap();
            SectionHash::new(Some(&name))
        });
        let mut shares = DedupShares::default();
        for _ in 0..7 {
            shares.add(flood);
        }
        assert_eq!(shares.who_makes_room(flood, 6), flood);
        for _ in 0..2 {
            shares.add(quiet);
        }
        for newest in [flood, quiet] {
            assert_eq!(shares.who_makes_room(newest, 8), flood);
        }
        for _ in 0..7 {
            shares.remove(flood);
        }
        assert_eq!(shares.who_makes_room(flood, 2), quiet);
    }

    #[test]
    fn only_sections_with_entries_are_looked_at() {
        let mut shares = DedupShares::default();
        let mut expected = Vec::new();
        let mut step = 7_u16;
        for _ in 0..10_000 {
            step = step.wrapping_mul(25_173).wrapping_add(13_849);
            // Of a few hashes far apart, so that they come, go and come again.
            let section = SectionHash((step % 40) * 1_600);
            if step & 0x4000 == 0 {
                shares.add(section);
                expected.push(section);
            } else if let Some(place) = expected.iter().position(|one| *one == section) {
                shares.remove(section);
                expected.swap_remove(place);
            }
            let mut left: Vec<_> = expected.iter().map(|one| one.0).collect();
            left.sort_unstable();
            left.dedup();
            let mut looked_at: Vec<_> = shares.sections.iter().map(|one| one.0).collect();
            looked_at.sort_unstable();
            assert_eq!(looked_at, left);
        }
        for section in expected {
            shares.remove(section);
        }
        assert!(shares.sections.is_empty());
    }
}
