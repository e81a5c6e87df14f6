//! The picture: for each workload the ratios to the baseline as bars from a line at 1. Right of it is better.
//!
//! It shows the first figure of each workload, and the tail latency of those that serve requests. It paints
//! its own background, since it cannot know what it is shown on.

mod scale;
mod svg;

use super::groups::{Group, group_of};
use super::markdown::sample_counts;
use super::origin::{dates, versions};
use super::spread::{Ratio, number, times};
use super::summary::means;
use super::{FigureLine, HEIST, Table};
use crate::rt::BASELINE;
use scale::Scale;
use svg::{Anchor, Font, Svg};

const WIDTH: f64 = 900.0;
const MARGIN: f64 = 24.0;
/// So many characters of the small font are sure to fit between the margins.
const LINE: usize = 130;

const BAR: f64 = 7.0;
/// From one bar to the next.
const PITCH: f64 = 9.4;
const BETWEEN_WORKLOADS: f64 = 10.0;
/// What the name and the baseline's median take, however few the bars.
const LEAST_HEIGHT: f64 = 27.0;

const BACKGROUND: &str = "#ffffff";
const EDGE: &str = "#d5d9de";
const GRID: &str = "#eaedf0";
const STRIPE: &str = "#f4f6f8";
const INK: &str = "#1f2328";
const PALE_INK: &str = "#656d76";
const ONE: &str = "#41484f";
/// How far the baseline's own samples lie apart.
const NOISE: &str = "#dde2e8";

const TITLE: Font = font(20.0, INK, true);
const SECTION: Font = font(13.0, INK, true);
const NAME: Font = font(12.0, INK, true);
const SMALL: Font = font(11.0, PALE_INK, false);
const TINY: Font = font(10.0, PALE_INK, false);

const fn font(size: f64, color: &'static str, bold: bool) -> Font {
    Font { size, color, bold }
}

/// What stands out is what the picture is about; the others differ in hue and in lightness.
fn color(runtime: &str) -> &'static str {
    match runtime {
        HEIST => "#d9480f",
        "ct" => "#3b78b8",
        "smol" => "#52a88a",
        "go" => "#8e78bd",
        _ => "#9aa1a9",
    }
}

fn legend_name(runtime: &str) -> String {
    match runtime {
        "ct" => format!("ct ({BASELINE}, current-thread)"),
        other => other.to_owned(),
    }
}

/// `None` if there is nothing to compare.
pub(super) fn picture(table: &Table<'_>) -> Option<String> {
    let shown =
        |line: &FigureLine<'_>| line.index == 0 || (line.is_of_a_server() && line.is_tail());
    let blocks: Vec<_> = table.lines().filter(shown).filter_map(Block::of).collect();
    if blocks.is_empty() {
        return None;
    }
    let ratios = || {
        blocks
            .iter()
            .flat_map(|block| &block.bars)
            .map(|(_, ratio)| ratio)
    };
    let ends = ratios().flat_map(|ratio| [ratio.worst, ratio.best]);
    let mut sheet = Sheet {
        svg: Svg::default(),
        scale: Scale::of(ends),
        y: MARGIN,
    };
    sheet.head(table);
    for group in Group::ALL {
        let of_group = || {
            blocks
                .iter()
                .filter(|block| group_of(block.workload) == group)
        };
        if of_group().next().is_some() {
            sheet.section(table, group);
            of_group().for_each(|block| sheet.block(block));
        }
    }
    Some(sheet.finish())
}

/// What is drawn of one figure.
struct Block {
    workload: &'static str,
    title: String,
    /// The baseline's median, in words.
    baseline: String,
    noise: Ratio,
    /// By runtime, the baseline left out.
    bars: Vec<(&'static str, Ratio)>,
}

impl Block {
    fn of(line: FigureLine<'_>) -> Option<Self> {
        let unit = line.figure().unit;
        let runtimes = line.table.columns.iter().filter(|name| **name != BASELINE);
        let bars: Vec<_> = runtimes
            .filter_map(|runtime| Some((*runtime, line.ratio(runtime)?)))
            .collect();
        let title = match line.index {
            0 => line.name().to_owned(),
            _ => format!("{}, p99", line.name()),
        };
        let block = Self {
            workload: line.name(),
            title,
            baseline: format!(
                "{BASELINE} {} {unit}",
                number(line.spread(BASELINE)?.median)
            ),
            noise: line.ratio(BASELINE)?,
            bars,
        };
        (!block.bars.is_empty()).then_some(block)
    }

