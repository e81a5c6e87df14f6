//! Where heist loses: every figure on which somebody is better, found and not chosen.

use super::spread::{number, times};
use super::{FigureLine, HEIST, Table};
use crate::rt::BASELINE;

/// A figure on which another runtime is ahead.
pub(super) struct Loss {
    pub(super) workload: &'static str,
    pub(super) unit: &'static str,
    /// Who is ahead; of several, the best.
    pub(super) to: &'static str,
    /// How many times as good as `to`; `None` where there is no sample of heist.
    pub(super) ratio: Option<f64>,
    values: String,
    overlap: bool,
}

impl Loss {
    pub(super) fn to_line(&self) -> String {
        let Self {
            workload,
            unit,
            to,
            values,
            ..
        } = self;
        let Some(ratio) = self.ratio else {
            return format!("`{workload}`, {unit}: no sample, {to} has some");
        };
        let overlap = if self.overlap {
            "; the spreads overlap"
        } else {
            ""
        };
        format!(
            "`{workload}`, {unit}: **x{}** of {to} ({values}){overlap}",
            times(ratio)
        )
    }
}

/// The worst first.
pub(super) fn to_baseline(table: &Table<'_>) -> Vec<Loss> {
    sorted(
        table
            .lines()
            .filter_map(|line| loss(line, table.columns[table.column(BASELINE)?])),
    )
}

/// Behind the best of all the others, the baseline among them. The worst first.
pub(super) fn to_the_best(table: &Table<'_>) -> Vec<Loss> {
    let worst = |line: FigureLine<'_>| {
        let others = table.columns.iter().filter(|name| **name != HEIST);
        let losses = others.filter_map(|name| loss(line, name));
        losses.min_by(|a, b| order(a).total_cmp(&order(b)))
    };
    sorted(table.lines().filter_map(worst))
}

fn sorted(losses: impl Iterator<Item = Loss>) -> Vec<Loss> {
    let mut losses: Vec<_> = losses.collect();
    losses.sort_by(|a, b| order(a).total_cmp(&order(b)));
    losses
}

/// Having no sample is worse than any ratio.
fn order(loss: &Loss) -> f64 {
    loss.ratio.unwrap_or(0.0)
}

fn loss(line: FigureLine<'_>, to: &'static str) -> Option<Loss> {
    let column = line.table.column(HEIST)?;
    let others = line.spread(to)?;
    let (own, ratio) = match line.spread(HEIST) {
        Some(own) => (own, Some(line.ratio_to(to, HEIST)?.median)),
        // Neither a win nor a loss if nobody asked for it.
        None if line.row.cells[column].is_tried() => (others, None),
        None => return None,
    };
    // What the two digits that are printed do not show is level.
    if ratio.is_some_and(|ratio| ratio >= 0.995) {
        return None;
    }
    Some(Loss {
        workload: line.name(),
        unit: line.figure().unit,
        to,
        ratio,
        values: format!("{} against {}", number(own.median), number(others.median)),
        overlap: own.overlaps(others),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Line;
    use crate::report::tests::{ECHO, NS, table, workload};

    fn names(losses: &[Loss]) -> Vec<(&str, &str, &str)> {
        let name = |loss: &Loss| (loss.workload, loss.unit, loss.to);
        losses.iter().map(name).collect()
    }

    #[test]
    fn every_figure_that_is_behind_is_told_and_no_other() {
        let workloads = [
            workload("won", NS),
            workload("level", NS),
            workload("echo", ECHO),
        ];
        let table = table(
            &workloads,
            &[
                ("won", "heist", &[1.0]),
                ("won", "tokio", &[2.0]),
                ("won", "smol", &[3.0]),
                ("level", "heist", &[1000.0]),
                ("level", "tokio", &[999.0]),
                ("level", "smol", &[800.0]),
                ("echo", "heist", &[90.0, 50.0]),
                ("echo", "tokio", &[100.0, 60.0]),
                ("echo", "smol", &[80.0, 20.0]),
            ],
        );
        assert_eq!(names(&to_baseline(&table)), [("echo", "req/s", "tokio")]);
        assert_eq!(
            names(&to_the_best(&table)),
            [
                ("echo", "us p99", "smol"),
                ("level", "ns", "smol"),
                ("echo", "req/s", "tokio"),
            ]
        );
        let line = to_baseline(&table)[0].to_line();
        assert_eq!(line, "`echo`, req/s: **x0.90** of tokio (90.0 against 100)");
    }

    #[test]
    fn no_sample_is_a_loss_if_it_was_tried() {
        let workloads = [workload("one", NS), workload("two", NS)];
        let samples: &[(_, _, &[f64])] = &[("one", "tokio", &[2.0]), ("two", "tokio", &[2.0])];
        let mut table = table(&workloads, samples);
        table
            .add(Line::failed(0, &workloads[1], "heist", "it hung"))
            .unwrap();
        assert_eq!(names(&to_baseline(&table)), [("two", "ns", "tokio")]);
        assert!(to_baseline(&table)[0].to_line().contains("no sample"));
    }

    #[test]
    fn an_overlap_is_told() {
        let workloads = [workload("one", NS)];
        let samples: &[(_, _, &[f64])] = &[
            ("one", "heist", &[8.0]),
            ("one", "heist", &[12.0]),
            ("one", "tokio", &[9.0]),
        ];
        let table = table(&workloads, samples);
        assert!(
            to_baseline(&table)[0]
                .to_line()
                .ends_with("the spreads overlap")
        );
    }
}
