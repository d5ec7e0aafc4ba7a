//! A cluster: several addresses, a leader that promises less than a server alone, and the list of nodes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{net::TcpListener, process::Command, task::JoinHandle};

use crate::{
    Running, TestServer,
    common::stub::{Stub, answer_keepalive, grant},
    getlock,
    lost_lock::DEAF,
    output,
};

const TIMES: &str = " node=a term=9 ttl=2.000 takeover_delay=0.000";
const PROMISE: &str = "1.800 term=9";

/// Nobody listens there.
async fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

fn running(command: Command) -> JoinHandle<(i32, String, String)> {
    tokio::spawn(output(command))
}

#[tokio::test]
async fn next_address_is_taken_when_the_first_does_not_answer() {
    let server = TestServer::start();
    for host in [
        format!("{},{}", nobody().await, server.addr),
        format!("getlock://{},{}", nobody().await, server.addr),
    ] {
        assert_eq!(
            output(getlock(host, &["nightly", "echo", "in"])).await,
            (0, "in\n".to_owned(), String::new())
        );
    }
    let [a, b] = [nobody().await, nobody().await];
    let (code, _, err) = output(getlock(format!("{a},{b}"), &["ls"])).await;
    let told =
        format!("getlock: cannot connect to {a}, {b}: {a}: connection refused; {b}: connection refused\n");
    assert_eq!((code, err), (69, told));
}

#[tokio::test]
async fn command_is_dead_before_a_silent_leader_ends() {
    let leader = Stub::start().await;
    let mut running = Running::spawn(leader.addr(), &["--no-introduce", "x", "-c", DEAF]);
    let mut holder = leader.welcome_with(PROMISE, TIMES).await;
    grant(&mut holder, "x", PROMISE).await;
    assert_eq!(running.line().await, "started");
    let promised = Instant::now();
    let asked = answer_keepalive(&mut holder, PROMISE).await;
    assert_eq!(running.line().await, "told");
    let told = asked.elapsed();
    assert!(told > Duration::from_millis(900) && told < Duration::from_millis(1500), "{told:?}");
    let (code, err) = running.end().await;
    assert!(code == 75 && err.contains("SIGKILL"), "{code}, {err}");
    assert!(promised.elapsed() < Duration::from_millis(1800), "{:?}", promised.elapsed());
}

#[tokio::test]
async fn kill_after_that_does_not_fit_a_cluster_is_refused() {
    let leader = Stub::start().await;
    let command = |kill_after| {
        getlock(leader.addr(), &["--no-introduce", "--kill-after", kill_after, "x", "--", "true"])
    };
    let refused = running(command("500ms"));
    let _peer = leader.welcome_with(PROMISE, TIMES).await;
    let (code, _, err) = refused.await.unwrap();
    let told = "getlock: --kill-after is too long for a cluster with --cluster-ttl 2s; use 400ms or less, or raise \
                --takeover-delay or --cluster-ttl on the servers\n";
    assert_eq!((code, err.as_str()), (64, told));

    for (kill_after, times) in [("400ms", TIMES), ("2s", " term=9 ttl=2.000 takeover_delay=2.000")] {
        let fits = running(command(kill_after));
        let mut peer = leader.welcome_with("3.500 term=9", times).await;
        grant(&mut peer, "x", "3.500 term=9").await;
        while peer.line().await != "RELEASE_LOCK x" {}
        peer.send("1").await;
        assert_eq!(fits.await.unwrap(), (0, String::new(), String::new()), "{kill_after}");
    }
}

#[tokio::test]
async fn nodes_are_a_table_or_the_document_of_http() {
    let leader = Stub::start().await;
    for flag in [None, Some("--json")] {
        let mut command = getlock(leader.addr(), &["nodes"]);
        command.args(flag).env("GETLOCK_NO_INTRODUCE", "1");
        let listing = running(command);
        let mut peer = leader.welcome_with(PROMISE, TIMES).await;
        assert_eq!(peer.line().await, "NODES");
        peer.send(
            "NODE node=a role=leader address=10.0.0.1:3309 version=0.1.0 started=3604.120 seen=0.000 relayed=0\n\
             NODE node=b role=follower address=10.0.0.2:3309 version=0.1.0 started=90.000 seen=0.612 relayed=12\n\
             END 2",
        )
        .await;
        let (code, out, err) = listing.await.unwrap();
        assert_eq!((code, err.as_str()), (0, ""));
        if flag.is_none() {
            let lines: Vec<_> =
                out.lines().map(str::split_whitespace).map(Iterator::collect::<Vec<_>>).collect();
            assert_eq!(lines[0].join(" "), "NODE ROLE ADDRESS VERSION STARTED SEEN RELAYED");
            assert_eq!(
                [&lines[1][..4], &lines[1][5..]].concat().join(" "),
                "a leader 10.0.0.1:3309 0.1.0 0.0s 0"
            );
            assert_eq!(
                [&lines[2][..4], &lines[2][5..]].concat().join(" "),
                "b follower 10.0.0.2:3309 0.1.0 0.6s 12"
            );
            let started = lines[1][4];
            assert!(started.starts_with("20") && started.ends_with('Z') && started.len() == 20, "{started}");
            assert!(*started < *lines[2][4], "an hour is before a minute");
        } else {
            let mut document: Value = serde_json::from_str(&out).unwrap();
            for node in document["nodes"].as_array_mut().unwrap() {
                let started = node.as_object_mut().unwrap().remove("startedAt").unwrap();
                assert!(started.as_str().unwrap().starts_with("20"), "{started}");
            }
            let node = |node, role, address, seen, relayed| {
                json!({
                    "node": node, "role": role, "address": address, "version": "0.1.0", "seenMs": seen,
                    "relayed": relayed,
                })
            };
            let nodes =
                [node("a", "leader", "10.0.0.1:3309", 0, 0), node("b", "follower", "10.0.0.2:3309", 612, 12)];
            assert_eq!(document, json!({ "nodes": nodes }));
        }
    }
}

#[tokio::test]
async fn server_alone_is_not_a_cluster() {
    let server = Stub::start().await;
    let mut command = getlock(server.addr(), &["nodes"]);
    command.env("GETLOCK_NO_INTRODUCE", "1");
    let listing = running(command);
    let mut peer = server.welcome("25.000").await;
    assert_eq!(peer.line().await, "NODES");
    peer.send("END 0").await;
    assert_eq!(listing.await.unwrap(), (0, String::new(), "getlock: not a cluster\n".to_owned()));
}

#[tokio::test]
async fn relayed_clients_show_their_node() {
    let leader = Stub::start().await;
    let mut command = getlock(leader.addr(), &["ls"]);
    command.env("GETLOCK_NO_INTRODUCE", "1");
    let listing = running(command);
    let mut peer = leader.welcome_with(PROMISE, TIMES).await;
    assert_eq!(peer.line().await, "LOCKS");
    peer.send(
        "LOCK name=a mode=shared session=1 wire=line peer=10.0.0.7:1 fencing_token=1 held=1.500 waiters=0 via=b\n\
         LOCK name=c mode=shared session=2 wire=line peer=10.0.0.8:1 fencing_token=2 held=1.500 waiters=0\nEND 2",
    )
    .await;
    let (_, out, _) = listing.await.unwrap();
    let [head, relayed, direct] = &out.lines().collect::<Vec<_>>()[..] else { panic!("{out}") };
    assert!(head.contains("PEER        VIA  HELD"), "{head}");
    assert!(relayed.contains("10.0.0.7:1  b    1.5s") && direct.contains("10.0.0.8:1  -    1.5s"), "{out}");
}
