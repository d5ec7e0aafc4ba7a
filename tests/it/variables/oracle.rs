//! The system variables of MySQL 8.4, and what SET SESSION says of each: `tests/data/mysql84_variables.json`.

use serde_json::{Value, json};

use crate::common::{
    TestServer,
    mysql::{MySql, Reply},
};

/// Where we differ on purpose: why, and which variables.
const DIFFERENT: [(&str, &[&str]); 4] = [
    ("who we are", &["innodb_version", "license", "version", "version_comment"]),
    (
        "that server had an option, or had made itself keys",
        &["bind_address", "ssl_ca", "ssl_cert", "ssl_key"],
    ),
    ("there is no binary log", &["log_bin"]),
    ("our flags say it: --max-packet, --tls", &["max_allowed_packet", "tls_version"]),
];

/// What was observed of one variable.
struct Observed(Value);

impl Observed {
    fn all() -> Vec<Self> {
        let file: Value = serde_json::from_str(include_str!("../../data/mysql84_variables.json")).unwrap();
        file["variables"].as_array().unwrap().iter().cloned().map(Self).collect()
    }

    fn name(&self) -> &str {
        self.0["name"].as_str().unwrap()
    }

    fn has(&self, scope: &str) -> bool {
        let own = self.0["scope"].as_str().unwrap();
        own == scope || own == "both"
    }

    /// Its value, as SQL writes it.
    fn literal(&self) -> String {
        let scope = if self.has("session") { "session" } else { "global" };
        match &self.0[scope] {
            Value::Null => "NULL".to_owned(),
            Value::String(text) => format!("'{text}'"),
            number => number.to_string(),
        }
    }

    /// What the SET of it to DEFAULT, or to its own value, is answered with.
    fn set(&self, what: &str, by_user: bool) -> Value {
        let answer = if by_user && !self.0["set_as_user"].is_null() { "set_as_user" } else { "set" };
        let answer = &self.0[answer];
        let answer = if answer.is_object() { &answer[what] } else { answer };
        let warnings = if answer == "ok" { self.0["set_warnings"].clone() } else { Value::Null };
        json!([answer, warnings])
    }

    /// What `SELECT @@scope.name` is answered with.
    fn read(&self, scope: &str) -> Value {
        if self.has(scope) || scope.is_empty() {
            let own = if self.has("session") && scope != "global" { "session" } else { "global" };
            let value = match &self.0[own] {
                Value::String(text) => json!(text),
                // A double has six digits behind the point.
                Value::Number(number) if number.is_f64() => json!(format!("{:.6}", number.as_f64().unwrap())),
                Value::Number(number) => json!(number.to_string()),
                _ => Value::Null,
            };
            return json!([value, self.0["column"], self.0["read_warnings"]]);
        }
        let other = if scope == "global" { "SESSION" } else { "GLOBAL" };
        json!([1238, "HY000", format!("Variable '{}' is a {other} variable", self.name())])
    }
}

#[tokio::test]
async fn set_and_read_match_mysql_84_for_root() {
    compare(&TestServer::start(), false).await;
}

#[tokio::test]
async fn set_and_read_match_mysql_84_for_plain_users() {
    let users = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/users.toml");
    compare(&TestServer::with(&["--users", users]), true).await;
}

async fn compare(server: &TestServer, by_user: bool) {
    let mut client = MySql::connect_as(server.mysql, "other", "sesame").await.unwrap();
    let Reply::Rows { rows: shown, .. } = client.query("SHOW VARIABLES").await else {
        panic!("no variables")
    };
    let mut wrong = Vec::new();
    for variable in Observed::all() {
        let mut differences = differences(&mut client, &variable, by_user).await;
        let row = shown.iter().find(|row| row[0].as_deref() == Some(variable.name())).unwrap();
        if !variable.0["show"].is_null() && variable.0["show"] != json!(row[1]) {
            differences.push(format!("  SHOW\n    mysql {}\n    here  {:?}", variable.0["show"], row[1]));
        }
        let known = DIFFERENT.iter().any(|(_, names)| names.contains(&variable.name()));
        if differences.is_empty() == known {
            wrong.push(format!("{} {known}\n{}", variable.name(), differences.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

async fn differences(client: &mut MySql, variable: &Observed, by_user: bool) -> Vec<String> {
    let name = variable.name();
    let asked = [
        (format!("SET SESSION {name} = DEFAULT"), variable.set("default", by_user)),
        (format!("SET SESSION {name} = {}", variable.literal()), variable.set("value", by_user)),
        (format!("SELECT @@{name}"), variable.read("")),
        (format!("SELECT @@global.{name}"), variable.read("global")),
        (format!("SELECT @@session.{name}"), variable.read("session")),
    ];
    let mut differences = Vec::new();
    for (sql, expected) in asked {
        // Some variables count the warnings of the statement before.
        client.query("DO 1").await;
        let got = answer(client, &sql).await;
        if got != expected {
            differences.push(format!("  {sql}\n    mysql {expected}\n    here  {got}"));
        }
    }
    differences
}

async fn answer(client: &mut MySql, sql: &str) -> Value {
    match client.query(sql).await {
        Reply::Error { code, state, text } if sql.starts_with("SET") => json!([[code, state, text], null]),
        Reply::Error { code, state, text } => json!([code, state, text]),
        Reply::Ok { .. } => json!(["ok", warnings(client).await]),
        Reply::Rows { columns, rows, .. } => {
            let column = &columns[0];
            let column = json!([column.kind, column.length, column.flags, column.charset, column.decimals]);
            json!([rows[0][0], column, warnings(client).await])
        }
    }
}

async fn warnings(client: &mut MySql) -> Value {
    let Reply::Rows { rows, .. } = client.query("SHOW WARNINGS").await else { panic!("no list of warnings") };
    let row =
        |row: &Vec<Option<String>>| json!([row[0], row[1].as_ref().unwrap().parse::<u16>().unwrap(), row[2]]);
    if rows.is_empty() { Value::Null } else { rows.iter().map(row).collect() }
}
