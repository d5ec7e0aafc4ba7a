//! A client of a cluster: several addresses, and what a leader promises (protocol.md, part 1).

use std::{io, time::Duration};

use getlockd_client::{Builder, Client, Connection, Error, Guard, Symbol, Timeout, http::Leases};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::in_time;
use crate::common::{
    self, TestServer,
    stub::{Stub, answer_keepalive, expect_take, grant},
};

/// What `HELLO` says in the shortest cluster of these tests.
const TIMES: &str = " node=a term=9 ttl=2.000 takeover_delay=0.000";

fn to(addresses: &[String]) -> Builder {
    Builder::new(addresses.join(",")).name("")
}

fn connecting(builder: Builder) -> JoinHandle<Result<Connection, Error>> {
    tokio::spawn(async move { builder.connection().await })
}

/// A connection to the leader of term 9, with a lock.
async fn holding(stub: &Stub, left: &str) -> (Guard, common::Client) {
    let connection = connecting(to(&[stub.addr()]));
    let mut leader = stub.welcome_with(left, TIMES).await;
    let connection = in_time(connection).await.unwrap().unwrap();
    let guard = tokio::spawn(async move { connection.acquire("x", Timeout::Forever).await });
    grant(&mut leader, "x", left).await;
    (in_time(guard).await.unwrap().unwrap(), leader)
}

/// An address at which nobody listens.
async fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn address_that_does_not_answer_is_passed_over() {
    let [silent, closes, stops, unavailable, good] = [
        Stub::start().await,
        Stub::start().await,
        Stub::start().await,
        Stub::start().await,
        Stub::start().await,
    ];
    let addresses =
        [nobody().await, silent.addr(), closes.addr(), stops.addr(), unavailable.addr(), good.addr()];
    let builder = to(&addresses).connect_time(Duration::from_secs(3));
    let first = connecting(builder.clone());
    let held = silent.accept().await;
    drop(closes.accept().await);
    for (stub, said) in [
        (&stops, "ERROR SHUTDOWN the server is shutting down; closing"),
        (&unavailable, "ERROR UNAVAILABLE no leader; closing"),
    ] {
        stub.accept().await.send(said).await;
    }
    let _leader = good.welcome("25.000").await;
    in_time(first).await.unwrap().unwrap();
    drop(held);

    let again = connecting(builder);
    let _leader = good.welcome("25.000").await;
    in_time(again).await.unwrap().unwrap();
}

