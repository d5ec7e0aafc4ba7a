//! The clients of `clients/`, as `tests/external/languages/LANGUAGE/install` makes programs of them.
//!
//! With `DRIVERS=all` in the environment they are installed by the language's own tool, else taken from their
//! sources in place. A language that is not installed is skipped; with `DRIVERS=all` that is a failure.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

pub use super::project;
use super::skip::{NOT_INSTALLED, all_drivers_are_wanted, skip};

/// A client: its folder, and what its programs end with.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub language: &'static str,
    pub ending: &'static str,
}

impl Kind {
    pub const ALL: [Self; 7] = [
        Self { language: "python", ending: "" },
        Self { language: "python", ending: "-aio" },
        Self { language: "node", ending: "" },
        Self { language: "go", ending: "" },
        Self { language: "java", ending: "" },
        Self { language: "php", ending: "" },
        Self { language: "ruby", ending: "" },
    ];

    /// A program that `install` has made. None if the language is not installed.
    pub fn program(self, name: &str) -> Option<PathBuf> {
        /// Those that are: once in a process, since a program may be running from there by the second time.
        static INSTALLED: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
        let place = project("target/languages").join(self.language);
        let install = project("tests/external/languages").join(self.language).join("install");
        let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
        if installed.contains(self.language) {
            return Some(place.join(format!("{name}{}", self.ending)));
        }
        fs::create_dir_all(&place).unwrap();
        let output = Command::new(install).arg(&place).stdin(Stdio::null()).output().unwrap();
        let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.code() == Some(NOT_INSTALLED) {
            assert!(!all_drivers_are_wanted(), "{}: {told}", self.language);
            let what = format!("the client of {}{}", self.language, self.ending);
            skip(&what, told.trim(), "install the language; .ci/run does");
            return None;
        }
        assert!(output.status.success(), "{}: {told}", self.language);
        installed.insert(self.language);
        Some(place.join(format!("{name}{}", self.ending)))
    }
}
