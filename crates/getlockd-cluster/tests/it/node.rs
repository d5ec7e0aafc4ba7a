//! A node that stands for a seat, as the tests write it down.

use std::time::Duration;

use getlockd_cluster::{
    engine::{Beat, Change, Engine, Look, Resign, Take, Versioned, Written},
    etcd::{Etcd, EtcdConfig},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinHandle,
    time::timeout,
};

use crate::common::etcd;

/// T/8 of the default.
pub const TIME_LIMIT: Duration = Duration::from_millis(625);

/// How long a test waits for what must come. Only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn config(url: &str) -> EtcdConfig {
    let url = url.parse().unwrap();
    EtcdConfig { url, ca: None, identity: None, login: None, time_limit: TIME_LIMIT, anyway: false }
}

/// A connection of its own to all members.
pub fn node(etcd: &etcd::Etcd) -> Etcd {
    Etcd::new(&config(&etcd.url("getlockd"))).unwrap()
}

/// The same, with this member's turn first.
pub fn starting_at(etcd: &etcd::Etcd, first: usize) -> Etcd {
    let mut config = config(&etcd.url("getlockd"));
    config.url.members.rotate_left(first);
    Etcd::new(&config).unwrap()
}

/// Takes the seat, if it is still as expected.
pub async fn take(node: &impl Engine, seat: &str, expected: &Look) -> Written {
    let take = Take { expected: expected.clone(), seat: seat.into(), beat: beat_of(1) };
    node.take(take).await
}

/// Takes the seat as it stands: the term.
pub async fn take_now(node: &impl Engine, seat: &str) -> u64 {
    let look = node.look().await.unwrap();
    done(take(node, seat, &look).await)
}

/// The beat n of a term that writes leases.
pub fn beat_with(term: u64, seat: &str, n: u64, leases: &[(&str, Option<&str>)]) -> Beat {
    let leases =
        leases.iter().map(|(key, record)| ((*key).to_owned(), record.map(|text| text.as_bytes().to_vec())));
    Beat { term, seat: seat.into(), beat: beat_of(n), leases: leases.collect() }
}

pub fn beat(term: u64, seat: &str, n: u64) -> Beat {
    beat_with(term, seat, n, &[])
}

pub fn resign(term: u64, seat: &str, n: u64) -> Resign {
    Resign { term, seat: seat.into(), resigned: b"resigned".into(), beat: beat_of(n) }
}

/// As many digits as a beat has.
pub fn beat_of(n: u64) -> Vec<u8> {
    format!("{n:020} {:020} {:010}", 0, 0).into_bytes()
}

pub fn done(written: Written) -> u64 {
    match written {
        Written::Done(revision) => revision,
        other => panic!("{other:?}"),
    }
}

pub fn not(written: Written) -> Look {
    match written {
        Written::Not(look) => look,
        other => panic!("{other:?}"),
    }
}

pub fn text(value: &Versioned) -> &str {
    std::str::from_utf8(&value.value).unwrap()
}

/// The reports of a watch.
pub struct Watch {
    changes: UnboundedReceiver<Change>,
    _task: JoinHandle<()>,
}

impl Watch {
    pub fn start(node: Etcd) -> Self {
        let (sender, changes) = unbounded_channel();
        Self { changes, _task: tokio::spawn(async move { node.watch(sender).await }) }
    }

    /// Once what stands there is reported.
    pub async fn started(node: Etcd) -> Self {
        let mut watch = Self::start(node);
        watch.until("hand-over").await;
        watch
    }

    /// The next report.
    pub async fn next(&mut self) -> String {
        let change =
            timeout(PATIENCE, self.changes.recv()).await.expect("no report").expect("the watch ended");
        let (key, value) = match change {
            Change::Seat(value) => ("seat".to_owned(), value),
            Change::Beat(value) => {
                ("beat".to_owned(), value.map(|beat| Versioned { value: first_word(&beat), ..beat }))
            }
            Change::Node(node, value) => (format!("node {node}"), value),
            Change::HandOver(value) => ("hand-over".to_owned(), value),
        };
        format!("{key} {}", value.as_ref().map_or("-", text))
    }

    /// The next report that starts with this.
    pub async fn until(&mut self, words: &str) -> String {
        loop {
            let report = self.next().await;
            if report.starts_with(words) {
                return report;
            }
        }
    }
}

/// The n of a beat, without the zeros.
fn first_word(beat: &Versioned) -> Vec<u8> {
    let n: u64 = text(beat).split(' ').next().unwrap().parse().unwrap();
    n.to_string().into_bytes()
}
