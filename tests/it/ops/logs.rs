//! A story as its log tells it, as JSON, and what is in no log.

use std::{fs, io::BufRead, net::SocketAddr};

use base64::prelude::{BASE64_STANDARD, Engine};
use getlockd::internal::{
    grpc::proto::{AcquireRequest, locks_client::LocksClient},
    users::{NewEntry, entry},
};
use serde_json::Value;
use tempfile::TempDir;
use tonic::transport::Channel;

use crate::common::{
    Client,
    authority::text,
    http::Request,
    mysql::MySql,
    program::{Program, next_with},
};

/// What nobody may find in a log, in any of its forms.
const SECRETS: [&str; 6] =
    ["open sesame", "wrong-pass-word", "t0ken-of-web", "wrong-t0ken", "mistyped-secret", "8675309000"];

struct Story {
    folder: TempDir,
    program: Program,
    mysql: SocketAddr,
    http: SocketAddr,
}

fn user(name: &str, secret: &str, token: bool) -> String {
    let wanted =
        NewEntry { name: name.to_owned(), lock: vec!["*".to_owned()], kill: true, ..NewEntry::default() };
    entry(&NewEntry { native: true, ..wanted }, secret.as_bytes(), token).unwrap()
}

impl Story {
    fn begin(level: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let users = folder.path().join("users.toml");
        fs::write(&users, user("app1", SECRETS[0], false) + &user("web", SECRETS[2], true)).unwrap();
        let flags =
            ["--users", text(&users), "--drain", "10ms", "--log-format", "json", "--log-level", level];
        let (program, mysql, http) = Program::on_all_wires(&flags);
        Self { folder, program, mysql, http }
    }

    /// Logs in on all wires, well and badly: a lease that was granted, which is a secret too.
    async fn come_in(&self) -> String {
        let mut line = Client::connect(self.program.addr).await;
        let mistakes = [
            "AUTH app1 wrong-pass-word",
            "AUTH app1 'mistyped-secret",
            "AUTH app1 mistyped-secret more",
            "AUHT app1 mistyped-secret",
            "AUTH(app1,mistyped-secret",
            "AUTH mistyped-secret",
            "SELECT AUTH('app1' 'mistyped-secret')",
        ];
        for mistake in mistakes {
            assert!(line.ask(mistake).await.starts_with("ERROR "), "{mistake}");
        }
        assert_eq!(line.ask("AUTH app1 'open sesame'").await, "1");
        assert!(MySql::connect_as(self.mysql, "app1", SECRETS[0]).await.is_ok());
        assert!(MySql::connect_as(self.mysql, "app1", SECRETS[1]).await.is_err());
        assert!(MySql::connect_natively(self.mysql, "app1", SECRETS[1]).await.is_err());
        let right = basic(SECRETS[0]);
        let lease = self.by_http(&right, 200).await;
        let path = format!("/releaseLock/{}/{lease}", right.len());
        assert_eq!(Request::send_as(self.http, &right, "GET", &path, "").await.reply().await.1, "released");
        self.by_http("Bearer t0ken-of-web", 200).await;
        self.by_http(&basic(SECRETS[1]), 401).await;
        self.by_http("Bearer wrong-t0ken", 401).await;
        for login in [basic(SECRETS[0]), basic(SECRETS[1]), "Bearer wrong-t0ken".to_owned()] {
            self.by_grpc(&login).await;
        }
        let mut other = Client::connect(self.program.addr).await;
        assert_eq!(other.ask("AUTH app1 'open sesame'").await, "1");
        let id = line.id().await;
        assert_eq!(other.ask(&format!("KILL {id}")).await, "1");
        lease
    }

    async fn by_http(&self, login: &str, code: u16) -> String {
        let path = format!("/getLock/{}?ttl=60", login.len());
        let reply = Request::send_as(self.http, login, "GET", &path, "").await.reply().await;
        assert_eq!(reply.0, code);
        reply.1
    }

    async fn by_grpc(&self, login: &str) {
        let channel = Channel::from_shared(format!("http://{}", self.http)).unwrap().connect().await.unwrap();
        let mut request =
            tonic::Request::new(AcquireRequest { name: "g".to_owned(), ..AcquireRequest::default() });
        request.metadata_mut().insert("authorization", login.parse().unwrap());
        drop(LocksClient::new(channel).acquire(request).await);
    }

    /// Reloads its users: well, and when there is a secret in the wrong place.
    /// All of the log up to then.
    fn reload(&mut self) -> String {
        let users = self.folder.path().join("users.toml");
        let mut log = String::new();
        for (entries, told) in [
            (user("app1", SECRETS[0], false), "reloaded the users"),
            ("[user.app1]\npassword = \"open sesame\"\n".to_owned(), "stay in force"),
            ("[user.app1]\nlock = \"open sesame\"\n".to_owned(), "expected a sequence"),
            ("[user.app1]\npassword-sha256 = \"open sesame\"\n".to_owned(), "stay in force"),
            ("[user.app1]\npassword-sha256 = 8675309000\n".to_owned(), "expected a string"),
            ("open sesame\n".to_owned(), "stay in force"),
        ] {
            fs::write(&users, entries).unwrap();
            self.program.signal("-HUP");
            let mut line = String::new();
            while !line.contains(told) {
                line.clear();
                assert!(self.program.log.as_mut().unwrap().read_line(&mut line).unwrap() > 0, "no {told}");
                log.push_str(&line);
            }
        }
        log
    }

