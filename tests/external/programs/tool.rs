//! A program that runs once, and what it says.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{process::Command, time::timeout};

use crate::common::skip::skip_missing;
use crate::common::{PATIENCE, TestServer, group::Group, installed};

/// What `.ci/run` has unpacked below `target/drivers`, or else what the machine has.
pub fn unpacked(package: &str, path: &str) -> PathBuf {
    let below_target = installed(package).join(path);
    if below_target.exists() { below_target } else { Path::new("/").join(path) }
}

/// Starts a program in an empty folder as its home. None, told, where it is not installed.
pub fn start(program: impl AsRef<Path>, args: &[&str], home: &Path) -> Option<Group> {
    let program = program.as_ref();
    if !is_there(program) {
        skip_missing(&program.display().to_string());
        return None;
    }
    let mut command = Command::new(program);
    command.args(args).current_dir(home).env("HOME", home).env("ODBCINI", home.join("odbc.ini"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(Group::spawn(&mut command))
}

fn is_there(program: &Path) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Whether a program ends well, and what it wrote, stderr first. None, told, where it is not installed.
pub async fn run(program: impl AsRef<Path>, args: &[&str], home: &Path) -> Option<(bool, String)> {
    let mut group = start(program, args, home)?;
    drop(group.child.stdin.take());
    Some(end(group).await)
}

/// The same of a program that has been started.
pub async fn end(group: Group) -> (bool, String) {
    let output = timeout(3 * PATIENCE, group.output()).await.expect("an end in time").unwrap();
    let said = [output.stderr, output.stdout].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Where a server is, as the command lines of MySQL and what is made like them take it.
pub fn address(server: &TestServer) -> [String; 3] {
    ["--host=127.0.0.1".to_owned(), format!("--port={}", server.mysql.port()), "--user=root".to_owned()]
}

/// The same, and more arguments after it.
pub async fn ask(program: &str, server: &TestServer, more: &[&str]) -> Option<(bool, String)> {
    let home = tempfile::tempdir().unwrap();
    let address = address(server);
    let args: Vec<&str> = address.iter().map(String::as_str).chain(more.iter().copied()).collect();
    run(program, &args, home.path()).await
}
