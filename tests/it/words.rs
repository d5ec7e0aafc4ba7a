//! Plain English in everything that people read.

use std::process::Command;

use crate::{
    common::{
        TestServer,
        words::{bare_subjects, findings},
    },
    markdown::{files, prose, read},
};

/// The documents.
const DOCUMENTS: [&str; 3] = [".md", "Dockerfile", "justfile"];

/// The folders in whose files people read more than that, and the ends of their names.
const READ: [(&str, &[&str]); 5] = [
    ("ops", &[".yml", ".yaml", ".json", ".service", ".socket"]),
    ("clients", &[".py", ".cjs", ".ts", ".go", ".java", ".php", ".rb", ".rbs", ".toml", ".json", ".xml"]),
    ("src", &[".rs", ".htm", ".html", ".js", ".css", ".json"]),
    ("crates", &[".rs", ".toml"]),
    ("proto", &[".proto"]),
];

/// Phrases that are right where they are, since they are MySQL's: the file and the phrase.
const OF_MYSQL: [(&str, &str); 0] = [];

/// What only those read who change the code.
fn is_internal(path: &str) -> bool {
    path.split('/').any(|part| matches!(part, "tests" | "tests.rs" | "generated"))
}

#[test]
fn texts_have_no_marked_phrase() {
    let mut paths = files("", &DOCUMENTS);
    for (folder, ends) in READ {
        paths.extend(files(folder, ends).into_iter().filter(|path| !is_internal(path)));
    }
    let mut found = Vec::new();
    for path in files("", &[".md"]) {
        found.extend(bare_subjects(&path, &prose(&read(&path)).join("\n")));
    }
    for path in paths {
        let is_of_mysql = |finding: &String| {
            OF_MYSQL.iter().any(|(file, phrase)| path == *file && finding.contains(&format!("{phrase:?}")))
        };
        found.extend(findings(&path, &read(&path)).into_iter().filter(|finding| !is_of_mysql(finding)));
    }
    assert!(found.is_empty(), "{} phrases:\n{}", found.len(), found.join("\n"));
}

/// What is put together while it runs.
#[tokio::test]
async fn help_has_no_marked_phrase() {
    let mut found = Vec::new();
    for args in [&["--help"][..], &["check", "--help"], &["ping", "--help"], &["user", "--help"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_getlockd")).args(args).output().unwrap();
        assert!(output.status.success(), "{args:?}");
        found.extend(findings(
            &format!("getlockd {}", args.join(" ")),
            &String::from_utf8_lossy(&output.stdout),
        ));
    }
    let server = TestServer::start();
    let mut client = server.client().await;
    for row in client.list("HELP").await {
        let verb = row.split(' ').nth(1).unwrap().to_owned();
        found.extend(findings("HELP", &row));
        if verb == verb.to_uppercase() {
            found.extend(findings(
                &format!("HELP {verb}"),
                &client.list(&format!("HELP {verb}")).await.join("\n"),
            ));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
