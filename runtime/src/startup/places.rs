//! Whether the folders of a job leave each other alone.

use std::fs;
use std::path::{Component, Path, PathBuf};

use watershed_state::{FolderStore, Fs, MemoryStore, Objects, SnapshotPlace};

use crate::config::Config;
use crate::error::Error;
use crate::plan::{LETTER_SINK, Plan};
use crate::scratch::{ScratchPlace, databases_in};

/// Where checkpoints go, and databases. Without a place for checkpoints they are in memory, and gone with the job; so
/// the files of databases stay in the scratch folder, which lasts as long.
pub(crate) fn checkpoint_place(config: &Config, fs: &Fs) -> Result<(Objects, ScratchPlace), Error> {
    let scratch = ScratchPlace::of(config);
    let objects = match (&config.checkpoints, &config.checkpoints_at) {
        (Some(folder), _) => FolderStore::open(fs, folder),
        (None, Some(uri)) => SnapshotPlace::parse_on(uri, fs)?.objects,
        (None, None) => MemoryStore::new().linking_into(scratch.links()).shared(),
    };
    Ok((objects, scratch))
}

/// Refuses folders that lie where the job removes or adds files of its own: output in the checkpoint folder or in what
/// the job keeps there, anything where databases are.
pub(crate) fn check_places(plan: &Plan, config: &Config) -> Result<(), Error> {
    if let Some(scratch) = &config.scratch
        && config.simulation.is_none()
        && scratch.exists()
        && !scratch.is_dir()
    {
        return Err(Error::config(format!(
            "the scratch folder {} is no folder; name another one with `Config::scratch`",
            scratch.display()
        )));
    }
    if let Some(checkpoints) = &config.checkpoints {
        check_databases(config, checkpoints, "checkpoints")?;
    }
    for node in plan.nodes.iter().filter(|node| !node.name.ends_with(LETTER_SINK)) {
        let Some(output) = node.build.folder() else { continue };
        let what = format!("the output of `{}`", node.name);
        check_checkpoints(config, &output, &what)?;
        check_databases(config, &output, &what)?;
    }
    Ok(())
}

/// Refuses a savepoint where the job removes files of its own.
pub(crate) fn check_savepoint(uri: &str, config: &Config) -> Result<(), Error> {
    // What is no place at all is told by whoever parses it.
    let Ok(Some(folder)) = SnapshotPlace::local_folder(uri) else { return Ok(()) };
    check_checkpoints(config, &folder, "a savepoint")?;
    check_databases(config, &folder, "a savepoint")
}

fn check_checkpoints(config: &Config, folder: &Path, what: &str) -> Result<(), Error> {
    let Some(checkpoints) = config.checkpoints.as_ref().filter(|place| is_in_use(config, folder, place))
    else {
        return Ok(());
    };
    Err(Error::config(format!(
        "{what} cannot be in {}: {} is the checkpoint folder of a job, which writes and removes files of its own in it and in \
         `chk-…`, `scratch` and `dead-letters` below it; name another folder",
        folder.display(),
        checkpoints.display()
    )))
}

fn check_databases(config: &Config, folder: &Path, what: &str) -> Result<(), Error> {
    let databases = config.scratch.as_ref().map(|scratch| databases_in(scratch));
    let Some(databases) = databases.filter(|place| is_within(config, folder, place)) else { return Ok(()) };
    Err(Error::config(format!(
        "{what} cannot be in {}: the job empties {}, where its databases are, at each start; name another folder, or another \
         one with `Config::scratch`",
        folder.display(),
        databases.display()
    )))
}

/// Whether a path names the checkpoint folder, or something in a folder of the job's own in it. Other folders in it
/// are left alone.
fn is_in_use(config: &Config, path: &Path, checkpoints: &Path) -> bool {
    let is_real = config.simulation.is_none();
    let (path, checkpoints) = (resolved(path, is_real), resolved(checkpoints, is_real));
    let Ok(below) = path.strip_prefix(checkpoints) else { return false };
    below.components().next().is_none_or(|first| {
        let first = first.as_os_str().to_string_lossy();
        first.starts_with("chk-") || ["scratch", "dead-letters"].contains(&&*first)
    })
}

/// Whether a path names a folder, or something below it.
fn is_within(config: &Config, path: &Path, folder: &Path) -> bool {
    let is_real = config.simulation.is_none();
    resolved(path, is_real).starts_with(resolved(folder, is_real))
}

/// The path without links, as far as it exists, and without dots.
fn resolved(path: &Path, is_real: bool) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = path.ancestors().filter(|_| is_real).find_map(|above| {
        let rest = path.strip_prefix(above).ok()?;
        Some((fs::canonicalize(above).ok()?, rest))
    });
    let (mut resolved, rest) = found.unwrap_or_else(|| (PathBuf::from("/"), &path));
    for component in rest.components() {
        match component {
            Component::Normal(name) => resolved.push(name),
            Component::ParentDir => drop(resolved.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_found_in_another_one_however_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        std::os::unix::fs::symlink(&state, folder.path().join("link")).unwrap();
        let config = Config::local().checkpoints(&state);
        let refused = |path: &str| {
            let uri = format!("file://{}", folder.path().join(path).display());
            check_savepoint(&uri, &config).is_err()
        };
        for inside in [
            "state",
            "state/scratch",
            "state/chk-7",
            "state/chk-7/y",
            "state/dead-letters/out",
            "link/scratch/x",
            "./state/../state/scratch",
            "no/../state",
        ] {
            assert!(refused(inside), "{inside}");
        }
        for outside in [
            "states",
            "savepoints/1",
            "state/../savepoints",
            "link/../x",
            "state/out",
            "link/savepoints/scratch",
        ] {
            assert!(!refused(outside), "{outside}");
        }
        assert!(check_savepoint("memory://state", &config).is_ok());
    }
}
