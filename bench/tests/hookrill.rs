//! Hookrill itself passes the measures, with small counts.

mod stage;

use std::time::Duration;

use hookrill_bench::{
    case::{self, Scale, Size},
    report::Row,
    server::Case,
};
use stage::{places, spec};

fn measure(case: Case) -> Vec<Row> {
    let size = Size {
        scale: Scale::Tiny,
        time: Duration::from_secs(1),
        subscribers_max: 500,
        examples: None,
    };
    let spec = spec("hookrill");
    let rows = case::measure(case, &spec, &places(&spec), &size).expect("it is measured");
    for row in &rows {
        assert!(!row.is_wrong(), "{case:?}: {:?}", row.faults);
        assert_eq!(row.refused, 0, "{case:?}");
    }
    rows
}

#[test]
fn every_case_measures_hookrill_and_finds_nothing_wrong() {
    let live = measure(Case::Live);
    assert_eq!(live[0].deliveries, Some(20 * 40));
    assert!(live[0].deliveries_per_cpu_sec.is_some_and(f64::is_finite));

    let replay = measure(Case::Replay);
    assert_eq!(replay[0].deliveries.map(|count| count % 1_000), Some(0));

    assert!(measure(Case::Overload)[0].deliveries.is_some());
    assert!(measure(Case::Idle)[0].rss_per_connection.is_some());
    assert!(measure(Case::Ingest)[0].events_per_cpu_sec.is_some());
    assert_eq!(measure(Case::Topics).len(), 3);
    assert!(
        measure(Case::Start)
            .iter()
            .all(|row| row.ready_ms.is_some())
    );
}

#[test]
fn bodies_of_githubs_come_as_they_were_sent_also_compressed() {
    let rows = measure(Case::Gzip);
    assert!(rows.iter().all(|row| row.deliveries.is_some()), "{rows:?}");
}
