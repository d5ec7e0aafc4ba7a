//! The line wire over real sockets.

use std::time::Duration;

use crate::common::{Client, PATIENCE, TestServer};

#[tokio::test]
async fn pipelined_lines_are_answered_in_order() {
    let server = TestServer::start();
    let mut a = server.client().await;
    a.send_bytes(b"GET_LOCK a 0\nGET_LOCK a 0\nRELEASE_ALL_LOCKS\nIS_FREE_LOCK a\nQUIT\n").await;
    assert_eq!(a.rest().await, "1\n1\n2\n1\nBYE\n");
}

#[tokio::test]
async fn pipelined_lines_are_answered_after_half_close() {
    let server = TestServer::start();
    let [mut a, mut b] = server.clients().await;
    assert_eq!(a.ask("GET_LOCK held 0").await, "1");
    b.send_bytes(b"PING\nGET_LOCK b 0\nLOCKS b\nKILL 99\nPI").await;
    b.half_close().await;
    let rest = b.rest().await;
    let lines: Vec<_> = rest.lines().collect();
    assert_eq!(lines[..2], ["PONG", "1"]);
    assert!(lines[2].starts_with("LOCK name=b mode=exclusive session=2 "));
    assert_eq!(lines[3], "END 1");
    assert!(lines[4].starts_with("ERROR NO_SESSION "));
    assert_eq!(lines.len(), 5, "a line without its end is not run");
    server.until(|stats| stats.table.locks == 1).await;
}

#[tokio::test]
async fn half_close_ends_a_wait() {
    let server = TestServer::start();
    let [mut a, mut b] = server.clients().await;
    assert_eq!(a.ask("GET_LOCK x 0").await, "1");
    b.send_bytes(b"PING\nGET_LOCK x -1\nPING\n").await;
    b.half_close().await;
    assert_eq!(b.rest().await, "PONG\n");
    server.until(|stats| stats.sessions == 1 && stats.table.waiters == 0).await;
}

#[tokio::test]
async fn reply_uses_the_line_ending_of_its_request() {
    let server = TestServer::start();
    let mut a = server.client().await;
    a.send_bytes(b"PING\r\nPING\n\r\n\nSTATS\r\nnonsense\r\nQUIT\n").await;
    let replies = a.rest().await;
    let ends: Vec<_> = replies.split_inclusive('\n').map(|line| line.ends_with("\r\n")).collect();
    assert_eq!(ends, [true, false, true, true, true, false]);
}

#[tokio::test]
async fn bad_input_costs_only_its_line() {
    let server = TestServer::start();
    let mut a = server.client().await;
    assert_eq!(a.ask("GET_LOCK kept 0").await, "1");
    a.send_bytes(b"GET_LOCK \xc3 0\n").await;
    assert_eq!(a.line().await, "ERROR BAD_NAME the name is not valid UTF-8; send UTF-8");
    a.send_bytes(b"\xfe\x06\n").await;
    assert!(a.line().await.starts_with("ERROR UNKNOWN_COMMAND "));
    a.send_bytes(b"GET_LOCK a\x07b 0\n").await;
    assert!(a.line().await.starts_with(r"ERROR SYNTAX unexpected \u{7}b 0; "));
    a.send_bytes(b"GET_LOCK a 1\0\n").await;
    assert!(a.line().await.starts_with("ERROR SYNTAX "));
    assert_eq!(a.ask("RELEASE_LOCK kept").await, "1");
}

#[tokio::test]
async fn disconnect_leaves_queue_despite_pipelined_lines() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    let long = b"RELEASE_LOCK nothing\n".repeat(100 * 1024 / 21);
    for last_words in [&b""[..], b"QUIT\n", &long, &long[..70_000]] {
        let mut waiter = server.client().await;
        waiter.send("GET_LOCK x -1").await;
        server.until_waiting(1).await;
        waiter.send_bytes(last_words).await;
        drop(waiter);
        server.until(|stats| stats.table.waiters == 0 && stats.sessions == 1).await;
    }
    let mut waiter = server.client().await;
    waiter.send("GET_LOCK x -1").await;
    server.until_waiting(1).await;
    waiter.reset();
    server.until(|stats| stats.table.waiters == 0 && stats.sessions == 1).await;
    assert_eq!(holder.ask("RELEASE_LOCK x").await, "1");
    assert_eq!(holder.ask("IS_FREE_LOCK x").await, "1");
}

