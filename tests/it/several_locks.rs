//! Several locks at once: all or none, in one wait.

use crate::common::TestServer;

#[tokio::test]
async fn all_of_several_locks_are_taken_or_none() {
    let server = TestServer::start();
    let [mut a, mut b] = server.clients().await;
    assert_eq!(a.ask("GET_LOCK b 0").await, "1");
    assert_eq!(b.ask("GET_LOCKS a B c 0").await, "0 b");
    assert_eq!(b.ask("SELECT GET_LOCKS('c', 'two words', 'b', 0)").await, "0 b");
    assert_eq!(b.ask("RELEASE_ALL_LOCKS").await, "0");
    assert_eq!(a.ask("RELEASE_LOCK b").await, "1");
    assert_eq!(b.ask("GET_LOCKS a b 'two words' 0").await, "1");
    assert_eq!(a.ask("GET_LOCKS c 'Two Words' 0").await, "0 'two words'", "as a list writes it");
    assert_eq!(a.ask("RELEASE_LOCKS a b c").await, "0");
    assert_eq!(b.ask("RELEASE_LOCKS a b c").await, "2");
}

#[tokio::test]
async fn shared_locks_are_taken_together() {
    let server = TestServer::start();
    let [mut a, mut b, mut c] = server.clients().await;
    assert_eq!(a.ask("GET_SHARED_LOCKS a b 0").await, "1");
    assert_eq!(b.ask("DO GET_SHARED_LOCKS(b, a, 0)").await, "1");
    assert_eq!(c.ask("GET_LOCKS c b 0").await, "0 b");
    assert_eq!(c.list("LOCKS").await.len(), 4);
}

#[tokio::test]
async fn lock_that_is_held_is_taken_once_more_with_others() {
    let server = TestServer::start();
    let mut a = server.client().await;
    assert_eq!(a.ask("GET_LOCK a 0").await, "1");
    let token = a.ask("FENCING_TOKEN a").await;
    assert_eq!(a.ask("GET_LOCKS b a 0").await, "1");
    assert_eq!(a.ask("FENCING_TOKEN a").await, token);
    assert_eq!(a.ask("RELEASE_LOCKS a b").await, "2");
    assert_eq!(a.ask("IS_USED_LOCK a").await, "1");
    assert_eq!(a.ask("RELEASE_LOCKS a b").await, "1");
}

#[tokio::test]
async fn at_most_64_names_are_taken_at_once() {
    let server = TestServer::start();
    let mut a = server.client().await;
    let names = |count: u32| (0..count).map(|at| format!("n{at} ")).collect::<String>();
    assert_eq!(a.ask(&format!("GET_LOCKS {}0", names(64))).await, "1");
    let refusal = "ERROR LIMIT too many names; one request takes at most 64";
    assert_eq!(a.ask(&format!("GET_LOCKS {}0", names(65))).await, refusal);
    assert_eq!(a.ask(&format!("RELEASE_LOCKS {}", names(65))).await, refusal);
    assert_eq!(a.ask(&format!("RELEASE_LOCKS {}", names(64))).await, "64");
}
