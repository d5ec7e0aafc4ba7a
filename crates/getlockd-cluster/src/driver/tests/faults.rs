//! Engines that do not answer, refuse, or forget.

use super::*;

#[tokio::test(start_paused = true)]
async fn leader_that_is_cut_off_stops_before_another_leads() {
    let store = Store::new();
    let a = Node::start("a", &store);
    let tenure = a.serves().await;
    let b = Node::start("b", &store);
    b.follows("a").await;
    a.engine.faults().cut = true;
    let cut = Instant::now();
    tenure.term.closing().cancelled().await;
    assert!(cut.elapsed() >= T / 2 && cut.elapsed() <= T * 9 / 10, "sockets close: {:?}", cut.elapsed());
    assert_eq!(tenure.cause(), Some("no beat was acknowledged in time"));
    let write = tenure.write(put("lease/01", "one"));
    assert_eq!(write.await, Err(NotWritten::Over));
    assert!(cut.elapsed() <= T, "{:?}", cut.elapsed());
    assert!(tenure.term.is_shut());
    assert!(tenure.term.check().is_err());
    assert_eq!(a.cluster.refused(), 1, "counted after the end of the term");
    let next = b.serves().await;
    let now = store.moment.after(store.began.elapsed());
    assert!(tenure.promised_until().left(now).is_zero(), "all that was promised has ended");
    a.engine.faults().cut = false;
    assert_eq!(a.follows("b").await, next.term.number());
}

#[tokio::test(start_paused = true)]
async fn write_answered_after_the_end_is_not_told_as_made() {
    let store = Store::new();
    let a = Node::start("a", &store);
    let tenure = a.serves().await;
    a.engine.faults().slow = T;
    let write = tokio::spawn({
        let tenure = Arc::clone(&tenure);
        async move { tenure.write(put("lease/01", "one")).await }
    });
    assert_eq!(write.await.expect("write"), Err(NotWritten::Over));
    a.engine.faults().slow = Duration::ZERO;
    assert!(a.serves().await.term.number() > tenure.term.number());
}

#[tokio::test(start_paused = true)]
async fn write_under_way_when_the_seat_is_lost_is_not_told_as_made() {
    let store = Store::new();
    let a = Node::start("a", &store);
    let tenure = a.serves().await;
    a.engine.faults().slow = T / 10;
    let write = tokio::spawn({
        let tenure = Arc::clone(&tenure);
        async move { tenure.write(put("lease/01", "one")).await }
    });
    sleep(T / 20).await;
    let seat = SeatRecord::Leads(Leader { nonce: "b1".into(), ..record("b") }).encode();
    store.write(vec![("seat".into(), Some(seat))]);
    assert_eq!(write.await.expect("write"), Err(NotWritten::Over));
    sleep(T / 2).await;
    assert!(matches!(&*a.cluster.role.borrow(), Role::Follows(_, leader) if leader.node == "b"));
}

#[tokio::test(start_paused = true)]
async fn leader_goes_on_when_the_engine_is_back_in_time() {
    let store = Store::new();
    let a = Node::start("a", &store);
    let tenure = a.serves().await;
    for _ in 0..5 {
        a.engine.faults().cut = true;
        sleep(T * 2 / 5).await;
        assert!(a.cluster.report.borrow().engine_down_since.is_some());
        a.engine.faults().cut = false;
        sleep(T).await;
    }
    assert_eq!(
        (tenure.cause(), tenure.is_serving(), tenure.term.check()),
        (None, true, Ok(())),
        "{:?}",
        a.cluster.report.borrow()
    );
    assert!(a.cluster.report.borrow().engine_down_since.is_none());
    assert!(a.cluster.report.borrow().engine_errors["beat"] >= 5);
}

#[tokio::test(start_paused = true)]
async fn leader_takes_the_seat_again_after_a_long_outage() {
    let store = Store::new();
    let a = Node::start("a", &store);
    let tenure = a.serves().await;
    a.engine.faults().cut = true;
    sleep(4 * T).await;
    assert!(tenure.term.is_shut());
    a.engine.faults().cut = false;
    let back = Instant::now();
    let next = a.serves().await;
    assert!(next.term.number() > tenure.term.number());
    assert!(back.elapsed() < T / 4, "it has waited already: {:?}", back.elapsed());
}

