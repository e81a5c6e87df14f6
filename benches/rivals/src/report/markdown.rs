//! The table in Markdown: what it comes to first, then every figure, then what the figures cost.

use std::fmt::{self, Write};

use super::losses::{self, Loss};
use super::origin::{dates, versions};
use super::spread::{Spread, number, times};
use super::summary::{Mean, means};
use super::{Cell, FigureLine, HEIST, Row, Table};
use crate::meter::Sample;
use crate::rt::BASELINE;

/// Stands where all samples failed.
const NONE: &str = "none";
/// Stands where none was to be taken.
const NOT_TRIED: &str = "-";

/// `picture` is the name of a file beside this one.
pub(super) fn markdown(table: &Table<'_>, picture: Option<&str>) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    write_markdown(&mut text, table, picture).unwrap();
    text
}

fn write_markdown(text: &mut String, table: &Table<'_>, picture: Option<&str>) -> fmt::Result {
    writeln!(text, "# Rivals\n")?;
    if let Some(origin) = table.origins.first() {
        let versions = versions(&table.origins, &table.columns);
        writeln!(
            text,
            "{}; {}; {versions}.",
            dates(&table.origins),
            origin.machine
        )?;
        writeln!(
            text,
            "{} workers; {}; each takes {} ms after a warm-up of {} ms, in a fresh process.",
            origin.workers,
            sample_counts(table),
            origin.time_ms,
            origin.warm_up_ms
        )?;
    }
    if let Some(picture) = picture {
        writeln!(text, "\n![The ratios to {BASELINE} as bars]({picture})")?;
    }
    if table.has_baseline() {
        summary(text, table)?;
    }
    if table.column(HEIST).is_some() {
        losses(text, table)?;
    }
    figures(text, table)?;
    costs(text, table)?;
    failures(text, table)?;
    writeln!(text, "\n## Workloads\n")?;
    for Row { workload, .. } in &table.rows {
        writeln!(text, "* {}: {}", workload.name, workload.about)?;
    }
    Ok(())
}

/// How many samples a median is of.
pub(super) fn sample_counts(table: &Table<'_>) -> String {
    match table.samples() {
        None => "no samples".to_owned(),
        Some((1, 1)) => "1 sample of each".to_owned(),
        Some((least, most)) if least == most => format!("{least} samples of each"),
        Some((least, most)) => format!("{least} to {most} samples of each"),
    }
}

fn summary(text: &mut String, table: &Table<'_>) -> fmt::Result {
    writeln!(
        text,
        "\n## Summary\n\nGeometric means of the ratios to {BASELINE}: more than 1 is better. In parentheses, of how many \
         figures, where a runtime has not all of them: such means do not compare.\n"
    )?;
    header(text, &["", "figures"], &table.columns)?;
    for Mean {
        kind,
        figures,
        columns,
    } in means(table)
    {
        write!(text, "| {} | {figures} |", kind.title)?;
        for (mean, count) in columns {
            match mean {
                Some(mean) if count == figures => write!(text, " x{} |", times(mean))?,
                Some(mean) => write!(text, " x{} ({count}) |", times(mean))?,
                None => write!(text, " {NOT_TRIED} |")?,
            }
        }
        writeln!(text)?;
    }
    Ok(())
}

fn losses(text: &mut String, table: &Table<'_>) -> fmt::Result {
    writeln!(text, "\n## Where heist loses")?;
    if table.has_baseline() {
        let title = format!("Behind {BASELINE}");
        loss_list(text, &title, &losses::to_baseline(table))?;
    }
    if table
        .columns
        .iter()
        .any(|name| ![HEIST, BASELINE].contains(name))
    {
        loss_list(text, "Behind the best of all", &losses::to_the_best(table))?;
    }
    Ok(())
}

fn loss_list(text: &mut String, title: &str, losses: &[Loss]) -> fmt::Result {
    if losses.is_empty() {
        return writeln!(text, "\n{title}: on no figure.");
    }
    writeln!(text, "\n{title}, on {} figures:\n", losses.len())?;
    for loss in losses {
        writeln!(text, "* {}", loss.to_line())?;
    }
    Ok(())
}

fn figures(text: &mut String, table: &Table<'_>) -> fmt::Result {
    writeln!(
        text,
        "\n## Figures\n\nMedian (least-most); **x** says how many times better than {BASELINE}: \
         more is better, whatever the unit.\n"
    )?;
    header(text, &["workload", "unit"], &table.columns)?;
    for line in table.lines() {
        let name = if line.index == 0 { line.name() } else { "" };
        write!(text, "| {name} | {} |", line.figure().unit)?;
        for (cell, runtime) in line.row.cells.iter().zip(&table.columns) {
            write!(text, " {} |", figure_cell(line, cell, runtime))?;
        }
        writeln!(text)?;
    }
    Ok(())
}

