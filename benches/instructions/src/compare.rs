//! Whether a count is still what it was.

use crate::table::Environment;

/// The compiler inlines a little differently when code nearby changes, which moves a count by a percent or so; more is a change of the path.
const CLOSE: f64 = 0.03;
/// Another compiler, or another libc under it: only what is plainly worse is seen.
const WIDE: f64 = 0.25;
/// One instruction more in a path of ten is no regression.
const SLACK: f64 = 2.0;

/// How far a count may be from what was recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tolerance {
    Close,
    Wide,
}

impl Tolerance {
    pub(crate) fn between(recorded: &Environment, here: &Environment) -> Self {
        if recorded == here {
            Self::Close
        } else {
            Self::Wide
        }
    }

    /// What is to be said about it.
    pub(crate) fn why(self) -> Option<&'static str> {
        match self {
            Self::Close => None,
            Self::Wide => Some(
                "another compiler, target or libc than that of the record: counts may differ by 25 %",
            ),
        }
    }

    fn fraction(self) -> f64 {
        match self {
            Self::Close => CLOSE,
            Self::Wide => WIDE,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Same,
    Dearer,
    Cheaper,
    /// Path and record do not belong together.
    Unrecorded,
}

impl Verdict {
    pub(crate) fn of(now: f64, recorded: Option<f64>, tolerance: Tolerance) -> Self {
        let Some(recorded) = recorded else {
            return Self::Unrecorded;
        };
        let room = recorded * tolerance.fraction() + SLACK;
        if now > recorded + room {
            Self::Dearer
        } else if now < recorded - room {
            Self::Cheaper
        } else {
            Self::Same
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Same => "",
            Self::Dearer => "DEARER",
            Self::Cheaper => "cheaper",
            Self::Unrecorded => "not recorded",
        }
    }
}

/// What is wrong, if anything is, and what there is to say besides.
pub(crate) fn sum_up(verdicts: &[Verdict]) -> (Option<String>, Option<&'static str>) {
    let count = |wanted| verdicts.iter().filter(|is| **is == wanted).count();
    let mut wrong = Vec::new();
    match count(Verdict::Dearer) {
        0 => {}
        dearer => wrong.push(format!(
            "{dearer} of {} paths cost more than was recorded: make them cheaper, or say why in the change and run --write",
            verdicts.len()
        )),
    }
    match count(Verdict::Unrecorded) {
        0 => {}
        strangers => wrong.push(format!(
            "paths and record differ in {strangers}: run --write"
        )),
    }
    let hint = (count(Verdict::Cheaper) > 0)
        .then_some("some paths became cheaper: run --write, so that they stay so");
    ((!wrong.is_empty()).then(|| wrong.join("\n")), hint)
}

#[cfg(test)]
mod tests {
    use super::Tolerance::{Close, Wide};
    use super::Verdict::{Cheaper, Dearer, Same, Unrecorded};
    use super::*;

    #[test]
    fn three_percent_and_two_instructions_are_let_pass() {
        for (now, verdict) in [
            (105.0, Same),
            (105.1, Dearer),
            (95.0, Same),
            (94.9, Cheaper),
        ] {
            assert_eq!(Verdict::of(now, Some(100.0), Close), verdict, "{now}");
        }
        assert_eq!(Verdict::of(1.0, None, Close), Unrecorded);
    }

    #[test]
    fn another_compiler_is_let_pass_a_quarter() {
        for (now, verdict) in [(127.0, Same), (127.1, Dearer), (72.9, Cheaper)] {
            assert_eq!(Verdict::of(now, Some(100.0), Wide), verdict, "{now}");
        }
    }

    #[test]
    fn only_what_is_dearer_or_unrecorded_fails() {
        assert_eq!(sum_up(&[Same, Same]), (None, None));
        let (failed, hint) = sum_up(&[Same, Cheaper]);
        assert!(failed.is_none() && hint.is_some());
        let (failed, hint) = sum_up(&[Dearer, Same, Unrecorded]);
        assert_eq!(failed.unwrap().lines().count(), 2);
        assert!(hint.is_none());
    }
}
