//! What is not run as this machine lacks what it needs: one line each tells of it.

use std::io::Write;

/// How a script says that what it needs is not installed.
pub const NOT_INSTALLED: i32 = 77;

/// Whether what is not installed is a failure, and not skipped.
pub fn all_drivers_are_wanted() -> bool {
    std::env::var("DRIVERS").is_ok_and(|which| which == "all")
}

/// Tells that something is not installed; with `DRIVERS=all` in the environment that is a failure.
pub fn skip_missing(what: &str) {
    assert!(!all_drivers_are_wanted(), "{what} is not installed");
    skip(what, "not installed", ".ci/run installs it");
}

/// Tells what is not run, why, and how to run it.
pub fn skip(what: &str, why: &str, how: &str) {
    // By `eprintln` it would be shown only if the test failed.
    let line = format!("skipped: {what} ({why}; {how})\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}
