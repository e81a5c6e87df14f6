//! One number for each group of workloads: the geometric mean of the ratios to the baseline.

use super::groups::{Group, group_of};
use super::spread::geometric_mean;
use super::{FigureLine, Table};

/// Figures of a kind, whose ratios may be averaged.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) title: &'static str,
    pub(super) group: Group,
    /// What tells it from the other kinds of its group, with a space behind; empty if there are none.
    pub(super) part: &'static str,
    takes: fn(&FigureLine<'_>) -> bool,
}

/// The first figure stands for its workload; of what serves requests, the tail stands beside it.
const KINDS: [Kind; 5] = [
    Kind {
        title: "scheduling",
        group: Group::Scheduling,
        part: "",
        takes: |line| line.index == 0,
    },
    Kind {
        title: "I/O: throughput",
        group: Group::Io,
        part: "throughput ",
        takes: |line| line.is_throughput(),
    },
    Kind {
        title: "I/O: p99",
        group: Group::Io,
        part: "p99 ",
        takes: |line| line.is_tail(),
    },
    Kind {
        title: "memory",
        group: Group::Memory,
        part: "",
        takes: |line| line.index == 0,
    },
    Kind {
        title: "growth",
        group: Group::Growth,
        part: "",
        takes: |line| line.index == 0,
    },
];

/// What one kind of figures comes to.
pub(super) struct Mean {
    pub(super) kind: Kind,
    /// How many figures the runtime with the most of them has.
    pub(super) figures: usize,
    /// By column: the mean and how many figures are in it.
    pub(super) columns: Vec<(Option<f64>, usize)>,
}

/// Leaves out the kinds of which there is nothing.
pub(super) fn means(table: &Table<'_>) -> Vec<Mean> {
    let means = KINDS.map(|kind| {
        let mean = |runtime: &&str| {
            let ratios: Vec<_> = of_kind(table, kind)
                .filter_map(|line| Some(line.ratio(runtime)?.median))
                .collect();
            (geometric_mean(&ratios), ratios.len())
        };
        let columns: Vec<_> = table.columns.iter().map(mean).collect();
        Mean {
            kind,
            figures: columns.iter().map(|(_, count)| *count).max().unwrap_or(0),
            columns,
        }
    });
    means.into_iter().filter(|mean| mean.figures > 0).collect()
}

fn of_kind<'t>(table: &'t Table<'t>, kind: Kind) -> impl Iterator<Item = FigureLine<'t>> {
    table
        .lines()
        .filter(move |line| group_of(line.name()) == kind.group && (kind.takes)(line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{ECHO, NS, table, workload};

    #[test]
    fn means_are_taken_by_kind_and_say_how_many_figures_are_in_them() {
        let workloads = [
            workload("one", NS),
            workload("two", NS),
            workload("echo_x", ECHO),
        ];
        let table = table(
            &workloads,
            &[
                ("one", "tokio", &[8.0]),
                ("one", "heist", &[1.0]),
                ("one", "smol", &[4.0]),
                ("two", "tokio", &[2.0]),
                ("two", "heist", &[1.0]),
                ("echo_x", "tokio", &[10.0, 10.0]),
                ("echo_x", "heist", &[20.0, 5.0]),
                ("echo_x", "smol", &[5.0, 20.0]),
            ],
        );
        let means = means(&table);
        let titles: Vec<_> = means.iter().map(|mean| mean.kind.title).collect();
        assert_eq!(titles, ["scheduling", "I/O: throughput", "I/O: p99"]);
        let column = |kind: usize, name: &str| means[kind].columns[table.column(name).unwrap()];
        let near = |(mean, count): (Option<f64>, usize), expected: f64, figures: usize| {
            assert!(
                (mean.unwrap() - expected).abs() < 1e-9,
                "{mean:?}, not {expected}"
            );
            assert_eq!(count, figures);
        };
        near(column(0, "heist"), 4.0, 2);
        near(column(0, "tokio"), 1.0, 2);
        near(column(0, "smol"), 2.0, 1);
        near(column(1, "heist"), 2.0, 1);
        near(column(2, "heist"), 2.0, 1);
        near(column(2, "smol"), 0.5, 1);
        assert_eq!(means[0].figures, 2);
    }
}