#[tokio::test]
async fn disconnect_is_seen_behind_full_buffers() {
    let server = TestServer::start();
    let [mut holder, mut waiter] = server.clients().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    waiter.send("GET_LOCK x -1").await;
    server.until_waiting(1).await;
    waiter.send_bytes(&b"RELEASE_LOCK nothing\n".repeat(3_000_000 / 21)).await;
    drop(waiter);
    server.until(|stats| stats.table.waiters == 0 && stats.sessions == 1).await;
}

#[tokio::test]
async fn endless_input_during_a_wait_closes_the_connection() {
    let server = TestServer::start();
    let [mut holder, mut waiter] = server.clients().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    waiter.send("GET_LOCK x -1").await;
    let endless = b"RELEASE_LOCK nothing\n".repeat(1_000);
    let mut told = String::new();
    while told.is_empty() {
        tokio::select! {
            biased;
            line = waiter.next() => told = line.unwrap_or_default(),
            () = tokio::task::yield_now() => drop(waiter.stream.get_ref().try_write(&endless)),
        }
    }
    assert!(told.starts_with("ERROR LIMIT more than 4194304 bytes were sent behind a command"), "{told}");
    server.until(|stats| stats.table.waiters == 0 && stats.sessions == 1).await;
}

#[tokio::test]
async fn commands_sent_during_a_wait_run_after_it() {
    let server = TestServer::start();
    let [mut a, mut b] = server.clients().await;
    assert_eq!(a.ask("GET_LOCK x 0").await, "1");
    b.send_bytes(b"GET_LOCK x 60\nIS_USED_LOCK x\nRELEASE_LOCK x\nPING\n").await;
    server.until_waiting(1).await;
    b.send("PING").await;
    assert_eq!(a.ask("RELEASE_LOCK x").await, "1");
    for answer in ["1", "2", "1", "PONG", "PONG"] {
        assert_eq!(b.line().await, answer);
    }
}

#[tokio::test]
async fn details_tell_how_long_a_grant_was_waited_for() {
    let server = TestServer::start();
    let [mut a, mut b, mut c] = server.clients().await;
    assert_eq!(a.ask("GET_LOCK x 0").await, "1");
    b.send_bytes(
        b"DETAILS ON\nGET_LOCK x 0\nGET_LOCK x 60\nGET_LOCK x 0\nRELEASE_LOCK x\nDETAILS OFF\nGET_LOCK x 0\n",
    )
    .await;
    server.until_waiting(1).await;
    c.send("GET_LOCK x 60").await;
    server.until_waiting(2).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(a.ask("RELEASE_LOCK x").await, "1");
    assert_eq!([b.line().await, b.line().await], ["1", "0"]);
    let granted = b.line().await;
    let waited: f64 = granted.strip_prefix("1 waited=").unwrap().parse().unwrap();
    assert!((0.02..60.0).contains(&waited), "{granted}");
    for answer in ["1 waited=0.000", "1", "1", "1"] {
        assert_eq!(b.line().await, answer);
    }
    assert_eq!(b.ask("RELEASE_ALL_LOCKS").await, "2");
    assert_eq!(c.line().await, "1", "another connection is told nothing more");
}

#[tokio::test]
async fn fifty_waiters_are_served_in_order() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    let mut waiters: Vec<Client> = Vec::new();
    for place in 1..=50 {
        let mut waiter = server.client().await;
        waiter.send("GET_LOCK x 60").await;
        server.until_waiting(place).await;
        waiters.push(waiter);
    }
    let queue = holder.list("WAITERS x").await;
    for (place, row) in queue.iter().enumerate() {
        assert!(row.starts_with(&format!("WAITER session={} ", place + 2)), "{row}");
    }
    for mut waiter in waiters {
        drop(holder);
        assert_eq!(waiter.line().await, "1");
        assert_eq!(waiter.ask("IS_USED_LOCK x").await, waiter.id().await.to_string());
        holder = waiter;
    }
}

