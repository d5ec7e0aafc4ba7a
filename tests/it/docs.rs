//! Runs what the pages of `docs` show, in every language that is installed, and compares their tables.
//!
//! With `README_SNIPPETS=all` in the environment a missing interpreter is a failure.

use std::path::Path;

use clap::CommandFactory;
use getlockd::{
    config::Cli,
    internal::users::{WRONG_BY_ADDRESS, WRONG_BY_NAME, WRONG_BY_NAME_AND_ADDRESS},
};
use getlockd_client::{Client, Tls};

use crate::{
    common::{
        TestServer,
        console::{output, shown},
        skip::skip,
    },
    markdown::{blocks, files, guides, kinds, prose, read, table},
};

/// What runs a fenced block of this kind: the file's name and the command in front of it.
const LANGUAGES: [(&str, &str, &[&str]); 7] = [
    ("bash", "snippet.sh", &["bash"]),
    ("python", "snippet.py", &["python3"]),
    ("javascript", "snippet.js", &["node"]),
    ("go", "snippet.go", &["go", "run"]),
    ("php", "snippet.php", &["php"]),
    ("ruby", "snippet.rb", &["ruby"]),
    ("perl", "snippet.pl", &["perl"]),
];

/// Kinds of blocks that tests run or read, beside those of languages.
const RUN: [&str; 7] = ["transcript", "mysql", "console", "crontab", "toml", "sh", "rust,no_run"];

/// Kinds of blocks that are settings of other programs, or `text`: what a terminal shows for a moment.
const SETTINGS: [&str; 5] = ["ini", "yaml", "py", "rb", "text"];

fn all_are_wanted() -> bool {
    std::env::var("README_SNIPPETS").is_ok_and(|which| which == "all")
}

/// Whether a program is there. It must be where everything is to be run.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    assert!(found || !all_are_wanted(), "{program} is not installed");
    if !found {
        skip(&format!("a snippet of {program}"), "not installed", ".ci/run installs it");
    }
    found
}

#[tokio::test]
async fn snippets_run_and_take_the_lock() {
    let server = TestServer::start();
    let folder = tempfile::tempdir().unwrap();
    let page = read("docs/clients.md");
    for (kind, file, command) in LANGUAGES {
        let snippet = blocks(&page, kind).remove(0).1;
        assert!(snippet.len() <= 8, "{kind} has more than eight lines");
        if !is_installed(command[0]) {
            continue;
        }
        let snippet = snippet.join("\n").replace("3305", &server.addr.port().to_string());
        let args: Vec<_> = command[1..].iter().copied().chain([file]).collect();
        std::fs::write(folder.path().join(file), &snippet).unwrap();
        assert_eq!(output(command[0], &args, folder.path()).await, "working\n", "{kind}");

        // The same, while somebody else holds the lock.
        server.until(|stats| stats.table.locks == 0).await;
        let mut holder = server.client().await;
        assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
        std::fs::write(folder.path().join(file), snippet.replace("nightly 10", "nightly 0")).unwrap();
        assert_eq!(output(command[0], &args, folder.path()).await, "", "{kind}");
    }
}

#[tokio::test]
async fn curl_session_replays() {
    let server = TestServer::start();
    if is_installed("curl") {
        assert_eq!(shown(&read("docs/http.md"), &server, "curl", Path::new(".")).await, "");
    }
}

/// A kind that no test knows would be shown and never run.
#[test]
fn every_block_is_run_or_a_setting() {
    let languages = LANGUAGES.map(|(kind, ..)| kind);
    for (path, page) in guides() {
        for kind in kinds(&page) {
            let is_known = languages.contains(&kind) || RUN.contains(&kind) || SETTINGS.contains(&kind);
            assert!(is_known, "{path} has a block {kind:?}, which nothing runs");
        }
    }
}

#[test]
fn flags_and_defaults_are_in_the_table() {
    let page = read("docs/configuration.md");
    let rows = table(&page, "| flag | default | |");
    let command = Cli::command();
    let flags = command.get_arguments().filter(|arg| arg.get_long().is_some());
    let flags = flags.filter(|arg| !matches!(arg.get_long(), Some("help" | "version")));
    let mut count = 0;
    for flag in flags {
        let name = format!("--{}", flag.get_long().unwrap());
        let named = |row: &&Vec<&str>| row[0].trim_matches('`').split(' ').next() == Some(&*name);
        let row = rows.iter().find(named).unwrap_or_else(|| panic!("{name} is not in the table"));
        if let [default] = flag.get_default_values() {
            assert_eq!(row[1].trim_matches('`'), default.to_string_lossy(), "the default of {name}");
        }
        count += 1;
    }
    assert_eq!(rows.len(), count, "a flag in the table does not exist");
}

