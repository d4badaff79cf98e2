//! The table for people.

use std::io::{self, Write};

use super::{Row, TargetResult};

type Column = (&'static str, fn(&Row) -> String);

const COLUMNS: &[Column] = &[
    ("case", |row| match row.variant {
        "" => format!("{:?}", row.case).to_lowercase(),
        variant => format!("{:?}, {variant}", row.case).to_lowercase(),
    }),
    ("server", |row| row.server.clone()),
    ("subs", |row| {
        row.subscribers.map_or_else(String::new, |n| n.to_string())
    }),
    ("deliv/s", |row| whole(row.deliveries_per_sec)),
    ("deliv/CPU-s", |row| whole(row.deliveries_per_cpu_sec)),
    ("events/s", |row| whole(row.events_per_sec)),
    ("events/CPU-s", |row| whole(row.events_per_cpu_sec)),
    ("CPU s", |row| fraction(row.cpu_secs)),
    ("p50 ms", |row| fraction(row.p50_ms)),
    ("p99 ms", |row| fraction(row.p99_ms)),
    ("p99.9 ms", |row| fraction(row.p999_ms)),
    ("RSS/conn", |row| whole(row.rss_per_connection)),
    ("wire B", |row| whole(row.wire_bytes_per_delivery)),
    ("ready ms", |row| fraction(row.ready_ms)),
    ("gen %", |row| {
        whole(row.generator_share.map(|share| share * 100.0))
    }),
    ("wrong", |row| row.faults.count().to_string()),
];

/// Writes rows and verdicts.
///
/// # Errors
///
/// As `out` says.
pub fn print(out: &mut impl Write, rows: &[Row], verdicts: &[TargetResult]) -> io::Result<()> {
    let head = COLUMNS.iter().map(|(name, _)| (*name).to_owned());
    let lines = rows
        .iter()
        .map(|row| COLUMNS.iter().map(|(_, cell)| cell(row)).collect());
    let mut table: Vec<Vec<String>> = vec![head.collect()];
    table.extend(lines);
    print_columns(out, &table, 2)?;
    for row in rows {
        notes(out, row)?;
    }
    if !verdicts.is_empty() {
        let titles = ["target", "figure", "at", "reached", ""].map(str::to_owned);
        let mut judged = vec![titles.to_vec()];
        judged.extend(verdicts.iter().map(TargetResult::cells));
        writeln!(out)?;
        print_columns(out, &judged, 2)?;
    }
    out.flush()
}

fn notes(out: &mut impl Write, row: &Row) -> io::Result<()> {
    let name = format!("{:?} {} {}", row.case, row.variant, row.server).to_lowercase();
    if !row.note.is_empty() {
        writeln!(out, "{name}: {}", row.note)?;
    }
    let faults = &row.faults;
    if faults.count() > 0 {
        writeln!(
            out,
            "{name}: WRONG: {} missing, {} doubled, {} out of order, {} damaged; {}",
            faults.missing,
            faults.doubled,
            faults.disordered,
            faults.damaged,
            faults.example.as_deref().unwrap_or_default(),
        )?;
    }
    if row.refused > 0 {
        writeln!(out, "{name}: {} events were refused", row.refused)?;
    }
    Ok(())
}

/// Text to the left for the first columns, figures to the right.
fn print_columns(out: &mut impl Write, table: &[Vec<String>], texts: usize) -> io::Result<()> {
    let columns = table.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = table.iter().map(|line| line[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let used: Vec<usize> = (0..columns)
        .filter(|column| *column < texts || table[1..].iter().any(|line| !line[*column].is_empty()))
        .collect();
    for line in table {
        let cells = used.iter().map(|&column| {
            let width = width(column);
            if column < texts {
                format!("{:<width$}", line[column])
            } else {
                format!("{:>width$}", line[column])
            }
        });
        let text = cells.collect::<Vec<_>>().join("  ");
        writeln!(out, "{}", text.trim_end())?;
    }
    Ok(())
}

fn whole(figure: Option<f64>) -> String {
    figure.map_or_else(String::new, |figure| format!("{figure:.0}"))
}

fn fraction(figure: Option<f64>) -> String {
    figure.map_or_else(String::new, |figure| format!("{figure:.2}"))
}
