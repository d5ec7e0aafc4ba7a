//! Whole nodes on etcd as it is: who leads, and for how long nobody does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use getlockd_cluster::{
    driver::{Cluster, Numbers, Role, Tenure, hand_over},
    engine::Engine,
    etcd::{Etcd, EtcdConfig},
    record::Leader,
    seat::SeatConfig,
};
use tokio::time::{sleep, timeout};

use crate::common::etcd;

const T: Duration = Duration::from_secs(3);

struct Node {
    name: &'static str,
    cluster: Cluster,
}

fn engine(etcd: &etcd::Etcd) -> Arc<Etcd> {
    let url = etcd.url("driver").parse().expect("a URL");
    let config = EtcdConfig { url, ca: None, identity: None, login: None, time_limit: T / 8, anyway: false };
    Arc::new(Etcd::new(&config).expect("an engine"))
}

impl Node {
    fn start(name: &'static str, etcd: &etcd::Etcd) -> Self {
        let leader = Leader {
            node: name.into(),
            address: format!("{name}:3309"),
            nonce: String::new(),
            version: "1.0.0".into(),
            secret: "secret".into(),
            pin: None,
            ttl: T,
            takeover_delay: Duration::ZERO,
            keepalive: Duration::from_secs(20),
            request_key: "key".into(),
        };
        let cluster = Cluster::start(engine(etcd), SeatConfig { leader }).expect("a thread");
        Self { name, cluster }
    }

    async fn serves(&self) -> Arc<Tenure> {
        let mut role = self.cluster.role.clone();
        let role = timeout(6 * T, role.wait_for(|role| matches!(role, Role::Leads(_)))).await;
        let tenure = match &*role.unwrap_or_else(|_| panic!("{} does not lead", self.name)).expect("it runs")
        {
            Role::Leads(tenure) => Arc::clone(tenure),
            _ => unreachable!(),
        };
        let first = tenure.first;
        tenure.restored(Numbers { last: Box::new(move || first), holders: Box::new(|| 0) });
        tenure.serving().await;
        tenure
    }

    async fn follows(&self, leader: &str) -> u64 {
        let mut role = self.cluster.role.clone();
        let is_it = |role: &Role| matches!(role, Role::Follows(_, now) if now.node == leader);
        let role = timeout(6 * T, role.wait_for(is_it)).await;
        match &*role.unwrap_or_else(|_| panic!("{} does not follow {leader}", self.name)).expect("it runs") {
            Role::Follows(term, _) => *term,
            _ => unreachable!(),
        }
    }
}

/// What a server does that is asked to drain and serves nobody.
async fn drains(tenure: &Tenure) -> Instant {
    tenure.draining().await;
    tenure.drained();
    tenure.term.closing().cancelled().await;
    tenure.all_told();
    Instant::now()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_lead_by_turns_on_etcd() {
    let Some(mut etcd) = etcd::Etcd::start(3) else { return };
    let a = Node::start("a", &etcd);
    let first = a.serves().await;
    let b = Node::start("b", &etcd);
    assert_eq!(b.follows("a").await, first.term.number());
    assert_eq!(first.write(vec![("lease/01".into(), Some(b"one".to_vec()))]).await, Ok(()));

    // A crash.
    drop(a);
    let crashed = Instant::now();
    let second = b.serves().await;
    assert!(crashed.elapsed() < T * 5 / 4, "{:?}", crashed.elapsed());
    assert!(second.term.number() > first.term.number() && second.first.token > first.first.token);
    assert_eq!(second.take_leases(), [("lease/01".into(), b"one".to_vec())]);

    // A hand-over by an operator.
    let c = Node::start("c", &etcd);
    c.follows("b").await;
    sleep(T / 4).await;
    let operator = engine(&etcd);
    let asked = tokio::spawn(async move { hand_over(&*operator as &dyn Engine, None, T).await });
    let told = drains(&second).await;
    let third = c.serves().await;
    assert!(told.elapsed() < T / 10, "{:?}", told.elapsed());
    assert_eq!(asked.await.expect("a task").expect("a hand-over").1.node, "c");
    assert_eq!(b.follows("c").await, third.term.number());

    // The engine's own leader stands still.
    let leader = etcd.await_leader();
    etcd.members[leader].freeze();
    sleep(2 * T).await;
    etcd.members[leader].thaw();
    assert!(third.is_serving(), "{:?}", third.cause());

    // An exit.
    c.cluster.drain(true, None);
    let told = drains(&third).await;
    b.serves().await;
    assert!(told.elapsed() < T / 10, "{:?}", told.elapsed());
    c.cluster.ended().await;
}
