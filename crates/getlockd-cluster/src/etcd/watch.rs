//! Changes, as etcd reports them.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::mpsc::UnboundedSender,
    time::{MissedTickBehavior, interval, sleep},
};
use tonic::Streaming;

use super::{
    Etcd,
    failure::EtcdFailure,
    generated::{
        etcdserverpb::{
            TxnRequest, WatchCreateRequest, WatchRequest, WatchResponse, watch_client::WatchClient,
            watch_request::RequestUnion,
        },
        mvccpb::{Event, KeyValue, event::EventType},
    },
    keys::Keys,
    members::{EtcdMember, MAX_ANSWER},
    txn,
};
use crate::engine::{Change, Versioned};

/// Reports until nobody listens. Cancel-safe: dropped, it reports nothing more.
pub(super) async fn run(etcd: &Etcd, changes: UnboundedSender<Change>) {
    let watcher = EtcdWatch { etcd, changes: &changes, nodes: Mutex::default(), reported: AtomicU64::new(0) };
    tokio::select! {
        () = changes.closed() => {}
        () = watcher.run() => {}
    }
}

struct EtcdWatch<'a> {
    etcd: &'a Etcd,
    changes: &'a UnboundedSender<Change>,
    /// The nodes that were reported and are not gone.
    nodes: Mutex<BTreeSet<String>>,
    /// The newest revision of what was reported.
    reported: AtomicU64,
}

impl EtcdWatch<'_> {
    /// At one member after the other. Cancel-safe.
    async fn run(&self) {
        let members = &self.etcd.members;
        let mut why = String::new();
        for place in 0.. {
            let member = members.at(place);
            let Err(failure) = self.follow(member).await else { return };
            let failure = failure.to_string();
            // The same again and again is told once.
            if failure != why {
                tracing::warn!("the watch of etcd ended, and begins again at the next member: {failure}");
            }
            why = failure;
            if (place + 1) % members.all().len() == 0 {
                sleep(member.time_limit / 4).await;
            }
        }
    }

    /// What stands there, and then each change. `Ok` if nobody listens any more. Cancel-safe.
    async fn follow(&self, member: &EtcdMember) -> Result<(), EtcdFailure> {
        let keys = &self.etcd.keys;
        let ranges = ranges(keys);
        let success = ranges.iter().map(|(key, end)| txn::range_op(key.clone(), end.clone())).collect();
        let state = member.txn(TxnRequest { success, ..TxnRequest::default() }).await?;
        let revision = txn::revision(&state);
        let found: Vec<_> = state.responses.into_iter().flat_map(txn::ranged).collect();
        self.report_state(keys, found);
        self.reported.store(revision, Ordering::Relaxed);
        let events = open(member, ranges, revision + 1).await?;
        tokio::select! {
            ended = self.forward(member, events) => ended,
            failure = self.see_that_it_lives(member) => Err(failure),
        }
    }

    fn report_state(&self, keys: &Keys, found: Vec<KeyValue>) {
        let (mut seat, mut beat, mut hand_over) = (None, None, None);
        let mut gone = self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut nodes = Vec::new();
        for found in found {
            let name = keys.without_prefix(&found.key);
            let value = txn::versioned(Some(found));
            match change(&name, value.clone()) {
                Some(Change::Seat(_)) => seat = value,
                Some(Change::Beat(_)) => beat = value,
                Some(Change::HandOver(_)) => hand_over = value,
                Some(Change::Node(node, _)) => {
                    gone.remove(&node);
                    nodes.push(Change::Node(node, value));
                }
                None => {}
            }
        }
        nodes.extend(gone.into_iter().map(|node| Change::Node(node, None)));
        for change in [Change::Seat(seat), Change::Beat(beat)].into_iter().chain(nodes) {
            self.report(change);
        }
        self.report(Change::HandOver(hand_over));
    }

    /// Cancel-safe.
    async fn forward(
        &self,
        member: &EtcdMember,
        mut events: Streaming<WatchResponse>,
    ) -> Result<(), EtcdFailure> {
        let ended = |why: &str| EtcdFailure::Unavailable(format!("{}: {why}", member.name));
        loop {
            let message = events.message().await.map_err(|status| EtcdFailure::new(&member.name, &status))?;
            let message = message.ok_or_else(|| ended("the watch ended"))?;
            if message.canceled {
                // Compacted, or the rights have changed. All of it is read again.
                return Err(ended(&format!("the watch was ended: {}", message.cancel_reason)));
            }
            for event in message.events {
                if !self.forward_event(event) {
                    return Ok(());
                }
            }
        }
    }

    /// False if nobody listens any more.
    fn forward_event(&self, event: Event) -> bool {
        let is_put = event.r#type() == EventType::Put;
        let Some(found) = event.kv else { return true };
        self.reported.fetch_max(found.mod_revision.cast_unsigned(), Ordering::Relaxed);
        let name = self.etcd.keys.without_prefix(&found.key);
        let value = if is_put { txn::versioned(Some(found)) } else { None };
        change(&name, value).is_none_or(|change| self.report(change))
    }

    /// Asks the member each T/5 for what stands there. It ends if the answer does not come, as that of a member that
    /// stands still or is cut off from the others, or if the watch is behind what was answered before.
    ///
    /// HTTP/2's own pings do not tell: etcd closes a connection with more than one in five seconds, and a member that
    /// is cut off answers them. Cancel-safe.
    async fn see_that_it_lives(&self, member: &EtcdMember) -> EtcdFailure {
        let mut ticks = interval(member.time_limit * 8 / 5);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due = 0;
        loop {
            ticks.tick().await;
            if self.reported.load(Ordering::Relaxed) < due {
                return EtcdFailure::Unavailable(format!("{}: the watch stands still", member.name));
            }
            match member.txn(txn::look(&self.etcd.keys)).await {
                Err(failure) => return failure,
                Ok(answer) => {
                    let look = txn::looked(answer);
                    due = [&look.seat, &look.beat]
                        .into_iter()
                        .flatten()
                        .map(|key| key.revision)
                        .max()
                        .unwrap_or(0);
                }
            }
        }
    }

    /// False if nobody listens any more.
    fn report(&self, change: Change) -> bool {
        if let Change::Node(node, value) = &change {
            let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
            match value {
                Some(_) => nodes.insert(node.clone()),
                None => nodes.remove(node),
            };
        }
        self.changes.send(change).is_ok()
    }
}

