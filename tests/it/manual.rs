//! `getlockd man` and `getlockd completions`.

use std::process::Command;

use crate::common::{manual::check_manual, program::PROGRAM};

#[test]
fn manual_page_is_whole_and_rendered_without_warnings() {
    check_manual(PROGRAM, &["--max-leases", "getlockd user [OPTIONS] NAME", "GETLOCKD_USERS", "getlock(1)"]);
}

#[test]
fn completions_know_the_flags() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(PROGRAM).args(["completions", shell]).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("max-leases"), "{shell}");
    }
}
