//! `getlock watch`, against a server that says what a test has it say.

use serde_json::{Value, json};

use crate::{Running, common::stub::Stub};

const EVENTS: &str = "1\n\
    * TAKEN name='deploy:a b' mode=permit session=9 fencing_token=12 limit=3\n\
    * FREED name=deploy:x mode=exclusive session=9 fencing_token=12 held=0.250 cause=release\n\
    * LOST name=deploy:x mode=shared session=9 fencing_token=12 held=0.250 cause=killed\n\
    * MISSED count=12";

#[tokio::test]
async fn events_are_printed_until_a_signal_comes() {
    let stub = Stub::start().await;
    let mut watch = Running::spawn(stub.addr(), &["--no-introduce", "watch", "deploy:"]);
    let mut peer = stub.welcome("25.000").await;
    assert_eq!(peer.line().await, "WATCH deploy:");
    peer.send(EVENTS).await;
    for expected in [
        "taken 'deploy:a b' by session 9, permit of 3, fencing token 12",
        "freed deploy:x by session 9 after 0.2s: release",
        "lost deploy:x by session 9 after 0.2s: killed",
        "missed 12 events",
    ] {
        let line = watch.line().await;
        assert_eq!(line.split_once(' ').unwrap().1, expected);
    }
    watch.signal("INT").await;
    assert_eq!(watch.end().await, (0, String::new()));
}

#[tokio::test]
async fn watch_prints_an_object_for_each_event() {
    let stub = Stub::start().await;
    let mut watch = Running::spawn(stub.addr(), &["--no-introduce", "watch", "--json"]);
    let mut peer = stub.welcome("25.000").await;
    assert_eq!(peer.line().await, "WATCH");
    peer.send(EVENTS).await;
    let hold = json!({ "session": 9, "fencingToken": 12 });
    let with = |fields: Value| {
        let (mut object, Value::Object(fields)) = (hold.clone(), fields) else { unreachable!() };
        object.as_object_mut().unwrap().extend(fields);
        object
    };
    for expected in [
        with(json!({ "event": "taken", "name": "deploy:a b", "mode": "permit", "limit": 3 })),
        with(
            json!({ "event": "freed", "name": "deploy:x", "mode": "exclusive", "heldMs": 250, "cause": "release" }),
        ),
        with(
            json!({ "event": "lost", "name": "deploy:x", "mode": "shared", "heldMs": 250, "cause": "killed" }),
        ),
        json!({ "event": "missed", "count": 12 }),
    ] {
        assert_eq!(serde_json::from_str::<Value>(&watch.line().await).unwrap(), expected);
    }
    drop(peer);
    let (code, err) = watch.end().await;
    assert!(code == 69 && err.contains("the connection was lost"), "{code}, {err}");
}

#[tokio::test]
async fn older_server_is_reported() {
    let stub = Stub::start().await;
    let watch = Running::spawn(stub.addr(), &["--no-introduce", "watch"]);
    let mut peer = stub.welcome("25.000").await;
    assert_eq!(peer.line().await, "WATCH");
    peer.send("ERROR UNKNOWN_COMMAND unknown command WATCH; HELP lists the commands").await;
    let (code, err) = watch.end().await;
    assert!(code == 69 && err.contains("UNKNOWN_COMMAND"), "{code}, {err}");
}
