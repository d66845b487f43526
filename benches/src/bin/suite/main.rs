//! Runs the workloads, other programs in between, and writes a table and a plot.
//!
//! ```sh
//! PEERS='limit {workload} {parallelism} --file {words}' cargo run --release -p watershed-bench --bin suite -- W1 W2
//! ```
//!
//! Every row runs in rounds, in each of which every program has one turn, so that a machine that is busy for a while
//! is busy for all of them. What counts is the median of the rounds. All programs have to find the same checksum.

mod line;
mod machine;
mod plan;
mod plot;
mod program;
mod report;
mod rounds;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use watershed_bench::generate;

use crate::plan::Plan;
use crate::program::Program;

/// What can be said on the command line; other programs are in the variable `PEERS`.
#[derive(Parser, Debug)]
#[command(about = "Runs the workloads and writes a table and a plot")]
struct Options {
    /// Rows to run: W0, W1, W2, W3, W3-QUARTER, W4, R1-100K, R1, R1-10M, RESCALE-100K, RESCALE, RESCALE-10M, C1, L1,
    /// TOUCHED, REGIONS, SUPERVISED, S1, STALL. All if none is given.
    rows: Vec<String>,
    /// Parallelism, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    parallelism: Vec<usize>,
    /// How often each program runs.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Records of every run, to try it out; peers are told by `{records}`.
    #[arg(long)]
    records: Option<u64>,
    /// The text of W4; made if it is not there. Beside this program if not given.
    #[arg(long)]
    words: Option<PathBuf>,
    /// Folder for the table and the plot; that of the crate if not given.
    #[arg(long)]
    results: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(problems) if problems.is_empty() => ExitCode::SUCCESS,
        Ok(problems) => {
            eprintln!("{}", problems.join("\n"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what the options say, and returns what is wrong with the results.
fn run(options: Options) -> Result<Vec<String>, Box<dyn Error>> {
    let this = std::env::current_exe()?;
    let words = options.words.unwrap_or_else(|| this.with_file_name("words.txt"));
    if !words.exists() {
        eprintln!("making the text of W4");
        generate::write_words(&words, generate::WORDS)?;
    }
    let plan = Plan {
        own: Program::own(&this.with_file_name("workloads")),
        peers: Program::peers(&std::env::var("PEERS").unwrap_or_default()),
        rounds: options.rounds,
        parallelism: options.parallelism,
        records: options.records,
        words,
    };
    let results = plan.run(&plan::rows(&options.rows)?)?;
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    let folder = options.results.unwrap_or_else(default);
    std::fs::create_dir_all(&folder)?;
    let report = report::write(&results, options.rounds);
    std::fs::write(folder.join("results.md"), &report)?;
    plot::draw(&results, &folder.join("results.svg"))?;
    println!("{report}");
    Ok(results.problems())
}
