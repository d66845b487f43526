//! Counts the words of a text, exactly once, through crashes: kill it at any moment, start it again, and it goes on.
//!
//! ```sh
//! cargo run --release --example word_count -- --input /usr/share/common-licenses \
//!     --output target/counts --checkpoints target/checkpoints
//! ```
//!
//! For every word it writes a line `{"word":…,"count":n}` into a `.jsonl` file of the output folder; n counts up, so
//! that each pair of a word and a number is there once. A file appears when the checkpoint that covers it is complete.
//! Ctrl-C stops it with a last checkpoint, `kill -USR1` shows its supervision tree, and `kill -9` does no harm.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use watershed::prelude::*;

/// What can be said on the command line.
#[derive(Parser)]
#[command(about = "Counts words, exactly once")]
struct Options {
    /// A text file, or a folder of them.
    #[arg(long)]
    input: PathBuf,
    /// Folder for the counts.
    #[arg(long)]
    output: PathBuf,
    /// Folder for the checkpoints.
    #[arg(long)]
    checkpoints: PathBuf,
    /// Milliseconds between two checkpoints.
    #[arg(long, default_value_t = 1000)]
    checkpoint_interval_ms: u64,
    /// Where the counts live while it runs.
    #[arg(long, value_enum, default_value_t = Backend::Memory)]
    state: Backend,
    /// Instances of each actor; as many as cores if not given.
    #[arg(long)]
    parallelism: Option<usize>,
    /// Microseconds by which each line is slowed down.
    #[arg(long, default_value_t = 0)]
    delay_us: u64,
}

/// Where state lives.
#[derive(Clone, Copy, ValueEnum)]
enum Backend {
    Memory,
    Rocksdb,
}

impl Backend {
    #[cfg_attr(
        feature = "rocksdb",
        expect(clippy::unnecessary_wraps, reason = "without the feature it may fail")
    )]
    fn state_backend(self) -> Result<StateBackend, String> {
        match self {
            Self::Memory => Ok(StateBackend::Memory),
            #[cfg(feature = "rocksdb")]
            Self::Rocksdb => Ok(RocksDb::new().into()),
            #[cfg(not(feature = "rocksdb"))]
            Self::Rocksdb => Err("it was built without RocksDB: leave out `--no-default-features`".into()),
        }
    }
}

/// One word and how often it has been seen so far.
#[derive(Clone, Serialize, Deserialize)]
struct WordCount {
    word: String,
    count: u64,
}

/// Counts the records of each key.
struct Count;

impl Process for Count {
    type Key = String;
    type In = String;
    type Out = WordCount;
    type State = u64;

    fn on_record(&self, word: String, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *count += 1;
        context.emit(WordCount { word, count: *count });
        Ok(())
    }
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(io::stderr().is_terminal());
    // Someone who stops reading the log must not end the job with it.
    log.with_writer(io::stderr).log_internal_errors(false).init();

    let options = Options::parse();
    let backend = options.state.state_backend();
    match backend.and_then(|backend| count_words(&options, backend).map_err(|error| error.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("word_count: {error}");
            ExitCode::FAILURE
        }
    }
}

fn count_words(options: &Options, backend: StateBackend) -> watershed::Result<()> {
    let topology = Topology::new("word-count");
    let delay = Duration::from_micros(options.delay_us);
    let lines = if options.input.is_dir() {
        Lines::from_folder(&options.input)
    } else {
        Lines::from_file(&options.input)
    };

    topology
        .source("lines", lines.split_bytes(1 << 20))
        .inspect(move |_| spin(delay))
        .flat_map(|line| line.split_whitespace().map(str::to_string).collect::<Vec<_>>())
        .key_by(String::clone)
        .actor("count", Count)
        .sink_exactly_once("files", Files::jsonl(&options.output));

    let mut config = Config::local()
        .checkpoints(&options.checkpoints)
        .state_backend(backend)
        .checkpoint_interval(Duration::from_millis(options.checkpoint_interval_ms));
    if let Some(parallelism) = options.parallelism {
        config = config.parallelism(parallelism);
    }

    let outcome = topology.run(config)?;
    println!("{}", outcome.tree);
    match outcome.end {
        End::Finished => println!("finished: every word is counted"),
        End::AlreadyFinished => println!("finished before: there is nothing new to count"),
        _ => println!("stopped: start again with the same folders to go on"),
    }
    Ok(())
}

/// Waits without giving the thread away: a timer would round a few microseconds up to a millisecond.
#[expect(clippy::disallowed_methods, reason = "an artificial delay is outside the engine's time")]
fn spin(delay: Duration) {
    if !delay.is_zero() {
        let begin = Instant::now();
        while begin.elapsed() < delay {
            std::hint::spin_loop();
        }
    }
}
