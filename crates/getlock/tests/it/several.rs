//! `--also` and `--permits`, against a server that says what a test has it say.

use tokio::process::Command;

use crate::{
    common::{
        Client as Peer,
        stub::{Stub, answer_keepalive},
    },
    getlock, output,
};

/// What `getlock` tells of itself would be sent to the stub too.
fn silent(stub: &Stub, args: &[&str]) -> Command {
    let mut command = getlock(stub.addr(), args);
    command.env("GETLOCK_NO_INTRODUCE", "1");
    command
}

/// Reads a request for locks, and replies.
async fn reply(stub: &Stub, lines: &[&str], replies: &str) -> Peer {
    let mut peer = stub.welcome("25.000").await;
    answer_keepalive(&mut peer, "25.000").await;
    for line in lines {
        assert_eq!(peer.line().await, *line);
    }
    peer.send(replies).await;
    peer
}

#[tokio::test]
async fn several_locks_are_held_during_the_command() {
    let stub = Stub::start().await;
    let args = ["-v", "a", "--also", "b c", "--also", "d", "-c", "echo $GETLOCK_NAME $GETLOCK_FENCING_TOKEN"];
    let run = tokio::spawn(output(silent(&stub, &args)));
    let asked = ["GET_LOCKS a 'b c' d -1", "FENCING_TOKEN a", "FENCING_TOKEN 'b c'", "FENCING_TOKEN d"];
    let mut peer = reply(&stub, &asked, "1\n9\n9\n9").await;
    assert_eq!(peer.line().await, "RELEASE_LOCKS a 'b c' d");
    peer.send("3").await;
    let (code, out, err) = run.await.unwrap();
    assert_eq!((code, out.as_str()), (0, "a 9\n"));
    assert!(err.contains("took a, 'b c', d after ") && err.contains("freed a, 'b c', d"), "{err}");
}

#[tokio::test]
async fn lock_in_the_way_is_named() {
    let stub = Stub::start().await;
    let run = tokio::spawn(output(silent(&stub, &["-n", "-v", "-s", "a", "--also", "b c", "true"])));
    let asked = ["GET_SHARED_LOCKS a 'b c' 0.000000000", "FENCING_TOKEN a", "FENCING_TOKEN 'b c'"];
    let _peer = reply(&stub, &asked, "0 'b c'\nNULL\nNULL").await;
    assert_eq!(run.await.unwrap(), (1, String::new(), "getlock: 'b c' was not granted\n".to_owned()));
}

#[tokio::test]
async fn permit_is_taken_and_released() {
    let stub = Stub::start().await;
    let run = tokio::spawn(output(silent(&stub, &["--permits", "3", "render", "echo", "ran"])));
    let mut peer = reply(&stub, &["GET_PERMIT render 3 -1", "FENCING_TOKEN render"], "1\n9").await;
    assert_eq!(peer.line().await, "RELEASE_LOCK render");
    peer.send("1").await;
    assert_eq!(run.await.unwrap(), (0, "ran\n".to_owned(), String::new()));
}

#[tokio::test]
async fn other_number_of_permits_is_refused() {
    let stub = Stub::start().await;
    let run = tokio::spawn(output(silent(&stub, &["--permits", "4", "render", "echo", "ran"])));
    let said = "ERROR LIMIT_DIFFERS render has 3 permits; use 3\nNULL";
    let _peer = reply(&stub, &["GET_PERMIT render 4 -1", "FENCING_TOKEN render"], said).await;
    let (code, out, err) = run.await.unwrap();
    assert_eq!((code, out.as_str()), (69, ""));
    assert_eq!(err, "getlock: render has 3 permits; use 3 (LIMIT_DIFFERS)\n");
}

#[tokio::test]
async fn flags_that_do_not_go_together_are_refused() {
    for args in [
        &["--permits", "0", "x", "true"][..],
        &["--permits", "65536", "x", "true"],
        &["--permits", "3", "-s", "x", "true"],
        &["--permits", "3", "--also", "y", "x", "true"],
        &["--once", "1h", "--also", "y", "x", "true"],
        &["--once", "1h", "--permits", "3", "x", "true"],
    ] {
        assert_eq!(output(getlock("", args)).await.0, 64, "{args:?}");
    }
}