#[tokio::test]
async fn deadlock_needs_a_closed_chain_of_forty() {
    let server = TestServer::start();
    let mut clients = Vec::new();
    for i in 0..40 {
        let mut client = server.client().await;
        assert_eq!(client.ask(&format!("GET_LOCK lock{i} 0")).await, "1");
        clients.push(client);
    }
    for (i, client) in clients.iter_mut().enumerate().skip(1) {
        client.send(&format!("GET_LOCK lock{} 60", i - 1)).await;
        server.until_waiting(i).await;
    }
    let start = "ERROR DEADLOCK deadlock of 40 sessions: session";
    let closing = clients[0].ask("GET_LOCK lock39 60").await;
    let mut cycle = closing.strip_prefix(start).unwrap().to_owned();
    for (waiter, lock, holder) in
        (0..20).map(|i| (40 - i, 39 - i, 40 - i)).map(|(w, l, h)| (w % 40 + 1, l, h))
    {
        let link = format!(" {waiter} waits for lock{lock} (held by {holder}),");
        assert!(cycle.starts_with(&link), "{link} first in {cycle}");
        cycle = cycle.split_off(link.len());
    }
    assert_eq!(cycle, " and 20 more; release one, or use timeout 0");
    assert_eq!(clients[0].ask("GET_LOCK lock39 0").await, "0", "who only tries never deadlocks");
    assert_eq!(clients[0].ask("RELEASE_ALL_LOCKS").await, "1", "it keeps what it holds");
    for client in &mut clients[1..] {
        assert_eq!(client.line().await, "1");
        assert_eq!(client.ask("RELEASE_ALL_LOCKS").await, "2");
    }
}

#[tokio::test]
async fn pipeline_of_15000_commands_is_answered_in_order() {
    let server = TestServer::start();
    let mut a = server.client().await;
    let each = |i| format!("GET_LOCK n{i} 0\nIS_USED_LOCK n{i}\nRELEASE_ALL_LOCKS\n");
    let burst: String = (0..5_000).map(each).collect();
    a.send_bytes(burst.as_bytes()).await;
    for _ in 0..5_000 {
        for answer in ["1", "1", "1"] {
            assert_eq!(a.line().await, answer);
        }
    }
    assert_eq!(a.ask("PING").await, "PONG");
}

#[tokio::test]
async fn late_reader_gets_100000_answers_in_order() {
    let server = TestServer::start();
    let mut a = server.client().await;
    for round in 0..10 {
        let burst: String = (0..10_000).map(|i| format!("KILL {}\n", 1_000_000 * (round + 1) + i)).collect();
        a.send_bytes(burst.as_bytes()).await;
        for i in 0..10_000 {
            let id = 1_000_000 * (round + 1) + i;
            assert_eq!(
                a.line().await,
                format!("ERROR NO_SESSION there is no session {id}; SESSIONS lists them")
            );
        }
    }
}

#[tokio::test]
async fn long_lists_do_not_delay_other_sessions() {
    let server = TestServer::start();
    let [mut greedy, mut other] = server.clients().await;
    for i in 0..20 {
        greedy
            .send_bytes((0..1_000).map(|j| format!("GET_LOCK n{i}.{j} 0\n")).collect::<String>().as_bytes())
            .await;
        for _ in 0..1_000 {
            assert_eq!(greedy.line().await, "1");
        }
    }
    // As many as one read takes: their answers are sent when all are there.
    greedy.send_bytes(&b"LOCKS z\n".repeat(500)).await;
    assert_eq!(other.ask("PING").await, "PONG");
    let so_far = greedy.stream.get_ref().try_read(&mut [0; 1]);
    assert!(so_far.is_err(), "nobody else was served before the lists were done");
    for _ in 0..500 {
        assert_eq!(greedy.line().await, "END 0");
    }
}

