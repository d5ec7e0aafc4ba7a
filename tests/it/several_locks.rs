//! Several locks at once: all or none, in one wait.

use crate::common::{TestServer, http::get};

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

#[tokio::test]
async fn repeated_name_counts_once_against_the_limit_of_locks() {
    let server = TestServer::with(&["--max-locks-per-session", "5"]);
    let [mut a, mut b] = server.clients().await;
    assert_eq!(a.ask("GET_LOCKS a b c d 0").await, "1");
    assert_eq!(a.ask("GET_LOCKS e e E 0").await, "1");
    assert!(a.ask("GET_LOCKS a f 0").await.starts_with("ERROR LIMIT"));
    assert_eq!(b.ask("GET_LOCKS f f f f f f 0").await, "1");
    assert_eq!(b.ask("RELEASE_LOCKS f f").await, "1");
    assert_eq!(b.ask("RELEASE_LOCK f").await, "NULL", "it was taken once");
}

#[tokio::test]
async fn why_of_a_free_lock_leads_past_its_first_waiter() {
    let server = TestServer::start();
    let [mut a, mut b, mut c] = server.clients().await;
    assert_eq!(a.ask("GET_LOCK nightly 0").await, "1");
    b.send("GET_LOCKS disk nightly 60").await;
    server.until_waiting(1).await;
    let why = c.list("WHY disk").await;
    assert_eq!(why.len(), 1, "{why:?}");
    assert!(why[0].starts_with("WHY name=nightly mode=exclusive session=1 "), "{why:?}");
    assert!(c.list("WHY tape").await.is_empty());
}

#[tokio::test]
async fn wait_for_several_locks_holds_none_and_keeps_its_place() {
    let server = TestServer::start();
    let [mut a, mut b, mut c, mut d] = server.clients().await;
    assert_eq!(a.ask("GET_LOCK nightly 0").await, "1");
    b.send("GET_LOCKS disk nightly tape 60").await;
    server.until_waiting(1).await;
    for name in ["disk", "tape"] {
        assert_eq!(c.ask(&format!("IS_FREE_LOCK {name}")).await, "1", "it holds nothing");
        assert_eq!(c.ask(&format!("IS_USED_LOCK {name}")).await, "NULL");
        assert_eq!(c.ask(&format!("GET_LOCK {name} 0")).await, "0", "nobody overtakes");
        assert_eq!(c.list(&format!("WAITERS {name}")).await.len(), 1);
    }
    assert_eq!(c.list("LOCKS").await.len(), 1);
    c.send("GET_LOCK disk 60").await;
    server.until_waiting(2).await;
    assert_eq!(d.ask("GET_SHARED_LOCKS disk paper 0").await, "0 disk");
    assert_eq!(a.ask("RELEASE_LOCK nightly").await, "1");
    assert_eq!(b.line().await, "1");
    assert_eq!(d.ask("IS_USED_LOCK disk").await, "2");
    assert_eq!(b.ask("RELEASE_LOCK disk").await, "1", "each is a lock of its own");
    assert_eq!(c.line().await, "1");
    assert_eq!(b.ask("RELEASE_LOCKS nightly tape disk").await, "2");
}

#[tokio::test]
async fn holder_that_is_waited_for_passes_a_wait_for_several() {
    let server = TestServer::start();
    let [mut a, mut b, mut c] = server.clients().await;
    assert_eq!(a.ask("GET_LOCK a 0").await, "1");
    b.send("GET_LOCKS a b 60").await;
    server.until_waiting(1).await;
    assert_eq!(c.ask("GET_LOCK b 0").await, "0");
    assert_eq!(a.ask("GET_LOCK b 60").await, "1", "it is not told of a deadlock");
    assert_eq!(a.ask("RELEASE_LOCKS a b").await, "2");
    assert_eq!(b.line().await, "1");
}

#[tokio::test]
async fn first_name_in_the_way_at_the_end_is_told() {
    let server = TestServer::start();
    let [mut a, mut b, mut c] = server.clients().await;
    assert_eq!(a.ask("GET_LOCKS x y 0").await, "1");
    b.send("GET_LOCKS w x y 0.3").await;
    server.until_waiting(1).await;
    assert_eq!(a.ask("RELEASE_LOCK x").await, "1");
    assert_eq!(b.line().await, "0 y", "x was to be had at the end");
    for free in ["w", "x"] {
        assert_eq!(c.ask(&format!("GET_LOCK {free} 0")).await, "1");
    }
}

