//! The structure of the code: which file uses which, what the layers may use, and which names mean two things.
//! ARCHITECTURE.md lists the exceptions, each with its reason; this reads them from there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    slice,
};

/// Files that are longer are not read at one sitting.
const MAX_LINES: usize = 800;

/// Folders and files of src that are no part of the structure: generated code, and code for tests and fuzzers.
const APART: [&str; 4] = ["generated", "tests", "proof", "fuzz"];

/// What each layer must not use. Its parts are folders or files of src.
const FORBIDDEN: [(&str, &[&str]); 5] = [
    ("core", &["wires", "net", "ops", "store", "server", "config", "main"]),
    ("net", &["wires", "ops", "store", "server", "config", "main"]),
    ("store", &["wires", "net", "ops", "server", "config", "main"]),
    ("wires", &["store", "server", "config", "main"]),
    ("ops", &["store", "server", "config", "main"]),
];

/// The wires that are served over HTTP use its server; no other wire uses another.
const OVER_HTTP: (&str, [&str; 3]) = ("web", ["rest", "grpc", "compat"]);

/// A source file of the project.
struct Source {
    /// From the project's root.
    path: String,
    /// The crate, and the modules down to this file.
    module: Vec<String>,
    lines: usize,
    /// Without comments, the contents of strings, and tests.
    code: String,
}

/// A name that a file brings into scope, as a path from that file. The name of a glob is `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Import {
    name: String,
    path: Vec<String>,
    /// It is handed on to others; the file itself need not use it.
    is_public: bool,
}

/// The source files, what they import, and which uses which.
struct Project {
    sources: Vec<Source>,
    imports: Vec<Vec<Import>>,
    /// By their modules.
    modules: BTreeMap<Vec<String>, usize>,
    /// From a file to those that it uses.
    uses: Vec<BTreeSet<usize>>,
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Module(usize),
    /// Something that is defined in this file.
    Item(usize),
}

