//! A crate as a tree of modules: what each defines, imports and names.
//!
//! Test code is left out: what is under `cfg(test)`, and test functions. Code
//! inside a macro's call is read as tokens, where a path is still a path.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, ImplItem, Item, ItemMod, ItemUse, Meta, UseTree,
    visit::{self, Visit},
};

/// A path as it is written, segment by segment.
pub(super) type Segments = Vec<String>;

/// All modules of one crate; the first is its root.
#[derive(Default)]
pub(super) struct Modules(pub(super) Vec<Module>);

#[derive(Default)]
pub(super) struct Module {
    pub(super) file: PathBuf,
    /// The names of the modules around it and its own, from the root.
    pub(super) path: Segments,
    pub(super) parent: Option<usize>,
    pub(super) children: BTreeMap<String, usize>,
    /// Structs, enums, unions, traits and type aliases.
    pub(super) types: BTreeSet<String>,
    /// Every item that has a name, types included.
    pub(super) items: BTreeSet<String>,
    pub(super) imports: Vec<Import>,
    /// Modules of which everything is imported.
    pub(super) globs: Vec<Segments>,
    /// Paths in its code, outside of imports.
    pub(super) names: BTreeSet<Segments>,
}

pub(super) struct Import {
    /// What it is called here; `_` where it has no name.
    pub(super) name: String,
    pub(super) path: Segments,
}

impl Modules {
    /// Reads the crate whose root is this file, by what `read` finds.
    pub(super) fn read(root: &Path, read: &dyn Fn(&Path) -> Option<String>) -> Self {
        let mut modules = Self::default();
        let folder = root.parent().unwrap().to_owned();
        let top = Module {
            file: root.to_owned(),
            ..Module::default()
        };
        modules.add_file(top, &folder, read);
        modules
    }

    /// Adds a module that is a file; modules of files of its own are below
    /// `folder`.
    fn add_file(
        &mut self,
        module: Module,
        folder: &Path,
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> usize {
        let text = read(&module.file).unwrap_or_else(|| panic!("no {}", module.file.display()));
        let file = syn::parse_file(&text)
            .unwrap_or_else(|error| panic!("{}: {error}", module.file.display()));
        self.add(module, &file.items, folder, read)
    }

    fn add(
        &mut self,
        module: Module,
        items: &[Item],
        folder: &Path,
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> usize {
        let mut code = Code { module };
        let mut inner = Vec::new();
        for item in items.iter().filter(|item| !is_test(attributes(item))) {
            if let Item::Mod(item) = item {
                inner.push(item);
            } else {
                code.define(item);
                code.visit_item(item);
            }
        }
        let at = self.0.len();
        self.0.push(code.module);
        for item in inner {
            let child = self.add_child(at, item, folder, read);
            self.0[at].children.insert(item.ident.to_string(), child);
        }
        at
    }

    fn add_child(
        &mut self,
        parent: usize,
        item: &ItemMod,
        folder: &Path,
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> usize {
        let name = item.ident.to_string();
        let below = folder.join(&name);
        let mut module = Module {
            file: self.0[parent].file.clone(),
            path: [&self.0[parent].path[..], std::slice::from_ref(&name)].concat(),
            parent: Some(parent),
            ..Module::default()
        };
        if let Some((_, items)) = &item.content {
            return self.add(module, items, &below, read);
        }
        let beside = folder.join(format!("{name}.rs"));
        module.file = if read(&beside).is_some() {
            beside
        } else {
            below.join("mod.rs")
        };
        self.add_file(module, &below, read)
    }
}

/// Reads one module's code.
struct Code {
    module: Module,
}

impl Code {
    fn define(&mut self, item: &Item) {
        let name = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Macro(item) => match &item.ident {
                Some(name) => name,
                None => return,
            },
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::Type(item) => &item.ident,
            Item::Union(item) => &item.ident,
            _ => return,
        };
        self.module.items.insert(name.to_string());
    }

    fn import(&mut self, prefix: &[String], tree: &UseTree) {
        let path = |last: &dyn ToString| [prefix, &[last.to_string()]].concat();
        match tree {
            UseTree::Path(step) => self.import(&path(&step.ident), &step.tree),
            UseTree::Group(group) => {
                for inner in &group.items {
                    self.import(prefix, inner);
                }
            }
            UseTree::Glob(_) => self.module.globs.push(prefix.to_owned()),
            UseTree::Name(last) if last.ident == "self" => self.bind(prefix.last(), prefix),
            UseTree::Name(last) => {
                let whole = path(&last.ident);
                self.bind(whole.last(), &whole);
            }
            UseTree::Rename(last) => {
                let whole = if last.ident == "self" {
                    prefix.to_owned()
                } else {
                    path(&last.ident)
                };
                self.bind(Some(&last.rename.to_string()), &whole);
            }
        }
    }

    fn bind(&mut self, name: Option<&String>, path: &[String]) {
        self.module.imports.push(Import {
            name: name.cloned().unwrap_or_default(),
            path: path.to_owned(),
        });
    }

    /// Paths in code that is not parsed.
    fn scan(&mut self, tokens: TokenStream) {
        let mut path = Segments::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.name(std::mem::take(&mut path));
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                other => {
                    self.name(std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.scan(group.stream());
                    }
                }
            }
        }
        self.name(path);
    }

    fn name(&mut self, path: Segments) {
        if !path.is_empty() {
            self.module.names.insert(path);
        }
    }
}

impl Visit<'_> for Code {
    fn visit_item(&mut self, item: &Item) {
        if is_test(attributes(item)) {
            return;
        }
        let name = match item {
            Item::Enum(item) => Some(&item.ident),
            Item::Struct(item) => Some(&item.ident),
            Item::Trait(item) => Some(&item.ident),
            Item::Type(item) => Some(&item.ident),
            Item::Union(item) => Some(&item.ident),
            _ => None,
        };
        self.module.types.extend(name.map(ToString::to_string));
        visit::visit_item(self, item);
    }

    fn visit_impl_item(&mut self, item: &ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if !is_test(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        if item.leading_colon.is_none() {
            self.import(&[], &item.tree);
        }
    }

    fn visit_path(&mut self, path: &syn::Path) {
        if path.leading_colon.is_none() {
            let segments = path.segments.iter();
            self.name(segments.map(|part| part.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &syn::Macro) {
        self.visit_path(&call.path);
        self.scan(call.tokens.clone());
    }

    /// `pub(in path)` and attributes import nothing.
    fn visit_vis_restricted(&mut self, _: &syn::VisRestricted) {}
    fn visit_attribute(&mut self, _: &Attribute) {}
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether these say `#[test]` or `#[cfg(test)]`; `#[cfg(not(test))]` does not.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::Path(path) => path.is_ident("test"),
        Meta::List(list) if list.path.is_ident("cfg") => needs_test(list.tokens.clone()),
        _ => false,
    })
}

fn needs_test(condition: TokenStream) -> bool {
    let mut negated = false;
    for token in condition {
        match token {
            TokenTree::Ident(word) if word == "test" => return true,
            TokenTree::Ident(word) => negated = word == "not",
            TokenTree::Group(group) if !negated && needs_test(group.stream()) => return true,
            _ => negated = false,
        }
    }
    false
}
