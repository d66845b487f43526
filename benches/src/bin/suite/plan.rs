//! What is run for each row.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::PathBuf;

use crate::program::{Program, Values};
use crate::rounds::{self, Series};

/// Everything there is to run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) own: Program,
    pub(crate) peers: Vec<Program>,
    pub(crate) rounds: usize,
    pub(crate) parallelism: Vec<usize>,
    pub(crate) records: Option<u64>,
    pub(crate) words: PathBuf,
}

/// One row with one parallelism.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) row: &'static str,
    pub(crate) workload: &'static str,
    pub(crate) parallelism: usize,
    /// This project's first.
    pub(crate) series: Vec<Series>,
    /// How many of them have to agree on the checksum.
    agreeing: usize,
}

/// All that was run.
#[derive(Debug)]
pub(crate) struct Results(pub(crate) Vec<Case>);

/// Rows whose rate is compared.
pub(crate) const RATES: [&str; 6] = ["W0", "W1", "W2", "W3", "W3-QUARTER", "W4"];
/// Rows in which a panic is recovered from.
pub(crate) const RECOVERIES: [&str; 3] = ["R1-100K", "R1", "R1-10M"];
/// Rows in which an operator is rescaled.
pub(crate) const RESCALES: [&str; 3] = ["RESCALE-100K", "RESCALE", "RESCALE-10M"];
const OTHERS: [&str; 7] = ["C1", "L1", "TOUCHED", "REGIONS", "SUPERVISED", "S1", "STALL"];
/// Rows that are run with and without checkpoints.
const WITH_CHECKPOINTS: [&str; 5] = ["W1", "W2", "W3", "TENTH", "TENTH-ROCKSDB"];
/// How long the runs of C1 last, so that there are some checkpoints, at the rate that a first run of fewer records has.
/// It is less where that one was slow to begin.
const C1_SECONDS: f64 = 11.0;

/// The names of this project's programs that are not the plain one.
const OWN_CHECKPOINTED: &str = "watershed, a checkpoint every second";
const OWN_ROCKSDB: &str = "watershed, RocksDB";

/// The rows asked for, or all.
pub(crate) fn rows(asked: &[String]) -> Result<Vec<&'static str>, String> {
    let all = || RATES.into_iter().chain(RECOVERIES).chain(RESCALES).chain(OTHERS);
    if asked.is_empty() {
        return Ok(all().collect());
    }
    let find = |name: &String| all().find(|row| row == name).ok_or(format!("there is no row {name}"));
    asked.iter().map(find).collect()
}

impl Plan {
    /// Runs these rows.
    pub(crate) fn run(&self, rows: &[&'static str]) -> Result<Results, Box<dyn Error>> {
        let mut cases = Vec::new();
        for &row in rows {
            for &parallelism in &self.parallelism {
                if row == "C1" {
                    for workload in WITH_CHECKPOINTS {
                        cases.push(self.checkpoint_cost(workload, parallelism)?);
                    }
                } else {
                    cases.push(self.compare(row, parallelism)?);
                }
            }
        }
        Ok(Results(cases))
    }

    /// This project's program beside the others.
    fn compare(&self, row: &'static str, parallelism: usize) -> Result<Case, Box<dyn Error>> {
        let own = match self.records {
            Some(_) => self.own.with(&["--records", "{records}"]),
            None => self.own.clone(),
        };
        let mut programs = vec![own.clone()];
        if row == "L1" {
            programs.push(checkpointed(&own));
        }
        if row == "TOUCHED" {
            programs.push(own.with(&["--state", "rocksdb"]).named(OWN_ROCKSDB));
        }
        if RECOVERIES.contains(&row) || RESCALES.contains(&row) {
            // All keys have room in that: with less, ten million that come at random would take longer than a run may.
            let arguments = ["--state", "rocksdb", "--memory-mib", "1024"];
            programs.push(own.with(&arguments).named(OWN_ROCKSDB));
        }
        let own = programs.len();
        let agreeing = match row {
            // What a record adds depends on the order in which records of two sources come.
            "L1" => 0,
            _ if RATES.contains(&row) => usize::MAX,
            _ => own,
        };
        if RATES.contains(&row) || RECOVERIES.contains(&row) || ["L1", "S1"].contains(&row) {
            programs.extend(self.peers.iter().cloned());
        }
        let series = rounds::run(&programs, own, self.rounds, &self.values(row, parallelism, self.records))?;
        Ok(Case { row, workload: row, parallelism, series, agreeing })
    }

    /// A workload with checkpoints and without, with so many records that it takes long enough.
    fn checkpoint_cost(&self, workload: &'static str, parallelism: usize) -> Result<Case, Box<dyn Error>> {
        let records = if let Some(records) = self.records {
            records
        } else {
            let trial = self.own.run(&self.values(workload, parallelism, None))?;
            (trial.rate().unwrap_or(0.0) * C1_SECONDS) as u64
        };
        let own = self.own.with(&["--records", "{records}"]);
        let programs = [own.clone(), checkpointed(&own)];
        let values = self.values(workload, parallelism, Some(records));
        let series = rounds::run(&programs, programs.len(), self.rounds, &values)?;
        Ok(Case { row: "C1", workload, parallelism, series, agreeing: usize::MAX })
    }

    fn values<'a>(&'a self, workload: &'a str, parallelism: usize, records: Option<u64>) -> Values<'a> {
        Values { workload, parallelism, records, words: &self.words }
    }
}

fn checkpointed(own: &Program) -> Program {
    own.with(&["--checkpoint-interval-ms", "1000"]).named(OWN_CHECKPOINTED)
}

impl Case {
    /// This project's rate as a multiple of another program's, the middle one of the rounds.
    pub(crate) fn ratio(&self, to: &Series) -> Option<f64> {
        let multiples = self.series[0].multiples_of(to);
        multiples.get(multiples.len() / 2).copied()
    }
}

impl Results {
    /// Programs that disagree on what the result is.
    pub(crate) fn problems(&self) -> Vec<String> {
        let disagreement = |case: &Case| {
            let agreeing = || case.series.iter().take(case.agreeing);
            let different: BTreeSet<&str> = agreeing().flat_map(Series::checksums).collect();
            let said = |series: &Series| {
                let checksums: BTreeSet<&str> = series.checksums().collect();
                format!("{}: {}", series.name, checksums.into_iter().collect::<Vec<_>>().join(" and "))
            };
            let all = || agreeing().map(said).collect::<Vec<_>>().join(", ");
            let Case { workload, parallelism, .. } = case;
            (different.len() > 1)
                .then(|| format!("{workload} p={parallelism}: the checksums disagree: {}", all()))
        };
        self.0.iter().filter_map(disagreement).collect()
    }
}
