//! How a node comes to lead, and what it does while it leads.

use super::*;

#[tokio::test(start_paused = true)]
async fn first_node_waits_once_and_serves() {
    let store = Store::new();
    let a = Node::start("a", &store);
    let tenure = a.serves().await;
    assert!(store.began.elapsed() >= T && store.began.elapsed() < T + T / 10, "{:?}", store.began.elapsed());
    assert!(tenure.is_serving() && tenure.term.check().is_ok());
    assert_eq!(tenure.term.number(), store.look().seat.expect("a seat").revision);
    assert_eq!(a.causes(), [(Some("a".into()), "first seen")]);
    let b = Node::start("b", &store);
    assert_eq!(b.follows("a").await, tenure.term.number());
    sleep(10 * T).await;
    assert!(tenure.is_serving());
    assert_eq!(b.causes(), [(Some("a".into()), "first seen")]);
    let report = a.cluster.report.borrow().clone();
    let nodes: Vec<_> = report.nodes.iter().map(|(node, _)| node.node.as_str()).collect();
    assert_eq!(nodes, ["a", "b"]);
    assert!(report.beats.0 >= 49, "one each fifth of T: {:?}", report.beats);
}

#[tokio::test(start_paused = true)]
async fn leases_are_written_and_restored_by_the_next_leader() {
    let store = Store::new();
    let a = Node::start("a", &store);
    let tenure = a.serves().await;
    let b = Node::start("b", &store);
    b.follows("a").await;
    assert_eq!(tenure.write(put("lease/01", "one")).await, Ok(()));
    assert_eq!(tenure.write(put("lease/02", "two")).await, Ok(()));
    assert_eq!(tenure.write(vec![("lease/01".into(), None)]).await, Ok(()));
    a.is_killed();
    let killed = Instant::now();
    let next = b.serves().await;
    assert!(killed.elapsed() > T * 3 / 4 && killed.elapsed() < T + T / 10, "{:?}", killed.elapsed());
    assert!(next.term.number() > tenure.term.number());
    assert_eq!(next.take_leases(), [("lease/02".into(), b"two".to_vec())]);
    assert_eq!(b.causes().last(), Some(&(Some("b".into()), "no beats")));
}

#[tokio::test(start_paused = true)]
async fn writes_of_a_moment_share_beats() {
    let store = Store::new();
    let a = Node::start("a", &store);
    let tenure = a.serves().await;
    let writes = (0..500).map(|n| {
        let tenure = Arc::clone(&tenure);
        tokio::spawn(async move { tenure.write(put(&format!("lease/{n:02}"), "x")).await })
    });
    let writes: Vec<_> = writes.collect();
    for write in writes {
        assert_eq!(write.await.expect("write"), Ok(()));
    }
    let batches = a.engine.faults().batches.clone();
    assert_eq!((batches.iter().sum::<usize>(), batches.len() <= 6), (500, true), "{batches:?}");
}

#[tokio::test(start_paused = true)]
async fn numbers_of_the_next_term_are_above_all_that_were_given() {
    let store = Store::new();
    let a = Node::start("a", &store);
    let tenure = a.serves().await;
    let b = Node::start("b", &store);
    b.follows("a").await;
    assert_eq!(*tenure.ceiling.borrow(), tenure.first.ahead());
    let given = Floors { token: tenure.first.token + (1 << 30), session: tenure.first.session + (1 << 19) };
    *a.last.lock().expect("numbers") = given;
    let asked = Instant::now();
    let mut ceiling = tenure.ceiling.clone();
    let told = ceiling.wait_for(|ceiling| *ceiling == given.ahead()).await.map(|ceiling| *ceiling).ok();
    assert_eq!(told, Some(given.ahead()));
    assert!(asked.elapsed() < T / 10, "a beat at once, as more than half were given: {:?}", asked.elapsed());
    a.is_killed();
    let next = b.serves().await;
    assert_eq!(next.first.session, given.ahead().session);
    assert!(next.first.token >= given.ahead().token);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_when_numbers_are_used_up() {
    let store = Store::new();
    let a = Node::start("a", &store);
    let tenure = a.serves().await;
    a.engine.faults().cut = true;
    let ceiling = *tenure.ceiling.borrow();
    *a.last.lock().expect("numbers") = Floors { token: ceiling.token + 5, ..ceiling };
    sleep(T / 10).await;
    assert!(tenure.term.check().is_err() && !tenure.term.is_shut(), "it is held");
    a.engine.faults().cut = false;
    sleep(T / 4).await;
    assert!(tenure.term.check().is_ok());
}

#[tokio::test(start_paused = true)]
async fn compacted_leases_are_read_at_a_later_revision() {
    let store = Store::new();
    store.write(vec![("lease/01".into(), Some(b"one".to_vec()))]);
    let a = Node::start("a", &store);
    a.engine.faults().compacted = 3;
    let tenure = a.takes().await;
    assert_eq!(tenure.leases.lock().expect("leases").len(), 1);
    assert!(a.cluster.report.borrow().engine_errors["leases"] >= 1);
}

#[tokio::test(start_paused = true)]
async fn leases_that_cannot_be_read_are_left_to_another_node() {
    let store = Store::new();
    let a = Node::start("a", &store);
    a.engine.faults().compacted = u64::MAX;
    sleep(T / 2).await;
    let b = Node::start("b", &store);
    b.serves().await;
    assert_eq!(a.follows("b").await, store.look().seat.expect("a seat").revision);
}

/// With threads and time as they are.
#[tokio::test]
async fn cluster_runs_on_a_thread_of_its_own() {
    let store = Store::new();
    let start = |name: &'static str| {
        let engine = Arc::new(MemoryEngine::new(Arc::clone(&store)));
        let leader = Leader { ttl: Duration::from_secs(2), ..record(name) };
        Cluster::start(engine, SeatConfig { leader }).expect("a thread")
    };
    let a = start("a");
    let mut role = a.role.clone();
    let tenure = match &*role.wait_for(|role| matches!(role, Role::Leads(_))).await.expect("a role") {
        Role::Leads(tenure) => Arc::clone(tenure),
        _ => unreachable!(),
    };
    tenure.restored(Numbers { last: Box::new(Floors::default), holders: Box::new(|| 0) });
    tenure.serving().await;
    assert!(tenure.term.check().is_ok());
    let (mut role, ended) = (a.role.clone(), a.ended.clone());
    drop(a);
    ended.cancelled().await;
    assert!(matches!(*role.borrow_and_update(), Role::Nobody));
    tenure.term.closing().cancelled().await;
    assert!(tenure.term.is_shut());
}
