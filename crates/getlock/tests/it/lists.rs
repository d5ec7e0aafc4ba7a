//! What people look at; and how to get in.

use std::fs;

use getlockd::internal::users::{NewEntry, entry};

use crate::{
    GETLOCK, TestServer, code,
    common::authority::{Authority, text},
    getlock, output,
};

#[tokio::test]
async fn lists_align_and_tell_the_same_as_json() {
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
    assert!(sessions.lines().nth(2).unwrap().trim_end().ends_with("nightly"), "{sessions}");

    assert_eq!(self::code(&server, &["kill", "1"]).await, 0);
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
    assert_eq!((code, out.as_str(), err.as_str()), (0, "", "getlock: nobody holds weekly\n"));
}

#[tokio::test]
async fn completions_and_a_manual_come_with_it() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = output(getlock("x", &["completions", shell])).await;
        assert!(code == 0 && out.contains("conflict-exit-code"), "{shell}");
    }
    let (code, out, _) = output(getlock("x", &["man"])).await;
    assert!(code == 0 && out.contains(".TH getlock 1") && out.contains("75"), "{out}");
    let (code, _, err) = output(getlock("x", &["top"])).await;
    assert!(code == 64 && err.contains("top needs a terminal"), "{err}");
}

#[tokio::test]
async fn it_comes_by_tls_and_as_a_user_whose_password_is_in_no_argument() {
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
async fn who_reads_no_further_is_no_failure_and_a_full_disk_is() {
    let server = TestServer::start();
    for (line, expected) in [("man | true", 0), ("ls | true", 0), ("ls > /dev/full", 71)] {
        let mut command = tokio::process::Command::new("bash");
        command.args(["-c", &format!("set -o pipefail; \"$0\" {line}"), GETLOCK]);
        command.env("GETLOCK_HOST", server.addr.to_string());
        assert_eq!(output(command).await.0, expected, "{line}");
    }
}