    fn end(self) -> String {
        self.program.signal("-TERM");
        let (status, log) = self.program.wait();
        assert_eq!(status.code(), Some(0));
        log
    }
}

fn basic(password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("app1:{password}")))
}

#[tokio::test]
async fn no_secret_is_logged_at_any_level() {
    for level in ["info", "debug", "trace"] {
        let mut story = Story::begin(level);
        let lease = story.come_in().await;
        let seen = story.reload();
        let log = seen + &story.end();
        let encoded = SECRETS.map(|secret| BASE64_STANDARD.encode(format!("app1:{secret}")));
        for secret in
            SECRETS.iter().copied().chain(encoded.iter().map(String::as_str)).chain([lease.as_str()])
        {
            let line = log.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{level}: {secret}");
        }
    }
}

/// Each line of a log as JSON.
fn lines(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

#[tokio::test]
async fn json_log_names_user_and_peer() {
    let mut story = Story::begin("info");
    story.come_in().await;
    let log = lines(&(story.reload() + &story.end()));
    assert!(log.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()));
    // What reload waits for, and what is behind it.
    let messages: Vec<_> = log.iter().map(|line| line["message"].as_str().unwrap()).collect();
    assert!(messages.contains(&"stop requested") && messages.contains(&"stopping"), "{messages:?}");
    let read = log.iter().find(|line| line["message"] == "reloaded the users").unwrap();
    assert_eq!((&read["users"], &read["level"]), (&1.into(), &"INFO".into()));
}

#[tokio::test]
async fn events_name_wire_session_and_peer() {
    let mut story = Story::begin("debug");
    let mut log = story.program.log.take().unwrap();
    story.come_in().await;
    let mut heard = |word: &str| -> Value { serde_json::from_str(&next_with(&mut log, word)).unwrap() };
    let started = heard("connection starts");
    assert_eq!((&started["span"]["wire"], &started["span"]["session"]), (&"line".into(), &1.into()));
    assert!(started["span"]["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    let refused = heard("login refused");
    assert_eq!((&refused["from"], &refused["user"]), (&"127.0.0.1".into(), &"app1".into()));
    assert_eq!((&refused["level"], &refused["span"]["wire"]), (&"WARN".into(), &"line".into()));
    assert_eq!(heard("token refused")["from"], "127.0.0.1");
    let killed = heard("session killed");
    assert_eq!((&killed["session"], &killed["wire"]), (&1.into(), &"line".into()));
    assert!(killed["peer"].is_string() && killed["by"].is_u64(), "{killed}");
}

/// A server whose one user may lock little.
fn narrow(flags: &[&str]) -> (TempDir, Program) {
    let folder = tempfile::tempdir().unwrap();
    let users = folder.path().join("users.toml");
    let wanted = NewEntry { name: "app1".to_owned(), lock: vec!["app1:".to_owned()], ..NewEntry::default() };
    fs::write(&users, entry(&wanted, SECRETS[0].as_bytes(), false).unwrap()).unwrap();
    let program = Program::start(&[&["--users", text(&users), "--log-format", "json"], flags].concat());
    (folder, program)
}

#[tokio::test]
async fn refused_login_names_address_and_user() {
    let (_folder, mut program) = narrow(&["--max-connections", "1"]);
    let mut log = program.log.take().unwrap();
    let mut heard = |word: &str| -> Value { serde_json::from_str(&next_with(&mut log, word)).unwrap() };
    let mut user = Client::connect(program.addr).await;
    assert_eq!(user.ask("AUTH app1 'open sesame'").await, "1");
    assert!(user.ask("GET_LOCK app2:x 0").await.starts_with("ERROR DENIED "));
    let denied = heard("command refused");
    assert_eq!((&denied["from"], &denied["user"]), (&"127.0.0.1".into(), &"app1".into()));
    assert!(!denied.to_string().contains("app2:x"), "{denied}");
    let mut other = Client::connect(program.addr).await;
    assert!(other.line().await.starts_with("ERROR LIMIT connection limit reached"));
    assert_eq!(heard("connection refused")["from"], "127.0.0.1");
}

#[tokio::test]
async fn throttled_guesses_are_logged() {
    let (_folder, mut program) = narrow(&[]);
    let mut guesses = Vec::new();
    for _ in 0..=16 {
        let mut client = Client::connect(program.addr).await;
        client.send("AUTH app1 wrong-pass-word").await;
        guesses.push(client);
    }
    let mut log = program.log.take().unwrap();
    let told: Value =
        serde_json::from_str(&next_with(&mut log, "login not checked: too many wrong passwords")).unwrap();
    assert_eq!((&told["from"], &told["user"]), (&"127.0.0.1".into(), &"app1".into()));
}
