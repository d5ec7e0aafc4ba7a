//! The manual pages, as `man` shows them.

use std::{
    fs,
    process::{Command, Stdio},
};

use crate::{GETLOCK, common::skip::skip_missing, getlock, output};

#[tokio::test]
async fn manual_page_is_whole_and_rendered_without_warnings() {
    let (code, page, err) = output(getlock("x", &["man"])).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("getlock.1");
    fs::write(&file, page).unwrap();
    let mut man = Command::new("man");
    man.args(["--warnings", "-l"]).arg(&file).envs([
        ("MANWIDTH", "80"),
        ("MANPAGER", "cat"),
        ("LC_ALL", "C.UTF-8"),
    ]);
    let Ok(shown) = man.stdin(Stdio::null()).output() else { return skip_missing("man") };
    let warnings = String::from_utf8_lossy(&shown.stderr);
    assert!(shown.status.success() && warnings.is_empty(), "{warnings}");
    let text = String::from_utf8_lossy(&shown.stdout);
    let headings: Vec<_> =
        text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase())).collect();
    let wanted =
        ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "EXIT STATUS", "ENVIRONMENT", "EXAMPLES"];
    assert_eq!(
        headings[1..],
        [&wanted[..], &["SEE ALSO"]].concat(),
        "{GETLOCK} man, between its first and last line"
    );
    for said in [
        "--kill-after TIME",
        "getlock why [OPTIONS] NAME",
        "GETLOCK_PASSWORD",
        "75 ",
        "flock(1), getlockd(8)",
    ] {
        assert!(text.contains(said), "{said}");
    }
    assert!(!text.contains("getlock-run(1)"), "one page has all");
}
