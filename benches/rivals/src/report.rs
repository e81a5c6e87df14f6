//! The table that samples fill, and what can be asked of it.
//!
//! It does not know where its lines come from: [`run`](crate::run) adds them as they are taken, [`report`] reads those
//! of earlier runs. Either way [`publish`] makes the same tables and the same picture of them.

mod groups;
mod losses;
mod markdown;
mod origin;
mod picture;
mod raw;
mod spread;
mod summary;

use std::fs;
use std::path::{Path, PathBuf};

use crate::meter::{Better, Figure, Sample};
use crate::rt::BASELINE;
use crate::workloads::Workload;
use crate::{say, workload_list};

pub(crate) use origin::Origin;
pub(crate) use raw::{Line, Raw};
pub(crate) use spread::number;
use spread::{Ratio, Spread};

/// Whose wins and losses the report tells.
const HEIST: &str = "heist";

/// A row for each workload, a column for each runtime.
pub(crate) struct Table<'a> {
    origins: Vec<Origin>,
    rows: Vec<Row<'a>>,
    columns: Vec<&'static str>,
}

struct Row<'a> {
    workload: &'a Workload,
    /// By column.
    cells: Vec<Cell>,
}

#[derive(Clone, Default)]
struct Cell {
    samples: Vec<Sample>,
    /// Why there are not more.
    failures: Vec<String>,
}

impl Cell {
    fn is_tried(&self) -> bool {
        !(self.samples.is_empty() && self.failures.is_empty())
    }

    fn spread(&self, figure: usize) -> Option<Spread> {
        Spread::of(self.samples.iter().map(|sample| sample.values[figure]))
    }
}

impl<'a> Table<'a> {
    pub(crate) fn new(workloads: &'a [Workload], columns: &[&'static str]) -> Self {
        let row = |workload| Row {
            workload,
            cells: vec![Cell::default(); columns.len()],
        };
        Self {
            origins: Vec::new(),
            rows: workloads.iter().map(row).collect(),
            columns: columns.to_vec(),
        }
    }

    /// Refuses what cannot stand in one table with what is there already.
    pub(crate) fn add(&mut self, line: Line) -> Result<(), String> {
        match line {
            Line::Run { run } => {
                if let Some(first) = self.origins.first() {
                    first.compare(&run)?;
                }
                self.origins.push(run);
            }
            Line::Taken(taken) => {
                let row = self.row(&taken.workload)?;
                let sample = taken.sample(row.workload)?;
                self.cell(&taken.workload, &taken.runtime)?
                    .samples
                    .push(sample);
            }
            Line::Failed(failed) => {
                let cell = self.cell(&failed.workload, &failed.runtime)?;
                cell.failures.push(failed.failed);
            }
        }
        Ok(())
    }

    fn row(&mut self, workload: &str) -> Result<&mut Row<'a>, String> {
        if self.origins.is_empty() {
            return Err("nothing says which run this is of".to_owned());
        }
        self.rows
            .iter_mut()
            .find(|row| row.workload.name == workload)
            .ok_or_else(|| format!("there is no workload {workload:?}"))
    }

    fn cell(&mut self, workload: &str, runtime: &str) -> Result<&mut Cell, String> {
        let column = self.column(runtime);
        let column = column.ok_or_else(|| format!("there is no runtime {runtime:?}"))?;
        Ok(&mut self.row(workload)?.cells[column])
    }

    /// Leaves out the rows and the columns that nobody tried to fill.
    fn trim(&mut self) {
        self.rows.retain(|row| row.cells.iter().any(Cell::is_tried));
        let is_tried = |column: usize| self.rows.iter().any(|row| row.cells[column].is_tried());
        let tried: Vec<_> = (0..self.columns.len()).map(is_tried).collect();
        let mut tried_columns = tried.iter();
        self.columns.retain(|_| *tried_columns.next().unwrap());
        for row in &mut self.rows {
            let mut tried_cells = tried.iter();
            row.cells.retain(|_| *tried_cells.next().unwrap());
        }
    }

    fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| *column == name)
    }

    fn has_baseline(&self) -> bool {
        self.column(BASELINE).is_some()
    }

    /// Every figure of every workload, in order.
    fn lines(&self) -> impl Iterator<Item = FigureLine<'_>> {
        self.rows.iter().flat_map(|row| {
            (0..row.workload.figures.len()).map(|index| FigureLine {
                table: self,
                row,
                index,
            })
        })
    }

    /// The fewest and the most samples of any cell that has some.
    fn samples(&self) -> Option<(usize, usize)> {
        let cells = self.rows.iter().flat_map(|row| &row.cells);
        let counts = cells.map(|cell| cell.samples.len()).filter(|n| *n > 0);
        Some((counts.clone().min()?, counts.max()?))
    }
}

