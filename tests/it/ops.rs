//! What operators use: systemd, Kubernetes, `getlockd check` and `ping`, logs.

mod check;
mod cluster;
mod drain;
mod guide;
mod kubernetes;
mod logs;
mod packaging;
mod systemd;
mod terminal;

use crate::common::skip::skip_missing;
use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// A file of the folder `ops`.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("ops").join(name)
}

fn read(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

/// What a tool says. None if it is not installed.
fn tool(command: &mut Command) -> Option<Output> {
    let output = command.output().ok();
    if output.is_none() {
        skip_missing(&command.get_program().display().to_string());
    }
    output
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// That a variable in a file is one that the program has.
fn assert_is_variable(name: &str) {
    use clap::CommandFactory;
    let command = getlockd::config::Cli::command();
    let known = command.get_arguments().any(|arg| arg.get_env().is_some_and(|env| env == name));
    assert!(known, "{name} is no variable of getlockd");
}
