//! The cluster of `ops/cluster`: docs/cluster.md walks through it.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use tempfile::TempDir;

use super::{file, said};
use crate::{
    common::{etcd::etcd_program, program::PROGRAM, skip::skip_missing},
    docs::is_installed,
    markdown::{blocks, read},
};

/// A cluster that ends with its test.
struct Cluster {
    folder: TempDir,
    etcd: PathBuf,
    /// What `up` has shown.
    shown: String,
}

impl Cluster {
    /// `None` if etcd is not installed, which is told.
    fn up() -> Option<Self> {
        let Some(etcd) = etcd_program("etcd") else {
            skip_missing("etcd");
            return None;
        };
        let mut cluster = Self { folder: tempfile::tempdir().unwrap(), etcd, shown: String::new() };
        cluster.shown = cluster.run("up --free-ports");
        Some(cluster)
    }

    fn script(&self, script: &str) -> Output {
        let mut shell = Command::new("bash");
        shell.args(["-c", script]).env("CLUSTER_DIR", self.folder.path().join("cluster"));
        shell.env("GETLOCKD", PROGRAM).env("ETCD", &self.etcd).output().unwrap()
    }

    fn try_run(&self, command: &str) -> Output {
        self.script(&format!("{} {command}", file("cluster").display()))
    }

    fn run(&self, command: &str) -> String {
        let output = self.try_run(command);
        assert!(output.status.success(), "{command}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The text with the ports of this cluster in place of those that the text has.
    fn here(&self, text: &str) -> String {
        let table = blocks(&read("docs/cluster.md"), "text").remove(1).1.join("\n");
        let addrs = |text: &str| {
            let words = text.split_whitespace().filter(|word| word.starts_with("127.0.0.1:"));
            words.map(|word| word.rsplit(':').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let pairs = addrs(&table).into_iter().zip(addrs(&self.shown));
        pairs.fold(text.to_owned(), |text, (shown, here)| text.replace(&shown, &here))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.folder.path().join("cluster").exists() {
            let output = self.try_run("down");
            if !output.status.success() {
                println!("{}", said(&output));
            }
        }
    }
}

#[test]
fn walk_of_the_guide_replays() {
    if !["nc", "curl", "mysql"].into_iter().all(is_installed) {
        return;
    }
    let page = read("docs/cluster.md");
    let setup = blocks(&page, "sh").remove(0).1;
    assert_eq!(setup, ["cargo build --release", "ops/cluster up"]);
    let Some(cluster) = Cluster::up() else { return };
    let table = blocks(&page, "text").remove(1).1;
    let columns = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    for (shown, documented) in cluster.shown.lines().zip(&table) {
        assert_eq!(columns(shown), columns(&cluster.here(documented)));
    }
    // In one shell: a variable of one block is used in another.
    let lines: Vec<_> = blocks(&page, "console").into_iter().flat_map(|(_, lines)| lines).collect();
    let commands: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("$ ")).collect();
    let shown: Vec<_> = lines.iter().copied().filter(|line| !line.starts_with("$ ")).collect();
    assert_eq!(commands.last(), Some(&"ops/cluster down"));
    let script =
        cluster.here(&commands.join("\n")).replace("ops/cluster", &file("cluster").display().to_string());
    let output = cluster.script(&script);
    assert_eq!(said(&output).lines().collect::<Vec<_>>(), shown);
    assert!(!cluster.folder.path().join("cluster").exists(), "down removes all of it");
}

#[test]
fn cluster_that_cannot_be_told_from_another_is_refused() {
    let Some(cluster) = Cluster::up() else { return };
    for (command, told) in [
        ("up", "there is a cluster in"),
        ("kill d", "name a node: a b c"),
        ("kill", "name a node: a b c"),
        ("start a", "node a runs"),
    ] {
        let output = cluster.try_run(command);
        assert_eq!(output.status.code(), Some(1), "{command}");
        assert!(said(&output).contains(told), "{}", said(&output));
    }
    cluster.run("down");
    let output = cluster.try_run("leader");
    assert!(said(&output).contains("start one with: ops/cluster up"), "{}", said(&output));
}

#[test]
fn script_that_runs_a_cluster_has_no_finding_of_shellcheck() {
    if is_installed("shellcheck") {
        let output = Command::new("shellcheck").arg(file("cluster")).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
    assert!(fs::read_to_string(file("cluster")).unwrap().starts_with("#!/usr/bin/env bash\n"));
}
