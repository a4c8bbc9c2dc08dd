//! The files of src/ import each other in one direction: a file that is needed by another does not need it back, over
//! however many steps.
//!
//! A path counts where it starts with `crate`, `super`, `self`, a module of the file's own or a name that the file has
//! imported, and it leads to the deepest module on it that is a file. Tests do not count.

mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use scan::{Names, Scan, tokens};

/// The module that is a file, by its path within src/.
fn module(file: &str) -> Names<'_> {
    let parts = file.trim_end_matches(".rs").split('/');
    parts.filter(|part| !["lib", "mod"].contains(part)).collect()
}

/// Files by the files that they need.
#[derive(Default)]
struct Graph {
    edges: BTreeMap<String, BTreeSet<String>>,
    /// What other files name by what `lib.rs` exports, not by the module that has it.
    through_root: BTreeSet<String>,
}

impl Graph {
    /// Of files by their paths within src/.
    fn new(sources: &BTreeMap<String, String>) -> Self {
        let modules: Vec<_> = sources.keys().map(|file| (file.as_str(), module(file))).collect();
        let files = modules.iter().map(|(file, module)| (module.clone(), *file)).collect();
        let (mut scans, mut tests) = (Vec::new(), Vec::new());
        for (file, module) in modules {
            let mut scan = Scan { files: &files, imported: BTreeMap::new(), paths: Vec::new(), tests: Vec::new() };
            scan.scan(&tokens(&sources[file]), &module);
            tests.extend(scan.tests);
            scans.push((file, module, scan.paths));
        }
        scans.retain(|(_, module, _)| !tests.iter().any(|test| module.starts_with(test)));
        let mut graph = Self::default();
        for (file, _, paths) in scans {
            let edges = graph.edges.entry(file.to_owned()).or_default();
            for path in paths {
                let to = (0..=path.len()).rev().find_map(|len| files.get(&path[..len])).copied().unwrap_or("lib.rs");
                if to == "lib.rs" && file != to {
                    graph.through_root.insert(format!("{file}: crate::{}", path.first().unwrap_or(&"*")));
                } else if file != to {
                    edges.insert(to.to_owned());
                }
            }
        }
        graph
    }

    /// Files each of which needs the next, the last being the first.
    fn circle(&self) -> Option<Vec<&str>> {
        let mut done = BTreeSet::new();
        self.edges.keys().find_map(|file| {
            let mut way = Vec::new();
            self.closes(file, &mut way, &mut done).then_some(way)
        })
    }

    /// Whether a circle lies ahead; `way` is that circle then.
    fn closes<'a>(&'a self, file: &'a str, way: &mut Vec<&'a str>, done: &mut BTreeSet<&'a str>) -> bool {
        let first = way.iter().position(|before| *before == file);
        way.push(file);
        if let Some(first) = first {
            way.drain(..first);
            return true;
        }
        if done.insert(file) && self.edges.get(file).into_iter().flatten().any(|next| self.closes(next, way, done)) {
            return true;
        }
        way.pop();
        false
    }
}

fn read(folder: &Path, within: &str, sources: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{within}{}", path.file_name().unwrap().to_string_lossy());
        if path.is_dir() {
            read(&path, &format!("{name}/"), sources);
        } else if name.ends_with(".rs") {
            sources.insert(name, std::fs::read_to_string(path).unwrap());
        }
    }
}

fn src() -> Graph {
    let mut sources = BTreeMap::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut sources);
    let graph = Graph::new(&sources);
    // The scan sees what there is.
    assert!(graph.edges.len() > 20 && graph.edges.values().flatten().count() > 40, "{:?}", graph.edges);
    graph
}

#[test]
fn no_module_needs_itself() {
    let graph = src();
    let circle = graph.circle().map(|circle| circle.join(" → "));
    assert!(circle.is_none(), "modules in a circle: {}", circle.unwrap());
}

#[test]
fn no_import_goes_through_the_root() {
    let graph = src();
    assert!(graph.through_root.is_empty(), "name the module that has it: {:#?}", graph.through_root);
}

fn graph(files: &[(&str, &str)]) -> Graph {
    Graph::new(&files.iter().map(|(file, source)| (file.to_string(), source.to_string())).collect())
}

#[test]
fn a_circle_is_found() {
    let lib = ("lib.rs", "mod a;\nmod b;\npub use a::A;");
    let a = ("a.rs", "use crate::{\n    b::{self, c::{C as D}},\n};\nuse crate::{b::B, d};\npub struct A(b::B, D);");
    let b = ("b/mod.rs", "mod c;\npub use c::C;\npub struct B;");
    let c = ("b/c.rs", "pub struct C;\nfn f(c: C) { super::super::a::g(c) }");
    let d = ("d.rs", "");
    let found = graph(&[lib, a, b, c, d]);
    let to = |file: &str| found.edges[file].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!([to("lib.rs"), to("b/mod.rs"), to("b/c.rs")], [["a.rs"], ["b/c.rs"], ["a.rs"]]);
    assert_eq!(to("a.rs"), ["b/c.rs", "b/mod.rs", "d.rs"]);
    assert_eq!(found.circle().unwrap(), ["a.rs", "b/c.rs", "a.rs"]);
    assert!(found.through_root.is_empty());

    let harmless = r##"pub struct C;
        // crate::a
        /* super::super::a */
        const S: [&str; 3] = ["crate::a \" crate::a", r#"" crate::a"#, "crate::a"];
        fn f<'a>(_: &'a str, _: char) -> impl Iterator<Item = char> + use<'a> { ['"', '\'', 'a'].into_iter() }
        #[cfg(all(test, feature = "cpu"))]
        mod tests { use crate::a::A; fn g() { crate::a::g() } }
        #[cfg(test)]
        use crate::a::A;
        mod inner { use super::C; }
    "##;
    assert_eq!(graph(&[lib, a, b, d, ("b/c.rs", harmless)]).circle(), None);
    let found = graph(&[lib, a, b, d, ("b/c.rs", "#[cfg(not(test))]\nuse crate::a::A;")]);
    assert!(found.circle().is_some());
}

#[test]
fn tests_in_files_of_their_own_do_not_count() {
    let lib = ("lib.rs", "mod a;\nmod b;");
    let a = ("a/mod.rs", "#[cfg(test)]\n#[allow(unused)]\npub mod tests;\nuse crate::b;\nfn f() { b::f() }");
    let found = graph(&[lib, a, ("a/tests.rs", "use crate::A;\nuse super::*;"), ("b.rs", "pub fn f() {}")]);
    assert_eq!(found.circle(), None);
    assert!(found.through_root.is_empty() && !found.edges.contains_key("a/tests.rs"));
}

#[test]
fn a_path_through_the_root_is_found() {
    let lib = ("lib.rs", "mod a;\nmod b;\npub use a::{A, f};");
    let b = (
        "b.rs",
        "use crate::{A, a};\nuse super::f;\npub(in crate::b) fn g(_: A) { crate::a::f(); ::std::mem::drop(()) }",
    );
    let expected = ["b.rs: crate::A", "b.rs: crate::f"].map(str::to_owned);
    assert_eq!(graph(&[lib, ("a.rs", ""), b]).through_root, BTreeSet::from(expected));
}
