//! What Hookrill aims at, as ratios within one run: a machine's speed must not
//! decide.

use serde::Serialize;

use super::Row;
use crate::server::Case;

/// A target and what was reached.
#[derive(Debug, Clone, Serialize)]
pub struct TargetResult {
    /// Which measure.
    pub case: Case,
    /// Which figure of it.
    pub figure: String,
    /// What it has to be.
    pub target: f64,
    /// Whether the target is the least or the most.
    pub at_least: bool,
    /// What it is; absent where something was not measured.
    pub reached: Option<f64>,
    /// Whether the target was reached; absent likewise.
    pub ok: Option<bool>,
}

/// The server whose targets are judged.
pub const SUBJECT: &str = "hookrill";

impl TargetResult {
    pub(super) fn cells(&self) -> Vec<String> {
        let than = if self.at_least { "≥" } else { "≤" };
        let number = |figure: f64| match figure.abs() {
            large if large >= 100.0 => format!("{figure:.0}"),
            _ => format!("{figure:.2}"),
        };
        vec![
            format!("{:?}", self.case).to_lowercase(),
            self.figure.clone(),
            format!("{than} {}", number(self.target)),
            self.reached
                .map_or_else(|| "not measured".to_owned(), number),
            match self.ok {
                Some(true) => "ok".to_owned(),
                Some(false) => "MISSED".to_owned(),
                None => String::new(),
            },
        ]
    }
}

type Figure = fn(&Row) -> Option<f64>;

const PER_CPU: Figure = |row| row.deliveries_per_cpu_sec;
const PER_SEC: Figure = |row| row.deliveries_per_sec;
const RSS: Figure = |row| row.rss_per_connection;
const READY: Figure = |row| row.ready_ms;

/// Judges a run.
#[must_use]
pub fn judge(rows: &[Row]) -> Vec<TargetResult> {
    let judge = Judge { rows };
    let mut verdicts = Vec::new();
    for case in [
        Case::Idle,
        Case::Live,
        Case::Overload,
        Case::Ingest,
        Case::Replay,
        Case::Topics,
        Case::Gzip,
        Case::Start,
    ] {
        if rows
            .iter()
            .any(|row| row.case == case && row.server == SUBJECT)
        {
            verdicts.extend(judge.case(case));
        }
    }
    verdicts
}

struct Judge<'r> {
    rows: &'r [Row],
}

