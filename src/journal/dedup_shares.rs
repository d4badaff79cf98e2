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
}

/// How many entries each section has, by its hash: nothing is looked up where millions
/// of entries are counted at a start.
#[derive(Debug)]
pub(super) struct DedupShares {
    counts: Vec<u32>,
    /// Sections that have any.
    sections: usize,
}

impl Default for DedupShares {
    fn default() -> Self {
        Self {
            counts: vec![0; 1 << u16::BITS],
            sections: 0,
        }
    }
}

impl DedupShares {
    pub(super) fn add(&mut self, section: SectionHash) {
        let count = &mut self.counts[usize::from(section.0)];
        self.sections += usize::from(*count == 0);
        *count += 1;
    }

    pub(super) fn remove(&mut self, section: SectionHash) {
        let count = &mut self.counts[usize::from(section.0)];
        assert!(*count > 0, "an entry was counted");
        *count -= 1;
        self.sections -= usize::from(*count == 0);
    }

    /// Whose oldest entry makes room for the newest one, which is of `newest`.
    pub(super) fn who_makes_room(&self, newest: SectionHash, entries_max: usize) -> SectionHash {
        let share = entries_max / self.sections.max(1);
        if self.counts[usize::from(newest.0)] as usize > share {
            return newest;
        }
        let sections = (0..=u16::MAX).map(SectionHash).zip(&self.counts);
        let largest = sections.max_by_key(|(section, count)| (**count, section.0));
        largest.map_or(newest, |(section, _)| section)
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
}