#[tokio::test]
async fn closing_reply_arrives_despite_unread_input() {
    let server = TestServer::start();
    for (first, last) in [
        ("QUIT\n", "BYE"),
        ("", "ERROR LINE_TOO_LONG the line is longer than 1024 bytes (--max-line); closing"),
    ] {
        let mut client = server.client().await;
        client.send_bytes(first.as_bytes()).await;
        let _ = client.stream.get_ref().try_write(&vec![b'a'; 200_000]);
        assert_eq!(client.rest().await.trim_end(), last);
    }
}

#[tokio::test]
async fn answers_before_quit_reach_a_late_reader() {
    let server = TestServer::start();
    let mut late = server.client().await;
    late.send_bytes(&b"HELP\n".repeat(8_000)).await;
    late.send("QUIT").await;
    server.until(|stats| stats.sessions == 1).await;
    // Longer than last words are waited for.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let answers = late.rest().await;
    assert_eq!(answers.matches("END ").count(), 8_000);
    assert!(answers.ends_with("BYE\n"));
}

/// More than all buffers between a client that does not read and the server take.
const FLOOD: usize = 64 * 1024 * 1024;

/// HELP has the longest answer. Blanks make the command long too: few fill the buffers.
fn padded_help() -> Vec<u8> {
    format!("HELP{}\n", " ".repeat(1019)).into_bytes()
}

#[tokio::test]
async fn slow_reader_is_not_served_and_keeps_locks() {
    let server = TestServer::with(&["--keepalive", "4s"]);
    let [mut deaf, mut other] = server.clients().await;
    assert_eq!(deaf.ask("GET_LOCK kept 0").await, "1");
    let burst = padded_help().repeat(100);
    let mut sent = 0;
    while sent < FLOOD {
        match deaf.stream.get_ref().try_write(&burst[sent % 1024..]) {
            Ok(written) => sent += written,
            Err(_) => {
                match tokio::time::timeout(Duration::from_millis(200), deaf.stream.get_ref().writable()).await
                {
                    Ok(writable) => writable.unwrap(),
                    Err(_) => break,
                }
            }
        }
    }
    assert!(sent < FLOOD, "the server went on to read");
    assert_eq!(other.ask("IS_USED_LOCK kept").await, "1");
    // Longer than the time within which a peer that is gone would be found.
    assert_eq!(other.ask("GET_LOCK kept 4.5").await, "0");

    // It reads at last, and finds every answer.
    let (mut lines, mut ends, mut rows) = (0, 0, 0);
    while ends < sent / 1024 {
        let line = deaf.line().await;
        lines += 1;
        if let Some(count) = line.strip_prefix("END ") {
            ends += 1;
            rows += count.parse::<usize>().unwrap();
        }
    }
    assert_eq!(lines, ends + rows);
}

#[tokio::test]
async fn slow_reader_is_ended_by_kill_and_by_reset() {
    let server = TestServer::start();
    for reset in [true, false] {
        let [mut deaf, mut other] = server.clients().await;
        assert_eq!(deaf.ask("GET_LOCK kept 0").await, "1");
        let id = deaf.id().await;
        while tokio::time::timeout(Duration::from_millis(200), deaf.stream.get_ref().writable()).await.is_ok()
        {
            let _ = deaf.stream.get_ref().try_write(&padded_help().repeat(100));
        }
        if reset {
            deaf.reset();
        } else {
            assert_eq!(other.ask(&format!("KILL {id}")).await, "1");
        }
        assert_eq!(other.ask("GET_LOCK kept 10").await, "1");
    }
}

