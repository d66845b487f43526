//! The source files of a crate as modules, and what each of them uses of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

/// A module by its path within the crate, `["task", "source"]`; the root of the crate is empty.
pub(super) type Module = Vec<String>;

/// A crate: its modules, each of which is a file.
pub(super) struct House {
    pub(super) rooms: BTreeMap<Module, Room>,
}

/// A file.
pub(super) struct Room {
    pub(super) parsed: syn::File,
    /// What is defined in it, whether a module within the file holds it or not.
    defined: BTreeSet<String>,
    /// Names that stand for something else: `use` and `pub use`, as they are written, without `crate`.
    named: BTreeMap<String, Vec<String>>,
    /// Paths within the crate whose last part is anything: `use a::b::*`.
    globs: Vec<Vec<String>>,
}

impl House {
    /// Reads a crate from its `src`, without its tests.
    pub(super) fn read(source: &Path) -> Self {
        let mut house = Self { rooms: BTreeMap::new() };
        house.read_room(&source.join("lib.rs"), Vec::new());
        house
    }

    fn read_room(&mut self, path: &Path, module: Module) {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let folder = match path.file_name().unwrap().to_str().unwrap() {
            "lib.rs" | "main.rs" => path.parent().unwrap().to_owned(),
            _ => path.with_extension(""),
        };
        let mut room = Room {
            defined: BTreeSet::new(),
            named: BTreeMap::new(),
            globs: Vec::new(),
            parsed: syn::File { shebang: None, attrs: Vec::new(), items: Vec::new() },
        };
        for item in &parsed.items {
            match item {
                Item::Mod(inner) if inner.content.is_none() && !is_for_tests(&inner.attrs) => {
                    let name = inner.ident.to_string();
                    let mut below = module.clone();
                    below.push(name.clone());
                    self.read_room(&folder.join(format!("{name}.rs")), below);
                }
                Item::Use(used) => room.note_use(&used.tree, &mut Vec::new(), &module),
                item => room.defined.extend(name_of(item)),
            }
        }
        room.parsed = parsed;
        self.rooms.insert(module, room);
    }

    /// What each room uses of others.
    pub(super) fn uses(&self) -> BTreeMap<&Module, BTreeSet<&Module>> {
        let of = |(module, room): (&'_ Module, &Room)| {
            let mut seen = Seen { house: self, module: module.clone(), found: BTreeSet::new() };
            room.parsed
                .items
                .iter()
                .filter(|item| !is_test_item(item))
                .for_each(|item| seen.visit_item(item));
            seen.found.remove(module);
            seen.found
        };
        let found: Vec<BTreeSet<Module>> = self.rooms.iter().map(of).collect();
        let known = |module: &Module| self.rooms.get_key_value(module).map(|(module, _)| module);
        let found = found.iter().map(|found| found.iter().filter_map(known).collect());
        self.rooms.keys().zip(found).collect()
    }

    /// The room in which the thing is defined that a path leads to, from the root of the crate.
    fn resolve(&self, path: &[String], depth: usize) -> Option<Module> {
        let split = (0..=path.len()).rev().find(|length| self.rooms.contains_key(&path[..*length]))?;
        let (module, rest) = path.split_at(split);
        let room = &self.rooms[module];
        let Some(name) = rest.first() else { return Some(module.to_vec()) };
        if room.defined.contains(name) || depth > 8 {
            return Some(module.to_vec());
        }
        if let Some(other) = room.named.get(name) {
            return self.resolve(other, depth + 1);
        }
        let below = room.globs.iter().map(|glob| [glob.as_slice(), rest].concat());
        below.into_iter().find_map(|path| self.resolve(&path, depth + 1).filter(|found| found != module))
    }
}

impl Room {
    fn note_use(&mut self, tree: &UseTree, before: &mut Vec<String>, module: &Module) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.note_use(&path.tree, before, module);
                before.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_use(tree, before, module)),
            UseTree::Name(name) => {
                self.note_name(&name.ident.to_string(), &name.ident.to_string(), before, module);
            }
            UseTree::Rename(name) => {
                self.note_name(&name.rename.to_string(), &name.ident.to_string(), before, module);
            }
            UseTree::Glob(_) => {
                if let Some(path) = absolute(before, module) {
                    self.globs.push(path);
                }
            }
        }
    }

    fn note_name(&mut self, name: &str, stands_for: &str, before: &[String], module: &Module) {
        let (name, path) = match (stands_for, before.last()) {
            ("self", Some(last)) => (last.as_str(), before.to_vec()),
            _ => (name, [before, &[stands_for.to_string()]].concat()),
        };
        // Else it is of a module beside, or of another crate.
        let path = absolute(&path, module).unwrap_or_else(|| [module.as_slice(), &path].concat());
        self.named.insert(name.to_string(), path);
    }
}

/// A path from the root of the crate, if it is written as one from there or from a module.
fn absolute(path: &[String], module: &Module) -> Option<Vec<String>> {
    match path.first().map(String::as_str) {
        Some("crate") => Some(path[1..].to_vec()),
        Some("self") => Some([module.as_slice(), &path[1..]].concat()),
        Some("super") => {
            let ups = path.iter().take_while(|part| *part == "super").count();
            let above = &module[..module.len().saturating_sub(ups)];
            Some([above, &path[ups..]].concat())
        }
        _ => None,
    }
}

/// Collects the rooms that paths lead to.
struct Seen<'h> {
    house: &'h House,
    module: Module,
    found: BTreeSet<Module>,
}

impl Seen<'_> {
    fn path(&mut self, path: &[String]) {
        let resolved = match absolute(path, &self.module) {
            Some(path) => self.house.resolve(&path, 0),
            None => self.in_scope(path),
        };
        self.found.extend(resolved);
    }

    /// The room of a name that this file imports, or of a module below it.
    fn in_scope(&self, path: &[String]) -> Option<Module> {
        let (room, rest) = (&self.house.rooms[&self.module], &path[1..]);
        if let Some(stands_for) = room.named.get(&path[0]) {
            return self.house.resolve(&[stands_for.as_slice(), rest].concat(), 0);
        }
        let below = [self.module.as_slice(), path].concat();
        if self.house.rooms.contains_key(&below[..=self.module.len()]) {
            return self.house.resolve(&below, 0);
        }
        room.globs.iter().find_map(|glob| {
            let found = self.house.resolve(&[glob.as_slice(), path].concat(), 0)?;
            self.house.rooms[&found].defined.contains(&path[0]).then_some(found)
        })
    }
}

impl<'ast> Visit<'ast> for Seen<'_> {
    // What is only passed on is no use of one's own.
    fn visit_item_use(&mut self, _: &'ast syn::ItemUse) {}

    // Nor is who may see it.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if path.leading_colon.is_none() && !parts.is_empty() {
            self.path(&parts);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        // Names in the arguments of macros: whatever looks like one that is in scope.
        for word in called.tokens.to_string().split(|c: char| !c.is_alphanumeric() && c != '_') {
            if self.house.rooms[&self.module].named.contains_key(word) {
                self.path(&[word.to_string()]);
            }
        }
        visit::visit_macro(self, called);
    }
}

fn name_of(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Mod(item) if item.content.is_some() => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

fn is_test_item(item: &Item) -> bool {
    match item {
        Item::Mod(item) => is_for_tests(&item.attrs),
        Item::Fn(item) => is_for_tests(&item.attrs),
        Item::Impl(item) => is_for_tests(&item.attrs),
        _ => false,
    }
}

/// Whether something is there only for tests.
pub(super) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "test")
    })
}