impl Judge<'_> {
    fn case(&self, case: Case) -> Vec<TargetResult> {
        let over = |peer, figure, name: &str, least| {
            let reached = self.ratio((case, "", SUBJECT), (case, "", peer), figure);
            at_least(case, format!("{name}, × {peer}"), least, reached)
        };
        let under = |figure: Figure, name: &str, peer, most| {
            let reached = self.ratio((case, "", SUBJECT), (case, "", peer), figure);
            at_most(case, format!("{name}, × {peer}"), most, reached)
        };
        match case {
            Case::Idle => vec![
                at_most(
                    case,
                    "RSS per connection, B".into(),
                    2_000.0,
                    self.own(case, "", RSS),
                ),
                under(RSS, "RSS per connection", "nchan", 0.2),
            ],
            Case::Live => vec![
                over("floor", PER_CPU, "deliveries per CPU-s", 0.8),
                over("nchan", PER_CPU, "deliveries per CPU-s", 1.4),
            ],
            Case::Overload => vec![
                over("nchan", PER_SEC, "deliveries per s", 6.0),
                over("nchan", PER_CPU, "deliveries per CPU-s", 6.0),
                at_most(
                    case,
                    "missing".into(),
                    0.0,
                    self.own(case, "", |row| Some(row.faults.missing as f64)),
                ),
                under(|row| row.p99_ms, "p99", "nchan", 1.0),
            ],
            Case::Ingest => vec![over(
                "nchan",
                |row| row.events_per_cpu_sec,
                "events per CPU-s",
                0.8,
            )],
            Case::Replay => vec![over("nchan", PER_CPU, "deliveries per CPU-s", 8.0)],
            Case::Topics => self.topics(),
            Case::Gzip => self.gzip(),
            Case::Start => vec![
                at_most(
                    case,
                    "ready with an empty journal, ms".into(),
                    20.0,
                    self.own(case, "empty", READY),
                ),
                at_most(
                    case,
                    "ready with 1 GB of history, ms".into(),
                    500.0,
                    self.own(case, "1 GB", READY),
                ),
            ],
        }
    }

    fn topics(&self) -> Vec<TargetResult> {
        let ratio = |figure| {
            let many = (Case::Topics, "many", SUBJECT);
            let ratio = self.ratio(many, (Case::Topics, "one", SUBJECT), figure)?;
            // Within a factor, whichever is more.
            Some(ratio.max(1.0 / ratio))
        };
        let name = |kind| format!("CPU per delivery {kind}, many topics × one");
        let mut raw = at_most(
            Case::Topics,
            name("raw"),
            1.5,
            ratio(|row| row.cpu_micros_per_delivery),
        );
        // Each delivery to a topic of its own has a whole ingest in it.
        raw.ok = None;
        let net = ratio(|row| row.net_cpu_micros_per_delivery);
        vec![at_most(Case::Topics, name("net of ingest"), 1.5, net), raw]
    }

    fn gzip(&self) -> Vec<TargetResult> {
        let ratio = |figure| {
            let packed = (Case::Gzip, "gzip", SUBJECT);
            self.ratio(packed, (Case::Gzip, "plain", SUBJECT), figure)
        };
        let wire = ratio(|row| row.wire_bytes_per_delivery);
        let cpu = ratio(|row| row.cpu_micros_per_delivery);
        vec![
            at_most(Case::Gzip, "wire bytes, × plain".into(), 0.2, wire),
            at_most(Case::Gzip, "CPU per delivery, × plain".into(), 1.1, cpu),
        ]
    }

    fn own(&self, case: Case, variant: &str, figure: Figure) -> Option<f64> {
        self.find((case, variant, SUBJECT), figure)
    }

    fn ratio(&self, of: (Case, &str, &str), to: (Case, &str, &str), figure: Figure) -> Option<f64> {
        let (of, to) = (self.find(of, figure)?, self.find(to, figure)?);
        (to > 0.0).then(|| of / to)
    }

    fn find(&self, (case, variant, server): (Case, &str, &str), figure: Figure) -> Option<f64> {
        let is_it = |row: &&Row| row.case == case && row.variant == variant && row.server == server;
        figure(self.rows.iter().find(is_it)?)
    }
}

fn at_least(case: Case, figure: String, target: f64, reached: Option<f64>) -> TargetResult {
    TargetResult {
        case,
        figure,
        target,
        at_least: true,
        reached,
        ok: reached.map(|reached| reached >= target),
    }
}

fn at_most(case: Case, figure: String, target: f64, reached: Option<f64>) -> TargetResult {
    TargetResult {
        case,
        figure,
        target,
        at_least: false,
        reached,
        ok: reached.map(|reached| reached <= target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::built_in;

    fn row(case: Case, server: &str, per_cpu: f64) -> Row {
        let all = built_in().expect("all are good");
        let spec = all.iter().find(|spec| spec.name == server);
        let mut row = Row::new(case, "", spec.expect("there is such a server"));
        row.deliveries_per_cpu_sec = Some(per_cpu);
        row
    }

    #[test]
    fn a_ratio_is_judged_where_both_were_measured_and_only_there() {
        let rows = [
            row(Case::Live, "hookrill", 90.0),
            row(Case::Live, "floor", 100.0),
        ];
        let verdicts = judge(&rows);
        let ok: Vec<Option<bool>> = verdicts.iter().map(|verdict| verdict.ok).collect();
        assert_eq!(ok, [Some(true), None]);
        let too_slow = [
            row(Case::Live, "hookrill", 79.0),
            row(Case::Live, "floor", 100.0),
        ];
        assert_eq!(judge(&too_slow)[0].ok, Some(false));
    }
}
