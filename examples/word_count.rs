//! Counts words of a text, exactly once, through crashes: kill it at any moment, start it again, and it goes on.
//!
//! ```sh
//! cargo run --release --example word_count -- --input /usr/share/common-licenses --output counts --checkpoints state
//! ```
//!
//! For every word it writes `{"word":…,"count":n}` into a `.jsonl` file in the output folder; n counts up, so each pair
//! appears once. A file becomes visible when the checkpoint that covers it is complete. Every task can be seen with
//! `kill -USR1`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use serde::{Deserialize, Serialize};
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
    /// Instances of each actor; as many as cores if not given.
    #[arg(long)]
    parallelism: Option<usize>,
    /// Microseconds by which each line is slowed down.
    #[arg(long, default_value_t = 0)]
    delay_us: u64,
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

fn main() -> watershed::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let options = Options::parse();
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
        .key_by(|word| word.clone())
        .actor("count", Count)
        .sink_exactly_once("files", Files::jsonl(&options.output));

    let mut config = Config::local()
        .checkpoints(&options.checkpoints)
        .checkpoint_interval(Duration::from_millis(options.checkpoint_interval_ms));
    if let Some(parallelism) = options.parallelism {
        config = config.parallelism(parallelism);
    }
    let outcome = topology.run(config)?;
    match outcome.end {
        End::Finished => println!("finished"),
        End::AlreadyFinished => println!("finished before: nothing new to count"),
        _ => println!("stopped; start again to go on"),
    }
    println!("{}", outcome.tree);
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
