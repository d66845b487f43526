//! `watershed state dump`.

use std::io::{self, Write};

use clap::Args;
use serde_json::{Value, json};
use watershed_runtime::remote::AnyValue;
use watershed_state::SavedState;

use crate::error::Error;
use crate::place::folder;
use crate::screen::{note, say};
use crate::snapshot::{Snapshot, decoded};
use crate::state::entry::all;

#[derive(Args)]
pub(crate) struct Options {
    /// Checkpoint folder of a job, or a savepoint [default: the current folder, or that of the only running job of this
    /// user]
    dir: Option<String>,
    /// Name of the operator
    #[arg(long, value_name = "NAME")]
    operator: String,
    /// Id of the checkpoint [default: the newest]
    #[arg(long)]
    id: Option<u64>,
    /// Only this key, as JSON; the quotes of a text may be left out
    #[arg(long, allow_hyphen_values = true)]
    key: Option<String>,
}

pub(super) fn run(options: &Options) -> Result<(), Error> {
    let snapshot = Snapshot::choose(&folder(options.dir.as_deref())?, options.id)?;
    let (operator, states) = snapshot.operator_with_state(&options.operator)?;
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    let mut shown = false;
    if options.key.is_none() {
        for (instance, state) in states {
            let SavedState { name, redistribution, elements } = state;
            for element in elements {
                let AnyValue(element) = decoded(&element, "an element", &operator.name)?;
                let line = json!({
                    "instance": instance, "name": name, "redistribution": redistribution, "element": element,
                });
                say(&mut stdout, line)?;
            }
        }
    }
    if operator.key_groups == 0 {
        stdout.flush()?;
        return options
            .key
            .as_ref()
            .map_or(Ok(()), |_| snapshot.operator(&operator.name).map(drop).map_err(Error::from));
    }
    let names = snapshot.collection_names(operator)?;
    all(&snapshot, operator, |entry| {
        let mut line = entry.head(&operator.name, &names)?;
        let is_meant = |wanted: &String| line.get("key").is_some_and(|key| is_meant(wanted, key));
        if !options.key.as_ref().is_none_or(is_meant) {
            return Ok(true);
        }
        shown = true;
        let (name, content) = entry.content(&operator.name, &names)?;
        line.insert(name.to_string(), content);
        say(&mut stdout, Value::from(line))?;
        Ok(true)
    })?;
    stdout.flush()?;
    match &options.key {
        Some(key) if !shown => {
            let (name, id) = (&operator.name, snapshot.manifest.checkpoint);
            note(format_args!("key {key} of operator `{name}` has no state in checkpoint {id}"));
        }
        _ => {}
    }
    Ok(())
}

fn is_meant(wanted: &str, key: &Value) -> bool {
    key.as_str() == Some(wanted) || serde_json::from_str::<Value>(wanted).is_ok_and(|wanted| wanted == *key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_meant_by_its_json_and_a_text_without_quotes_too() {
        for (wanted, key) in
            [("be", json!("be")), ("\"be\"", json!("be")), ("7", json!(7)), ("7", json!("7"))]
        {
            assert!(is_meant(wanted, &key), "{wanted} {key}");
        }
        assert!(is_meant("[1, \"a\"]", &json!([1, "a"])));
        assert!(!is_meant("\"7\"", &json!(7)) && !is_meant("be", &json!("bee")));
    }
}
