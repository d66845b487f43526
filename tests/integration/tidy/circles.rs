//! Circles: modules that use each other, directly or by way of others.

use std::collections::{BTreeMap, BTreeSet};

use super::house::Module;

/// The circles among modules, the largest first. The algorithm is Tarjan's (1972), of strongly connected components.
pub(super) fn of<'m>(uses: &BTreeMap<&'m Module, BTreeSet<&'m Module>>) -> Vec<BTreeSet<&'m Module>> {
    let mut search = Search { uses, order: BTreeMap::new(), stack: Vec::new(), circles: Vec::new() };
    for module in uses.keys() {
        if !search.order.contains_key(module) {
            search.visit(module);
        }
    }
    let mut circles = search.circles;
    circles.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    circles
}

struct Search<'u, 'm> {
    uses: &'u BTreeMap<&'m Module, BTreeSet<&'m Module>>,
    /// When a module was found, and the first one that can be reached from it; `usize::MAX` once it is done with.
    order: BTreeMap<&'m Module, (usize, usize)>,
    stack: Vec<&'m Module>,
    circles: Vec<BTreeSet<&'m Module>>,
}

impl<'m> Search<'_, 'm> {
    fn visit(&mut self, module: &'m Module) -> usize {
        let number = self.order.len();
        self.order.insert(module, (number, number));
        self.stack.push(module);
        let mut reached = number;
        for used in &self.uses[module] {
            let first = match self.order.get(used) {
                Some((_, first)) => *first,
                None => self.visit(used),
            };
            reached = reached.min(first);
        }
        self.order.insert(module, (number, reached));
        if reached == number {
            let begin = self.stack.iter().position(|open| *open == module).unwrap();
            let circle: BTreeSet<&Module> = self.stack.drain(begin..).collect();
            for done in &circle {
                self.order.insert(done, (usize::MAX, usize::MAX));
            }
            if circle.len() > 1 {
                self.circles.push(circle);
            }
            return usize::MAX;
        }
        reached
    }
}
