//! What README.md shows of `getlock`, and the words of its help.

use std::{fs, path::Path};

use crate::{
    GETLOCK, TestServer,
    common::{
        console::{output, shown},
        words::findings,
    },
};

const README: &str = include_str!("../../../../README.md");

#[tokio::test]
async fn readme_commands_replay() {
    let folder = Path::new(GETLOCK).parent().unwrap();
    let server = TestServer::start();
    assert_eq!(shown(README, &server, "getlock", folder).await, "");
}

/// With the `PATH` of the crontab, and nothing else of this environment. Its folders are moved to where the programs are.
#[tokio::test]
async fn crontab_finds_getlock_and_runs_the_report() {
    let crontab = README.split_once("\n```crontab\n").unwrap().1.split_once("\n```").unwrap().0;
    let path = crontab.lines().find_map(|line| line.strip_prefix("PATH=")).unwrap();
    let job = crontab.lines().find_map(|line| line.strip_prefix("0 * * * *")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let programs = Path::new(GETLOCK).parent().unwrap().display().to_string();
    let path = path.replace("/usr/local/bin", &programs);
    let job =
        job.replace("/usr/local/bin", &programs).replace("/opt/report", &folder.path().display().to_string());

    fs::write(folder.path().join("report.sh"), "#!/bin/sh\necho reported\n").unwrap();
    let server = TestServer::start();
    let script = format!("chmod +x report.sh; {job}");
    let host = format!("GETLOCK_HOST={}", server.addr);
    let args = ["-i", &format!("PATH={path}"), &host, "/bin/sh", "-c", &script];
    assert_eq!(output("env", &args, folder.path()).await, "reported\n");
}

#[tokio::test]
async fn help_and_manual_have_no_marked_phrase() {
    let mut found = Vec::new();
    for command in ["", "run", "ls", "why", "history", "sessions", "watch", "kill", "top", "man"] {
        let args: Vec<_> = [command, "--help"].into_iter().filter(|arg| !arg.is_empty()).collect();
        found.extend(findings(
            &format!("getlock {}", args.join(" ")),
            &output(GETLOCK, &args, Path::new(".")).await,
        ));
    }
    found.extend(findings("getlock man", &output(GETLOCK, &["man"], Path::new(".")).await));
    assert!(found.is_empty(), "{}", found.join("\n"));
}
