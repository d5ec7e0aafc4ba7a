//! `--lead`: one of many runs its command, and another one when that ends.

use std::net::TcpListener;

use crate::{Running, TestServer, getlock, lost_lock::HEEDS, output};

#[tokio::test]
async fn sigterm_ends_the_leader_and_the_next_leads() {
    let server = TestServer::start();
    let mut first = Running::start(server.addr, &["--lead", "x", "-c", HEEDS]).await;
    let mut second = Running::spawn(server.addr, &["--lead", "x", "-c", HEEDS]);
    server.until_waiting(1).await;
    first.signal("TERM").await;
    assert_eq!(first.line().await, "told");
    assert_eq!(first.end().await, (3, String::new()), "the code of the command");
    assert_eq!(second.line().await, "started");
    second.signal("INT").await;
    assert_eq!(second.end().await.0, 128 + 2, "of a command that the signal has ended");
    assert_eq!(server.service.stats().table.locks, 0);
}

#[tokio::test]
async fn lost_leader_ends_its_command_and_leads_again() {
    let server = TestServer::start();
    let mut leader = Running::start(server.addr, &["--lead", "x", "-c", HEEDS]).await;
    let mut killer = server.client().await;
    assert_eq!(killer.ask("KILL 1").await, "1");
    assert_eq!(leader.line().await, "told");
    assert_eq!(leader.line().await, "started");
    leader.signal("TERM").await;
    let (code, err) = leader.end().await;
    assert!(code == 3 && err.contains("the lock is lost, and the command is told to end"), "{code}, {err}");
}

#[tokio::test]
async fn ended_command_runs_again_with_a_higher_token() {
    let server = TestServer::start();
    let folder = tempfile::tempdir().unwrap();
    let ran = folder.path().join("ran").display().to_string();
    let script = format!("echo $GETLOCK_FENCING_TOKEN; [ -e {ran} ] && exec sleep 1000; > {ran}; exit 5");
    let mut leader = Running::spawn(server.addr, &["--lead", "-v", "x", "-c", &script]);
    let tokens = [leader.line().await, leader.line().await].map(|token| token.parse::<u64>().unwrap());
    assert!(tokens[0] < tokens[1], "{tokens:?}");
    leader.signal("TERM").await;
    let (code, err) = leader.end().await;
    assert!(code == 128 + 15 && err.contains("the command ended with 5"), "{code}, {err}");
}

#[tokio::test]
async fn leader_outlives_a_restart_of_the_server() {
    let mut server = TestServer::with(&["--drain", "0"]);
    let addr = server.addr.to_string();
    let mut leader = Running::start(&addr, &["--lead", "x", "-c", HEEDS]).await;
    server.stop();
    server.stopped().await;
    assert_eq!(leader.line().await, "told");
    let _second = TestServer::at(&addr, &[]);
    assert_eq!(leader.line().await, "started");
    leader.signal("TERM").await;
    assert_eq!(leader.end().await.0, 3);
}

#[tokio::test]
async fn signal_during_the_wait_ends_the_candidate() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    let candidate = Running::spawn(server.addr, &["--lead", "x", "echo", "ran"]);
    server.until_waiting(1).await;
    candidate.signal("TERM").await;
    assert_eq!(candidate.end().await, (128 + 15, String::new()));
}

#[tokio::test]
async fn mistake_at_the_start_is_not_tried_again() {
    let server = TestServer::start();
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let addr = server.addr.to_string();
    for (addr, args, code) in [
        (&unused, &["--lead", "x", "true"][..], 69),
        (&addr, &["--lead", "x", "/no/such/program"], 127),
        (&addr, &["--lead", "-n", "x", "true"], 64),
        (&addr, &["--lead", "x"], 64),
    ] {
        assert_eq!(output(getlock(addr, args)).await.0, code, "{args:?}");
    }
}
