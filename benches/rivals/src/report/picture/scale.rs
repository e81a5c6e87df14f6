//! The axis: ratios on a logarithmic scale, from the left edge of the plot to the right one.

/// Where the plot lies on the sheet.
const LEFT: f64 = 236.0;
const RIGHT: f64 = 836.0;

/// Beyond these the axis does not go: a bar that does is cut there, and its number tells the rest. Otherwise one
/// runtime a hundred times slower would squeeze together all that there is to compare.
const FARTHEST: (f64, f64) = (0.1, 100.0);

pub(super) struct Scale {
    least: f64,
    most: f64,
}

impl Scale {
    /// Wide enough for these ratios, within bounds, and for 1 with something on both sides.
    pub(super) fn of(ratios: impl Iterator<Item = f64>) -> Self {
        let (least, most) = ratios.fold((0.5_f64, 2.0_f64), |(least, most), ratio| {
            (least.min(ratio), most.max(ratio))
        });
        Self {
            least: least.max(FARTHEST.0),
            most: most.min(FARTHEST.1),
        }
    }

    /// Where on the sheet a ratio lies; the nearer edge for one that is beyond it.
    pub(super) fn x(&self, ratio: f64) -> f64 {
        let share = (ratio / self.least).ln() / (self.most / self.least).ln();
        LEFT + (RIGHT - LEFT) * share.clamp(0.0, 1.0)
    }

    pub(super) fn is_beyond(&self, ratio: f64) -> bool {
        ratio < self.least || ratio > self.most
    }

    /// The ratios that get a line and a number.
    pub(super) fn ticks(&self) -> Vec<f64> {
        let decades = [0.1, 1.0, 10.0, 100.0];
        let ticks = decades
            .iter()
            .flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * decade));
        // The bounds themselves count, whatever the logarithms make of them.
        ticks
            .filter(|tick| *tick >= self.least * 0.999 && *tick <= self.most * 1.001)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lies_in_between_and_equal_factors_are_equally_far_away() {
        let scale = Scale::of([0.25, 4.0].into_iter());
        let middle = (LEFT + RIGHT) / 2.0;
        assert!((scale.x(1.0) - middle).abs() < 1e-6);
        assert!((scale.x(2.0) - middle - (middle - scale.x(0.5))).abs() < 1e-6);
        assert_eq!(scale.ticks(), [0.5, 1.0, 2.0]);
    }

    #[test]
    fn what_is_far_away_is_cut_at_the_edge() {
        let scale = Scale::of([0.001, 12_345.0].into_iter());
        assert_eq!(scale.x(0.001), LEFT);
        assert_eq!(scale.x(12_345.0), RIGHT);
        assert!(scale.is_beyond(0.05) && !scale.is_beyond(0.1));
        let ticks = scale.ticks();
        assert_eq!((ticks[0], ticks[ticks.len() - 1]), (0.1, 100.0));
    }

    #[test]
    fn without_much_to_show_one_is_still_not_at_the_edge() {
        let scale = Scale::of([1.1].into_iter());
        assert!(scale.x(1.0) > LEFT && scale.x(1.0) < RIGHT);
    }
}