#[tokio::test(start_paused = true)]
async fn write_with_a_lost_answer_is_made_all_the_same() {
    let store = Store::new();
    let a = Node::start("a", &store);
    let tenure = a.serves().await;
    a.engine.faults().lost_answers = 2;
    let began = Instant::now();
    assert_eq!(tenure.write(put("lease/01", "one")).await, Ok(()));
    assert!(began.elapsed() >= T / 4 && began.elapsed() < T / 2, "twice T/8: {:?}", began.elapsed());
    assert_eq!(store.value("lease/01"), Some(b"one".to_vec()));
    assert_eq!(a.engine.faults().batches, [1, 1, 1], "each try with a beat alone after it");
    assert!(tenure.is_serving());
}

#[tokio::test(start_paused = true)]
async fn lease_that_is_refused_costs_neither_the_seat_nor_others() {
    let store = Store::new();
    let a = Node::start("a", &store);
    let tenure = a.serves().await;
    a.engine.faults().refused = Some("lease/bad".into());
    let write = |key: &str| {
        let (tenure, key) = (Arc::clone(&tenure), key.to_owned());
        tokio::spawn(async move { tenure.write(put(&format!("lease/{key}"), "x")).await })
    };
    let writes = ["01", "02", "bad", "03", "04"].map(write);
    let mut results = Vec::new();
    for write in writes {
        results.push(write.await.expect("write"));
    }
    let refused = Err(NotWritten::Refused("too large".into()));
    assert_eq!(results, [Ok(()), Ok(()), refused, Ok(()), Ok(())]);
    sleep(2 * T).await;
    assert!(tenure.is_serving());
    assert_eq!(tenure.write(put("lease/05", "x")).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn prefix_that_is_deleted_is_taken_only_after_t() {
    let store = Store::new();
    let a = Node::start("a", &store);
    let tenure = a.serves().await;
    let b = Node::start("b", &store);
    b.follows("a").await;
    a.engine.faults().cut = true;
    store.write(vec![("seat".into(), None), ("beat".into(), None)]);
    let deleted = Instant::now();
    let next = b.serves().await;
    assert!(deleted.elapsed() >= T, "{:?}", deleted.elapsed());
    assert!(tenure.term.is_shut());
    assert!(next.first.token >= tenure.first.ahead().token, "floors that were seen count");
}

#[tokio::test(start_paused = true)]
async fn seat_of_a_later_version_is_left_alone() {
    let store = Store::new();
    store.write(vec![("seat".into(), Some(br#"{"v":2}"#.to_vec())), ("beat".into(), Some(b"x".to_vec()))]);
    let a = Node::start("a", &store);
    sleep(20 * T).await;
    assert!(matches!(*a.cluster.role.borrow(), Role::Nobody));
    assert_eq!(store.value("seat"), Some(br#"{"v":2}"#.to_vec()));
}

#[tokio::test(start_paused = true)]
async fn leader_with_the_same_name_is_not_relayed_to() {
    let store = Store::new();
    let a = Node::start("a", &store);
    let tenure = a.serves().await;
    let other = Node::start("a", &store);
    sleep(3 * T).await;
    assert!(matches!(*other.cluster.role.borrow(), Role::Nobody));
    assert!(tenure.is_serving());
}

#[tokio::test(start_paused = true)]
async fn late_beat_of_the_old_leader_changes_nothing() {
    let store = Store::new();
    let a = Node::start("a", &store);
    let tenure = a.serves().await;
    let old = store.look();
    a.is_killed();
    let b = Node::start("b", &store);
    let next = b.serves().await;
    let beat = BeatRecord { n: u64::MAX, floors: Floors::default() }.encode();
    let seat = old.seat.expect("a seat").value;
    let late = crate::engine::Beat { term: tenure.term.number(), seat, beat, leases: Vec::new() };
    assert!(matches!(b.engine.beat(late).await, crate::engine::Written::Not(_)));
    assert!(next.is_serving());
    let leads = SeatRecord::decode(&store.value("seat").expect("a seat"));
    assert!(matches!(leads, SeatRecord::Leads(leader) if leader.node == "b"));
}
