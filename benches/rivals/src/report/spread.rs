//! Numbers that summarize numbers.

use crate::meter::Better;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) least: f64,
    pub(super) median: f64,
    pub(super) most: f64,
}

impl Spread {
    /// `None` where there are no values.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        // Of an even number, the mean of the middle two.
        let median = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
        Some(Self {
            least,
            median,
            most,
        })
    }

    pub(super) fn overlaps(self, other: Self) -> bool {
        self.least <= other.most && other.least <= self.most
    }
}

/// How many times better than another's median: more than 1 is better, whatever the unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ratio {
    pub(super) worst: f64,
    pub(super) median: f64,
    pub(super) best: f64,
}

impl Ratio {
    /// `None` where there is no such number: nothing is so many times better than zero, or so many times as good.
    pub(super) fn of(spread: Spread, other: f64, better: Better) -> Option<Self> {
        let Spread {
            least,
            median,
            most,
        } = spread;
        let ratio = match better {
            Better::Less => Self {
                worst: other / most,
                median: other / median,
                best: other / least,
            },
            Better::More => Self {
                worst: least / other,
                median: median / other,
                best: most / other,
            },
        };
        // Of nothing but zeros, zero divided by zero is left.
        let is_number = [ratio.worst, ratio.median, ratio.best]
            .iter()
            .all(|x| !x.is_nan());
        (is_number && ratio.median.is_finite()).then_some(ratio)
    }
}

/// `None` where there are no values. None of them is negative.
pub(super) fn geometric_mean(values: &[f64]) -> Option<f64> {
    let logarithms: f64 = values.iter().map(|value| value.ln()).sum();
    (!values.is_empty()).then(|| (logarithms / values.len() as f64).exp())
}

/// Three digits that count.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        100_000.0.. => format!("{:.0}k", value / 1e3),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        0.01.. => format!("{value:.2}"),
        _ => "<0.01".to_owned(),
    }
}

/// A ratio: as any number, but two digits that count are left of a small one, too.
pub(super) fn times(ratio: f64) -> String {
    if ratio == 0.0 || ratio >= 0.1 {
        return number(ratio);
    }
    let zeros = -ratio.log10().floor();
    format!("{ratio:.*}", zeros.min(8.0) as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_middle_of_its_values() {
        let of = |values: &[f64]| Spread::of(values.iter().copied());
        let spread = |least, median, most| {
            Some(Spread {
                least,
                median,
                most,
            })
        };
        assert_eq!(of(&[3.0, 1.0, 2.0]), spread(1.0, 2.0, 3.0));
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), spread(1.0, 2.5, 4.0));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn the_worst_of_a_time_is_its_most_and_the_worst_of_a_rate_its_least() {
        let spread = Spread {
            least: 50.0,
            median: 100.0,
            most: 200.0,
        };
        let ratio = |worst, median, best| {
            Some(Ratio {
                worst,
                median,
                best,
            })
        };
        let of = |other, better| Ratio::of(spread, other, better);
        assert_eq!(of(100.0, Better::Less), ratio(0.5, 1.0, 2.0));
        assert_eq!(of(50.0, Better::More), ratio(1.0, 2.0, 4.0));
        assert_eq!(of(0.0, Better::More), None);
        assert_eq!(of(0.0, Better::Less), ratio(0.0, 0.0, 0.0));
    }

    #[test]
    fn twice_as_good_and_half_as_good_is_level() {
        let mean = |values: &[f64]| geometric_mean(values).map(|mean| (mean * 1e9).round() / 1e9);
        assert_eq!(mean(&[2.0, 0.5]), Some(1.0));
        assert_eq!(mean(&[1.0, 8.0, 27.0]), Some(6.0));
        assert_eq!(mean(&[]), None);
    }

    #[test]
    fn small_ratios_keep_two_digits() {
        let texts = [0.0, 0.0028, 0.05, 0.1, 0.5, 2.0, 149.2].map(times);
        assert_eq!(
            texts,
            ["0", "0.0028", "0.050", "0.10", "0.50", "2.00", "149"]
        );
    }
}