    fn height(&self) -> f64 {
        (self.bars.len() as f64 * PITCH).max(LEAST_HEIGHT)
    }
}

struct Sheet {
    svg: Svg,
    scale: Scale,
    /// Where the next thing begins, from the top.
    y: f64,
}

impl Sheet {
    fn head(&mut self, table: &Table<'_>) {
        self.y += 16.0;
        let title = format!("{HEIST} beside its peers");
        self.svg
            .text([MARGIN, self.y], Anchor::Start, TITLE, &title);
        self.y += 4.0;
        if let Some(origin) = table.origins.first() {
            let setting = format!(
                "{}; {}; {} workers; {}",
                origin.machine,
                dates(&table.origins),
                origin.workers,
                sample_counts(table)
            );
            self.paragraph(&setting);
            self.paragraph(&versions(&table.origins, &table.columns));
        }
        self.paragraph(&format!(
            "Bars: how many times better than {BASELINE}'s median, on a logarithmic scale: right of the line is better. \
             Cut bars go on beyond the edge. Whiskers: least to most. Grey: {BASELINE}'s own least to most."
        ));
        self.y += 12.0;
        self.legend(table);
    }

    fn paragraph(&mut self, text: &str) {
        for line in wrapped(text, LINE) {
            self.y += 16.0;
            self.svg.text([MARGIN, self.y], Anchor::Start, SMALL, &line);
        }
    }

    fn legend(&mut self, table: &Table<'_>) {
        self.y += 10.0;
        let mut x = MARGIN;
        for runtime in table.columns.iter().filter(|name| **name != BASELINE) {
            let bold = *runtime == HEIST;
            let name = legend_name(runtime);
            self.svg
                .rect([x, self.y - 9.0, 18.0, 9.0], color(runtime), 1.5);
            let font = Font {
                color: INK,
                bold,
                ..SMALL
            };
            self.svg
                .text([x + 24.0, self.y], Anchor::Start, font, &name);
            x += 24.0 + 6.3 * name.len() as f64 + 20.0;
        }
        self.svg
            .line([x + 4.0, self.y - 11.0, x + 4.0, self.y + 2.0], ONE, 1.5);
        let font = Font {
            color: INK,
            ..SMALL
        };
        self.svg.text(
            [x + 14.0, self.y],
            Anchor::Start,
            font,
            &format!("{BASELINE} = 1"),
        );
        self.y += 12.0;
    }

    /// The title of a group, with what it comes to, and the axis.
    fn section(&mut self, table: &Table<'_>, group: Group) {
        self.y += 8.0;
        self.svg.rect([1.0, self.y, WIDTH - 2.0, 24.0], STRIPE, 0.0);
        let baseline = self.y + 16.5;
        self.svg
            .text([MARGIN, baseline], Anchor::Start, SECTION, group.title());
        for tick in self.scale.ticks() {
            let at = [self.scale.x(tick), baseline];
            let font = Font {
                bold: tick == 1.0,
                ..TINY
            };
            self.svg
                .text(at, Anchor::Middle, font, &format!("×{}", short(tick)));
        }
        self.y += 24.0;
        let heist = table.column(HEIST);
        let means: Vec<_> = means(table)
            .into_iter()
            .filter(|mean| mean.kind.group == group)
            .filter_map(|mean| Some((mean.kind.part, mean.columns[heist?].0?)))
            .map(|(title, mean)| format!("{title}×{}", times(mean)))
            .collect();
        if !means.is_empty() {
            let text = format!("{HEIST}'s geometric mean: {}", means.join(", "));
            self.y += 15.0;
            self.svg.text([MARGIN, self.y], Anchor::Start, SMALL, &text);
        }
        self.y += BETWEEN_WORKLOADS + 4.0;
    }

    fn block(&mut self, block: &Block) {
        let (top, height) = (self.y, block.height());
        let bottom = top + height;
        self.svg
            .text([MARGIN, top + 10.5], Anchor::Start, NAME, &block.title);
        self.svg
            .text([MARGIN, top + 23.5], Anchor::Start, TINY, &block.baseline);
        let (above, below) = (
            top - BETWEEN_WORKLOADS / 2.0,
            bottom + BETWEEN_WORKLOADS / 2.0,
        );
        for tick in self.scale.ticks() {
            let x = self.scale.x(tick);
            self.svg.line([x, above, x, below], GRID, 1.0);
        }
        let (left, right) = (
            self.scale.x(block.noise.worst),
            self.scale.x(block.noise.best),
        );
        self.svg
            .rect([left, top - 2.0, right - left, height + 3.0], NOISE, 0.0);
        let mut y = top + (height - block.bars.len() as f64 * PITCH) / 2.0;
        for (runtime, ratio) in &block.bars {
            self.bar(y, runtime, *ratio);
            y += PITCH;
        }
        let one = self.scale.x(1.0);
        self.svg.line([one, above, one, below], ONE, 1.5);
        self.svg
            .line([MARGIN, below, WIDTH - MARGIN, below], GRID, 1.0);
        self.y = bottom + BETWEEN_WORKLOADS;
    }

