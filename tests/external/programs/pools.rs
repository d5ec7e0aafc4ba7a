//! What pools do with a lock that its borrower forgot: the table of docs/pools.md, by pools as they are.

use std::{collections::BTreeMap, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    time::timeout,
};

use crate::driver::{command, has_library, interpreter, project};
use crate::{
    MACHINE,
    common::{
        PATIENCE, TestServer,
        skip::{NOT_INSTALLED, skip_missing},
    },
};

const DOCUMENT: &str = include_str!("../../../docs/pools.md");

/// The columns of a row of the table, by the name of its pool.
fn table() -> BTreeMap<&'static str, [&'static str; 4]> {
    let rows = DOCUMENT.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = rows.map(|row| row.split(" | ").collect::<Vec<_>>()).skip(1);
    rows.map(|row| (row[0], row[1..].try_into().unwrap())).collect()
}

/// A script of a pool between its steps.
struct Borrowers {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
    told: ChildStdin,
}

impl Borrowers {
    /// What the script says next. None: it is not installed.
    async fn say(&mut self) -> Option<String> {
        let said = timeout(6 * PATIENCE, self.said.next_line()).await.expect("a word in time").unwrap();
        if said.is_none() {
            let status = self.child.wait().await.unwrap();
            assert_eq!(status.code(), Some(NOT_INSTALLED), "it ended before its time");
        }
        said
    }

    async fn go_on(&mut self) {
        self.told.write_all(b"\n").await.unwrap();
    }
}

/// What is seen of two borrowers: when the first one's lock was free, and what the second was told.
#[derive(Debug, PartialEq)]
struct Seen {
    lock: &'static str,
    second: String,
}

/// Has two borrowers use one connection, as the table says that it goes. None: it is not installed.
///
/// A lock that is to be free is waited for, as a connection may be closed for it, which the pool does not wait for.
async fn two_borrowers(words: &[&str], database: &str, mode: &str, expected: &str) -> Option<Seen> {
    let _beside_others = MACHINE.read().await;
    let server = TestServer::start();
    let script = interpreter(words[0]);
    if !has_library(words[0]) {
        return None;
    }
    let mut command = command(&script, &project("tests/external/programs/pools"));
    command.args([&server.mysql.port().to_string(), database, mode]).args(&words[1..]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    let said = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = child.stdin.take().unwrap();
    let mut script = Borrowers { child, said, told };
    let mut line = server.client().await;

    assert_eq!(script.say().await?, "given back");
    if expected == "is free when it is given back" {
        server.until(|stats| stats.table.locks == 0).await;
    }
    let is_free = line.ask("IS_FREE_LOCK nightly").await == "1";
    script.go_on().await;
    assert_eq!(script.say().await?, "lent again");
    let lock = match (is_free, line.ask("IS_FREE_LOCK nightly").await == "1") {
        (true, _) => "is free when it is given back",
        (false, true) => "is free when it is lent again",
        (false, false) => "leaks",
    };
    script.go_on().await;
    let second = script.say().await?;
    script.go_on().await;
    Some(Seen { lock, second })
}

/// Shows what the table says of a pool.
async fn pool(name: &str, words: &[&str]) {
    let [as_it_is, switched, _, advised] = table()[name];
    for (database, mode, expected) in
        [("test", "as-it-is", as_it_is), ("test", "advised", advised), ("no_reentry", "as-it-is", as_it_is)]
    {
        let Some(seen) = two_borrowers(words, database, mode, expected).await else {
            return skip_missing(name);
        };
        assert_eq!(seen.lock, expected, "{name} {mode}");
        let told = if database == "no_reentry" { switched.rsplit(' ').next().unwrap() } else { "1" };
        assert_eq!(seen.second, told, "{name} {mode} {database}");
    }
}

macro_rules! pools {
    ($($test:ident: $name:literal by $words:expr,)*) => {
        $(#[tokio::test]
        async fn $test() {
            pool($name, &$words).await;
        })*

        #[test]
        fn table_names_every_pool() {
            let mut known = vec![$($name,)*];
            known.sort_unstable();
            assert_eq!(known, table().into_keys().collect::<Vec<_>>());
        }
    };
}

pools! {
    sqlalchemy: "SQLAlchemy" by ["sqlalchemy_.py"],
    connector_python: "MySQL Connector/Python" by ["connector_python.py"],
    django: "Django, with `CONN_MAX_AGE` above 0" by ["django_.py"],
    mysql2: "mysql2 (Node)" by ["mysql2.js"],
    pdo: "PDO, persistent" by ["pdo.php"],
    mysqli: "mysqli, `p:`" by ["mysqli.php"],
    database_sql: "Go database/sql" by ["database_sql.go"],
    hikari_cp: "HikariCP with MariaDB's connector" by ["Borrow.java", "hikari"],
    connector_j: "MariaDB Connector/J's own pool" by ["Borrow.java", "mariadb"],
    active_record: "ActiveRecord" by ["active_record.rb"],
}
