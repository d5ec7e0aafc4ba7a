//! A server with something in every field, and the words of what it answers.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Client, TestServer, http::post, stub_cluster::term};

pub type Words = BTreeSet<String>;

/// The keys of all objects in a document.
pub fn keys(document: &Value) -> Words {
    match document {
        Value::Array(values) => values.iter().flat_map(keys).collect(),
        Value::Object(object) => object
            .iter()
            .flat_map(|(key, value)| {
                let mut keys = keys(value);
                keys.insert(key.clone());
                keys
            })
            .collect(),
        _ => Words::new(),
    }
}

/// A store with a lease that its next server takes up.
async fn store() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut server = TestServer::with(&flags(&dir).each_ref().map(String::as_str));
    let lease = json!({ "resourceName": "restored", "ttlMs": 600_000 });
    assert_eq!(post(server.http, "/api/lock/acquire", &lease).await.0, 200);
    server.stop();
    server.stopped().await;
    dir
}

fn flags(dir: &TempDir) -> [String; 3] {
    let file = dir.path().join("leases").to_str().unwrap().to_owned();
    ["--store-anyway".to_owned(), "--store".to_owned(), file]
}

/// A server on which something is in every field. It leads a cluster, and another node relays the first client.
pub async fn scene() -> (TestServer, Vec<Client>, TempDir) {
    let dir = store().await;
    let term = term(Duration::from_hours(1));
    let server = TestServer::leading(term, &flags(&dir).each_ref().map(String::as_str));
    let mut clients: Vec<_> = server.clients::<3>().await.into();
    let lease = json!({ "resourceName": "leased", "clientId": "web-1", "note": "back up" });
    assert_eq!(post(server.http, "/api/lock/acquire", &lease).await.0, 200);
    server.relay(clients[0].id().await);
    assert_eq!(clients[0].ask("AUTH deployer x").await, "1");
    assert_eq!(clients[0].ask("GET_LOCK a 0").await, "1");
    assert_eq!(clients[1].ask("GET_LOCK b 0").await, "1");
    assert_eq!(clients[2].ask("GET_PERMIT permits 3 0").await, "1");
    clients[0].send("GET_LOCK b 60").await;
    server.until_waiting(1).await;
    clients[1].send("GET_LOCK leased 60").await;
    server.until_waiting(2).await;
    (server, clients, dir)
}
