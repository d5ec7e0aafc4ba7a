//! Real drivers, unmodified, against the MySQL wire, while a line session contends with them.
//!
//! A driver that is not installed is skipped; with `DRIVERS=all` in the environment that is a
//! failure. `.ci/run` installs all of them, those of Python and Node below `target/drivers`.
#![allow(clippy::unwrap_used)]

mod common;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use common::{Client, NOT_INSTALLED, TestServer, all_drivers_are_wanted, installed};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/drivers")
}

/// The command in front of a script.
fn interpreter(script: &str) -> Vec<String> {
    let words = match script.rsplit('.').next().unwrap() {
        "py" => vec![common::python().display().to_string()],
        "js" => vec!["node".to_owned()],
        "go" => vec!["go".to_owned(), "run".to_owned()],
        "php" => vec!["php".to_owned()],
        "rb" => vec!["ruby".to_owned()],
        "pl" => vec!["perl".to_owned()],
        "java" => ["java", "-cp", "/usr/share/java/mariadb-java-client.jar"].map(str::to_owned).to_vec(),
        _ => vec![],
    };
    if words.is_empty() { vec![] } else { [words, vec![script.to_owned()]].concat() }
}

/// Whether the library is there of a language that fails to compile without it.
fn has_library(script: &str) -> bool {
    match script.rsplit('.').next().unwrap() {
        "go" => Path::new("/usr/share/gocode/src/github.com/go-sql-driver/mysql").exists(),
        "java" => Path::new("/usr/share/java/mariadb-java-client.jar").exists(),
        _ => true,
    }
}

struct Driver {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    told: ChildStdin,
}

impl Driver {
    fn start(words: &[String], port: u16, password: &str) -> Option<Self> {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(port.to_string()).current_dir(folder()).kill_on_drop(true);
        command
            .env("NODE_PATH", installed("node_modules"))
            .env("GOPATH", "/usr/share/gocode")
            .env("GO111MODULE", "off")
            .env("PASSWORD", password);
        command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
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
        let said =
            timeout(6 * common::PATIENCE, self.said.next_line()).await.expect("a word in time").unwrap();
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

const USERS: [&str; 2] = ["--users", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/users.toml")];

/// Takes a driver through its steps, without users, by a password or none, and with them. False if it is not installed.
async fn contend(words: &[String]) -> bool {
    contend_with(words, &TestServer::start(), "").await
        && contend_with(words, &TestServer::start(), "not looked at").await
        && contend_with(words, &TestServer::with(&USERS), "sesame").await
        && is_refused(words, &TestServer::with(&USERS)).await
}

/// Of a driver with a wrong password.
async fn is_refused(words: &[String], server: &TestServer) -> bool {
    let Some(mut driver) = Driver::start(words, server.mysql.port(), WRONG) else { return false };
    let said = timeout(6 * common::PATIENCE, driver.said.next_line()).await.expect("an end in time").unwrap();
    assert_eq!(said, None);
    !driver.child.wait().await.unwrap().success()
}

async fn contend_with(words: &[String], server: &TestServer, password: &str) -> bool {
    let mut line: Client = server.client().await;
    assert_eq!(line.ask("AUTH root sesame").await, "1");
    let Some(mut driver) = Driver::start(words, server.mysql.port(), password) else { return false };
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

async fn script(name: &str) {
    let words = interpreter(name);
    if !has_library(name) || !contend(&words).await {
        assert!(!all_drivers_are_wanted(), "{name} is not installed");
        eprintln!("{name} is not installed: skipped");
    }
}

macro_rules! scripts {
    ($($test:ident: $script:literal,)*) => {
        $(#[tokio::test]
        async fn $test() {
            script($script).await;
        })*

        #[test]
        fn no_script_is_forgotten() {
            let known = [$($script,)*];
            for entry in std::fs::read_dir(folder()).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                let is_part = name.starts_with("steps.") || name == "rust" || name.starts_with("__");
                assert!(is_part || known.contains(&name.as_str()), "{name}");
            }
        }
    };
}

scripts! {
    pymysql: "pymysql_.py",
    mysqlclient: "mysqlclient_.py",
    mysql_connector_python: "mysql_connector.py",
    aiomysql: "aiomysql_.py",
    sqlalchemy: "sqlalchemy_.py",
    node_mysql2: "mysql2.js",
    node_mysql: "mysqljs.js",
    node_mariadb: "mariadb.js",
    go_sql_driver: "go_sql_driver.go",
    php_mysqli: "mysqli.php",
    php_pdo_native: "pdo_native.php",
    php_pdo_emulated: "pdo_emulated.php",
    ruby_mysql2: "mysql2.rb",
    perl_dbd_mysql: "dbd_mysql.pl",
    mariadb_connector_j: "ConnectorJ.java",
}

#[tokio::test]
async fn rust_sqlx_and_mysql_async() {
    for name in ["sqlx", "mysql_async"] {
        let program = installed("rust/debug").join(name);
        if !program.exists() || !contend(&[program.display().to_string()]).await {
            assert!(!all_drivers_are_wanted(), "{name} is not built");
            eprintln!("{name} is not built: skipped");
        }
    }
}

/// The tests that OpenStack's tooz has for its MySQL driver.
#[tokio::test]
async fn openstack_tooz() {
    let server = TestServer::start();
    let python = installed("venv/bin/python");
    let mut command = Command::new(&python);
    command.args(["-m", "testtools.run", "tooz.tests.test_coordination", "tooz.tests.drivers.test_mysql"]);
    command.env("TOOZ_TEST_URL", format!("mysql://root:@{}/test", server.mysql)).current_dir(installed("."));
    let Ok(output) = command.kill_on_drop(true).output().await else {
        assert!(!all_drivers_are_wanted(), "tooz is not installed");
        return eprintln!("tooz is not installed: skipped");
    };
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if text.contains("No module named") && !all_drivers_are_wanted() {
        return eprintln!("tooz is not installed: skipped");
    }
    assert!(output.status.success() && text.contains("Ran 89 tests"), "{text}");
}

/// The command line client, as a person uses it.
#[tokio::test]
async fn mariadb_command_line() {
    let server = TestServer::start();
    let mut line = server.client().await;
    assert_eq!(line.ask("GET_LOCK nightly 0").await, "1");
    let port = server.mysql.port().to_string();
    let mut command = Command::new("mariadb");
    command.args([
        "-h",
        "127.0.0.1",
        "-P",
        &port,
        "-u",
        "root",
        "--skip-ssl",
        "--batch",
        "--skip-column-names",
    ]);
    command.args([
        "-e",
        "SELECT GET_LOCK('nightly', 60); SELECT IS_USED_LOCK('nightly') = CONNECTION_ID(), VERSION()",
    ]);
    let Ok(client) = command.kill_on_drop(true).stdout(Stdio::piped()).spawn() else {
        assert!(!all_drivers_are_wanted(), "mariadb is not installed");
        return eprintln!("mariadb is not installed: skipped");
    };
    server.until_waiting(1).await;
    assert_eq!(line.ask("RELEASE_LOCK nightly").await, "1");
    let output = timeout(common::PATIENCE, client.wait_with_output()).await.expect("an end in time").unwrap();
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.starts_with("1\n1\t8.4.0-getlockd"), "{output}");
    server.until(|stats| stats.table.locks == 0).await;
}