impl Project {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut crates = vec![("src".to_owned(), "getlockd".to_owned())];
        if let Ok(members) = fs::read_dir(root.join("crates")) {
            for member in members {
                let name = member.unwrap().file_name().into_string().unwrap();
                crates.push((format!("crates/{name}/src"), name.replace('-', "_")));
            }
        }
        let mut sources = Vec::new();
        for (folder, name) in crates {
            read_folder(root, &folder, &[name], &mut sources);
        }
        Self::of(sources)
    }

    fn of(sources: Vec<Source>) -> Self {
        let modules = sources.iter().enumerate().map(|(at, source)| (source.module.clone(), at)).collect();
        let imports = sources.iter().map(|source| imports(&source.code)).collect();
        let mut project = Self { sources, imports, modules, uses: Vec::new() };
        project.uses = (0..project.sources.len()).map(|at| project.used_by(at)).collect();
        project
    }

    fn used_by(&self, at: usize) -> BTreeSet<usize> {
        let (code, words) = (&self.sources[at].code, words(&self.sources[at].code));
        // What is only handed on is not used.
        let is_used = |import: &&Import| !import.is_public || words.contains(import.name.as_str());
        let imported = self.imports[at].iter().filter(is_used);
        // A module that is imported is used by what is taken from it: that is among the paths.
        let items = imported.filter_map(|import| match self.resolve(at, &import.path, 0)? {
            Found::Module(module) => (import.name == "*").then_some(module),
            Found::Item(file) => Some(file),
        });
        let paths = paths(code);
        let inline = paths.iter().filter_map(|path| match self.resolve(at, path, 0)? {
            Found::Module(_) => None,
            Found::Item(file) => Some(file),
        });
        items.chain(inline).filter(|&file| file != at).collect()
    }

    /// What a path means in a file; none if it leads out of the project.
    fn resolve(&self, at: usize, path: &[String], depth: usize) -> Option<Found> {
        let (first, mut rest) = path.split_first()?;
        let module = &self.sources[at].module;
        let mut found = match first.as_str() {
            "crate" => Found::Module(*self.modules.get(&module[..1])?),
            "self" => Found::Module(at),
            "super" => Found::Module(*self.modules.get(&module[..module.len() - 1])?),
            _ if self.modules.contains_key(slice::from_ref(first)) => {
                Found::Module(self.modules[slice::from_ref(first)])
            }
            _ => {
                rest = path;
                // In the file's own scope nothing is defined by a path.
                let found = self.member(at, first, depth)?;
                rest = &rest[1..];
                found
            }
        };
        for word in rest {
            found = match found {
                Found::Module(file) if word == "super" => {
                    let module = &self.sources[file].module;
                    Found::Module(*self.modules.get(&module[..module.len() - 1])?)
                }
                Found::Module(file) => self.member(file, word, depth).unwrap_or(Found::Item(file)),
                item @ Found::Item(_) => item,
            };
        }
        Some(found)
    }

    /// What a module has by that name: a module below it, or something imported. None if it is neither.
    fn member(&self, at: usize, name: &str, depth: usize) -> Option<Found> {
        let mut module = self.sources[at].module.clone();
        module.push(name.to_owned());
        if let Some(&file) = self.modules.get(&module) {
            return Some(Found::Module(file));
        }
        // Imports that name each other would lead in a cycle.
        if depth > 8 {
            return None;
        }
        let import = self.imports[at].iter().find(|import| import.name == name && import.path[0] != name);
        if let Some(import) = import {
            return self.resolve(at, &import.path, depth + 1);
        }
        let globs = self.imports[at].iter().filter(|import| import.name == "*" && import.is_public);
        globs.filter_map(|glob| self.resolve(at, &glob.path, depth + 1)).find_map(|found| match found {
            Found::Module(file) if defines(&self.sources[file].code, name) => Some(Found::Item(file)),
            _ => None,
        })
    }

    fn path(&self, at: usize) -> &str {
        &self.sources[at].path
    }

    /// Whether a file is a part of the module of another.
    fn is_part(&self, at: usize, of: usize) -> bool {
        self.sources[at].module.len() > self.sources[of].module.len()
            && self.sources[at].module.starts_with(&self.sources[of].module)
    }

    /// The files that lead to each other, all that do as one. That the parts of a module use what it defines for
    /// all of them makes no cycle.
    fn cycles(&self) -> Vec<BTreeSet<&str>> {
        let reached: Vec<BTreeSet<usize>> = (0..self.sources.len()).map(|at| self.reach(at)).collect();
        let mut cycles = Vec::new();
        for (at, reach) in reached.iter().enumerate().filter(|(at, reach)| reach.contains(at)) {
            let files: BTreeSet<usize> =
                reach.iter().copied().filter(|&other| reached[other].contains(&at)).collect();
            if files.first() == Some(&at) {
                cycles.push(files.into_iter().map(|file| self.path(file)).collect());
            }
        }
        cycles
    }

    fn reach(&self, from: usize) -> BTreeSet<usize> {
        let (mut reach, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(at) = next.pop() {
            let used = self.uses[at].iter().filter(|&&used| !self.is_part(at, used));
            next.extend(used.filter(|&&used| reach.insert(used)));
        }
        reach
    }

    /// The uses of one part of src by another, as `file uses file`.
    fn between<'a>(&'a self, from: &'a str, to: &'a str) -> impl Iterator<Item = String> + 'a {
        let pairs =
            self.uses.iter().enumerate().flat_map(|(at, uses)| uses.iter().map(move |&used| (at, used)));
        pairs
            .filter(move |&(at, used)| is_in(self.path(at), from) && is_in(self.path(used), to))
            .map(|(at, used)| format!("{} uses {}", self.path(at), self.path(used)))
    }
}

/// Whether a file is that of a module of src, or below it.
fn is_in(path: &str, module: &str) -> bool {
    let rest = path.strip_prefix("src/").and_then(|path| path.strip_prefix(module));
    rest.is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

fn read_folder(root: &Path, folder: &str, module: &[String], sources: &mut Vec<Source>) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        let stem = name.strip_suffix(".rs");
        let below = |name: &str| [module, &[name.to_owned()]].concat();
        if APART.contains(&stem.unwrap_or(&name)) {
            continue;
        }
        if stem.is_none() && root.join(&path).is_dir() {
            read_folder(root, &path, &below(&name), sources);
        } else if let Some(stem) = stem {
            let text = fs::read_to_string(root.join(&path)).unwrap();
            let is_binary = root.join(folder).join("lib.rs").exists();
            let module = match stem {
                "lib" | "mod" => module.to_vec(),
                "main" if !is_binary => module.to_vec(),
                _ => below(stem),
            };
            sources.push(Source {
                path,
                module,
                lines: text.lines().count(),
                code: without_tests(&bare(&text)),
            });
        }
    }
}

