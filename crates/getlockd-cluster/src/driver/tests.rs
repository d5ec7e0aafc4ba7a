//! Drivers of several nodes beside an engine in memory. Time is tokio's, which passes when nobody has work to do.

mod faults;
mod hand_over;
mod memory;
mod service;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use self::memory::{MemoryEngine, Store};
use super::{Cluster, NotWritten, Numbers, Role, Tenure};
use crate::{
    engine::Engine,
    record::{BeatRecord, Floors, Leader, SeatRecord},
    seat::SeatConfig,
};

const T: Duration = Duration::from_secs(5);

/// A node, with what its server would do, as far as the tests say.
struct Node {
    name: &'static str,
    engine: Arc<MemoryEngine>,
    cluster: Cluster,
    driver: JoinHandle<()>,
    last: Arc<Mutex<Floors>>,
}

fn record(node: &str) -> Leader {
    Leader {
        node: node.into(),
        address: format!("{node}:3309"),
        nonce: String::new(),
        version: "1.0.0".into(),
        secret: "secret".into(),
        pin: None,
        ttl: T,
        takeover_delay: Duration::ZERO,
        keepalive: Duration::from_secs(20),
        request_key: "key".into(),
    }
}

impl Node {
    fn start(name: &'static str, store: &Arc<Store>) -> Self {
        Self::start_as(name, record(name), store)
    }

    fn start_as(name: &'static str, leader: Leader, store: &Arc<Store>) -> Self {
        let engine = Arc::new(MemoryEngine::new(Arc::clone(store)));
        let (began, moment) = (store.began, store.moment);
        let clock = Box::new(move || moment.after(began.elapsed()));
        let (driver, cluster) =
            Cluster::with_clock(Arc::clone(&engine) as Arc<dyn Engine>, SeatConfig { leader }, clock);
        Self { name, engine, cluster, driver: tokio::spawn(driver.run()), last: Arc::default() }
    }

    /// Resolves when it has the leases of a term, and can restore them.
    async fn takes(&self) -> Arc<Tenure> {
        let mut role = self.cluster.role.clone();
        let role = timeout(20 * T, role.wait_for(|role| matches!(role, Role::Leads(_)))).await;
        match &*role.unwrap_or_else(|_| panic!("{} does not lead", self.name)).expect("the driver runs") {
            Role::Leads(tenure) => Arc::clone(tenure),
            _ => unreachable!(),
        }
    }

    /// Resolves when it serves.
    async fn serves(&self) -> Arc<Tenure> {
        let tenure = self.takes().await;
        *self.last.lock().expect("numbers") = tenure.first;
        let last = Arc::clone(&self.last);
        let last = Box::new(move || *last.lock().expect("numbers"));
        tenure.restored(Numbers { last, holders: Box::new(|| 0) });
        tenure.serving().await;
        tenure
    }

    /// Resolves when it follows this node.
    async fn follows(&self, leader: &str) -> u64 {
        let mut role = self.cluster.role.clone();
        let is_it = |role: &Role| matches!(role, Role::Follows(_, now) if now.node == leader);
        let role = timeout(20 * T, role.wait_for(is_it)).await;
        match &*role
            .unwrap_or_else(|_| panic!("{} does not follow {leader}", self.name))
            .expect("the driver runs")
        {
            Role::Follows(term, _) => *term,
            _ => unreachable!(),
        }
    }

    /// The process is gone, and nobody hears of it.
    fn is_killed(&self) {
        self.driver.abort();
    }

    fn causes(&self) -> Vec<(Option<String>, &'static str)> {
        let report = self.cluster.report.borrow();
        report.changes.iter().map(|change| (change.leader.clone(), change.cause)).collect()
    }
}

/// A write of one lease.
fn put(key: &str, value: &str) -> Vec<(String, Option<Vec<u8>>)> {
    vec![(key.into(), Some(value.into()))]
}
