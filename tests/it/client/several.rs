//! Several locks at once, and permits, against a server that says what a test has it say.

use std::time::Duration;

use getlockd_client::{Builder, Connection, Error, Mode, Symbol, Timeout, blocking};
use tokio::task::spawn_blocking;

use super::in_time;
use crate::common::{
    Client as Peer,
    stub::{Stub, answer_keepalive},
};

/// A connection to a stub, and the stub's end of it.
async fn connected(stub: &Stub) -> (Connection, Peer) {
    let builder = Builder::new(stub.addr()).name("");
    let (connection, peer) = tokio::join!(builder.connection(), stub.welcome("25.000"));
    (connection.unwrap(), peer)
}

/// Reads what a call sends, and replies.
async fn reply(peer: &mut Peer, lines: &[&str], replies: &str) {
    answer_keepalive(peer, "25.000").await;
    for line in lines {
        assert_eq!(peer.line().await, *line);
    }
    peer.send(replies).await;
}

#[tokio::test]
async fn several_names_give_a_single_guard() {
    let stub = Stub::start().await;
    let (connection, mut peer) = connected(&stub).await;
    let acquire = connection.acquire(["a", "b c", "A"], Duration::from_secs(10));
    let asked = ["GET_LOCKS a 'b c' 10.000000000", "FENCING_TOKEN a", "FENCING_TOKEN 'b c'"];
    let (guard, ()) = tokio::join!(acquire, reply(&mut peer, &asked, "1\n7\n9"));
    let guard = guard.unwrap();
    assert_eq!((guard.name(), guard.names()), ("a", &["a".to_owned(), "b c".to_owned()][..]));
    assert_eq!(guard.fencing_token(), 9, "the session had one of them before, with the token of that time");
    let release = async {
        assert_eq!(peer.line().await, "RELEASE_LOCKS a 'b c'");
        peer.send("2").await;
    };
    let (released, ()) = tokio::join!(guard.release(), release);
    released.unwrap();
}

#[tokio::test]
async fn name_in_the_way_is_told() {
    let stub = Stub::start().await;
    let (connection, mut peer) = connected(&stub).await;
    let asked = ["GET_SHARED_LOCKS a 'b c' 0.000000000", "FENCING_TOKEN a", "FENCING_TOKEN 'b c'"];
    let acquire = connection.acquire_shared(vec!["a", "b c"], Timeout::NONE);
    let (taken, ()) = tokio::join!(acquire, reply(&mut peer, &asked, "0 'b c'\n5\nNULL"));
    let error = taken.unwrap_err();
    assert!(matches!(&error, Error::NotGranted { in_the_way: Some(name), .. } if name == "b c"));
    assert_eq!(error.to_string(), "the locks were not granted in time; 'b c' is held");

    let asked = ["GET_LOCKS a b 0.000000000", "FENCING_TOKEN a", "FENCING_TOKEN b"];
    let (taken, ()) = tokio::join!(connection.try_lock(["a", "b"]), reply(&mut peer, &asked, "0 a\n5\nNULL"));
    assert!(taken.unwrap().is_none());
}

#[tokio::test]
async fn partly_lost_release_is_not_held() {
    let stub = Stub::start().await;
    let (connection, mut peer) = connected(&stub).await;
    let asked = ["GET_LOCKS a b -1", "FENCING_TOKEN a", "FENCING_TOKEN b"];
    let acquire = connection.acquire(&["a", "b"], Timeout::Forever);
    let (guard, ()) = tokio::join!(acquire, reply(&mut peer, &asked, "1\n9\n9"));
    let release = async {
        assert_eq!(peer.line().await, "RELEASE_LOCKS a b");
        peer.send("1").await;
    };
    let (released, ()) = tokio::join!(guard.unwrap().release(), release);
    assert!(matches!(released, Err(Error::NotHeld)), "{released:?}");
}