/// One figure of one workload, on all runtimes.
#[derive(Clone, Copy)]
struct FigureLine<'t> {
    table: &'t Table<'t>,
    row: &'t Row<'t>,
    index: usize,
}

impl<'t> FigureLine<'t> {
    fn name(&self) -> &'static str {
        self.row.workload.name
    }

    fn figure(&self) -> Figure {
        self.row.workload.figures[self.index]
    }

    fn spread(&self, runtime: &str) -> Option<Spread> {
        self.row.cells[self.table.column(runtime)?].spread(self.index)
    }

    /// How many times better than the baseline; `None` where either has no samples.
    fn ratio(&self, runtime: &str) -> Option<Ratio> {
        self.ratio_to(BASELINE, runtime)
    }

    fn ratio_to(&self, other: &str, runtime: &str) -> Option<Ratio> {
        let (spread, other) = (self.spread(runtime)?, self.spread(other)?);
        Ratio::of(spread, other.median, self.figure().better)
    }

    /// One of the figures of what serves requests.
    fn is_of_a_server(&self) -> bool {
        let mut figures = self.row.workload.figures.iter();
        figures.any(|figure| figure.better == Better::More)
    }

    fn is_throughput(&self) -> bool {
        self.figure().better == Better::More
    }

    /// The latency that one request of a hundred exceeds.
    fn is_tail(&self) -> bool {
        self.figure().unit.ends_with("p99")
    }
}