/// Rust without comments and without what stands in strings and characters.
fn bare(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skipped = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '"' => 1 + string_end(&rest[1..]),
            'r' if !code.ends_with(|c: char| c.is_alphanumeric() || c == '_') => raw_string(rest),
            '\'' => character(rest),
            _ => 0,
        };
        if skipped == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.push(' ');
            rest = &rest[skipped..];
        }
    }
    code
}

fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

fn raw_string(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|&c| c == '#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    text[hashes + 2..].find(&end).map_or(text.len(), |at| hashes + 2 + at + end.len())
}

/// How long a character in quotes is; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text[3..].find('\'').map_or(0, |at| 3 + at + 1),
        Some(_) => chars.next().filter(|&(_, c)| c == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

/// Code without what only tests and fuzzers are built with.
fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(") {
        let condition_end = rest[at..].find(']').map_or(rest.len(), |end| at + end);
        let words = tokens(&rest[at..condition_end]);
        kept.push_str(&rest[..at]);
        rest = &rest[condition_end..];
        if words.contains(&"not") || !words.iter().any(|word| ["test", "fuzzing"].contains(word)) {
            continue;
        }
        let end = rest.find(['{', ';']).unwrap_or(rest.len());
        rest = if rest[end..].starts_with('{') { &rest[block_end(rest, end)..] } else { &rest[end..] };
    }
    kept + rest
}

/// Behind the brace that closes the one at `start`.
fn block_end(code: &str, start: usize) -> usize {
    let mut depth = 0;
    for (at, c) in code[start..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return start + at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The words of code, with `::` as one.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(c) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = match c {
            _ if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            _ => c.len_utf8(),
        };
        if !c.is_whitespace() {
            tokens.push(&rest[..length]);
        }
        rest = &rest[length..];
    }
    tokens
}

/// What the `use` items of a file bring into scope.
fn imports(code: &str) -> Vec<Import> {
    let tokens = tokens(code);
    let mut imports = Vec::new();
    for (at, _) in tokens.iter().enumerate().filter(|(_, token)| **token == "use") {
        // `impl Trait + use<'a>` is none.
        if tokens.get(at + 1).is_none_or(|next| *next == "<") {
            continue;
        }
        let is_public = at > 0 && (tokens[at - 1] == "pub" || tokens[at - 1] == ")");
        let mut tree = tokens[at + 1..].iter().copied().peekable();
        read_tree(&mut tree, &[], is_public, &mut imports);
    }
    imports
}

fn read_tree<'a>(
    tokens: &mut std::iter::Peekable<impl Iterator<Item = &'a str>>,
    before: &[String],
    is_public: bool,
    imports: &mut Vec<Import>,
) {
    let mut path = before.to_vec();
    while let Some(token) = tokens.next() {
        match token {
            "::" => {}
            "{" => {
                while tokens.peek().is_some_and(|next| *next != "}") {
                    read_tree(tokens, &path, is_public, imports);
                    tokens.next_if_eq(&",");
                }
                tokens.next();
                return;
            }
            "*" => {
                imports.push(Import { name: "*".to_owned(), path, is_public });
                return;
            }
            word => {
                if word != "self" || path.is_empty() {
                    path.push(word.to_owned());
                }
                if tokens.peek() != Some(&"::") {
                    let is_renamed = tokens.next_if_eq(&"as").is_some();
                    let name = if is_renamed { tokens.next() } else { path.last().map(String::as_str) };
                    let name = name.unwrap_or_default().to_owned();
                    imports.push(Import { name, path, is_public });
                    return;
                }
            }
        }
    }
}