fn costs(text: &mut String, table: &Table<'_>) -> fmt::Result {
    writeln!(
        text,
        "\n## Costs\n\nMedians: CPU time of the process per operation; CPUs busy; voluntary + \
         involuntary context switches per 1,000 operations; most memory resident.\n"
    )?;
    header(text, &["workload"], &table.columns)?;
    for Row { workload, cells } in &table.rows {
        write!(text, "| {} |", workload.name)?;
        for cell in cells {
            write!(text, " {} |", cost_cell(cell))?;
        }
        writeln!(text)?;
    }
    Ok(())
}

fn failures(text: &mut String, table: &Table<'_>) -> fmt::Result {
    let mut title = "\n## Samples that failed\n\n";
    for Row { workload, cells } in &table.rows {
        for (cell, runtime) in cells.iter().zip(&table.columns) {
            let Some(why) = cell.failures.first() else {
                continue;
            };
            let all = cell.failures.len() + cell.samples.len();
            let failed = cell.failures.len();
            writeln!(
                text,
                "{title}* {} on {runtime}, {failed} of {all}: {why}",
                workload.name
            )?;
            title = "";
        }
    }
    Ok(())
}

fn header(text: &mut String, first: &[&str], columns: &[&str]) -> fmt::Result {
    writeln!(text, "| {} | {} |", first.join(" | "), columns.join(" | "))?;
    writeln!(
        text,
        "|{}{}",
        "---|".repeat(first.len()),
        "---:|".repeat(columns.len())
    )
}

fn empty(cell: &Cell) -> String {
    if cell.is_tried() { NONE } else { NOT_TRIED }.to_owned()
}

fn figure_cell(line: FigureLine<'_>, cell: &Cell, runtime: &str) -> String {
    let Some(spread) = line.spread(runtime) else {
        return empty(cell);
    };
    let ratio = line
        .ratio(runtime)
        .filter(|_| runtime != BASELINE)
        .map(|ratio| format!(" **x{}**", times(ratio.median)));
    format!(
        "{} ({}-{}){}",
        number(spread.median),
        number(spread.least),
        number(spread.most),
        ratio.unwrap_or_default()
    )
}

fn cost_cell(cell: &Cell) -> String {
    let median = |of: fn(&Sample) -> f64| {
        let spread = Spread::of(cell.samples.iter().map(of));
        spread.map(|spread| number(spread.median))
    };
    let costs = || {
        Some(format!(
            "{} ns, {} CPUs, {} + {}, {} MiB",
            median(Sample::cpu_per_op)?,
            median(|s| s.usage.cpu.as_secs_f64() / s.wall.as_secs_f64())?,
            median(|s| s.usage.voluntary as f64 * 1e3 / s.ops as f64)?,
            median(|s| s.usage.involuntary as f64 * 1e3 / s.ops as f64)?,
            median(|s| s.peak_kib as f64 / 1024.0)?,
        ))
    };
    costs().unwrap_or_else(|| empty(cell))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Line;
    use crate::report::tests::{NS, table, workload};

    #[test]
    fn a_cell_says_what_was_measured_what_failed_and_what_was_not_tried() {
        let workloads = [workload("one", NS)];
        let samples: &[(_, _, &[f64])] = &[("one", "tokio", &[8.0]), ("one", "tokio", &[12.0])];
        let mut table = table(&workloads, samples);
        table
            .add(Line::failed(0, &workloads[0], "heist", "it hung"))
            .unwrap();
        let text = markdown(&table, Some("one.svg"));
        assert!(
            text.contains("\n| one | ns | none | 10.0 (8.00-12.0) | - |\n"),
            "{text}"
        );
        assert!(
            text.contains("\n* one on heist, 1 of 1: it hung\n"),
            "{text}"
        );
        assert!(text.contains("](one.svg)"), "{text}");
    }

    #[test]
    fn losses_stand_before_the_figures() {
        let workloads = [workload("one", NS), workload("two", NS)];
        let samples: &[(_, _, &[f64])] = &[
            ("one", "heist", &[2.0]),
            ("one", "tokio", &[1.0]),
            ("two", "heist", &[1.0]),
            ("two", "tokio", &[8.0]),
            ("two", "smol", &[4.0]),
        ];
        let table = table(&workloads, samples);
        let text = markdown(&table, None);
        let (top, figures) = text.split_once("## Figures").unwrap();
        assert!(
            top.contains("| scheduling | 2 | x2.00 | x1.00 | x2.00 (1) |"),
            "{top}"
        );
        assert!(
            top.contains("* `one`, ns: **x0.50** of tokio (2.00 against 1.00)"),
            "{top}"
        );
        assert!(
            figures.contains("| 1.00 (1.00-1.00) **x8.00** |"),
            "{figures}"
        );
    }
}
