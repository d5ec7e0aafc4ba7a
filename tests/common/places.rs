//! Where the files of the project are, and the programs that tests start.

use std::path::{Path, PathBuf};

/// A file of the project, from the tests of any of its packages.
pub fn project(path: &str) -> PathBuf {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    folders.into_iter().find(|folder| folder.join("Cargo.lock").exists()).unwrap().join(path)
}

/// What `.ci/run` has installed below `target/drivers`, or in the folder that `DRIVERS_DIR` names.
pub fn installed(what: &str) -> PathBuf {
    std::env::var_os("DRIVERS_DIR").map_or_else(|| project("target/drivers"), PathBuf::from).join(what)
}

/// The Python of `.ci/run`, or that of the machine.
pub fn python() -> PathBuf {
    let venv = installed("venv/bin/python");
    if venv.exists() { venv } else { "python3".into() }
}
