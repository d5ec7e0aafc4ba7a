//! What operators use: systemd, Kubernetes, `getlockd check` and `ping`, logs.

mod check;
mod drain;
mod kubernetes;
mod logs;
mod page;
mod systemd;

use crate::common::all_drivers_are_wanted;
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

/// What a tool says. None if it is not installed, which is a failure where all are wanted.
fn tool(command: &mut Command) -> Option<Output> {
    let output = command.output().ok();
    assert!(output.is_some() || !all_drivers_are_wanted(), "{command:?}: not installed");
    if output.is_none() {
        eprintln!("{command:?}: not installed: skipped");
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