/// What is watched: single keys, and all nodes.
fn ranges(keys: &Keys) -> [(Vec<u8>, Vec<u8>); 4] {
    let single = |key: &Vec<u8>| (key.clone(), Vec::new());
    [single(&keys.seat), single(&keys.beat), keys.nodes(), single(&keys.hand_over)]
}

fn change(name: &str, value: Option<Versioned>) -> Option<Change> {
    match name {
        "seat" => Some(Change::Seat(value)),
        "beat" => Some(Change::Beat(value)),
        "hand-over" => Some(Change::HandOver(value)),
        _ => name.strip_prefix("node/").map(|node| Change::Node(node.to_owned(), value)),
    }
}

/// One stream of the changes of all ranges. Cancel-safe.
async fn open(
    member: &EtcdMember,
    ranges: [(Vec<u8>, Vec<u8>); 4],
    start: u64,
) -> Result<Streaming<WatchResponse>, EtcdFailure> {
    let requests = ranges.map(|(key, range_end)| {
        let create = WatchCreateRequest { key, range_end, start_revision: start.cast_signed() };
        WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
    });
    member
        .call(member.time_limit.max(Duration::from_secs(1)), |link| {
            // It stays open: its end would end the watch.
            let requests = stream::iter(requests.clone()).chain(stream::pending());
            let request = link.request(requests);
            let mut client = WatchClient::new(link.channel).max_decoding_message_size(MAX_ANSWER);
            async move { client.watch(request).await.map(tonic::Response::into_inner) }
        })
        .await
}
