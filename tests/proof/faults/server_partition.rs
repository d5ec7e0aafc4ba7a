//! A server whose machine is gone without a word: the client in Rust must find that its lock is lost.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use getlockd_client::{Builder, Connection, Timeout};

use super::{partition::serve, report};
use crate::common::skip::skip;
use crate::{
    MACHINE,
    common::link::{Link, Side},
};

const WITHIN: Duration = Duration::from_secs(4);

/// How long after the cut an idle holder knows, one who has just sent something, and one who waits.
async fn hold(link: Arc<Link>, server: String) -> [Duration; 3] {
    let connect = async || Builder::new(&server).keepalive(WITHIN).connection().await.unwrap();
    let [idle, busy, waiter]: [Connection; 3] = [connect().await, connect().await, connect().await];
    let idle_guard = idle.try_lock("idle").await.unwrap().unwrap();
    let busy_guard = busy.try_lock("busy").await.unwrap().unwrap();
    let waiting = tokio::spawn(async move { waiter.acquire("idle", Timeout::Forever).await });
    while idle.waiters("idle").await.unwrap().total == 0 {}
    let cut = Instant::now();
    link.cut();
    let since = async |what: &mut (dyn Future<Output = ()> + Unpin)| {
        what.await;
        cut.elapsed()
    };
    let mut idle_lost = Box::pin(async { drop(idle_guard.lost().await) });
    // What is never acknowledged.
    let mut busy_lost = Box::pin(async { assert!(busy.ping().await.is_err() && busy_guard.is_lost()) });
    let mut waits = Box::pin(async { assert!(waiting.await.unwrap().is_err()) });
    let (idle, busy, waiter) = tokio::join!(since(&mut idle_lost), since(&mut busy_lost), since(&mut waits));
    [idle, busy, waiter]
}

#[test]
fn client_loses_its_lock_within_keepalive() {
    let _no_load = MACHINE.blocking_read();
    let link = match Link::new() {
        Ok(link) => Arc::new(link),
        Err(why) => return skip("a link that is cut", &why, "it needs iproute2 and root"),
    };
    let (program, addrs) = serve(&link, "30s", &[]);
    let server = addrs.line.to_string();
    let times = link.run(Side::Client, {
        let link = link.clone();
        move || hold(link, server)
    });
    for (doing, time) in ["idle", "sending", "waiting"].into_iter().zip(times.join().unwrap()) {
        report(&format!("server cut off, {doing}, keepalive {WITHIN:?}"), "client", vec![time]);
        assert!(time < WITHIN, "{doing}: {time:?}");
    }
    drop(program);
}
