//! Who gets the lock, and when; and `--once`.

use std::fs;

use tokio::task::JoinSet;

use crate::{TestServer, code, getlock, output};

/// What cron does on twenty machines at once.
#[tokio::test]
async fn nonblocking_of_twenty_runs_once() {
    let server = TestServer::start();
    let folder = tempfile::tempdir().unwrap();
    let ran = folder.path().join("ran");
    // It works until all the others have exited.
    let script =
        format!("echo $GETLOCK_SESSION >> {0}; while ! [ -e {0}.end ]; do sleep 0.01; done", ran.display());
    let mut all = JoinSet::new();
    for _ in 0..20 {
        all.spawn(output(getlock(server.addr, &["-n", "-E", "99", "nightly", "-c", &script])));
    }
    for _ in 0..19 {
        let (code, _, err) = all.join_next().await.unwrap().unwrap();
        assert_eq!((code, err.as_str()), (99, ""));
    }
    fs::write(folder.path().join("ran.end"), "").unwrap();
    assert_eq!(all.join_next().await.unwrap().unwrap().0, 0);
    assert_eq!(fs::read_to_string(ran).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn waiting_commands_run_in_order() {
    let server = TestServer::start();
    let folder = tempfile::tempdir().unwrap();
    let ran = folder.path().join("ran");
    let mut gate = server.client().await;
    assert_eq!(gate.ask("GET_LOCK nightly 0").await, "1");
    let mut all = JoinSet::new();
    for n in 0..20 {
        // Were two inside at a time, there would be no folder to be made.
        let script = format!("mkdir {0}.inside && echo {n} >> {0} && rmdir {0}.inside", ran.display());
        all.spawn(output(getlock(server.addr, &["-w", "60", "nightly", "-c", &script])));
        server.until_waiting(n + 1).await;
    }
    drop(gate);
    while let Some(ended) = all.join_next().await {
        assert_eq!(ended.unwrap(), (0, String::new(), String::new()));
    }
    let order: Vec<usize> =
        fs::read_to_string(ran).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(order, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn timeout_exits_without_running() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_SHARED_LOCK x 0").await, "1");
    assert_eq!(code(&server, &["-n", "x", "false"]).await, 1);
    assert_eq!(code(&server, &["-w", "0.05", "-E", "7", "x", "false"]).await, 7);
    assert_eq!(code(&server, &["-n", "-s", "x", "true"]).await, 0);
    let (code, _, err) = output(getlock(server.addr, &["-n", "-v", "x", "true"])).await;
    assert_eq!((code, err.as_str()), (1, "getlock: x was not granted\n"));
}

#[tokio::test]
async fn long_wait_without_a_terminal_is_said_once() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    // A refresh follows the first line within a second, and says nothing.
    let (code, _, err) = output(getlock(server.addr, &["-w", "6.5", "x", "true"])).await;
    assert_eq!((code, err.lines().count()), (1, 1), "{err}");
    assert!(err.starts_with("getlock: waiting for x, 1st of 1; held by 127.0.0.1:"), "{err}");
}

#[tokio::test]
async fn interrupted_wait_is_not_granted() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    let waiting = tokio::spawn(output(getlock(server.addr, &["-v", "-E", "5", "x", "true"])));
    server.until_waiting(1).await;
    assert_eq!(output(getlock(server.addr, &["kill", "--cancel-wait", "2"])).await.0, 0);
    let (code, _, err) = waiting.await.unwrap();
    assert!(code == 5 && err.contains("KILL QUERY"), "{code}, {err}");
}

#[tokio::test]
async fn wait_for_an_unreachable_server_ends() {
    let mut server = TestServer::with(&["--drain", "0"]);
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    let waiting = tokio::spawn(output(getlock(server.addr, &["x", "true"])));
    server.until_waiting(1).await;
    server.stop();
    let (code, _, err) = waiting.await.unwrap();
    assert!(code == 69 && err.contains("the server is shutting down"), "{code}, {err}");
}

#[tokio::test]
async fn window_allows_a_single_run() {
    let server = TestServer::start();
    let args = ["--once", "1h", "-v", "nightly", "-c", "echo started"];
    let (code, out, err) = output(getlock(server.addr, &args)).await;
    assert_eq!((code, out.as_str()), (0, "started\n"));
    assert!(err.contains("took nightly") && err.contains("done; nightly is kept for 3599."), "{err}");
    // That getlock has exited: a lease holds the lock, and shows who took it.
    let mut observer = server.client().await;
    let [held] = &observer.list("LOCKS nightly").await[..] else { panic!("one lock") };
    assert!(
        held.contains(" wire=line ") && held.contains("] sh'") && held.contains(" expires=3599."),
        "{held}"
    );
    let (code, out, err) = output(getlock(server.addr, &args)).await;
    assert_eq!((code, out.as_str()), (0, ""));
    assert_eq!(err, "getlock: nightly: already running or done elsewhere in this window; skipped\n");
    assert_eq!(self::code(&server, &["--once", "1h", "-E", "8", "nightly", "false"]).await, 8);
    // An operator may end the window.
    let session = held.split(" session=").nth(1).unwrap().split(' ').next().unwrap();
    assert_eq!(observer.ask(&format!("KILL {session}")).await, "1");
    assert_eq!(self::code(&server, &["--once", "100ms", "nightly", "true"]).await, 0);
    assert_eq!(self::code(&server, &["--once", "1h", "-w", "10", "nightly", "-c", "exit 6"]).await, 6);
}

#[tokio::test]
async fn failed_run_leaves_the_window_to_others() {
    let server = TestServer::start();
    assert_eq!(code(&server, &["--once", "1h", "nightly", "-c", "exit 5"]).await, 5);
    assert_eq!(code(&server, &["--once", "1ms", "nightly", "true"]).await, 0);
}

#[tokio::test]
async fn refused_window_is_reported_and_frees_the_lock() {
    let server = TestServer::with(&["--lease-max", "30m"]);
    let (code, out, err) = output(getlock(server.addr, &["--once", "1h", "nightly", "echo", "done"])).await;
    assert_eq!((code, out.as_str()), (0, "done\n"));
    assert_eq!(
        err,
        "getlock: done, but nightly may run again in this window: a lease runs for 0.01 to 1800 s (--lease-min, \
         --lease-max) (LIMIT)\n"
    );
    assert_eq!(self::code(&server, &["-n", "nightly", "true"]).await, 0);
}