#[test]
fn bounds_of_wrong_passwords_are_in_the_table() {
    let page = read("docs/security.md");
    let rows = table(&page, "| wrong passwords | at once | then |");
    let bounds = [WRONG_BY_NAME_AND_ADDRESS, WRONG_BY_NAME, WRONG_BY_ADDRESS];
    let bounds = bounds.map(|(at_once, a_second)| [at_once.to_string(), format!("{a_second} a second")]);
    let listed: Vec<_> = rows.iter().map(|row| [row[1].to_owned(), row[2].to_owned()]).collect();
    assert_eq!(listed, bounds);
}

#[test]
fn statuses_of_http_equal_protocol_md() {
    let (page, protocol) = (read("docs/http.md"), read("protocol.md"));
    let head = "| status | HTTP | meaning |";
    let known = table(&protocol, head);
    for row in table(&page, head) {
        for (status, code) in row[0].split(", ").zip(row[1].split(", ")) {
            let status = status.trim_matches('`');
            let is_known =
                known.iter().any(|known| known[0].split(", ").any(|s| s == status) && known[1] == code);
            assert!(is_known, "{status} {code}");
        }
    }
}

#[tokio::test]
async fn certificate_of_the_example_is_trusted() {
    if !is_installed("openssl") {
        return;
    }
    let page = read("docs/security.md");
    let blocks = blocks(&page, "sh");
    let script = blocks.iter().map(|(_, lines)| lines.join("\n")).find(|lines| lines.starts_with("openssl "));
    let folder = tempfile::tempdir().unwrap();
    output("sh", &["-c", &format!("{} 2>/dev/null", script.unwrap())], folder.path()).await;
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| folder.path().join(name).display().to_string());
    let server = TestServer::with(&["--tls-cert", &cert, "--tls-key", &key]);
    let tls = Tls::of_authority(&std::fs::read(&cert).unwrap(), None).unwrap();
    Client::builder(server.addr.to_string()).tls(tls).connect().await.unwrap();
}

/// The commands of a block of shell, as words. Comments and what is written to files are left out.
fn commands(lines: &[&str]) -> Vec<Vec<String>> {
    let script = lines.join("\n").replace("\\\n", " ");
    let mut commands = Vec::new();
    for line in script.lines() {
        let line = line.split(" #").next().unwrap();
        for command in line.split(['|', ';']).flat_map(|part| part.split(" && ")) {
            let words = command.split(" >").next().unwrap().split_whitespace();
            let words: Vec<_> = words.map(|word| word.trim_matches(['\'', '"']).to_owned()).collect();
            commands.extend((!words.is_empty()).then_some(words));
        }
    }
    commands
}

/// The commands of all blocks of shell on a page.
pub fn commands_of(page: &str) -> Vec<Vec<String>> {
    blocks(page, "sh").iter().flat_map(|(_, lines)| commands(lines)).collect()
}

#[test]
fn getlockd_commands_have_existing_flags() {
    let mut known = 0;
    for (path, page) in guides() {
        for words in commands_of(&page) {
            let is_setting = |word: &&String| word.starts_with("GETLOCKD_");
            let words: Vec<_> = words.iter().skip_while(is_setting).collect();
            if words.first().is_some_and(|word| *word == "getlockd") {
                let parsed = Cli::command().try_get_matches_from(&words);
                assert!(parsed.is_ok(), "{path}: {words:?}: {}", parsed.unwrap_err());
                known += 1;
            }
        }
    }
    assert!(known > 4, "{known}");
}

/// Between backticks in prose: `ERROR SYMBOL text`. Transcripts are replayed elsewhere.
fn quoted_errors(page: &str) -> Vec<String> {
    let text = prose(page).join("\n");
    let paragraphs =
        text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    let quoted =
        paragraphs.flat_map(|text| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
    let errors = quoted
        .filter_map(|quote| quote.strip_prefix("ERROR ")?.split_once(' ').map(|(_, text)| text.to_owned()));
    errors.filter(|text| text.trim_matches(['<', '>']) != "text").collect()
}

#[test]
fn quoted_errors_are_texts_of_the_source() {
    let sources: Vec<_> = files("src", &[".rs"]).iter().map(|path| read(path)).collect();
    let mut count = 0;
    for path in files("", &[".md"]) {
        for error in quoted_errors(&read(&path)) {
            assert!(sources.iter().any(|source| source.contains(&format!("\"{error}\""))), "{path}: {error}");
            count += 1;
        }
    }
    assert!(count > 1, "{count}");
}
