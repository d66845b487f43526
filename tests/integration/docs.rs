//! The pages in `docs/` keep up with the code. What they show of it is compiled with the other doctests.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Adds the text of each source file below a folder.
fn gather(folder: &Path, code: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            gather(&path, code);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            code.push_str(&read(&path));
        }
    }
}

/// All that the engine, the tool and the scripts may say, with strings that go over several lines put together.
fn code() -> String {
    let mut code = read(&root().join("scripts/setup.sh"));
    for part in ["state/src", "actors/src", "runtime/src", "cli/src"] {
        gather(&root().join(part), &mut code);
    }
    let mut whole = String::with_capacity(code.len());
    let mut rest = code.as_str();
    while let Some((before, after)) = rest.split_once("\\\n") {
        whole.push_str(before);
        rest = after.trim_start();
    }
    whole.push_str(rest);
    whole.replace("\\\"", "\"")
}

/// The pages, and the README.
fn pages() -> Vec<PathBuf> {
    let folders = ["docs", "docs/internals"].map(|folder| fs::read_dir(root().join(folder)).unwrap());
    let found = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    let pages = found.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.chain(["README.md", "ARCHITECTURE.md"].map(|page| root().join(page))).collect()
}

/// What stands in backquotes in the first column of the tables of a page.
fn quoted(page: &str) -> Vec<&str> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    rows.map(|(message, _)| message).collect()
}

#[test]
fn each_message_that_is_explained_is_one_that_may_be_said() {
    let code = code();
    for (page, least) in [("docs/troubleshooting.md", 40), ("docs/quick-start.md", 5)] {
        let text = read(&root().join(page));
        let messages = quoted(&text);
        assert!(messages.len() >= least, "{page}: only {} messages were found", messages.len());
        let twice = messages.iter().enumerate().find(|(index, message)| messages[..*index].contains(message));
        assert!(twice.is_none(), "{page} explains a message twice: {twice:?}");
        let unknown: Vec<&str> = messages
            .into_iter()
            .filter(|message| !message.split('…').all(|part| code.contains(part.trim())))
            .collect();
        assert!(unknown.is_empty(), "nothing says this any more, but {page} does: {unknown:#?}");
    }
}

#[test]
fn each_link_of_a_page_leads_to_a_file() {
    for page in pages() {
        let text = read(&page);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split([')', '#']).next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let file = page.parent().unwrap().join(target);
            assert!(file.exists(), "{} links to {target}, which is not there", page.display());
        }
    }
}
