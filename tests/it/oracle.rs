//! 99 calls, and what MySQL 8.4.8 answered to each: `tests/data/mysql84_calls.json`.

use crate::common::{
    TestServer,
    mysql::{Column, MySql, Reply},
};
use serde_json::{Value, json};

/// Where we differ on purpose: the statement, and why.
const DIFFERENT: [(&str, &str); 0] = [];

#[tokio::test]
async fn answers_match_mysql_84() {
    let calls: Vec<Value> = serde_json::from_str(include_str!("../data/mysql84_calls.json")).unwrap();
    assert_eq!(calls.len(), 99);
    let server = TestServer::start();
    let mut wrong = Vec::new();
    for call in &calls {
        let sql = call["sql"].as_str().unwrap();
        let mut client = MySql::connect(server.mysql).await;
        let (got, fields) = answer(&mut client, sql).await;
        let same = got == expected(call) && (call["fields"].is_null() || fields == call["fields"]);
        let known = DIFFERENT.iter().any(|(different, _)| *different == sql);
        if same == known {
            wrong.push(format!(
                "{sql}\n  mysql {} {}\n  here  {got} {fields}",
                expected(call),
                call["fields"]
            ));
        }
        drop(client);
        server.until(|stats| stats.sessions == 0).await;
    }
    assert!(wrong.is_empty(), "{} of 99 differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Rows or error, with the warnings, as the file writes them; and the columns.
async fn answer(client: &mut MySql, sql: &str) -> (Value, Value) {
    match client.query(sql).await {
        Reply::Error { code, state, text } => (json!([code, state, text]), Value::Null),
        Reply::Ok { .. } => (json!([[], warnings(client).await]), Value::Null),
        Reply::Rows { columns, rows, .. } => {
            let number = |value: &Option<String>| value.as_ref().map(|text| text.parse::<i64>().unwrap());
            let rows: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(number).collect()).collect();
            let fields: Vec<_> = columns.iter().map(field).collect();
            (json!([rows, warnings(client).await]), json!(fields))
        }
    }
}

fn field(column: &Column) -> Value {
    let Column { name, kind, length, flags, charset, decimals } = column;
    json!([name, kind, length, flags, charset, decimals])
}

async fn warnings(client: &mut MySql) -> Value {
    let Reply::Rows { rows, .. } = client.query("SHOW WARNINGS").await else { panic!("no list of warnings") };
    if rows.is_empty() {
        return Value::Null;
    }
    let row =
        |row: &Vec<Option<String>>| json!([row[0], row[1].as_ref().unwrap().parse::<u16>().unwrap(), row[2]]);
    rows.iter().map(row).collect()
}

fn expected(call: &Value) -> Value {
    if call["err"].is_null() { json!([call["rows"], call["warn"]]) } else { call["err"].clone() }
}
