//! One vocabulary: no wire has a field that is not in the glossary of protocol.md, and the glossary has none
//! that no wire has.

use std::{fs, path::Path};

use crate::common::{
    PATIENCE,
    http::get,
    scene::{Words, keys, scene},
};
use serde_json::Value;

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn glossary() -> String {
    file("protocol.md").split_once("\n## 13. Glossary").unwrap().1.to_owned()
}

/// A column of the table of fields: 0 has those of the line, 1 those of JSON, 2 those of proto.
fn fields(column: usize) -> Words {
    let glossary = glossary();
    let table = glossary.split_once("| line | JSON | proto | |\n").unwrap().1;
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.trim_matches('|').split('|').nth(column).unwrap().to_owned());
    let words = cells.flat_map(|cell| cell.split(',').map(|word| word.trim().to_owned()).collect::<Vec<_>>());
    words.filter(|word| !word.is_empty()).collect()
}

/// The words between backticks behind this, up to the end of the paragraph.
fn words_behind(start: &str) -> Words {
    let glossary = glossary();
    let paragraph = glossary.split_once(start).unwrap().1.split("\n\n").next().unwrap();
    paragraph.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn of_the_other_service() -> Words {
    words_behind("last heard of, are")
}

/// The keys of a row: `ROW key=value key='other value'`.
fn keys_of_row(row: &str) -> Words {
    let (mut keys, mut is_quoted) = (Words::new(), false);
    let parts = row.split(' ').skip(1).filter(|part| {
        let is_inside = is_quoted;
        is_quoted ^= part.matches('\'').count() % 2 == 1;
        !is_inside
    });
    keys.extend(parts.map(|part| part.split_once('=').unwrap().0.to_owned()));
    keys
}

#[tokio::test]
async fn line_rows_use_these_words() {
    let (_server, mut clients, _store) = scene().await;
    let eye = &mut clients[2];
    let mut words = keys_of_row(&eye.ask("HELLO").await);
    words.extend(keys_of_row(&eye.ask("KEEPALIVE").await));
    for list in ["LOCKS", "WAITERS b", "WHY a", "SESSIONS", "STATS", "NODES"] {
        let rows = eye.list(list).await;
        assert!(!rows.is_empty(), "{list}");
        words.extend(rows.iter().flat_map(|row| keys_of_row(row)));
    }
    let second = eye.id().await - 1;
    assert_eq!(eye.ask(&format!("KILL {second} stuck")).await, "1");
    words.extend(keys_of_row(&eye.list("HISTORY b").await[0]));
    assert_eq!(words, fields(0));
}

#[test]
fn openapi_document_uses_these_words() {
    fn properties(schema: &Value, words: &mut Words) {
        match schema {
            Value::Array(schemas) => schemas.iter().for_each(|schema| properties(schema, words)),
            Value::Object(object) => {
                if let Some(Value::Object(named)) = object.get("properties") {
                    words.extend(named.keys().cloned());
                }
                object.values().for_each(|schema| properties(schema, words));
            }
            _ => {}
        }
    }
    let openapi: Value = serde_json::from_str(&file("src/wires/rest/openapi.json")).unwrap();
    let mut words = Words::new();
    properties(&openapi["components"]["schemas"], &mut words);
    let known: Words = fields(1).union(&of_the_other_service()).cloned().collect();
    assert_eq!(words, known);
}

#[tokio::test]
async fn http_replies_use_these_words() {
    let (server, mut clients, _store) = scene().await;
    let second = clients[2].id().await - 1;
    assert_eq!(clients[2].ask(&format!("KILL {second}")).await, "1");
    let known: Words = fields(1).union(&of_the_other_service()).cloned().collect();
    let lists = ["/api/locks", "/api/sessions", "/api/stats", "/api/nodes", "/api/lock/waiters/leased"];
    for path in lists.into_iter().chain(["/api/lock/why/a", "/api/lock/history/b", "/api/lock/status/leased"])
    {
        let (status, body) = get(server.http, path).await;
        assert_eq!(status, 200, "{path}");
        let words = keys(&serde_json::from_str(&body).unwrap());
        let strange: Vec<_> = words.difference(&known).collect();
        assert!(strange.is_empty(), "{path}: {strange:?}");
        let is_others = |word: &&String| of_the_other_service().contains(*word);
        assert!(path.starts_with("/api/lock/status") || !words.iter().any(|word| is_others(&word)), "{path}");
    }
}

#[test]
fn proto_file_uses_these_words() {
    let proto = file("proto/getlockd.proto");
    let field = |line: &str| {
        let (field, number) = line.trim().strip_suffix(';')?.split_once(" = ")?;
        number.parse::<u32>().ok()?;
        // Values of an enum stand alone, in capitals.
        field.rsplit_once(' ').map(|(_, name)| name.to_owned())
    };
    assert_eq!(proto.lines().filter_map(field).collect::<Words>(), fields(2));
}

#[tokio::test]
async fn page_data_uses_these_words() {
    let (server, _clients, _store) = scene().await;
    let mut stream = tokio::net::TcpStream::connect(server.http).await.unwrap();
    let request = b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request).await.unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(stream));
    let scene: Value = loop {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap().unwrap();
        if let Some(scene) = line.strip_prefix("data: {") {
            break serde_json::from_str(&format!("{{{scene}")).unwrap();
        }
    };
    let known: Words = fields(1).union(&words_behind("stream of the live page")).cloned().collect();
    let words = keys(&scene);
    // Sessions stand under their numbers.
    let strange: Vec<_> = words.difference(&known).filter(|word| word.parse::<u32>().is_err()).collect();
    assert!(strange.is_empty(), "{strange:?}");
}
