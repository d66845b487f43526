//! A drawing of modules: each stands one floor above the highest one that it uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::circles;
use super::house::Module;

/// The columns of a line at most.
const COLUMNS: usize = 110;

/// The modules of the first level, floor by floor from the ground. Those in brackets use each other in a circle.
pub(super) fn draw(name: &str, uses: &BTreeMap<&Module, BTreeSet<&Module>>) -> String {
    let top = |module: &Module| module.first().cloned().into_iter().collect::<Module>();
    let mut between: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (module, used) in uses {
        let from = top(module);
        let to = used.iter().map(|used| top(used)).filter(|to| *to != from && !to.is_empty());
        between.entry(from.clone()).or_default().extend(to);
    }
    between.remove(&Vec::new());
    let between: BTreeMap<&Module, BTreeSet<&Module>> =
        between.iter().map(|(module, used)| (module, used.iter().collect())).collect();
    let circles = circles::of(&between);
    let mut floors: BTreeMap<&Module, usize> = BTreeMap::new();
    while floors.len() < between.len() {
        for module in between.keys() {
            if floors.contains_key(module) {
                continue;
            }
            let alone = BTreeSet::from([*module]);
            let circle = circles.iter().find(|circle| circle.contains(module)).unwrap_or(&alone);
            let below =
                circle.iter().flat_map(|module| &between[module]).filter(|used| !circle.contains(*used));
            let below: Option<Vec<usize>> = below.map(|used| floors.get(used).copied()).collect();
            if let Some(below) = below {
                let floor = below.into_iter().max().unwrap_or(0) + 1;
                floors.extend(circle.iter().map(|module| (*module, floor)));
            }
        }
    }
    let mut drawn = format!("{name}\n");
    for floor in 1..=floors.values().copied().max().unwrap_or(0) {
        let on_it: Vec<&Module> =
            floors.iter().filter(|(_, on)| **on == floor).map(|(module, _)| *module).collect();
        let mut words = Vec::new();
        for circle in circles.iter().filter(|circle| circle.iter().any(|module| on_it.contains(module))) {
            let modules: Vec<String> = circle.iter().map(|module| module.join("::")).collect();
            words.push(format!("({})", modules.join(" ")));
        }
        let alone = on_it.iter().filter(|module| !circles.iter().any(|circle| circle.contains(*module)));
        words.extend(alone.map(|module| module.join("::")));
        let mut line = format!("{floor:3} ");
        for word in words {
            if line.len() + word.len() > COLUMNS {
                let _ = writeln!(drawn, "{line}");
                line = "    ".to_string();
            }
            let _ = write!(line, " {word}");
        }
        let _ = writeln!(drawn, "{line}");
    }
    drawn
}
