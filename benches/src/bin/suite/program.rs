//! The programs that are compared.

use std::path::Path;
use std::process::Command;

use watershed_bench::stopwatch::epoch_us;

use crate::line::Line;

/// A command with placeholders.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// What it is called in the results.
    pub(crate) name: String,
    words: Vec<String>,
}

/// Values of the placeholders.
#[derive(Debug)]
pub(crate) struct Values<'a> {
    pub(crate) workload: &'a str,
    pub(crate) parallelism: usize,
    pub(crate) records: Option<u64>,
    pub(crate) words: &'a Path,
}

/// After so long a run is given up.
const TIMEOUT_S: &str = "600";

impl Program {
    /// This project's.
    pub(crate) fn own(workloads: &Path) -> Self {
        let command = "{workload} --parallelism {parallelism} --words {words}";
        let mut words = vec![workloads.display().to_string()];
        words.extend(command.split_whitespace().map(str::to_string));
        Self { name: "watershed".to_string(), words }
    }

    /// Others, separated by `;`. Each is called by its file name and those of its arguments that have no placeholder,
    /// or as it says itself: `name=command`.
    pub(crate) fn peers(commands: &str) -> Vec<Self> {
        commands.split(';').filter(|command| !command.trim().is_empty()).map(Self::peer).collect()
    }

    fn peer(command: &str) -> Self {
        let command = command.trim();
        let (name, command) = match command.split_once('=') {
            Some((name, rest)) if !name.contains(char::is_whitespace) => (Some(name), rest),
            _ => (None, command),
        };
        let words: Vec<String> = command.split_whitespace().map(str::to_string).collect();
        Self { name: name.map_or_else(|| name_of(&words), str::to_string), words }
    }

    /// The same with more arguments.
    pub(crate) fn with(&self, arguments: &[&str]) -> Self {
        let mut program = self.clone();
        program.words.extend(arguments.iter().map(ToString::to_string));
        program
    }

    /// The same under another name.
    pub(crate) fn named(self, name: &str) -> Self {
        Self { name: name.to_string(), ..self }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// What it said, if it failed or printed no line.
    pub(crate) fn run(&self, values: &Values<'_>) -> Result<Line, String> {
        let command = self.words.iter().map(|word| fill(word, values)).filter(|word| !word.is_empty());
        let mut timeout = Command::new("timeout");
        timeout.arg(TIMEOUT_S).args(command).env("WATERSHED_STARTED_US", epoch_us().to_string());
        let output = timeout.output().map_err(|error| format!("`timeout` does not start: {error}"))?;
        let line = Line::find(&String::from_utf8_lossy(&output.stdout));
        match line {
            Some(line) if output.status.success() => Ok(line),
            _ => {
                let said = String::from_utf8_lossy(&output.stderr);
                Err(format!("{}\n{}", output.status, said.trim()))
            }
        }
    }
}

fn name_of(words: &[String]) -> String {
    let file = words.first().map(|program| Path::new(program).file_name().unwrap_or_default());
    let mut name = file.unwrap_or_default().to_string_lossy().into_owned();
    for (index, word) in words.iter().enumerate().skip(1) {
        // An option belongs to the placeholder behind it.
        let next = words.get(index + 1).is_some_and(|next| next.contains('{'));
        if !(word.contains('{') || word.starts_with('-') && next) {
            name = format!("{name} {word}");
        }
    }
    name
}

fn fill(word: &str, values: &Values<'_>) -> String {
    let records = values.records.map(|records| records.to_string()).unwrap_or_default();
    word.replace("{workload}", values.workload)
        .replace("{parallelism}", &values.parallelism.to_string())
        .replace("{words}", &values.words.display().to_string())
        .replace("{records}", &records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_called_by_what_tells_it_apart() {
        let peers = Program::peers(
            "bin/limit {workload} {parallelism} --file {words} --mode pipe; flink=run.sh {workload};",
        );
        let names: Vec<_> = peers.iter().map(|peer| peer.name.as_str()).collect();
        assert_eq!(names, ["limit --mode pipe", "flink"]);
    }

    #[test]
    fn a_program_that_fails_says_why() {
        let values = Values { workload: "W9", parallelism: 1, records: None, words: Path::new("words.txt") };
        let program = &Program::peers("ls {workload}-{parallelism}")[0];
        assert!(program.run(&values).unwrap_err().contains("W9-1"));
        let program = &Program::peers("echo rate=1 checksum={parallelism}")[0];
        assert_eq!(program.run(&values).unwrap().checksum(), Some("1"));
    }
}
