//! A leader that lets another lead.

use super::*;
use crate::{
    driver::{HandOverError, hand_over},
    record::HandOverRequest,
};

/// Two nodes: `a` leads, and has heard of `b`.
async fn two(store: &Arc<Store>) -> (Node, Arc<Tenure>, Node) {
    let a = Node::start("a", store);
    let tenure = a.serves().await;
    let b = Node::start("b", store);
    b.follows("a").await;
    // An announcement takes its way.
    sleep(T).await;
    (a, tenure, b)
}

/// What a server does that is asked to drain: all is told within 100 ms.
fn drains(tenure: &Arc<Tenure>) -> JoinHandle<Instant> {
    let tenure = Arc::clone(tenure);
    tokio::spawn(async move {
        tenure.draining().await;
        assert!(tenure.is_serving());
        sleep(Duration::from_millis(100)).await;
        tenure.drained();
        tenure.term.closing().cancelled().await;
        assert_eq!(tenure.cause(), Some("drained"));
        sleep(Duration::from_millis(100)).await;
        tenure.all_told();
        Instant::now()
    })
}

#[tokio::test(start_paused = true)]
async fn operator_has_another_node_lead() {
    let store = Store::new();
    let (a, tenure, b) = two(&store).await;
    let told = drains(&tenure);
    let asked = tokio::spawn({
        let engine = MemoryEngine::new(Arc::clone(&store));
        async move { hand_over(&engine, Some("b".into()), T).await }
    });
    let next = b.serves().await;
    let took = told.await.expect("drain").elapsed();
    assert!(took < Duration::from_millis(20), "{took:?}");
    let (term, leader) = asked.await.expect("request").expect("hand-over");
    assert_eq!((term, leader.node.as_str()), (next.term.number(), "b"));
    assert_eq!(a.follows("b").await, term);
    assert_eq!(store.value("hand-over"), None, "a request is taken once");
    let causes = a.causes();
    assert_eq!(causes[1..], [(None, "drained"), (Some("b".into()), "handed over")]);
}

#[tokio::test(start_paused = true)]
async fn hand_over_without_another_node_is_refused() {
    let store = Store::new();
    let engine = MemoryEngine::new(Arc::clone(&store));
    assert_eq!(hand_over(&engine, None, T).await, Err(HandOverError::NobodyLeads));
    let a = Node::start("a", &store);
    let tenure = a.serves().await;
    let asked = Instant::now();
    let refused = |why: &str| Err(HandOverError::Refused("a".into(), why.into()));
    assert_eq!(hand_over(&engine, None, T).await, refused("no other node was heard of lately"));
    assert_eq!(hand_over(&engine, Some("x".into()), T).await, refused("no such node was heard of lately"));
    assert!(asked.elapsed() < T / 10, "{:?}", asked.elapsed());
    assert_eq!(hand_over(&engine, Some("a".into()), T).await, Err(HandOverError::LeadsAlready("a".into())));
    a.cluster.drain(false, None);
    sleep(2 * T).await;
    assert!(tenure.is_serving());
    assert_eq!(store.value("hand-over"), None);
}

#[tokio::test(start_paused = true)]
async fn request_that_is_older_than_the_leadership_means_nothing() {
    let store = Store::new();
    let request = HandOverRequest { successor: None, asked_ms: 1, nonce: "n".into(), refused: None };
    store.write(vec![("hand-over".into(), Some(request.encode()))]);
    let (_a, tenure, _b) = two(&store).await;
    sleep(2 * T).await;
    assert!(tenure.is_serving() && tenure.cause().is_none());
    assert_eq!(store.value("hand-over"), None);
}

#[tokio::test(start_paused = true)]
async fn request_while_leases_are_restored_is_taken_after_it() {
    let store = Store::new();
    let b = Node::start("b", &store);
    sleep(T / 2).await;
    let a = Node::start("a", &store);
    let tenure = b.takes().await;
    assert_eq!(a.follows("b").await, tenure.term.number());
    let request = HandOverRequest { successor: None, asked_ms: 1, nonce: "n".into(), refused: None };
    store.write(vec![("hand-over".into(), Some(request.encode()))]);
    sleep(T).await;
    let told = drains(&b.serves().await);
    a.serves().await;
    told.await.expect("drain");
}

#[tokio::test(start_paused = true)]
async fn process_that_exits_resigns_and_is_announced_no_more() {
    let store = Store::new();
    let (a, tenure, b) = two(&store).await;
    let told = drains(&tenure);
    a.cluster.drain(true, None);
    a.cluster.ended().await;
    let took = told.await.expect("drain").elapsed();
    assert!(took < Duration::from_millis(20), "{took:?}");
    b.serves().await;
    assert!(store.value("node/a").is_none() && store.value("node/b").is_some());
}

#[tokio::test(start_paused = true)]
async fn seat_is_resigned_after_t_without_word_from_the_server() {
    let store = Store::new();
    let (a, tenure, b) = two(&store).await;
    a.cluster.drain(true, None);
    tenure.draining().await;
    tenure.drained();
    tenure.term.closing().cancelled().await;
    assert!(tenure.term.is_shut());
    let shut = Instant::now();
    let until = tenure.promised_until();
    b.serves().await;
    let now = store.moment.after(store.began.elapsed());
    assert!(until.left(now).is_zero() && shut.elapsed() < T + T / 10, "{:?}", shut.elapsed());
    a.cluster.ended().await;
}

#[tokio::test(start_paused = true)]
async fn follower_that_exits_ends_at_once() {
    let store = Store::new();
    let (_a, tenure, b) = two(&store).await;
    let asked = Instant::now();
    b.cluster.drain(true, None);
    b.cluster.ended().await;
    assert!(asked.elapsed() < Duration::from_millis(20), "{:?}", asked.elapsed());
    assert!(store.value("node/b").is_none());
    assert!(tenure.is_serving());
}

#[tokio::test(start_paused = true)]
async fn roll_of_a_new_version_costs_a_single_hand_over() {
    let store = Store::new();
    let (a, tenure, b) = two(&store).await;
    let c = Node::start_as("c", Leader { version: "1.1.0".into(), ..record("c") }, &store);
    c.follows("a").await;
    sleep(T).await;
    let told = drains(&tenure);
    a.cluster.drain(true, None);
    let next = c.serves().await;
    told.await.expect("drain");
    assert_eq!(b.follows("c").await, next.term.number());
}