/// The tokens of code without its `use` items.
fn body(code: &str) -> Vec<&str> {
    let mut body = Vec::new();
    let mut tokens = tokens(code).into_iter().peekable();
    while let Some(token) = tokens.next() {
        if token == "use" && tokens.peek() != Some(&"<") {
            tokens.by_ref().find(|token| *token == ";");
        } else {
            body.push(token);
        }
    }
    body
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn words(code: &str) -> BTreeSet<&str> {
    body(code).into_iter().filter(|token| is_word(token)).collect()
}

/// The paths of at least two words.
fn paths(code: &str) -> BTreeSet<Vec<String>> {
    let mut paths = BTreeSet::new();
    let mut path: Vec<String> = Vec::new();
    let mut goes_on = false;
    for token in body(code).into_iter().chain([";"]) {
        if token == "::" {
            goes_on = !path.is_empty();
        } else if is_word(token) && goes_on {
            path.push(token.to_owned());
            goes_on = false;
        } else {
            let ended = std::mem::take(&mut path);
            if ended.len() > 1 {
                paths.insert(ended);
            }
            goes_on = false;
            path.extend(is_word(token).then(|| token.to_owned()));
        }
    }
    paths
}

/// Whether something of that name is defined in a file.
fn defines(code: &str, name: &str) -> bool {
    const KINDS: [&str; 8] = ["struct", "enum", "trait", "type", "fn", "const", "static", "mod"];
    tokens(code).windows(2).any(|pair| KINDS.contains(&pair[0]) && pair[1] == name)
}

/// Whether a macro makes something of that name in a file: `kinds! { Name { ... } }`.
fn defines_by_macro(code: &str, name: &str) -> bool {
    tokens(code).windows(4).any(|words| words == ["!", "{", name, "{"])
}

/// The types that a file defines. Those that belong to a trait or an implementation of it are none.
fn types(code: &str) -> BTreeSet<&str> {
    let mut types = BTreeSet::new();
    for line in code.lines() {
        let is_alias = line.trim_start().len() == line.len();
        let words = tokens(line);
        let kind = words.iter().position(|word| {
            matches!(*word, "struct" | "enum" | "trait" | "union") || *word == "type" && is_alias
        });
        if let Some(kind) = kind
            && words[..kind].iter().all(|word| {
                matches!(*word, "pub" | "(" | ")" | "crate" | "super" | "in" | "::")
                    || word.starts_with(char::is_lowercase)
            })
            && let Some(name) = words.get(kind + 1).filter(|name| name.starts_with(char::is_uppercase))
        {
            types.insert(*name);
        }
    }
    types
}

fn architecture() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap()
}

/// The rows of the table below a heading of ARCHITECTURE.md: what stands in backquotes in the first column. Each has a
/// reason in the last one.
fn listed(heading: &str) -> Vec<BTreeSet<String>> {
    let text = architecture();
    let part = text.split("\n## ").find(|part| part.starts_with(heading));
    let part = part.unwrap_or_else(|| panic!("ARCHITECTURE.md has no part \"{heading}\""));
    let rows = part.lines().filter(|line| line.starts_with('|') && line.contains('`'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let is_explained = cells.len() > 1 && cells.last().is_some_and(|reason| !reason.is_empty());
        assert!(is_explained, "ARCHITECTURE.md gives no reason for {}", cells[0]);
        cells[0].split('`').skip(1).step_by(2).map(str::to_owned).collect()
    })
    .collect()
}

/// What ARCHITECTURE.md says of files: each path, from the root or from src, with the name that stands right behind it.
/// In text both are in backquotes; a walk has them in its first two columns.
fn named(text: &str) -> Vec<(String, Option<String>)> {
    let is_rust = |word: &str| Path::new(word).extension().is_some_and(|kind| kind == "rs");
    let is_path = |word: &str| word.contains('/') && (is_rust(word) || word.starts_with("src/"));
    let mut named = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        is_code ^= line.starts_with("```");
        if is_code {
            let mut words = line.split_whitespace();
            if let Some(path) = words.next().filter(|word| is_path(word)) {
                named.push((path.to_owned(), words.next().map(str::to_owned)));
            }
            continue;
        }
        let parts: Vec<&str> = line.split('`').collect();
        for at in (1..parts.len()).step_by(2).filter(|&at| is_path(parts[at])) {
            let name = parts.get(at + 2).filter(|name| parts[at + 1] == " " && !is_path(name));
            named.push((parts[at].to_owned(), name.map(|name| (*name).to_owned())));
        }
    }
    named
}