#[tokio::test]
async fn silent_node_has_its_part_of_the_time_alone() {
    let [silent, good] = [Stub::start().await, Stub::start().await];
    let began = Instant::now();
    let builder = to(&[silent.addr(), good.addr()]).connect_time(Duration::from_secs(1));
    let connection = connecting(builder);
    let _silent = silent.accept().await;
    let _leader = good.welcome("25.000").await;
    in_time(connection).await.unwrap().unwrap();
    assert!(began.elapsed() >= Duration::from_millis(500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn parked_connection_waits_for_a_leader() {
    let node = Stub::start().await;
    let connection = connecting(to(&[node.addr()]));
    let mut parked = node.accept().await;
    sleep(Duration::from_millis(300)).await;
    answer_keepalive(&mut parked, "4.500 term=9").await;
    assert_eq!(parked.line().await, "HELLO");
    parked.send(&format!("HELLO session=7{TIMES}")).await;
    assert_eq!(in_time(connection).await.unwrap().unwrap().session(), 7);
}

#[tokio::test]
async fn error_tells_why_each_address_failed() {
    let addresses = [nobody().await, nobody().await];
    let error = in_time(to(&addresses).connection()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("cannot connect to {}, {}", addresses[0], addresses[1]));
    let Error::Connect { error, .. } = error else { panic!("{error}") };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    let cause = error.to_string();
    assert_eq!(cause, format!("{}: connection refused; {}: connection refused", addresses[0], addresses[1]));

    let stub = Stub::start().await;
    let refused = connecting(to(&[stub.addr(), nobody().await]));
    stub.accept().await.send("ERROR UNAVAILABLE no leader; closing").await;
    let refused = in_time(refused).await.unwrap().unwrap_err();
    assert!(refused.symbol() == Some(Symbol::Unavailable) && refused.is_transient(), "{refused}");
}

#[tokio::test]
async fn refusal_that_another_node_does_not_mend_is_told_at_once() {
    let [first, second] = [Stub::start().await, Stub::start().await];
    let connection = connecting(to(&[first.addr(), second.addr()]));
    first.accept().await.send("ERROR AUTH wrong user or password").await;
    assert_eq!(in_time(connection).await.unwrap().unwrap_err().symbol(), Some(Symbol::Auth));
}

#[tokio::test]
async fn leader_of_an_older_term_is_passed_over() {
    let [old, new] = [Stub::start().await, Stub::start().await];
    let builder = to(&[old.addr(), new.addr()]);
    let first = connecting(builder.clone());
    let peer = old.welcome_with("4.500 term=9", TIMES).await;
    in_time(first).await.unwrap().unwrap();
    drop((peer, old));

    let second = connecting(builder.clone());
    let _peer = new.welcome_with("4.500 term=11", TIMES).await;
    in_time(second).await.unwrap().unwrap();
    // Another client of the same program, to which the old leader is first: it woke up, and has not heard of its end.
    let thawed = Stub::start().await;
    let third = connecting(Builder::new(format!("{},{}", thawed.addr(), new.addr())).name(""));
    let _peer = thawed.welcome_with("4.500 term=11", TIMES).await;
    in_time(third).await.unwrap().unwrap();
    let fourth = connecting(Builder::new(format!("{},{}", thawed.addr(), new.addr())).name(""));
    let _old = thawed.welcome_with("4.500 term=10", TIMES).await;
    let _new = new.welcome_with("4.500 term=11", TIMES).await;
    in_time(fourth).await.unwrap().unwrap();
}

#[tokio::test]
async fn guard_is_lost_when_its_leader_is_followed_by_another() {
    let stub = Stub::start().await;
    let (guard, mut leader) = holding(&stub, "60.000 term=9").await;
    let other = connecting(to(&[stub.addr()]));
    let _peer = stub.welcome_with("60.000 term=10", TIMES).await;
    in_time(other).await.unwrap().unwrap();
    assert!(!guard.is_lost(), "what was promised still holds");
    answer_keepalive(&mut leader, "60.000 term=9").await;
    let lost = in_time(guard.lost()).await.to_string();
    assert!(lost.contains("its term 9 is followed by another"), "{lost}");
}

#[tokio::test]
async fn guard_is_lost_when_its_term_ends_or_changes() {
    for (answer, why) in [
        ("0.000 term=9", "its term 9 is over"),
        ("60.000 term=10", "leads again, in term 10, without the locks of before"),
    ] {
        let stub = Stub::start().await;
        let (guard, mut leader) = holding(&stub, "60.000 term=9").await;
        answer_keepalive(&mut leader, answer).await;
        let lost = in_time(guard.lost()).await;
        assert!(lost.to_string().contains(why) && lost.time_left().is_zero(), "{lost}");
        assert!(matches!(guard.release().await, Err(Error::Lost(_))));
    }
}

#[tokio::test]
async fn leader_is_asked_often_and_its_loss_is_told_in_time() {
    let stub = Stub::start().await;
    let (guard, mut leader) = holding(&stub, "1.800 term=9").await;
    let mut last = answer_keepalive(&mut leader, "1.800 term=9").await;
    for _ in 0..3 {
        let next = answer_keepalive(&mut leader, "1.800 term=9").await;
        assert!(next - last > Duration::from_millis(100), "each 0.2 s: {:?}", next - last);
        last = next;
    }
    let lost = in_time(guard.lost()).await;
    assert!(last.elapsed() < Duration::from_millis(1800), "{:?}", last.elapsed());
    assert!(last.elapsed() > Duration::from_secs(1) && !lost.time_left().is_zero(), "{lost}");
}

#[tokio::test]
async fn grant_of_a_leader_that_has_ended_is_no_grant() {
    let stub = Stub::start().await;
    let connection = connecting(to(&[stub.addr()]));
    let mut leader = stub.welcome_with("0.700 term=9", TIMES).await;
    let connection = in_time(connection).await.unwrap().unwrap();
    let taken = tokio::spawn(async move { connection.acquire("x", Timeout::Forever).await });
    answer_keepalive(&mut leader, "0.700 term=9").await;
    expect_take(&mut leader, "x").await;
    sleep(Duration::from_millis(750)).await;
    // It lay in a buffer, and the leader is no more.
    leader.send("1\n99").await;
    assert!(matches!(in_time(taken).await.unwrap(), Err(Error::Lost(_))));
}

#[tokio::test]
async fn wait_at_a_silent_leader_goes_on_at_the_next_node() {
    let times = " node=a term=9 ttl=0.500 takeover_delay=0.000";
    let [vanished, next] = [Stub::start().await, Stub::start().await];
    let client =
        tokio::spawn(to(&[vanished.addr(), next.addr()]).connect_time(Duration::from_secs(1)).connect());
    let mut leader = vanished.welcome_with("0.450 term=9", times).await;
    let client = in_time(client).await.unwrap().unwrap();
    let taken = tokio::spawn(async move { client.acquire("x", Timeout::Forever).await });
    answer_keepalive(&mut leader, "0.450 term=9").await;
    expect_take(&mut leader, "x").await;
    let last = answer_keepalive(&mut leader, "0.450 term=9").await;
    // It tries the same address first, which accepts and says nothing.
    let mut leader = next.welcome_with("60.000 term=10", TIMES).await;
    assert!(last.elapsed() > Duration::from_millis(900), "{:?}", last.elapsed());
    grant(&mut leader, "x", "60.000 term=10").await;
    assert_eq!(in_time(taken).await.unwrap().unwrap().fencing_token(), 99);
}

#[tokio::test]
async fn stop_time_that_does_not_fit_a_cluster_is_refused() {
    let stub = Stub::start().await;
    let builder = to(&[stub.addr()]);
    let late = connecting(builder.clone().stop_within(Duration::from_millis(601)));
    let _peer = stub.welcome_with("1.800 term=9", TIMES).await;
    let error = in_time(late).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::StopWithin { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "stop_within is too long (601ms) for a cluster with --cluster-ttl 2s; use 600ms or less, or raise \
         --takeover-delay or --cluster-ttl on the servers"
    );
    for (stop, times) in [(600, TIMES), (2600, " term=9 ttl=2.000 takeover_delay=2.000")] {
        let fits = connecting(builder.clone().stop_within(Duration::from_millis(stop)));
        let _peer = stub.welcome_with("3.500 term=9", times).await;
        let fits = in_time(fits).await.unwrap().unwrap();
        assert_eq!(fits.stop_within(), Some(Duration::from_millis(stop)));
    }
}

#[tokio::test]
async fn nodes_are_listed() {
    let stub = Stub::start().await;
    let connection = connecting(to(&[stub.addr()]));
    let mut leader = stub.welcome_with("4.500 term=9", TIMES).await;
    let connection = in_time(connection).await.unwrap().unwrap();
    let nodes = tokio::spawn(async move { connection.nodes().await });
    assert_eq!(leader.line().await, "NODES");
    let row = "NODE node=a role=leader address=10.0.0.1:3309 version=0.1.0 started=3604.120";
    leader.send(&format!("{row} seen=0.412 relayed=12\nEND 1")).await;
    let nodes = in_time(nodes).await.unwrap().unwrap();
    let node = &nodes.rows[0];
    assert_eq!((node.node.as_str(), node.role.as_str(), node.relayed), ("a", "leader", 12));
    assert_eq!((node.seen, node.address.as_deref()), (Duration::from_millis(412), Some("10.0.0.1:3309")));
}

#[tokio::test]
async fn client_goes_on_when_its_node_is_gone() {
    let [mut first, second] = [TestServer::start(), TestServer::start()];
    let client = Client::connect(format!("{},{}", first.addr, second.addr)).await.unwrap();
    in_time(client.acquire("x", Timeout::NONE)).await.unwrap().release().await.unwrap();
    assert_eq!(first.service.stats().table.grants, 1);
    first.stop();
    in_time(client.acquire("x", Duration::from_secs(5))).await.unwrap().release().await.unwrap();
    assert_eq!(second.service.stats().table.grants, 1);
}

/// One request over HTTP, and its answer.
async fn answer(listener: &TcpListener, code: &str, body: &str) -> String {
    let (mut stream, _): (TcpStream, _) = in_time(listener.accept()).await.unwrap();
    let mut request = vec![0; 4096];
    let length = stream.read(&mut request).await.unwrap();
    let answer = format!("HTTP/1.1 {code}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    String::from_utf8_lossy(&request[..length]).split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn lease_goes_on_at_another_node_and_heeds_no_older_term() {
    let [old, new] =
        [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
    let addresses = format!("{},{}", old.local_addr().unwrap(), new.local_addr().unwrap());
    let leases = Leases::new(addresses).ttl(Duration::from_secs(2));
    let taken = tokio::spawn(async move { leases.acquire("x", Timeout::NONE).await });
    let granted = r#"{"status":"Acquired","lockToken":"x","fencingToken":7,"term":9}"#;
    answer(&old, "503 Service Unavailable", r#"{"status":"Unavailable","message":"no leader"}"#).await;
    assert_eq!(answer(&new, "200 OK", granted).await, "/api/lock/acquire");
    let lease = in_time(taken).await.unwrap().unwrap();
    assert_eq!(answer(&new, "200 OK", r#"{"status":"Ok","term":10}"#).await, "/api/lock/heartbeat");
    // The leader of before answers: its word counts for nothing, and the other one is asked.
    answer(&new, "200 OK", r#"{"status":"Ok","term":9}"#).await;
    answer(&old, "200 OK", r#"{"status":"Ok","term":10}"#).await;
    answer(&old, "200 OK", r#"{"status":"Ok","term":10,"leftMs":1}"#).await;
    drop((old, new));
    assert!(!in_time(lease.lost()).await.to_string().is_empty());
}
