//! Clients that end: killed, reset, closed, half closed; while they hold and while they wait.

use std::time::{Duration, Instant};

use super::{
    relay::{Fault, Relay},
    report,
    speaker::{Addrs, Speaker, Wire},
};
use crate::common::TestServer;

const ROUNDS: usize = 11;

const FAULTS: [(Fault, &str); 4] = [
    (Fault::Killed, "process killed by -9"),
    (Fault::Reset, "connection reset"),
    (Fault::HalfClosed, "sending side closed"),
    (Fault::Closed, "connection closed"),
];

fn addrs(server: &TestServer) -> Addrs {
    Addrs { line: server.addr, mysql: server.mysql, http: server.http }
}

/// Until the next has the lock of one who held it.
async fn while_holding(fault: Fault, wire: Wire) -> Duration {
    let server = TestServer::start();
    let at = addrs(&server).of(wire);
    let relay = Relay::new(fault, at).await;
    let _dead = Speaker::holding(wire, relay.addr, "nightly").await;
    let _neighbour = Speaker::holding(wire, at, "kept").await;
    let mut next = server.client().await;
    next.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;

    let since = Instant::now();
    relay.suffer(fault);
    assert_eq!(next.line().await, "1");
    let freed = since.elapsed();
    assert_eq!(next.ask("IS_FREE_LOCK kept").await, "0", "the neighbour's");
    freed
}

/// Until the next is served, who had only the waiter before them in the way.
async fn while_waiting(fault: Fault, wire: Wire) -> Duration {
    let server = TestServer::start();
    let at = addrs(&server).of(wire);
    let [mut holder, mut next] = server.clients().await;
    assert_eq!(holder.ask("GET_SHARED_LOCK nightly 0").await, "1");
    assert_eq!(holder.ask("GET_LOCK kept 0").await, "1");
    let relay = Relay::new(fault, at).await;
    let _dead = Speaker::asking(wire, relay.addr, "nightly").await;
    server.until_waiting(1).await;
    next.send("GET_SHARED_LOCK nightly 60").await;
    server.until_waiting(2).await;
    let neighbour = Speaker::asking(wire, at, "kept").await;
    server.until_waiting(3).await;

    let since = Instant::now();
    relay.suffer(fault);
    assert_eq!(next.line().await, "1");
    let freed = since.elapsed();
    server.until_waiting(1).await;
    assert_eq!(holder.ask("RELEASE_LOCK kept").await, "1");
    assert!(neighbour.granted().await.0, "it has kept its place");
    freed
}

#[tokio::test]
async fn holder_that_ends_passes_lock_to_next_waiter() {
    for (fault, what) in FAULTS {
        for wire in Wire::SESSIONS {
            let mut times = Vec::new();
            for _ in 0..ROUNDS {
                times.push(while_holding(fault, wire).await);
            }
            report(&format!("{what}, holding"), wire.name(), times);
        }
    }
}

#[tokio::test]
async fn waiter_that_ends_leaves_the_queue() {
    for (fault, what) in FAULTS {
        for wire in Wire::ALL {
            let mut times = Vec::new();
            for _ in 0..ROUNDS {
                times.push(while_waiting(fault, wire).await);
            }
            report(&format!("{what}, waiting"), wire.name(), times);
        }
    }
}
