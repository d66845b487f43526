//! How long functions are, and what is defined in a file.

use proc_macro2::Span;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Ident, Item};

/// The functions of a file that are no tests, with the lines from their names to their ends.
pub(super) fn functions(text: &str) -> Vec<(String, usize)> {
    let mut found = Functions(Vec::new());
    found.visit_file(&syn::parse_file(text).unwrap());
    found.0
}

struct Functions(Vec<(String, usize)>);

impl Functions {
    fn note(&mut self, name: &Ident, body: Span) {
        let lines = body.end().line - name.span().start().line + 1;
        self.0.push((name.to_string(), lines));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.note(&function.sig.ident, function.block.span());
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.note(&function.sig.ident, function.block.span());
        visit::visit_impl_item_fn(self, function);
    }
}

/// The names of the structs, enums, traits and aliases of a file.
pub(super) fn types(file: &syn::File) -> Vec<String> {
    fn gather(items: &[Item], found: &mut Vec<String>) {
        for item in items {
            let name = match item {
                Item::Struct(item) => &item.ident,
                Item::Enum(item) => &item.ident,
                Item::Trait(item) => &item.ident,
                Item::Type(item) => &item.ident,
                Item::Mod(inner) if !super::house::is_for_tests(&inner.attrs) => {
                    if let Some((_, items)) = &inner.content {
                        gather(items, found);
                    }
                    continue;
                }
                _ => continue,
            };
            found.push(name.to_string());
        }
    }
    let mut found = Vec::new();
    gather(&file.items, &mut found);
    found
}
