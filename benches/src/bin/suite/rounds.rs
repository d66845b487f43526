//! Several programs in turn, several times.

use std::error::Error;

use crate::line::Line;
use crate::program::{Program, Values};

/// The runs of one program.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    lines: Vec<Line>,
    /// It has no such row, or does not work.
    pub(crate) failed: bool,
}

impl Series {
    /// The middle one of what the runs say.
    pub(crate) fn median(&self, name: &str) -> Option<f64> {
        self.median_of(|line| line.number(name))
    }

    /// Records per second.
    pub(crate) fn rate(&self) -> Option<f64> {
        self.median_of(Line::rate)
    }

    fn median_of(&self, number: impl Fn(&Line) -> Option<f64>) -> Option<f64> {
        let mut numbers: Vec<f64> = self.lines.iter().filter_map(number).collect();
        numbers.sort_by(f64::total_cmp);
        numbers.get(numbers.len() / 2).copied()
    }

    /// What its runs have found.
    pub(crate) fn checksums(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(Line::checksum)
    }
}

/// Runs each program once, then each again, and so on. The first programs are this project's and must not fail; another
/// one that fails is not run again.
pub(crate) fn run(
    programs: &[Program],
    own: usize,
    rounds: usize,
    values: &Values<'_>,
) -> Result<Vec<Series>, Box<dyn Error>> {
    let series = |program: &Program| Series { name: program.name.clone(), lines: Vec::new(), failed: false };
    let mut all: Vec<Series> = programs.iter().map(series).collect();
    for round in 1..=rounds {
        for (index, (program, series)) in programs.iter().zip(&mut all).enumerate() {
            if series.failed {
                continue;
            }
            let Values { workload, parallelism, .. } = values;
            eprintln!("{workload} p={parallelism} round {round}: {}", program.name);
            match program.run(values) {
                Ok(line) => series.lines.push(line),
                Err(error) if index < own => return Err(format!("{workload} failed: {error}").into()),
                Err(error) => {
                    eprintln!("{} has no result: {error}", program.name);
                    series.lines.clear();
                    series.failed = true;
                }
            }
        }
    }
    Ok(all)
}
