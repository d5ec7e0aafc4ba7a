//! What `getlock` shows on a terminal.

use crate::{
    common::TestServer,
    tmux::{Terminal, line},
};

#[tokio::test]
async fn wait_shows_holder_and_remaining_time() {
    let server = TestServer::start();
    let [mut holder, mut first] = server.clients().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    first.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    let Some(terminal) = Terminal::start(&server, "getlock nightly -c 'echo it runs'; echo ended $?; cat")
    else {
        return;
    };
    let shown = terminal.until(|shown| shown.contains("2nd of 2; held ")).await;
    let waiting = line(&shown, "waiting for nightly, 2nd of 2; held ");
    assert!(waiting.contains("s by 127.0.0.1:") && waiting.contains(" (session 1); waited "), "{waiting}");
    drop(holder);
    terminal.until(|shown| shown.contains("1st of 1; held ") && shown.contains("(session 2)")).await;
    drop(first);
    let shown = terminal.until(|shown| shown.contains("ended 0")).await;
    assert_eq!(shown.trim_end(), "it runs\nended 0", "the line is gone");
}

#[tokio::test]
async fn background_wait_leaves_the_terminal_alone() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    let script = "set -m; getlock nightly -- true & read go; echo typed $go; fg; cat";
    let Some(terminal) = Terminal::start(&server, script) else { return };
    // It looks at the queue by a connection of its own, when it has waited for a moment.
    server.until(|stats| stats.sessions == 3).await;
    terminal.keys("x");
    terminal.keys("Enter");
    let shown = terminal.until(|shown| shown.contains("typed x")).await;
    assert!(!shown.split("typed x").next().unwrap().contains("waiting"), "{shown}");
    terminal.until(|shown| shown.contains("waiting for nightly, 1st of 1")).await;
}

#[tokio::test]
async fn keyboard_interrupt_arrives_once() {
    let server = TestServer::start();
    // The shell around it is to live on.
    let script = "trap : INT; getlock x -c 'trap \"echo told\" INT; echo started; cat; cat; echo over; exit 6'; echo ended $?; cat";
    let Some(terminal) = Terminal::start(&server, script) else { return };
    terminal.until(|shown| shown.contains("started")).await;
    terminal.keys("C-c");
    terminal.until(|shown| shown.contains("told")).await;
    terminal.keys("C-d");
    let shown = terminal.until(|shown| shown.contains("ended 6")).await;
    assert_eq!(shown.matches("told").count(), 1, "{shown}");
}

#[tokio::test]
async fn top_follows_changes_and_restores_the_terminal() {
    let server = TestServer::start();
    let [mut holder, mut first, mut second] = server.clients().await;
    assert_eq!(holder.ask("GET_LOCK weekly 0").await, "1");
    assert_eq!(holder.ask("GET_LOCK 'two words' 0").await, "1");
    first.send("GET_LOCK 'two words' 60").await;
    server.until_waiting(1).await;
    let script = "echo before; getlock top; echo ended $?; stty -a | tr ' ;' '\\n' | grep -xE 'icanon|echo|isig' | sort; cat";
    let Some(terminal) = Terminal::start(&server, script) else { return };
    let shown = terminal.until(|shown| shown.contains("1st: ")).await;
    assert!(shown.starts_with("getlockd ") && shown.contains(": 4 sessions, 2 locks, 1 waiting"), "{shown}");
    let rows: Vec<_> = shown.lines().collect();
    assert!(
        rows[1].starts_with("session 1 (127.0.0.1:") && rows[1].ends_with(") blocks 1 session"),
        "{shown}"
    );
    assert!(rows[3].starts_with("  NAME ") && rows[4].starts_with("> 'two words'  exclusive "), "{shown}");
    assert!(
        rows[5].starts_with("    1st: session 2 at 127.0.0.1:") && rows[6].starts_with("  weekly "),
        "{shown}"
    );

    second.send("GET_SHARED_LOCK 'two words' 60").await;
    terminal
        .until(|shown| shown.contains("    2nd: session 3 at 127.0.0.1:") && shown.contains(", shared, "))
        .await;
    assert_eq!(holder.ask("RELEASE_LOCK weekly").await, "1");
    terminal.until(|shown| !shown.contains("weekly") && shown.contains("2 waiting")).await;

    terminal.tmux(&["resize-window", "-x", "40", "-y", "5"]);
    let shown =
        terminal.until(|shown| shown.trim_end().lines().count() == 5 && !shown.contains("grants")).await;
    assert!(shown.lines().all(|line| line.chars().count() <= 40), "{shown}");
    terminal.tmux(&["resize-window", "-x", "100", "-y", "20"]);

    terminal.keys("q");
    let shown = terminal.until(|shown| shown.contains("isig")).await;
    assert_eq!(shown.trim_end(), "before\nended 0\necho\nicanon\nisig");
}

