//! The options of the command line.

use heist_oracle::cases::Level;
use heist_oracle::check::Plan;
use std::path::PathBuf;

pub(crate) struct Options {
    pub(crate) job: Job,
    pub(crate) plan: Plan,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Job {
    Run(Vec<PathBuf>),
    Check(PathBuf),
    Pack { from: PathBuf, out: PathBuf },
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut plan = Plan {
            workers: vec![4],
            repeat: 1,
            level: Level::Parallel,
            only: Vec::new(),
            seed: None,
        };
        let (mut files, mut check, mut pack, mut out) = (Vec::new(), None, None, None);
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            if !word.starts_with("--") {
                files.push(PathBuf::from(word));
                continue;
            }
            let value = words
                .next()
                .ok_or_else(|| format!("{word} wants a value"))?;
            match word.as_str() {
                "--workers" => plan.workers = numbers(word, value)?,
                "--repeat" => plan.repeat = number(word, value)?,
                "--level" => {
                    plan.level = Level::parse(value).ok_or_else(|| format!("no level {value:?}"))?
                }
                "--only" => plan.only = value.split(',').map(str::to_owned).collect(),
                "--sim" => {
                    plan.seed = Some(
                        value
                            .parse()
                            .map_err(|_| format!("{word} wants a seed, not {value:?}"))?,
                    )
                }
                "--check" => check = Some(PathBuf::from(value)),
                "--pack" => pack = Some(PathBuf::from(value)),
                "--out" => out = Some(PathBuf::from(value)),
                _ => return Err(format!("there is no option {word:?}")),
            }
        }
        let job = match (check, pack, out) {
            (None, None, None) if !files.is_empty() => Job::Run(files),
            (Some(path), None, None) if files.is_empty() => Job::Check(path),
            (None, Some(from), Some(out)) if files.is_empty() => Job::Pack { from, out },
            _ => return Err("say either files, or --check, or --pack and --out".to_owned()),
        };
        if matches!(job, Job::Run(_)) && plan.workers.len() > 1 {
            return Err("files run on one number of workers".to_owned());
        }
        Ok(Self { job, plan })
    }
}

fn numbers(name: &str, value: &str) -> Result<Vec<usize>, String> {
    value.split(',').map(|value| number(name, value)).collect()
}

fn number(name: &str, value: &str) -> Result<usize, String> {
    match value.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("{name} wants a number from 1 on, not {value:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words)
    }

    #[test]
    fn files_and_options_mix() {
        let options = parse("a.json --workers 2 b.json").unwrap();
        assert_eq!(
            options.job,
            Job::Run(vec!["a.json".into(), "b.json".into()])
        );
        assert_eq!(options.plan.workers, [2]);
        let options = parse("--check data --workers 1,8 --repeat 3 --level cooperative").unwrap();
        assert_eq!(options.job, Job::Check("data".into()));
        assert_eq!((options.plan.workers, options.plan.repeat), (vec![1, 8], 3));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "",
            "--workers",
            "--workers 0 a",
            "--workers 1,2 a",
            "--check d a",
            "--pack d",
            "--fast yes a",
            "--check d --level sometimes",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
