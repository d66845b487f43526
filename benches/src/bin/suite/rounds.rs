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

    /// The rates of this program as multiples of those of another in the same round, the lowest first: what comes and
    /// goes on the machine is alike for runs that follow each other.
    pub(crate) fn multiples_of(&self, other: &Self) -> Vec<f64> {
        let rounds = self.lines.iter().zip(&other.lines);
        let mut multiples: Vec<f64> =
            rounds.filter_map(|(own, other)| Some(own.rate()? / other.rate()?)).collect();
        multiples.sort_by(f64::total_cmp);
        multiples
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_compared_within_a_round() {
        let series = |rates: [u32; 3]| Series {
            name: String::new(),
            lines: rates.iter().map(|rate| Line::find(&format!("rate={rate}")).unwrap()).collect(),
            failed: false,
        };
        // The machine has half of its speed in the second round.
        let multiples = series([8, 4, 9]).multiples_of(&series([4, 2, 3]));
        assert_eq!(multiples, [2.0, 2.0, 3.0]);
    }
}