#[tokio::test]
async fn top_truncates_to_the_screen() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    for at in 0..30 {
        assert_eq!(holder.ask(&format!("GET_LOCK the-long-name-of-a-job:{at:02} 0")).await, "1");
    }
    let script = "getlock top; getlock top nosuch; echo over; cat";
    let Some(terminal) = Terminal::start(&server, script) else { return };
    // 20 rows: three above, and one to say that there are more.
    let shown = terminal.until(|shown| shown.contains("job:15 ") && shown.contains("\nand 14 more\n")).await;
    assert!(line(&shown, "getlockd").ends_with("(? shows the keys)"), "{shown}");
    terminal.keys("j");
    terminal.until(|shown| shown.contains("\n> the-long-name-of-a-job:01 ")).await;
    terminal.keys("PageDown");
    terminal
        .until(|shown| {
            shown.contains("\n2 before these\n") && shown.contains("\n> the-long-name-of-a-job:17 ")
        })
        .await;
    terminal.keys("PageUp");
    terminal.until(|shown| shown.contains("\n> the-long-name-of-a-job:01 ")).await;
    terminal.keys("Up");
    terminal
        .until(|shown| shown.contains("\n> the-long-name-of-a-job:00 ") && !shown.contains("before"))
        .await;

    // Whole columns, whole parts of the head.
    terminal.tmux(&["resize-window", "-x", "40", "-y", "10"]);
    let shown = terminal.until(|shown| shown.contains("and 24 more")).await;
    assert_eq!(line(&shown, "getlockd"), "getlockd: 30 locks, 0 waiting", "{shown}");
    let head: Vec<_> = line(&shown, "  NAME").split_whitespace().collect();
    assert_eq!(head, ["NAME", "SESSION", "HELD", "WAITERS"], "{shown}");
    assert!(line(&shown, "> the-long").contains("… "), "{shown}");

    terminal.keys("q");
    terminal.until(|shown| shown.contains("no lock starts with nosuch")).await;
}

#[tokio::test]
async fn top_ends_with_its_server_and_restores_the_terminal() {
    let mut server = TestServer::with(&["--drain", "0"]);
    let script = "echo before; getlock top; echo ended $?; stty -a | tr ' ;' '\\n' | grep -xE 'icanon'; cat";
    let Some(terminal) = Terminal::start(&server, script) else { return };
    terminal.until(|shown| shown.contains("no lock is held")).await;
    server.stop();
    let shown = terminal.until(|shown| shown.contains("icanon")).await;
    assert!(shown.starts_with("before\ngetlock: the connection ") && shown.contains("ended 69"), "{shown}");
}

#[tokio::test]
async fn top_sorts_finds_and_kills_after_a_question() {
    let server = TestServer::start();
    let [mut root, mut middle, mut last] = server.clients().await;
    assert_eq!(root.ask("GET_LOCK migrate:billing 0").await, "1");
    assert_eq!(middle.ask("GET_LOCK deploy:web 0").await, "1");
    middle.send("GET_LOCK migrate:billing 60").await;
    server.until_waiting(1).await;
    last.send("GET_LOCK deploy:web 60").await;
    server.until_waiting(2).await;
    let Some(terminal) = Terminal::start(&server, "getlock top; cat") else { return };
    let shown =
        terminal.until(|shown| shown.contains("    session 2 is itself waiting for migrate:billing\n")).await;
    assert!(line(&shown, "session 1 (127.0.0.1:").ends_with(") blocks 2 sessions"), "{shown}");
    terminal.keys("?");
    terminal.until(|shown| shown.contains("sort by how long")).await;
    terminal.keys("h");
    terminal.until(|shown| shown.contains("\n> deploy:web ") || shown.contains("\n> migrate:billing ")).await;
    terminal.keys("h");
    terminal.until(|shown| shown.contains("\n> migrate:billing ")).await;
    terminal.enter("/WEB");
    let shown = terminal.until(|shown| shown.contains("only with web (")).await;
    assert!(!shown.contains("> migrate:"), "{shown}");
    terminal.enter("/");
    terminal.until(|shown| shown.contains("\n> migrate:billing ")).await;
    terminal.keys("K");
    terminal
        .until(|shown| {
            shown.contains("end session 1 (127.0.0.1:") && shown.contains("which holds migrate:billing?")
        })
        .await;
    terminal.keys("x");
    terminal.until(|shown| !shown.contains("which holds")).await;
    terminal.keys("K");
    terminal.until(|shown| shown.contains("y ends it, any other key does not")).await;
    terminal.keys("y");
    terminal.until(|shown| shown.contains("migrate:billing went to session 2")).await;
    assert_eq!(middle.line().await, "1");
}

#[tokio::test]
async fn tables_fit_the_terminal_unless_long() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(
        holder.ask("GET_LOCK a-rather-long-name-of-a-job-of-one-customer:monthly-report 0").await,
        "1"
    );
    let script = "stty cols 80; getlock ls; read go; clear; getlock ls -l; cat";
    let Some(terminal) = Terminal::start(&server, script) else { return };
    let shown = terminal.until(|shown| shown.contains("a-rather-long")).await;
    assert!(!shown.contains("TOKEN") && shown.contains('…'), "{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    terminal.keys("Enter");
    terminal.until(|shown| shown.contains("customer:monthly-report  exclusive")).await;
}

#[tokio::test]
async fn refusal_names_the_holder_on_a_terminal() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    let Some(terminal) = Terminal::start(&server, "getlock -n nightly -- true; echo ended $?; cat") else {
        return;
    };
    let shown = terminal.until(|shown| shown.contains("ended 1")).await;
    let refused = line(&shown, "getlock: nightly was not granted; held ");
    assert!(refused.contains("s by 127.0.0.1:") && refused.ends_with("(session 1)"), "{refused}");
}
