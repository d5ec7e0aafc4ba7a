//! Manual pages, as `man` shows them.

use std::{
    fs,
    process::{Command, Stdio},
};

use super::skip::skip_missing;

const SECTIONS: [&str; 9] = [
    "NAME",
    "SYNOPSIS",
    "DESCRIPTION",
    "OPTIONS",
    "COMMANDS",
    "EXIT STATUS",
    "ENVIRONMENT",
    "EXAMPLES",
    "SEE ALSO",
];

/// Checks that a program prints a whole page, about which `man` has no warning, and that this is said in it.
pub fn check_manual(program: &str, said: &[&str]) {
    let page = Command::new(program).arg("man").output().unwrap();
    assert!(page.status.success() && page.stderr.is_empty());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("page");
    fs::write(&file, page.stdout).unwrap();
    let mut man = Command::new("man");
    man.args(["--warnings", "-l"]).arg(&file).stdin(Stdio::null());
    man.envs([("MANWIDTH", "80"), ("MANPAGER", "cat"), ("LC_ALL", "C.UTF-8")]);
    let Ok(shown) = man.output() else { return skip_missing("man") };
    let warnings = String::from_utf8_lossy(&shown.stderr);
    assert!(shown.status.success() && warnings.is_empty(), "{warnings}");
    let text = String::from_utf8_lossy(&shown.stdout);
    let is_heading = |line: &&str| line.starts_with(|c: char| c.is_ascii_uppercase());
    let headings: Vec<_> = text.lines().filter(is_heading).skip(1).collect();
    assert_eq!(headings, SECTIONS, "between the first line and the last");
    for said in said {
        assert!(text.contains(said), "{said}");
    }
    let (name, _) = text.split_once('(').unwrap();
    assert!(!text.contains(&format!("{}-", name.to_lowercase())), "one page has all commands");
}
