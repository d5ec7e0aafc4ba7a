//! What docs/getlock.md says.

use std::path::Path;

use crate::{
    GETLOCK, TestServer,
    common::console::{output, shown},
};

const PAGE: &str = include_str!("../../../../docs/getlock.md");

#[tokio::test]
async fn getlock_shell_session_replays() {
    let folder = Path::new(GETLOCK).parent().unwrap();
    let server = TestServer::start();
    assert_eq!(shown(PAGE, &server, "getlock", folder).await, "");
}

#[tokio::test]
async fn getlock_flags_and_exit_codes_are_in_the_tables() {
    let help = output(GETLOCK, &["--help"], Path::new(".")).await;
    let lines = help.lines().map(str::trim).filter(|line| line.starts_with('-'));
    let flags = lines.filter_map(|line| line.split_once("--")?.1.split([' ', ',']).next());
    let flags: Vec<_> = flags.filter(|flag| !flag.is_empty()).collect();
    assert!(flags.contains(&"keep-running"), "{flags:?}");
    for flag in flags.into_iter().filter(|flag| !matches!(*flag, "help" | "version")) {
        assert!(PAGE.contains(&format!("`--{flag}")), "--{flag}");
    }
    let codes =
        help.split_once("Exit codes:").unwrap().1.lines().filter_map(|line| line.split_whitespace().next());
    for code in codes.filter(|word| word.parse::<u8>().is_ok()) {
        assert!(PAGE.contains(&format!("| {code}")) || PAGE.contains(&format!(", {code} |")), "{code}");
    }
}
