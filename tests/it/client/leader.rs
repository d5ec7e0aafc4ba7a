//! Leader election.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use getlockd_client::{Client, Error, Guard, Symbol, Timeout, blocking};
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
};

use super::{client, connection, held, in_time};
use crate::common::TestServer;

/// A candidate that tells when it leads, and until when.
fn candidate(
    client: Client,
    told: mpsc::UnboundedSender<(&'static str, u64)>,
) -> tokio::task::JoinHandle<Error> {
    tokio::spawn(async move {
        let lead = |leader: Arc<Guard>| {
            let end = Told(told.clone(), leader.fencing_token());
            told.send(("leads", leader.fencing_token())).unwrap();
            async move {
                let _end = end;
                std::future::pending::<()>().await;
            }
        };
        match client.leader_election("scheduler", lead).await {
            Err(error) => error,
            Ok(never) => match never {},
        }
    })
}

struct Told(mpsc::UnboundedSender<(&'static str, u64)>, u64);

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.0.send(("stopped", self.1));
    }
}

#[tokio::test]
async fn lost_leader_stops_and_leads_again() {
    let server = TestServer::start();
    let killer = connection(&server).await;
    let (told, mut heard) = mpsc::unbounded_channel();
    let _candidate = candidate(client(&server).await, told);
    let mut last = 0;
    for _ in 0..3 {
        let (what, token) = in_time(heard.recv()).await.unwrap();
        assert!(what == "leads" && token > last, "{what} {token}, after {last}");
        let leader = killer.locks("scheduler").await.unwrap().rows.remove(0);
        assert_eq!(leader.fencing_token, token);
        killer.kill(leader.session, None).await.unwrap();
        assert_eq!(in_time(heard.recv()).await, Some(("stopped", token)));
        last = token;
    }
}

#[tokio::test]
async fn next_candidate_leads_when_the_leader_is_dropped() {
    let server = TestServer::start();
    let [(first, mut heard_first), (second, mut heard_second)] =
        [mpsc::unbounded_channel(), mpsc::unbounded_channel()];
    let leader = candidate(client(&server).await, first);
    let (_, token) = in_time(heard_first.recv()).await.unwrap();
    let _second = candidate(client(&server).await, second);
    server.until_waiting(1).await;
    leader.abort();
    assert_eq!(in_time(heard_first.recv()).await, Some(("stopped", token)));
    let (what, next) = in_time(heard_second.recv()).await.unwrap();
    assert!(what == "leads" && next > token);
}

#[tokio::test]
async fn leadership_survives_a_restart_of_the_server() {
    let mut server = TestServer::with(&["--drain", "0"]);
    let addr = server.addr.to_string();
    let client = Client::builder(&addr).retry(Duration::ZERO).connect().await.unwrap();
    let (told, mut heard) = mpsc::unbounded_channel();
    let _candidate = candidate(client, told);
    let (_, token) = in_time(heard.recv()).await.unwrap();
    server.stop();
    server.stopped().await;
    assert_eq!(in_time(heard.recv()).await, Some(("stopped", token)));
    let _second = TestServer::at(&addr, &[]);
    let (what, next) = in_time(heard.recv()).await.unwrap();
    assert!(what == "leads" && next > token);
}

#[tokio::test]
async fn cancelled_candidate_ends_its_election() {
    let server = TestServer::start();
    let (client, operator) = (client(&server).await, connection(&server).await);
    let _leader = held(&client, "scheduler").await;
    let (told, _heard) = mpsc::unbounded_channel();
    let candidate = candidate(client, told);
    server.until_waiting(1).await;
    let waiter = operator.waiters("scheduler").await.unwrap().rows[0].session;
    assert!(operator.cancel_wait(waiter).await.unwrap());
    assert_eq!(in_time(candidate).await.unwrap().symbol(), Some(Symbol::Interrupted));
}

#[tokio::test]
async fn finished_leader_queues_behind_the_others() {
    let server = TestServer::start();
    let client = client(&server).await;
    let (told, mut heard) = mpsc::unbounded_channel();
    let first = client.clone();
    let election = tokio::spawn(async move {
        let lead = |_| {
            let (end, ended) = oneshot::channel::<()>();
            told.send(end).unwrap();
            ended
        };
        first.leader_election("scheduler", lead).await
    });
    let end = in_time(heard.recv()).await.unwrap();
    let second = tokio::spawn({
        let client = client.clone();
        async move { client.acquire("scheduler", Timeout::Forever).await }
    });
    server.until_waiting(1).await;
    drop(end);
    let second = in_time(second).await.unwrap().unwrap();
    server.until_waiting(1).await;
    assert!(heard.try_recv().is_err(), "it does not lead beside the other");
    drop(second);
    in_time(heard.recv()).await.unwrap();
    election.abort();
}

#[tokio::test]
async fn blocking_election_ends_with_a_break() {
    let server = TestServer::start();
    let addr = server.addr.to_string();
    let work = spawn_blocking(move || {
        let (client, mut tokens) = (blocking::Client::connect(addr)?, Vec::new());
        client.leader_election("scheduler", |leader| {
            tokens.push(leader.fencing_token());
            if tokens.len() < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(tokens.clone()) }
        })
    });
    let tokens = in_time(work).await.unwrap().unwrap();
    assert!(tokens.is_sorted() && tokens.len() == 3, "{tokens:?}");
    server.until(|stats| stats.table.locks == 0).await;
}
