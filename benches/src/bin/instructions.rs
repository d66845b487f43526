//! Counts the instructions that the pieces take per record, with Valgrind's Callgrind, and compares them with the
//! committed figures: `instructions`. A count does not depend on how busy the machine is, but on the compiler and the
//! kind of processor: with others than those of the committed figures it is only printed.
//!
//! `instructions --renew` writes the figures anew.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const PIECES: [&str; 4] = ["chain", "scatter", "table", "codec"];
const ITERATIONS: u64 = 200 * 1024;
/// A piece may take so much more than committed.
const ALLOWED: f64 = 1.10;

fn main() -> ExitCode {
    let renew = std::env::args().nth(1).as_deref() == Some("--renew");
    match check(renew) {
        Ok(failed) if failed.is_empty() => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!(
                "{} takes over 10 % more instructions than committed. If that is meant, say why in the commit, and \
                 renew the figures:\n  make instructions ARGS=--renew",
                failed.join(", ")
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints the counts, and returns the pieces that have grown too much.
fn check(renew: bool) -> Result<Vec<&'static str>, Box<dyn Error>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.tsv");
    let (made_with, committed) = read(&file)?;
    let with = toolchain()?;
    let comparable = renew || made_with == with;
    let pieces = std::env::current_exe()?.with_file_name("pieces");
    let (mut failed, mut lines) = (Vec::new(), vec![format!("piece\t{with}")]);
    println!("{with}");
    if !comparable {
        println!("the committed figures are of another kind, {made_with}: nothing is compared");
    }
    for piece in PIECES {
        let setup = count(&pieces, piece, 0)?;
        let total = count(&pieces, piece, ITERATIONS)?;
        let now = total.saturating_sub(setup) as f64 / ITERATIONS as f64;
        lines.push(format!("{piece}\t{now:.1}"));
        match committed.get(piece) {
            Some(before) => println!("{piece:8} {now:7.1}  {:+5.1} %", 100.0 * (now / before - 1.0)),
            None => println!("{piece:8} {now:7.1}  new"),
        }
        if comparable && committed.get(piece).is_none_or(|before| now > before * ALLOWED) {
            failed.push(piece);
        }
    }
    if renew {
        std::fs::write(&file, lines.join("\n") + "\n")?;
        failed.clear();
    }
    Ok(failed)
}

/// What the counts depend on beside the code.
fn toolchain() -> Result<String, Box<dyn Error>> {
    let output = Command::new("rustc").arg("--version").output()?;
    let version = String::from_utf8(output.stdout)?;
    let number = version.split_whitespace().nth(1).ok_or("rustc does not say its version")?;
    Ok(format!("instructions per record, rustc {number} for {}", std::env::consts::ARCH))
}

/// What the committed figures were made with, and the figures.
fn read(file: &Path) -> Result<(String, BTreeMap<String, f64>), Box<dyn Error>> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let made_with = text.lines().next().and_then(|line| line.split_once('\t')).map_or("", |(_, with)| with);
    let figure = |line: &str| {
        let (piece, count) = line.split_once('\t').ok_or("a line without a tab")?;
        Ok((piece.to_string(), count.parse()?))
    };
    let figures: Result<_, Box<dyn Error>> = text.lines().skip(1).map(figure).collect();
    Ok((made_with.to_string(), figures?))
}

/// Instructions of the whole process.
fn count(pieces: &PathBuf, piece: &str, iterations: u64) -> Result<u64, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(pieces)
        .args([piece, &iterations.to_string()])
        .output()
        .map_err(|error| format!("valgrind does not start: {error}"))?;
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report.lines().find_map(|line| line.split_once("Collected :"));
    match collected.and_then(|(_, count)| count.trim().parse().ok()) {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!("`{piece}` failed:\n{report}").into()),
    }
}
