//! What `getlock` says of itself, and who reads it.

use serde_json::Value;

use crate::{Running, TestServer, getlock, output};

async fn json(server: &TestServer, args: &[&str]) -> Value {
    let (_, out, _) = output(getlock(server.addr, args)).await;
    serde_json::from_str(&out).unwrap()
}

const HOLD: [&str; 4] = ["sh", "-c", "echo started; exec sleep 60", "secret"];

#[tokio::test]
async fn lists_show_user_host_and_command_without_arguments() {
    let server = TestServer::start();
    let holder =
        Running::start(server.addr, &[&["--note", "ask Ana", "nightly", "--"][..], &HOLD].concat()).await;
    let waiter = Running::spawn(server.addr, &["nightly", "-c", "SECRET=1 echo"]);
    server.until_waiting(1).await;
    let pid = |running: &Running| running.group.child.id().unwrap();
    for (list, at) in [(&["ls", "--json"][..], "locks"), (&["why", "nightly", "--json"], "steps")] {
        let row = &json(&server, list).await[at][0];
        let client = row["client"].as_str().unwrap();
        assert!(client.contains('@') && client.ends_with(&format!("[{}] sh", pid(&holder))), "{client}");
        assert_eq!(row["note"], "ask Ana");
        assert!(row["idleMs"].is_u64(), "{row}");
    }
    let row = &json(&server, &["waiters", "nightly", "--json"]).await["waiters"][0];
    assert!(row["client"].as_str().unwrap().ends_with(&format!("[{}] sh", pid(&waiter))), "{row}");
    let (_, all, _) = output(getlock(server.addr, &["sessions"])).await;
    assert!(all.contains("] getlock") && !all.to_lowercase().contains("secret"), "{all}");
}

#[tokio::test]
async fn nothing_is_said_with_no_introduce() {
    let server = TestServer::start();
    let _holder =
        Running::start(server.addr, &[&["--no-introduce", "nightly", "--"][..], &HOLD].concat()).await;
    let row = &json(&server, &["ls", "--json"]).await["locks"][0];
    assert_eq!((&row["client"], &row["note"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn reason_of_a_kill_is_told_and_remembered() {
    let server = TestServer::start();
    let holder = Running::start(server.addr, &[&["nightly", "--"][..], &HOLD].concat()).await;
    let (code, _, told) = output(getlock(server.addr, &["kill", "1", "--reason", "deploy stuck, Ana"])).await;
    assert!(code == 0 && told.contains("] sh); nightly is free"), "{told}");
    let (code, told) = holder.end().await;
    assert!(code == 75 && told.contains("deploy stuck, Ana"), "{told}");
    let row = &json(&server, &["history", "nightly", "--json"]).await["holds"][0];
    assert_eq!((&row["cause"], &row["reason"]), (&"killed".into(), &"deploy stuck, Ana".into()));
}
