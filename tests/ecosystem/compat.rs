//! What libraries that nobody here wrote make of a gateway, used as their own pages
//! show, with `JSON.parse` of everything that they hand out.
//!
//! `docs/clients.md` has the outcome as tables, which are what is compared with:
//! `HOOKRILL_WRITE_DOCS=1 cargo test --test ecosystem compat` writes them from the
//! run. `scripts/test` installs what the programs need.

mod endings;
mod library;
mod listener;
mod outage;
mod programs;
mod relay;
mod table;

use std::env;

use endings::ENDS;
use library::{LIBRARIES, Use};
use outage::{Listening, OUTAGES, Outage};
use programs::Programs;
use table::{Cell, Endings, Outages};

/// One after the other: together they would keep each other from starting.
#[test]
fn each_library_does_what_the_tables_say() {
    let programs = Programs::make();
    let is_to_write = env::var_os("HOOKRILL_WRITE_DOCS").is_some();
    let written = if is_to_write {
        String::new()
    } else {
        table::written()
    };
    let mut outages = Outages::new();
    for outage in OUTAGES {
        survive(outage, &programs, &written, &mut outages);
    }
    let mut endings = Endings::new();
    for end in ENDS {
        let known = |library| table::known_to_come_back(&written, library, end);
        let trying: Vec<_> = LIBRARIES
            .iter()
            .map(|library| (library, known(library)))
            .collect();
        let back = endings::come_back(end, &programs, &trying);
        endings.extend(
            back.into_iter()
                .enumerate()
                .map(|(index, back)| ((index, end), back)),
        );
    }
    let made = table::made(&outages, &endings);
    if is_to_write {
        table::write(&made);
    }
    let stands = table::written();
    let differs: Vec<_> = made.lines().filter(|line| !stands.contains(line)).collect();
    assert!(
        made == stands,
        "docs/clients.md says something else than the run: {differs:#?}; what the programs \
         complained of is in target/compat/log; if it is to be so, run \
         HOOKRILL_WRITE_DOCS=1 cargo test --test ecosystem compat"
    );
}

fn survive(outage: Outage, programs: &Programs, written: &str, outages: &mut Outages) {
    let mut listening: Vec<(usize, Listening)> = Vec::new();
    for (index, library) in LIBRARIES.iter().enumerate() {
        let known = table::known(written, library).get(&outage).copied();
        let mut add = |how| {
            let comes_through = known.map(|cell| cell.allows(how));
            listening.push((index, (library, how, comes_through)));
        };
        add(Use::Naive);
        if known != Some(Cell::Resumes) && !library.lines().is_empty() {
            add(Use::WithLine);
        }
    }
    let all: Vec<Listening> = listening.iter().map(|(_, listening)| *listening).collect();
    let outcomes = outage::survive(outage, programs, &all);
    let found: Vec<_> = listening.into_iter().zip(outcomes).collect();
    for (index, library) in LIBRARIES.iter().enumerate() {
        let outcome = |wanted| {
            let mut uses = found.iter();
            let of_this = uses.find(|((of, (_, how, _)), _)| *of == index && *how == wanted);
            of_this.map(|(_, outcome)| *outcome)
        };
        let naive = outcome(Use::Naive).expect("each is tried");
        let with_line = outcome(Use::WithLine);
        eprintln!("{outage:?}: {}: {naive:?} {with_line:?}", library.name());
        outages.insert((index, outage), Cell::of(naive, with_line));
    }
}