#[tokio::test]
async fn older_server_refuses_several_names_alone() {
    let stub = Stub::start().await;
    let (connection, mut peer) = connected(&stub).await;
    let asked = ["GET_LOCKS a b 0.000000000", "FENCING_TOKEN a", "FENCING_TOKEN b"];
    let said = "ERROR UNKNOWN_COMMAND unknown command GET_LOCKS\nNULL\nNULL";
    let (taken, ()) = tokio::join!(connection.try_lock(["a", "b"]), reply(&mut peer, &asked, said));
    assert_eq!(taken.unwrap_err().symbol(), Some(Symbol::UnknownCommand));
    let asked = ["GET_LOCK a 0.000000000", "FENCING_TOKEN a"];
    let (taken, ()) = tokio::join!(connection.try_lock(["a"]), reply(&mut peer, &asked, "1\n9"));
    assert_eq!(taken.unwrap().unwrap().fencing_token(), 9);
}

#[tokio::test]
async fn too_long_request_is_not_sent() {
    let stub = Stub::start().await;
    let (connection, mut peer) = connected(&stub).await;
    let names: Vec<_> = (10..30).map(|number| "n".repeat(60) + &number.to_string()).collect();
    let taken = connection.try_lock(&names).await;
    assert!(matches!(taken, Err(Error::TooManyNames(20))), "{taken:?}");
    assert!(matches!(connection.try_lock(Vec::<String>::new()).await, Err(Error::BadName(_))));
    let ping = async {
        assert_eq!(peer.line().await, "PING");
        peer.send("PONG").await;
    };
    tokio::join!(connection.ping(), ping).0.unwrap();
}

#[tokio::test]
async fn permit_is_taken_with_its_limit() {
    let stub = Stub::start().await;
    let (connection, mut peer) = connected(&stub).await;
    let asked = ["GET_PERMIT render 3 10.000000000", "FENCING_TOKEN render"];
    let acquire = connection.acquire_permit("render", 3, Duration::from_secs(10));
    let (guard, ()) = tokio::join!(acquire, reply(&mut peer, &asked, "1\n9"));
    assert_eq!(guard.unwrap().fencing_token(), 9);
    assert_eq!(peer.line().await, "RELEASE_LOCK render", "dropped");
    peer.send("1").await;

    let asked = ["GET_PERMIT render 4 0.000000000", "FENCING_TOKEN render"];
    let said = "ERROR LIMIT_DIFFERS render has 3 permits\nNULL";
    let (taken, ()) = tokio::join!(connection.try_permit("render", 4), reply(&mut peer, &asked, said));
    assert_eq!(taken.unwrap_err().symbol(), Some(Symbol::LimitDiffers));

    let list = async {
        assert_eq!(peer.line().await, "LOCKS");
        peer.send(
            "LOCK name=render mode=permit session=7 wire=line peer=NULL fencing_token=9 held=0.250 waiters=2 \
             limit=3\nEND 1",
        )
        .await;
    };
    let (locks, ()) = tokio::join!(connection.locks(""), list);
    let mode = locks.unwrap().rows[0].mode;
    assert_eq!((mode, mode.limit(), mode.to_string().as_str()), (Mode::Permit(3), Some(3), "permit"));
}

#[tokio::test]
async fn blocking_client_takes_several_names() {
    let stub = Stub::start().await;
    let addr = stub.addr();
    let work = spawn_blocking(move || {
        let client = blocking::Client::start(Builder::new(addr).name(""))?;
        let guard = client.acquire(["a", "b"], Timeout::Forever)?;
        let names = guard.names().to_vec();
        guard.release().map(|()| names)
    });
    let mut peer = stub.welcome("25.000").await;
    reply(&mut peer, &["GET_LOCKS a b -1", "FENCING_TOKEN a", "FENCING_TOKEN b"], "1\n9\n9").await;
    assert_eq!(peer.line().await, "RELEASE_LOCKS a b");
    peer.send("2").await;
    assert_eq!(in_time(work).await.unwrap().unwrap(), ["a", "b"]);
}
