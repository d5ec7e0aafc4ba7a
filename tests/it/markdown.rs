//! The documents of the project, and what stands in them.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folders that are built or fetched.
const NOT_OURS: [&str; 2] = ["target", "node_modules"];

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the project, by its path from the root.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The paths from the root of all files below a folder whose names end so. Hidden folders are left out.
pub fn files(folder: &str, ends: &[&str]) -> Vec<String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_name().unwrap().to_string_lossy();
            let is_left_out = name.starts_with('.') || NOT_OURS.contains(&&*name);
            match entry.is_dir() {
                true if !is_left_out => walk(&entry, found),
                true => {}
                false => found.push(entry),
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    let path = |file: PathBuf| file.strip_prefix(root()).unwrap().display().to_string();
    let mut paths: Vec<_> = found.into_iter().map(path).collect();
    paths.retain(|path| ends.iter().any(|end| path.ends_with(end)));
    paths.sort();
    paths
}

/// README.md and the pages of `docs`, as path and text.
pub fn guides() -> Vec<(String, String)> {
    let paths = ["README.md".to_owned()].into_iter().chain(files("docs", &[".md"]));
    paths.map(|path| (path.clone(), read(&path))).collect()
}

/// The fenced blocks of a kind: the number of the line with the fence, and the lines between.
pub fn blocks<'a>(text: &'a str, kind: &str) -> Vec<(usize, Vec<&'a str>)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, Vec<&str>)> = None;
    for (number, line) in (1..).zip(text.lines()) {
        match &mut open {
            Some(_) if line == "```" => blocks.extend(open.take()),
            Some((_, lines)) => lines.push(line),
            None if line == format!("```{kind}") => open = Some((number, Vec::new())),
            None => {}
        }
    }
    blocks
}

/// The kind of each fenced block.
pub fn kinds(text: &str) -> Vec<&str> {
    let fences = text.lines().filter_map(|line| line.strip_prefix("```"));
    fences.step_by(2).collect()
}

/// The lines outside of fenced blocks; those inside are empty.
pub fn prose(text: &str) -> Vec<&str> {
    let mut is_fenced = false;
    let outside = text.lines().map(|line| {
        let is_fence = line.starts_with("```");
        is_fenced ^= is_fence;
        if is_fence || is_fenced { "" } else { line }
    });
    outside.collect()
}

/// The rows of the table below a head, as cells.
pub fn table<'a>(text: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let rows = text.split_once(&format!("\n{head}\n")).unwrap_or_else(|| panic!("no table {head}")).1;
    rows.lines().skip(1).take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// A `\|` does not end a cell.
fn cells(row: &str) -> Vec<&str> {
    let mut is_escaped = false;
    let ends_cell = |c: char| {
        let ends = c == '|' && !is_escaped;
        is_escaped = c == '\\';
        ends
    };
    row.trim_matches('|').split(ends_cell).map(str::trim).collect()
}