#[test]
fn architecture_md_names_files_with_their_definitions() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = named(&architecture());
    assert!(named.len() > 50, "ARCHITECTURE.md names {} files", named.len());
    for (path, name) in named {
        let file = [root.join(&path), root.join("src").join(&path)].into_iter().find(|file| file.exists());
        let file = file.unwrap_or_else(|| panic!("ARCHITECTURE.md names {path}, which does not exist"));
        if let Some(name) = name.filter(|_| file.is_file()) {
            let code = bare(&fs::read_to_string(&file).unwrap());
            let is_defined = defines(&code, &name) || defines_by_macro(&code, &name);
            assert!(is_defined, "{path} does not define {name}; ARCHITECTURE.md says so");
        }
    }
}

#[test]
fn protocol_md_names_existing_limits() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("protocol.md")).unwrap();
    let limits = text.split("\n## ").find(|part| part.starts_with("5. Limits")).unwrap();
    let is_constant = |word: &&str| word.starts_with(char::is_uppercase) && *word == word.to_uppercase();
    let rows = limits.lines().filter(|line| line.starts_with('|'));
    let named = rows.filter_map(|row| row.trim_matches(['|', ' ']).rsplit('|').next()?.split('`').nth(1));
    let project = Project::read();
    let mut known = 0;
    for name in named.filter(is_constant) {
        let is_defined = project.sources.iter().any(|source| defines(&source.code, name));
        assert!(is_defined, "protocol.md names the limit {name}, which no file defines");
        known += 1;
    }
    assert!(known > 15, "protocol.md names {known} limits");
}

#[test]
fn file_cycles_match_architecture_md() {
    let project = Project::read();
    let listed = BTreeSet::from_iter(listed("Cycles of files"));
    let found: BTreeSet<BTreeSet<String>> =
        project.cycles().into_iter().map(|files| files.into_iter().map(str::to_owned).collect()).collect();
    for files in found.difference(&listed) {
        println!("these files use each other in a cycle:");
        let within = |at: usize| files.contains(project.path(at));
        for at in (0..project.sources.len()).filter(|&at| within(at)) {
            for &used in project.uses[at].iter().filter(|&&used| within(used) && !project.is_part(at, used)) {
                println!("    {} uses {}", project.path(at), project.path(used));
            }
        }
    }
    assert!(
        found.is_subset(&listed),
        "break the cycles above, or list them in ARCHITECTURE.md with a reason"
    );
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md lists cycles that are none any more: {gone:?}");
}

#[test]
fn duplicate_type_names_match_architecture_md() {
    let project = Project::read();
    let mut files: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for source in &project.sources {
        for name in types(&source.code) {
            files.entry(name).or_default().push(&source.path);
        }
    }
    let all = files.len();
    files.retain(|_, files| files.len() > 1);
    println!("{} of {all} type names ({} %) mean two things", files.len(), files.len() * 100 / all);
    let listed: BTreeSet<_> = listed("Names with two meanings").into_iter().flatten().collect();
    let unlisted: Vec<_> = files.iter().filter(|(name, _)| !listed.contains(**name)).collect();
    assert!(
        unlisted.is_empty(),
        "rename these, or list them in ARCHITECTURE.md with a reason: {unlisted:#?}"
    );
    let gone: Vec<_> = listed.iter().filter(|name| !files.contains_key(name.as_str())).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md lists names that have one meaning: {gone:?}");
}

#[test]
fn lock_order_matches_architecture_md() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/core/sync/guarded.rs");
    let code = bare(&fs::read_to_string(file).unwrap());
    let ranks = code.split_once("enum Rank {").and_then(|(_, rest)| rest.split_once('}')).unwrap().0;
    let ranks: Vec<&str> = tokens(ranks).into_iter().filter(|token| is_word(token)).collect();
    let listed: Vec<String> = listed("Lock order").into_iter().flatten().collect();
    assert_eq!(listed, ranks, "ARCHITECTURE.md and Rank");
}

#[test]
fn files_have_at_most_800_lines() {
    for source in Project::read().sources {
        assert!(source.lines <= MAX_LINES, "{} has {} lines", source.path, source.lines);
    }
}

