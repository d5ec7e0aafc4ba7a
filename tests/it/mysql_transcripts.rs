//! Replays the transcripts on the MySQL wire of protocol.md and the pages of `docs`, and looks that each limit in
//! protocol.md has one.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    common::{
        TestServer,
        mysql::{MySql, Reply},
    },
    markdown::{blocks, guides, table},
    transcripts::{PROTOCOL, expand, server_with},
};
use tokio::{io::AsyncReadExt, net::TcpStream, task::JoinSet};

const GUESSES: &str = "20 clients log in as app1 with a wrong password";
const CONNECTIONS: &str = " more clients connect";

/// A reply as the program `mysql` prints it: the columns of a row between bars.
fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Rows { rows, .. } => {
            let cell = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "NULL".to_owned());
            let row = |row: &Vec<Option<String>>| row.iter().map(cell).collect::<Vec<_>>().join(" | ");
            rows.iter().map(row).collect::<Vec<_>>().join("\n")
        }
        Reply::Error { code, state, text } => format!("ERROR {code} ({state}): {text}"),
        Reply::Ok { .. } => "OK".to_owned(),
    }
}

/// The error in place of a greeting.
async fn refusal(server: &TestServer) -> String {
    let mut stream = TcpStream::connect(server.mysql).await.unwrap();
    let mut packet = Vec::new();
    stream.read_to_end(&mut packet).await.unwrap();
    assert_eq!(packet[4], 0xFF, "an error");
    let code = u16::from_le_bytes([packet[5], packet[6]]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    shown(&Reply::Error { code, state: text(&packet[8..13]), text: text(&packet[13..]) })
}

/// A statement with `{1..3}` in it is three.
fn numbered(sql: &str) -> Vec<String> {
    let range = || {
        let (before, rest) = sql.split_once('{')?;
        let (range, after) = rest.split_once('}')?;
        let (first, last) = range.split_once("..")?;
        let range = first.parse::<usize>().ok()?..=last.parse().ok()?;
        Some(range.map(|number| format!("{before}{number}{after}")).collect())
    };
    let all: Vec<_> = range().unwrap_or_else(|| vec![sql.to_owned()]);
    all.iter().map(|sql| expand(sql)).collect()
}

/// Guesses at a password until one is refused as too many. The others are kept waiting.
pub async fn guess(server: &TestServer, guesses: &mut JoinSet<Result<MySql, Reply>>) {
    for _ in 0..20 {
        guesses.spawn(MySql::connect_as(server.mysql, "app1", "wrong"));
    }
    while let Some(Ok(Err(refused))) = guesses.join_next().await {
        if shown(&refused).contains("too many") {
            break;
        }
    }
}

struct Replay {
    server: TestServer,
    /// By their names, which they get in the order of the alphabet.
    clients: BTreeMap<String, MySql>,
    /// The clients with a statement that waits.
    waiting: BTreeSet<String>,
    /// Those who connect and say nothing.
    silent: Vec<MySql>,
    /// Logins whose answers nothing waits for.
    guesses: JoinSet<Result<MySql, Reply>>,
}

impl Replay {
    async fn client(&mut self, name: &str) -> &mut MySql {
        if !self.clients.contains_key(name) {
            let client = MySql::connect(self.server.mysql).await;
            self.clients.insert(name.to_owned(), client);
        }
        self.clients.get_mut(name).unwrap()
    }

    async fn log_in(&mut self, name: &str, login: &str) -> String {
        let (user, password) = login.split_once(" with ").unwrap_or((login, ""));
        match MySql::connect_as(self.server.mysql, &expand(user), password).await {
            Ok(client) => {
                self.clients.insert(name.to_owned(), client);
                "OK".to_owned()
            }
            Err(refused) => shown(&refused),
        }
    }

    /// What a line and the answer shown behind it, if there is one, are in truth. Nothing where it is as shown.
    async fn take(&mut self, line: &str, answer: Option<&str>) -> Option<String> {
        let answer = answer.map(expand);
        let differing = |got: String| answer.as_ref().is_none_or(|shown| *shown != got).then_some(got);
        if line == GUESSES {
            guess(&self.server, &mut self.guesses).await;
            return None;
        }
        if let Some(count) = line.strip_suffix(CONNECTIONS) {
            for _ in 0..count.parse().unwrap() {
                self.silent.push(MySql::connect(self.server.mysql).await);
            }
            return None;
        }
        let (name, step) = line.split_at(1);
        if let Some(login) = step.strip_prefix(" logs in as ") {
            let mut got = self.log_in(name, login).await;
            // On a slow machine there may be time for one more password to be looked at.
            for _ in 0..10 {
                if got != "OK" || answer.as_deref() == Some("OK") || self.guesses.is_empty() {
                    break;
                }
                guess(&self.server, &mut self.guesses).await;
                got = self.log_in(name, login).await;
            }
            return differing(got);
        }
        match step {
            " connects" => return differing(refusal(&self.server).await),
            " waits" => {
                self.waiting.remove(name);
                return differing(shown(&self.client(name).await.reply().await));
            }
            " leaves" => {
                self.clients.remove(name);
                let sessions = self.clients.len();
                self.server.until(|stats| stats.sessions == sessions).await;
                return None;
            }
            " is closed" => {
                return self.client(name).await.packet().await.map(|packet| format!("{packet:?}"));
            }
            _ => {}
        }
        if let Some(sql) = step.strip_prefix(" prepares ") {
            for sql in numbered(sql) {
                let prepare = [b"\x16", sql.as_bytes()].concat();
                let got = differing(shown(&self.client(name).await.command(&prepare).await));
                if got.is_some() {
                    return got;
                }
            }
            return None;
        }
        let sql = step.strip_prefix("> ").unwrap_or_else(|| panic!("not a line of a transcript: {line}"));
        let waiting = self.server.service.stats().table.waiters;
        let is_behind = self.waiting.contains(name);
        for sql in numbered(sql) {
            self.client(name).await.start(&sql).await;
            if answer.is_some() && !is_behind {
                let got = differing(shown(&self.client(name).await.reply().await));
                if got.is_some() {
                    return got;
                }
            }
        }
        if is_behind {
            return differing(shown(&self.client(name).await.reply().await));
        }
        if answer.is_none() {
            self.waiting.insert(name.to_owned());
            self.server.until_waiting(waiting + 1).await;
        }
        None
    }
}

/// What is not as a transcript shows it.
pub async fn replay(file: &str, (number, lines): (usize, Vec<&str>)) -> Vec<String> {
    let flags = lines[0].strip_prefix("$ getlockd ");
    let (_dir, server) = server_with(&flags.map_or(vec![], |flags| flags.split(' ').collect()));
    let (clients, waiting) = (BTreeMap::new(), BTreeSet::new());
    let mut replay = Replay { server, clients, waiting, silent: vec![], guesses: JoinSet::new() };
    let mut wrong = Vec::new();
    let mut at = usize::from(flags.is_some());
    while let Some(&line) = lines.get(at) {
        let answer = lines.get(at + 1).and_then(|next| next.strip_prefix(&line[..1])?.strip_prefix("< "));
        // An answer alone is one that was waited for.
        let (line, answer) = match line.split_once("< ") {
            Some((name, late)) if name.len() == 1 => (format!("{name} waits"), Some(late)),
            _ => (line.to_owned(), answer),
        };
        println!("{file}:{}: {line}", number + 1 + at);
        let got = replay.take(&line, answer).await;
        wrong.extend(got.map(|got| format!("{file}:{}: {line}: {got}", number + 1 + at)));
        at += if answer.is_some() && !line.ends_with(" waits") { 2 } else { 1 };
    }
    wrong
}

#[tokio::test]
async fn mysql_transcripts_of_protocol_md_replay() {
    let transcripts = blocks(PROTOCOL, "mysql");
    let marks = PROTOCOL.lines().filter(|line| line.starts_with("```mysql")).count();
    assert_eq!(transcripts.len(), marks, "each is replayed");
    let mut wrong = Vec::new();
    for transcript in transcripts {
        wrong.extend(replay("protocol.md", transcript).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn mysql_transcripts_of_the_guides_replay() {
    let mut wrong = Vec::new();
    for (path, text) in guides() {
        for transcript in blocks(&text, "mysql") {
            wrong.extend(replay(&path, transcript).await);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_mysql_limit_has_a_transcript() {
    let limits =
        PROTOCOL.split_once("\n#### Limits over MySQL\n").unwrap().1.split_once("\n#### ").unwrap().0;
    let shown: Vec<_> = limits.lines().filter_map(|line| Some(line.split_once("< ERROR ")?.1)).collect();
    let rows = table(PROTOCOL, "| limit over MySQL | named | error |");
    // A number, and the resource that the text names where one number stands for several.
    let is_of = |shown: &str, row: &[&str]| {
        let (code, resource) = row[2].split_once(' ').unwrap_or((row[2], ""));
        shown.starts_with(&format!("{code} (")) && shown.contains(&resource.replace('`', "'"))
    };
    for row in &rows {
        assert!(shown.iter().any(|shown| is_of(shown, row)), "{row:?} has no transcript");
        let is_listed =
            PROTOCOL.lines().any(|line| line.starts_with("| ") && line.ends_with(&format!("| {} |", row[1])));
        assert!(is_listed || row[1] == "`max_execution_time`", "{row:?} is not in the table of limits");
    }
    for shown in shown {
        assert!(rows.iter().any(|row| is_of(shown, row)), "{shown} has no row");
    }
}