    fn bar(&mut self, y: f64, runtime: &str, ratio: Ratio) {
        let (one, end) = (self.scale.x(1.0), self.scale.x(ratio.median));
        let (from, to) = (one.min(end), one.max(end));
        self.svg
            .rect([from, y, to - from, BAR], color(runtime), 1.0);
        let middle = y + BAR / 2.0;
        if self.scale.is_beyond(ratio.median) {
            // A notch before the end: cut off, and not just this long.
            let x = end + if end < one { 7.0 } else { -10.0 };
            self.svg
                .line([x, y + BAR + 1.0, x + 3.0, y - 1.0], BACKGROUND, 2.0);
        }
        let (worst, best) = (self.scale.x(ratio.worst), self.scale.x(ratio.best));
        self.svg.line([worst, middle, best, middle], INK, 0.9);
        for (ratio, x) in [(ratio.worst, worst), (ratio.best, best)] {
            // One that goes on beyond the edge has no end to be marked.
            if !self.scale.is_beyond(ratio) {
                self.svg.line([x, middle - 2.2, x, middle + 2.2], INK, 0.9);
            }
        }
        let is_heist = runtime == HEIST;
        let font = Font {
            size: if is_heist { 10.5 } else { 9.0 },
            color: if is_heist { color(HEIST) } else { PALE_INK },
            bold: is_heist,
        };
        let text = format!("×{}", times(ratio.median));
        let baseline = middle + font.size * 0.36;
        if ratio.median < 1.0 {
            self.svg
                .text([worst.min(from) - 5.0, baseline], Anchor::End, font, &text);
        } else {
            self.svg
                .text([best.max(to) + 5.0, baseline], Anchor::Start, font, &text);
        }
    }

    fn finish(self) -> String {
        let height = (self.y + MARGIN / 2.0).ceil();
        let mut whole = Svg::default();
        whole.rect([0.0, 0.0, WIDTH, height], EDGE, 8.0);
        whole.rect([1.0, 1.0, WIDTH - 2.0, height - 2.0], BACKGROUND, 7.0);
        whole.append(self.svg);
        whole.finish(WIDTH, height, &format!("{HEIST} beside its peers"))
    }
}

/// As few digits as a round number needs.
fn short(tick: f64) -> String {
    format!("{}", (tick * 10.0).round() / 10.0)
}

/// Breaks a text between words into lines of at most so many characters, longer words excepted.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one from the start");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::svg::tests::text_of_well_formed;
    use super::*;
    use crate::report::tests::{ECHO, NS, table, workload};

    #[test]
    fn the_picture_is_well_formed_and_tells_every_ratio() {
        let workloads = [workload("a<b>&\"c\"", NS), workload("echo_x", ECHO)];
        let table = table(
            &workloads,
            &[
                ("a<b>&\"c\"", "tokio", &[600.0]),
                ("a<b>&\"c\"", "heist", &[200.0]),
                ("a<b>&\"c\"", "smol", &[1_200.0]),
                ("echo_x", "tokio", &[100.0, 70.0]),
                ("echo_x", "heist", &[125.0, 10.0]),
            ],
        );
        let text = text_of_well_formed(&picture(&table).unwrap());
        let expected = [
            "a<b>&\"c\"",
            "echo_x, p99",
            "tokio 600 ns",
            "×3.00",
            "×0.50",
            "tokio 100 req/s",
            "×1.25",
            "tokio 70.0 us p99",
            "×7.00",
            "Scheduling",
            "I/O",
        ];
        for piece in expected {
            assert!(
                text.iter().any(|found| found == piece),
                "{piece:?} in {text:?}"
            );
        }
    }

    #[test]
    fn there_is_no_picture_without_anything_to_compare() {
        let workloads = [workload("one", NS)];
        assert!(picture(&table(&workloads, &[("one", "tokio", &[1.0])])).is_none());
        assert!(picture(&table(&workloads, &[("one", "heist", &[1.0])])).is_none());
    }

    #[test]
    fn long_lines_are_broken_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("endless", 3), ["endless"]);
    }
}
