//! What people look at; and how to get in.

use std::fs;

use getlockd::internal::users::{NewEntry, entry};

use crate::{
    GETLOCK, TestServer, code,
    common::authority::{Authority, text},
    getlock, output,
};

#[tokio::test]
async fn lists_are_aligned_and_agree_with_json() {
    let server = TestServer::start();
    let [mut a, mut b] = server.clients().await;
    assert_eq!(a.ask("GET_LOCK nightly 0").await, "1");
    assert_eq!(a.ask("GET_SHARED_LOCK 'a long name \\u{1b}[2J' 0").await, "1");
    b.send("GET_LOCK nightly 60").await;
    server.until_waiting(1).await;
    let (code, out, err) = output(getlock(server.addr, &["ls"])).await;
    assert_eq!((code, err.as_str()), (0, ""));
    let lines: Vec<_> = out.lines().collect();
    let column = |head: &str| lines[0].find(head).unwrap();
    assert!(lines[1].starts_with(r"'a long name \u{1b}[2j'  shared") && !out.contains('\x1b'), "{out}");
    assert_eq!(lines[2][column("MODE")..].split_whitespace().next(), Some("exclusive"));
    assert_eq!(lines.iter().map(|line| line.len()).max(), Some(lines[0].len()), "{out}");
    assert_eq!(output(getlock(server.addr, &["ls", "night"])).await.1.lines().count(), 2);

    let (_, out, _) = output(getlock(server.addr, &["ls", "--json"])).await;
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&json["locks"][0]["name"], &json["total"]), (&"a long name \u{1b}[2j".into(), &2.into()));
    assert_eq!((&json["locks"][1]["session"], &json["locks"][1]["waiters"]), (&1.into(), &1.into()));

    let (_, why, _) = output(getlock(server.addr, &["why", "nightly"])).await;
    assert!(why.lines().nth(1).unwrap().starts_with("nightly  exclusive        1  127.0.0.1:"), "{why}");
    let (_, sessions, _) =
        output(getlock(server.addr, &["--host", &server.addr.to_string(), "sessions"])).await;
    assert!(sessions.lines().nth(2).unwrap().contains("  nightly"), "{sessions}");

    let (code, _, told) = output(getlock(server.addr, &["kill", "1"])).await;
    assert!(code == 0 && told.starts_with("getlock: ended session 1 (127.0.0.1:"), "{told}");
    assert!(told.contains("; nightly went to session 2"), "{told}");
    assert_eq!(b.line().await, "1");
    let (code, _, err) = output(getlock(server.addr, &["kill", "1"])).await;
    assert!(code == 1 && err.contains("no session 1"), "{err}");
    let (_, history, _) = output(getlock(server.addr, &["history", "Nightly"])).await;
    let [head, row] = &history.lines().collect::<Vec<_>>()[..] else { panic!("{history}") };
    assert!(head.starts_with("SESSION  MODE       WIRE  PEER") && head.contains("ENDED AGO  HELD"), "{head}");
    assert!(row.starts_with("      1  exclusive  line  127.0.0.1:") && row.contains("  killed  "), "{row}");
    let (code, out, err) = output(getlock(server.addr, &["history", "weekly"])).await;
    let nothing = "getlock: no ended hold of weekly is remembered\n";
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", nothing));
    let (code, out, err) = output(getlock(server.addr, &["why", "weekly"])).await;
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "getlock: weekly is not held\n"));
}

#[tokio::test]
async fn list_without_locks_says_so() {
    let server = TestServer::start();
    for (args, said) in [(&["ls"][..], "no lock is held"), (&["ls", "nosuch"], "no lock starts with nosuch")]
    {
        let (code, out, err) = output(getlock(server.addr, args)).await;
        assert!(code == 0 && out.is_empty() && err.contains(said), "{out}{err}");
    }
}

#[tokio::test]
async fn locks_are_sorted_by_the_wanted_key() {
    let server = TestServer::start();
    let [mut a, mut b] = server.clients().await;
    for name in ["zebra", "middle", "ant"] {
        assert_eq!(a.ask(&format!("GET_LOCK {name} 0")).await, "1");
    }
    b.send("GET_LOCK middle 60").await;
    server.until_waiting(1).await;
    for (key, first) in [("name", "ant"), ("held", "zebra"), ("waiters", "middle")] {
        let (_, out, _) = output(getlock(server.addr, &["ls", "--sort", key])).await;
        assert!(out.lines().nth(1).unwrap().starts_with(first), "{key}: {out}");
    }
    let (_, waiters, _) = output(getlock(server.addr, &["waiters", "middle"])).await;
    assert!(waiters.lines().nth(1).unwrap().trim_start().starts_with("2  exclusive  "), "{waiters}");
    assert_eq!(code(&server, &["why", "--quiet", "ant"]).await, 0);
    assert_eq!(code(&server, &["why", "--quiet", "free"]).await, 1);
}

#[tokio::test]
async fn completions_and_manual_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = output(getlock("x", &["completions", shell])).await;
        assert!(code == 0 && out.contains("_GETLOCK_COMPLETE"), "{shell}");
    }
    let (code, out, _) = output(getlock("x", &["man"])).await;
    assert!(code == 0 && out.contains(".TH GETLOCK 1") && out.contains("75"), "{out}");
    let (code, _, err) = output(getlock("x", &["top"])).await;
    assert!(code == 64 && err.contains("top needs a terminal"), "{err}");
}

#[tokio::test]
async fn tls_login_keeps_the_password_out_of_arguments() {
    let authority = Authority::new();
    let file = |name: &str| authority.folder.path().join(name);
    let wanted = NewEntry { name: "app".to_owned(), lock: vec!["app:".to_owned()], ..NewEntry::default() };
    fs::write(file("users.toml"), entry(&wanted, b"sesame", false).unwrap()).unwrap();
    fs::write(file("password"), "sesame\n").unwrap();
    let signed = authority.sign("server");
    let users = file("users.toml");
    let server = TestServer::with(&signed.flags(&["--users", text(&users)]));
    let (ca, password) = (authority.ca(), file("password"));
    let flags = ["--tls-ca", text(&ca), "--user", "app"];
    let with = |more: &[&str]| getlock(server.addr, &[&flags[..], more].concat());
    let (code, out, err) = output(with(&["--password-file", text(&password), "app:x", "echo", "in"])).await;
    assert_eq!((code, out.as_str(), err.as_str()), (0, "in\n", ""));
    let mut by_environment = with(&["-n", "app:x", "true"]);
    by_environment.env("GETLOCK_PASSWORD", "sesame");
    assert_eq!(output(by_environment).await.0, 0);
    let mut wrong = with(&["app:x", "true"]);
    wrong.env("GETLOCK_PASSWORD", "wrong");
    let (code, _, err) = output(wrong).await;
    assert!(code == 77 && err.ends_with("(AUTH)\n"), "{code}, {err}");
    let (code, _, err) = output(with(&["--password-file", text(&password), "other", "true"])).await;
    assert!(code == 77 && err.ends_with("(DENIED)\n"), "{code}, {err}");
}

#[tokio::test]
async fn closed_stdout_is_no_failure_and_full_disk_is() {
    let server = TestServer::start();
    for (line, expected) in [("man | true", 0), ("sessions | true", 0), ("sessions > /dev/full", 71)] {
        let mut command = tokio::process::Command::new("bash");
        command.args(["-c", &format!("set -o pipefail; \"$0\" {line}"), GETLOCK]);
        command.env("GETLOCK_HOST", server.addr.to_string());
        assert_eq!(output(command).await.0, expected, "{line}");
    }
}