/// The table and the picture of earlier runs, from their raw samples.
pub(crate) fn report(
    files: &[PathBuf],
    runtimes: &[&'static str],
    out: Option<&Path>,
) -> Result<(), String> {
    let workloads = workload_list();
    let mut table = Table::new(&workloads, runtimes);
    for file in files {
        let text =
            fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        raw::read(&text, |line| table.add(line))
            .map_err(|why| format!("{}: {why}", file.display()))?;
    }
    publish(table, out)
}

/// Says the tables; writes them to a file as well, with the picture beside it, if there is to be one.
pub(crate) fn publish(mut table: Table<'_>, out: Option<&Path>) -> Result<(), String> {
    table.trim();
    if table.rows.is_empty() {
        return Err("there is not one sample".to_owned());
    }
    let Some(path) = out else {
        return say(&markdown::markdown(&table, None));
    };
    let write = |path: &Path, text: &str| {
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    let picture = picture::picture(&table);
    let mut picture_name = None;
    match &picture {
        Some(svg) => {
            let path = path.with_extension("svg");
            write(&path, svg)?;
            picture_name = path.file_name().map(|name| name.display().to_string());
        }
        None => eprintln!("no picture: nothing was sampled beside {BASELINE}"),
    }
    let markdown = markdown::markdown(&table, picture_name.as_deref());
    write(path, &markdown)?;
    say(&markdown)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::usage::Usage;

    pub(super) const ECHO: &[Figure] = &[Figure::more("req/s"), Figure::less("us p99")];
    pub(super) const NS: &[Figure] = &[Figure::less("ns")];

    pub(super) fn workload(name: &'static str, figures: &'static [Figure]) -> Workload {
        Workload {
            name,
            figures,
            about: "of <these> & \"those\"",
            // No test runs it.
            ..workload_list().remove(0)
        }
    }

    pub(super) fn sample(values: &[f64]) -> Sample {
        Sample {
            values: values.to_vec(),
            ops: 1,
            wall: Duration::from_nanos(1),
            usage: Usage::default(),
            peak_kib: 1,
        }
    }

    /// A table with one sample for each `(workload, runtime, values)`.
    pub(super) fn table<'a>(
        workloads: &'a [Workload],
        samples: &[(&str, &str, &[f64])],
    ) -> Table<'a> {
        let mut table = Table::new(workloads, &["heist", "tokio", "smol"]);
        table
            .add(Line::Run {
                run: Origin::default(),
            })
            .unwrap();
        for (name, runtime, values) in samples {
            let workload = workloads.iter().find(|known| known.name == *name).unwrap();
            let line = Line::taken(0, workload, runtime, &sample(values));
            table.add(line).unwrap();
        }
        table
    }

    #[test]
    fn more_than_one_is_better_for_every_figure() {
        let workloads = [workload("echo", ECHO)];
        let table = table(
            &workloads,
            &[
                ("echo", "heist", &[50.0, 50.0]),
                ("echo", "tokio", &[100.0, 100.0]),
            ],
        );
        let ratios: Vec<_> = table
            .lines()
            .map(|line| line.ratio(HEIST).unwrap().median)
            .collect();
        assert_eq!(ratios, [0.5, 2.0]);
    }

    #[test]
    fn what_nobody_tried_has_neither_row_nor_column() {
        let workloads = [workload("one", NS), workload("two", NS)];
        let mut table = table(&workloads, &[("two", "tokio", &[1.0])]);
        let failed = Line::failed(0, &workloads[1], "heist", "it hung");
        table.add(failed).unwrap();
        table.trim();
        assert_eq!(table.columns, ["heist", "tokio"]);
        assert_eq!(table.rows.len(), 1);
        assert_eq!(table.rows[0].cells[0].failures, ["it hung"]);
        assert_eq!(table.rows[0].cells[1].samples.len(), 1);
    }

    #[test]
    fn what_does_not_belong_in_the_table_is_refused() {
        let workloads = [workload("one", NS)];
        let stranger = workload("two", NS);
        let mut fresh = Table::new(&workloads, &["heist"]);
        let line = |workload, runtime| Line::taken(0, workload, runtime, &sample(&[1.0]));
        assert!(
            fresh.add(line(&workloads[0], "heist")).is_err(),
            "no run yet"
        );
        let mut table = table(&workloads, &[]);
        assert!(table.add(line(&stranger, "heist")).is_err());
        assert!(table.add(line(&workloads[0], "monoio")).is_err());
        assert!(table.add(line(&workloads[0], "heist")).is_ok());
        let run = Origin {
            workers: 1,
            ..Origin::default()
        };
        assert!(table.add(Line::Run { run }).is_err());
    }

    #[test]
    fn files_of_several_runs_become_one_table() {
        let workloads = [workload("one", NS)];
        let file = |runtime, value: f64| {
            let run = Line::Run {
                run: Origin::default(),
            };
            let lines = [
                run,
                Line::taken(0, &workloads[0], runtime, &sample(&[value])),
            ];
            lines
                .map(|line| serde_json::to_string(&line).unwrap() + "\n")
                .concat()
        };
        let mut table = Table::new(&workloads, &["heist", "tokio"]);
        for text in [file("heist", 1.0), file("tokio", 9.0), file("heist", 3.0)] {
            raw::read(&text, |line| table.add(line)).unwrap();
        }
        assert_eq!(table.origins.len(), 3);
        assert_eq!(table.samples(), Some((1, 2)));
        let line = table.lines().next().unwrap();
        assert_eq!(line.spread(HEIST).unwrap().median, 2.0);
        assert_eq!(line.ratio(HEIST).unwrap().median, 4.5);
    }
}
