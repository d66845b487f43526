//! `watershed snapshots show`.

mod content;

use std::io;

use clap::Args;

use crate::error::Error;
use crate::screen::say;
use crate::snapshot::Snapshot;
use crate::snapshots::Folder;
use crate::snapshots::show::content::{Content, Instance, Operator, OperatorState};
use crate::units::{bytes, duration};

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    folder: Folder,
    /// Id of the checkpoint [default: the newest]
    id: Option<u64>,
    /// All of it as one line of JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> Result<(), Error> {
    let snapshot = Snapshot::choose(&options.folder.uri()?, options.id)?;
    let content = Content::read(&snapshot)?;
    let mut stdout = io::stdout().lock();
    if options.json {
        say(&mut stdout, serde_json::to_string(&content)?)?;
        return Ok(());
    }
    for line in lines(&content) {
        say(&mut stdout, line)?;
    }
    Ok(())
}

fn lines(content: &Content) -> Vec<String> {
    let finished = if content.finished { "finished" } else { "not finished" };
    let canary = if content.key_hash_ok {
        "key hashes as in this build"
    } else {
        "key hashes of another build: its keys cannot be restored by this one"
    };
    let Content { checkpoint, topology, created_at, duration_ms, lineage, run, .. } = content;
    let took = took(*duration_ms);
    let mut lines = vec![
        format!("checkpoint {checkpoint} of `{topology}`  {}{took}  {finished}", created_at),
        format!("lineage {lineage}  run {run}  {canary}"),
    ];
    for operator in &content.operators {
        lines.push(line_of(operator));
        for instance in &operator.instances {
            lines.extend(lines_of(&operator.name, instance));
        }
    }
    lines
}

fn took(duration_ms: Option<u64>) -> String {
    duration_ms.map_or(String::new(), |ms| format!("  took {}", duration(ms)))
}

fn line_of(operator: &Operator) -> String {
    let groups = match operator.key_groups {
        0 => "no keys".to_string(),
        groups => format!("{groups} key groups"),
    };
    let Operator { name, kind, parallelism, .. } = operator;
    format!("{name} ({kind})  {groups}  parallelism {parallelism}  {}", bytes(operator.bytes))
}

fn lines_of(operator: &str, instance: &Instance) -> Vec<String> {
    let builds_on = match instance.builds_on {
        0 => String::new(),
        1 => "  changes to 1 file".to_string(),
        files => format!("  changes to {files} files"),
    };
    let Instance { index, checkpoint, duration_ms, .. } = instance;
    let took = took(*duration_ms);
    let mut lines = vec![format!("  {operator}[{index}]  of checkpoint {checkpoint}{took}{builds_on}")];
    for sum in &instance.sections {
        let groups =
            if sum.key_groups == 0 { String::new() } else { format!("{} key groups  ", sum.key_groups) };
        lines.push(format!("    {}  {groups}{} entries  {}", sum.kind, sum.entries, bytes(sum.bytes)));
    }
    lines.extend(instance.splits.iter().map(|split| format!("      {split}")));
    lines.extend(instance.operator_states.iter().map(|state| {
        let OperatorState { name, redistribution, elements, .. } = state;
        format!("      {redistribution} `{name}`  {elements} elements  {}", bytes(state.bytes as u64))
    }));
    if let Some(database) = &instance.database {
        lines.push(format!("    database  {} files  {}", database.files, bytes(database.bytes)));
    }
    lines
}
