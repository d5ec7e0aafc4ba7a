//! Scripts and programs that take the lock `nightly` step by step, while a line session contends with them.
//!
//! What is not installed is skipped; with `DRIVERS=all` in the environment that is a failure.

use std::{path::Path, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

pub use crate::common::project;
use crate::common::{
    Client, PATIENCE, TestServer, installed, python,
    skip::{NOT_INSTALLED, skip_missing},
};

/// The jars of Debian's packages that scripts in Java use.
pub const JARS: &str = "/usr/share/java/mariadb-java-client.jar:/usr/share/java/HikariCP.jar:/usr/share/java/slf4j-api.jar:/usr/share/java/slf4j-nop.jar";

/// The command that runs a script.
pub fn interpreter(script: &str) -> Vec<String> {
    let words = match script.rsplit('.').next().unwrap() {
        "py" => vec![python().display().to_string()],
        "js" => vec!["node".to_owned()],
        "go" => vec!["go".to_owned(), "run".to_owned()],
        "php" => vec!["php".to_owned()],
        "rb" => vec!["ruby".to_owned()],
        "pl" => vec!["perl".to_owned()],
        "java" => ["java", "-cp", JARS].map(str::to_owned).to_vec(),
        _ => vec![],
    };
    if words.is_empty() { vec![] } else { [words, vec![script.to_owned()]].concat() }
}

/// Whether the library is there of a language that fails to compile without it.
pub fn has_library(script: &str) -> bool {
    match script.rsplit('.').next().unwrap() {
        "go" => Path::new("/usr/share/gocode/src/github.com/go-sql-driver/mysql").exists(),
        "java" if script != "ConnectorJ.java" => JARS.split(':').all(|jar| Path::new(jar).exists()),
        "java" => Path::new("/usr/share/java/mariadb-java-client.jar").exists(),
        _ => true,
    }
}

/// A command in a folder of scripts, with what its interpreter needs to find libraries.
pub fn command(words: &[String], folder: &Path) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).current_dir(folder).kill_on_drop(true);
    command
        .env("NODE_PATH", installed("node_modules"))
        .env("PYTHONPATH", project("tests/external/drivers"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("GOPATH", "/usr/share/gocode")
        .env("GO111MODULE", "off");
    command
}

fn with_users() -> TestServer {
    TestServer::with(&["--users", project("tests/data/users.toml").to_str().unwrap()])
}

/// A program between its steps.
#[derive(Debug)]
struct Driver {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    told: ChildStdin,
}

impl Driver {
    fn start(words: &[String], folder: &Path, port: u16, password: &str) -> Option<Self> {
        let mut command = command(words, folder);
        command.arg(port.to_string()).env("PASSWORD", password);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        if password == WRONG {
            command.stderr(Stdio::null());
        }
        let mut child = command.spawn().ok()?;
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = child.stdin.take().unwrap();
        Some(Self { child, said, told })
    }

    /// Whether the next word is this one; an end instead of it must mean that it is not installed.
    async fn says(&mut self, word: &str) -> bool {
        let said = timeout(6 * PATIENCE, self.said.next_line()).await.expect("a word in time").unwrap();
        if said.is_none() {
            let status = self.child.wait().await.unwrap();
            assert_eq!(status.code(), Some(NOT_INSTALLED), "it ended before it said {word}");
            return false;
        }
        assert_eq!(said.unwrap(), word);
        true
    }

    async fn go_on(&mut self) {
        self.told.write_all(b"\n").await.unwrap();
    }
}

/// What no user has.
const WRONG: &str = "sesam";

/// Takes a program through its steps, without users, by a password or none, and with them. False if it is not installed.
pub async fn contend(words: &[String], folder: &Path) -> bool {
    contend_with(words, folder, &TestServer::start(), "").await
        && contend_with(words, folder, &TestServer::start(), "not looked at").await
        && contend_with(words, folder, &with_users(), "sesame").await
        && is_refused(words, folder, &with_users()).await
}

/// Of a driver with a wrong password.
async fn is_refused(words: &[String], folder: &Path, server: &TestServer) -> bool {
    let Some(mut driver) = Driver::start(words, folder, server.mysql.port(), WRONG) else { return false };
    let said = timeout(6 * PATIENCE, driver.said.next_line()).await.expect("an end in time").unwrap();
    assert_eq!(said, None);
    !driver.child.wait().await.unwrap().success()
}

async fn contend_with(words: &[String], folder: &Path, server: &TestServer, password: &str) -> bool {
    let mut line: Client = server.client().await;
    assert_eq!(line.ask("AUTH root sesame").await, "1");
    let Some(mut driver) = Driver::start(words, folder, server.mysql.port(), password) else { return false };
    if !driver.says("held").await {
        return false;
    }
    assert_eq!(line.ask("GET_LOCK nightly 0").await, "0");
    line.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    driver.go_on().await;
    assert!(driver.says("released").await);
    assert_eq!(line.line().await, "1");
    driver.go_on().await;
    assert!(driver.says("refused").await);
    assert_eq!(line.ask("RELEASE_LOCK nightly").await, "1");
    driver.go_on().await;
    assert!(driver.says("again").await);
    assert_eq!(line.ask("GET_LOCK nightly 0").await, "0");
    driver.go_on().await;
    server.until(|stats| stats.table.locks == 0 && stats.sessions == 1).await;
    true
}

/// Takes a script through its steps, without users and with one.
pub async fn script(folder: &Path, name: &str) {
    let words = interpreter(name);
    if !has_library(name) || !contend(&words, folder).await {
        skip_missing(name);
    }
}

/// The same of a program that has run as a driver before: it needs no wrong password.
pub async fn program(folder: &Path, name: &str) {
    let words = interpreter(name);
    let runs = has_library(name)
        && contend_with(&words, folder, &TestServer::start(), "").await
        && contend_with(&words, folder, &with_users(), "sesame").await;
    if !runs {
        skip_missing(name);
    }
}