#[tokio::test]
async fn locks_granted_together_share_a_token() {
    let server = TestServer::start();
    let [mut a, mut b] = server.clients().await;
    assert_eq!(a.ask("GET_LOCK x 0").await, "1");
    let kept = a.ask("FENCING_TOKEN x").await;
    assert_eq!(a.ask("GET_LOCKS x y z 0").await, "1");
    let tokens =
        [a.ask("FENCING_TOKEN x").await, a.ask("FENCING_TOKEN y").await, a.ask("FENCING_TOKEN z").await];
    assert_eq!((&tokens[0], &tokens[1]), (&kept, &tokens[2]));
    assert!(tokens[1] > kept);
    b.send("GET_SHARED_LOCKS x y 60").await;
    server.until_waiting(1).await;
    assert_eq!(a.ask("RELEASE_ALL_LOCKS").await, "4");
    assert_eq!(b.line().await, "1");
    assert_eq!(b.ask("FENCING_TOKEN x").await, b.ask("FENCING_TOKEN y").await);
    // The first of a, the others of a, and those of b.
    let (_, metrics) = get(server.http, "/metrics").await;
    for grants in ["{mode=\"exclusive\"} 2", "{mode=\"shared\"} 1"] {
        assert!(metrics.contains(&format!("getlockd_grants_total{grants}\n")), "{metrics}");
    }
}

#[tokio::test]
async fn name_given_twice_counts_once() {
    let server = TestServer::start();
    let mut a = server.client().await;
    assert_eq!(a.ask("GET_LOCKS x X y x 0").await, "1");
    assert_eq!(a.ask("GET_LOCK x 0").await, "1");
    assert_eq!(a.ask("RELEASE_LOCKS x y x").await, "2");
    assert_eq!(a.ask("RELEASE_ALL_LOCKS").await, "1");
}

#[tokio::test]
async fn several_locks_in_opposite_order_do_not_deadlock() {
    let server = TestServer::start();
    let [mut a, mut b, mut c] = server.clients().await;
    assert_eq!(a.ask("GET_LOCKS x y z 0").await, "1");
    b.send("GET_LOCKS x y 60").await;
    server.until_waiting(1).await;
    c.send("GET_LOCKS y x 60").await;
    server.until_waiting(2).await;
    assert_eq!(a.ask("RELEASE_ALL_LOCKS").await, "3");
    assert_eq!(b.line().await, "1");
    assert_eq!(b.ask("RELEASE_LOCKS x y").await, "2");
    assert_eq!(c.line().await, "1");
}

#[tokio::test]
async fn held_locks_close_a_cycle_of_waits_for_several() {
    let server = TestServer::start();
    let [mut a, mut b] = server.clients().await;
    assert_eq!(a.ask("GET_LOCK a 0").await, "1");
    assert_eq!(b.ask("GET_LOCKS b c 0").await, "1");
    a.send("GET_LOCKS d c 60").await;
    server.until_waiting(1).await;
    let told = b.ask("GET_LOCKS e a 60").await;
    assert!(told.starts_with("ERROR DEADLOCK deadlock: session 2 waits for a (held by 1), "), "{told}");
    assert_eq!(b.ask("RELEASE_ALL_LOCKS").await, "2", "it keeps what it holds");
    assert_eq!(a.line().await, "1");
}

#[tokio::test]
async fn wait_for_several_locks_ends_by_kill_and_disconnect() {
    let server = TestServer::start();
    let [mut a, mut b, mut c] = server.clients().await;
    assert_eq!(a.ask("GET_LOCK x 0").await, "1");
    for _ in 0..2 {
        b.send("GET_LOCKS w x 60").await;
        server.until_waiting(1).await;
        assert_eq!(c.ask("GET_LOCK w 0").await, "0");
        assert_eq!(a.ask("KILL QUERY 2").await, "1");
        assert!(b.line().await.starts_with("ERROR INTERRUPTED "));
        assert_eq!(c.ask("GET_LOCK w 0").await, "1");
        assert_eq!(c.ask("RELEASE_LOCK w").await, "1");
    }
    b.send("GET_LOCKS w x 60").await;
    server.until_waiting(1).await;
    c.send("GET_LOCK w 60").await;
    server.until_waiting(2).await;
    drop(b);
    assert_eq!(c.line().await, "1");
}

#[tokio::test]
async fn details_tell_how_long_several_locks_were_waited_for() {
    let server = TestServer::start();
    let [mut a, mut b] = server.clients().await;
    assert_eq!(a.ask("GET_LOCK y 0").await, "1");
    assert_eq!(b.ask("DETAILS ON").await, "1");
    assert_eq!(b.ask("GET_LOCKS x y 0").await, "0 y");
    b.send("GET_LOCKS x y 60").await;
    server.until_waiting(1).await;
    assert_eq!(a.ask("RELEASE_LOCK y").await, "1");
    let granted = b.line().await;
    assert!(granted.starts_with("1 waited="), "{granted}");
    assert_eq!(b.ask("GET_LOCKS x y 0").await, "1 waited=0.000");
}