#[tokio::test]
async fn kill_ends_a_session_in_any_state() {
    let server = TestServer::start();
    let [mut killer, mut idle, mut waiter] = server.clients().await;
    let (idle_id, waiter_id) = (idle.id().await, waiter.id().await);
    assert_eq!(idle.ask("GET_LOCK x 0").await, "1");
    waiter.send("GET_LOCK x 60").await;
    server.until_waiting(1).await;
    assert_eq!(killer.ask(&format!("KILL QUERY {idle_id}")).await, "0", "it was not waiting");
    assert_eq!(killer.ask(&format!("KILL {waiter_id}")).await, "1");
    assert_eq!(killer.ask("WAITERS x").await, "END 0", "it is gone when KILL answers");
    let farewell = "ERROR KILLED killed by session 1; your locks are released; closing\n";
    assert_eq!(waiter.rest().await, farewell);
    assert_eq!(killer.ask(&format!("KILL CONNECTION {idle_id}")).await, "1");
    assert_eq!(killer.ask("IS_FREE_LOCK x").await, "1");
    assert_eq!(idle.rest().await, farewell);
    killer.send("KILL 1").await;
    assert_eq!(killer.rest().await, farewell);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_frees_locks_before_it_answers() {
    let server = TestServer::start();
    let mut killer = server.client().await;
    for _ in 0..200 {
        let mut victim = server.client().await;
        let id = victim.id().await;
        assert_eq!(victim.ask("GET_LOCK x 0").await, "1");
        killer.send_bytes(format!("KILL {id}\nGET_LOCK x 0\nRELEASE_LOCK x\n").as_bytes()).await;
        for answer in ["1", "1", "1"] {
            assert_eq!(killer.line().await, answer);
        }
    }
}

#[tokio::test]
async fn mutual_kill_ends_both_sessions() {
    let server = TestServer::start();
    for _ in 0..50 {
        let [mut a, mut b] = server.clients().await;
        let (a_id, b_id) = (a.id().await, b.id().await);
        let (kill_b, kill_a) = (format!("KILL {b_id}"), format!("KILL {a_id}"));
        tokio::join!(a.send(&kill_b), b.send(&kill_a));
        tokio::join!(a.rest(), b.rest());
        server.until(|stats| stats.sessions == 0).await;
    }
}

#[tokio::test]
async fn kill_query_ends_only_the_wait() {
    let server = TestServer::start();
    let [mut killer, mut holder, mut waiter] = server.clients().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    assert_eq!(waiter.ask("GET_LOCK y 0").await, "1");
    waiter.send("GET_LOCK x -1").await;
    server.until_waiting(1).await;
    assert_eq!(killer.ask("KILL QUERY 3").await, "1");
    assert_eq!(
        waiter.line().await,
        "ERROR INTERRUPTED wait cancelled by KILL QUERY; the session and its locks remain"
    );
    assert_eq!(waiter.ask("IS_USED_LOCK y").await, "3");
    waiter.send("GET_LOCK x -1").await;
    server.until_waiting(1).await;
    assert_eq!(holder.ask("RELEASE_LOCK x").await, "1");
    assert_eq!(waiter.line().await, "1", "the kill does not linger");
}

#[tokio::test]
async fn connection_beyond_max_connections_is_refused() {
    let server = TestServer::with(&["--max-connections", "2"]);
    let [mut a, mut b] = server.clients().await;
    assert_eq!((a.ask("PING").await, b.ask("PING").await), ("PONG".into(), "PONG".into()));
    let mut c = server.client().await;
    c.send("GET_LOCK x 0").await;
    assert_eq!(
        c.rest().await,
        "ERROR LIMIT connection limit reached: 2 (--max-connections, ulimit -n); closing\n"
    );
    drop(a);
    server.until(|stats| stats.sessions == 1).await;
    let answered = async {
        loop {
            let mut d = server.client().await;
            d.send("PING").await;
            if d.line().await == "PONG" {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("the place is free again");
}

#[tokio::test]
async fn foreign_protocol_is_refused_and_not_run() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK x 0").await, "1");
    let http = "ERROR WRONG_PROTOCOL this port speaks the getlockd line protocol, not HTTP; closing";
    let mut browser = server.client().await;
    browser.send_bytes(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nKILL 1\r\nGET_LOCK y 0\r\n").await;
    assert_eq!(browser.rest().await, format!("{http}\r\n"));
    let mut tls = server.client().await;
    tls.send_bytes(b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03").await;
    assert!(tls.rest().await.contains("in plain text, not TLS"));
    assert_eq!(holder.list("LOCKS").await.len(), 1);
}

#[tokio::test]
async fn why_follows_the_chain_of_waits() {
    let server = TestServer::start();
    let [mut a, mut b, mut c, mut d] = server.clients().await;
    assert_eq!(a.ask("GET_LOCK one 0").await, "1");
    assert_eq!(b.ask("GET_LOCK two 0").await, "1");
    b.send("GET_LOCK one 60").await;
    server.until_waiting(1).await;
    c.send("GET_LOCK two 60").await;
    server.until_waiting(2).await;
    let why = d.list("WHY two").await;
    assert_eq!(why.len(), 2);
    assert!(
        why[0].starts_with("WHY name=two mode=exclusive session=2 ")
            && why[0].contains(" waits_for=one idle=")
    );
    assert!(
        why[1].starts_with("WHY name=one mode=exclusive session=1 ")
            && why[1].contains(" waits_for=NULL idle=")
    );
    assert_eq!(d.ask("WHY three").await, "END 0");
}

#[tokio::test]
async fn history_has_the_last_holds_with_their_causes() {
    let server = TestServer::start();
    let [mut a, mut b, mut c] = server.clients().await;
    assert_eq!(a.ask("AUTH deployer x").await, "1");
    assert_eq!(a.ask("GET_SHARED_LOCK nightly 0").await, "1");
    // A hold that is released sooner is not kept.
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    assert_eq!(a.ask("RELEASE_LOCK nightly").await, "1");
    assert_eq!(b.ask("GET_LOCK nightly 0").await, "1");
    assert_eq!(c.list("HISTORY nightly").await.len(), 1);
    assert_eq!(a.ask("KILL 2").await, "1");
    let rows = c.list("HISTORY Nightly").await;
    assert_eq!(rows.len(), 2);
    assert!(rows[0].starts_with("ENDED name=nightly mode=exclusive session=2 wire=line peer=127.0.0.1:"));
    assert!(rows[0].contains(" fencing_token=") && rows[0].ends_with(" cause=killed"), "{rows:?}");
    assert!(rows[1].starts_with("ENDED name=nightly mode=shared session=1 wire=line peer=127.0.0.1:"));
    assert!(rows[1].ends_with(" cause=release user=deployer"), "{rows:?}");
    let seconds = |key: &str| {
        let field = rows[1].split(' ').find_map(|field| field.strip_prefix(key)).unwrap();
        field.parse::<f64>().unwrap()
    };
    assert!(seconds("held=") >= 0.02 && seconds("acquired=") >= seconds("held="), "{rows:?}");
    assert_eq!(c.ask("HISTORY weekly").await, "END 0");
    assert!(c.ask("HISTORY").await.starts_with("ERROR SYNTAX usage: HISTORY name, as in: HISTORY nightly"));
}

#[tokio::test]
async fn list_of_locks_is_sorted_filtered_and_limited() {
    let server = TestServer::start();
    let [mut a, mut b] = server.clients().await;
    let burst: String = (0..10_100).map(|i| format!("GET_LOCK n{i:05} 0\n")).collect();
    a.send_bytes(burst.as_bytes()).await;
    for _ in 0..10_100 {
        assert_eq!(a.line().await, "1");
    }
    let rows = b.list("LOCKS N0001").await;
    let names: Vec<_> = rows.iter().map(|row| row.split(' ').nth(1).unwrap()).collect();
    assert_eq!(names, (10..20).map(|i| format!("name=n000{i}")).collect::<Vec<_>>());
    b.send("LOCKS").await;
    for i in 0..10_000 {
        assert!(b.line().await.starts_with(&format!("LOCK name=n{i:05} ")));
    }
    assert_eq!(b.line().await, "END 10000 of 10100");
}