#[test]
fn layers_use_only_lower_layers() {
    let project = Project::read();
    for (layer, above) in FORBIDDEN {
        let files = project.sources.iter().filter(|source| is_in(&source.path, layer)).count();
        assert!(files > 0, "no file is in src/{layer}");
        let wrong: Vec<String> = above.iter().flat_map(|above| project.between(layer, above)).collect();
        assert!(wrong.is_empty(), "{layer} is below what it uses: {wrong:#?}");
    }
}

#[test]
fn wires_do_not_use_each_other() {
    let project = Project::read();
    let wires = ["line", "mysql", "web", "rest", "grpc", "compat"];
    let (server, served) = OVER_HTTP;
    for wire in wires {
        for other in wires.into_iter().filter(|&other| other != wire) {
            if other == server && served.contains(&wire) {
                continue;
            }
            let (wire, other) = (format!("wires/{wire}"), format!("wires/{other}"));
            let wrong: Vec<String> = project.between(&wire, &other).collect();
            assert!(wrong.is_empty(), "{wrong:#?}");
        }
    }
}

/// The reader of sources, which the tests above are only as good as.
mod reader {
    use super::*;

    fn source(path: &str, code: &str) -> Source {
        let path = path.to_owned();
        let module = path.trim_start_matches("src/").trim_end_matches(".rs").split('/');
        let module = std::iter::once("getlockd").chain(module).filter(|word| *word != "lib");
        let module = module.map(str::to_owned).collect();
        Source { path, module, lines: 1, code: without_tests(&bare(code)) }
    }

    fn uses(files: &[(&str, &str)]) -> Vec<String> {
        let project = Project::of(files.iter().map(|(path, code)| source(path, code)).collect());
        let uses = project.uses.iter().enumerate();
        uses.flat_map(|(at, uses)| uses.iter().map(move |&used| (at, used)))
            .map(|(at, used)| {
                format!("{} {}", project.path(at), project.path(used)).replace("src/", "").replace(".rs", "")
            })
            .collect()
    }

    #[test]
    fn nested_braces_renames_and_relative_paths_are_followed() {
        let files = [
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "pub mod c; pub(crate) use c::Deep;"),
            ("src/a/c.rs", "use super::super::b::{self, Thing as Other}; pub struct Deep;"),
            ("src/b.rs", "use crate::{a::{Deep, c as sea}, b}; fn f() { sea::g(); } pub struct Thing;"),
        ];
        assert_eq!(uses(&files), ["a/c b", "b a/c"]);
    }

    #[test]
    fn inline_paths_count_but_facades_strings_and_tests_do_not() {
        let files = [
            ("src/lib.rs", "mod a; mod b; mod c;"),
            ("src/a.rs", "mod x; pub use x::X; fn f() -> crate::b::B { crate::b::make::<u8>() }"),
            (
                "src/a/x.rs",
                "pub struct X; // crate::c::C\n const S: &str = \"crate::c::C\"; const Q: char = '\"';",
            ),
            ("src/b.rs", "pub struct B; #[cfg(test)] mod tests { use crate::c::C; }"),
            (
                "src/c.rs",
                "use crate::a::X; fn f<'a>(x: &'a X) -> impl Sized + use<'a> { r#\"crate::b::B\"# }",
            ),
        ];
        assert_eq!(uses(&files), ["a b", "c a/x"]);
    }

    #[test]
    fn mutual_uses_form_a_cycle() {
        let files = [
            ("src/lib.rs", "mod a; mod b; mod c; mod d;"),
            ("src/a.rs", "use crate::b::B; pub struct A;"),
            ("src/b.rs", "use crate::c::C; pub struct B;"),
            ("src/c.rs", "use crate::a::A; use crate::d::D; pub struct C;"),
            ("src/d.rs", "pub struct D;"),
        ];
        let project = Project::of(files.iter().map(|(path, code)| source(path, code)).collect());
        assert_eq!(project.cycles(), [BTreeSet::from(["src/a.rs", "src/b.rs", "src/c.rs"])]);
    }

    #[test]
    fn aliases_and_types_of_all_visibilities_are_found() {
        let code = "pub(in crate::a) struct A;\n    pub enum B {}\ntype C = u8;\n    type Item = u8;\ntrait D {}\nfn f(x: E) {}";
        assert_eq!(types(code), BTreeSet::from(["A", "B", "C", "D"]));
    }
}
