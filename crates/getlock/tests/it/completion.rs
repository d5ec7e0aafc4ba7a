//! Completion in shells, of flags and of the names of the locks that are held.

use std::process::Command;

use crate::{
    common::{TestServer, skip::skip_missing},
    tmux::Terminal,
};

/// A server with three locks, and a terminal in which a shell runs that has the completion script.
async fn completing(shell: &str, script: &str) -> Option<(TestServer, Terminal)> {
    if Command::new(shell).arg("-c").arg("exit").status().is_err() {
        skip_missing(shell);
        return None;
    }
    let server = TestServer::start();
    let mut holder = server.client().await;
    for name in ["deploy:web", "deploy:api", "nightly"] {
        assert_eq!(holder.ask(&format!("GET_LOCK {name} 0")).await, "1");
    }
    // It lives as long as the test: a task keeps it.
    tokio::spawn(async move {
        let _holder = holder;
        std::future::pending::<()>().await;
    });
    let terminal = Terminal::start(&server, script)?;
    Some((server, terminal))
}

#[tokio::test]
async fn bash_completes_flags_and_held_locks() {
    let script = "exec bash --norc --noprofile";
    let Some((server, terminal)) = completing("bash", script).await else { return };
    terminal.enter("PS1='$ '; source <(getlock completions bash); echo ready");
    terminal.until(|shown| shown.contains("\nready")).await;
    terminal.text("getlock why ni");
    terminal.keys("Tab");
    terminal.until(|shown| shown.contains("why nightly")).await;
    terminal.text("--js");
    terminal.keys("Tab");
    terminal.until(|shown| shown.contains("why nightly --json")).await;
    terminal.keys("C-u");
    // Bash breaks words at a colon.
    terminal.text("getlock why deploy:w");
    terminal.keys("Tab");
    terminal.until(|shown| shown.contains("$ getlock why deploy:web")).await;
    terminal.keys("C-u");
    terminal.text("getlock dep");
    terminal.keys("Tab");
    terminal.until(|shown| shown.contains("$ getlock deploy:")).await;
    terminal.keys("C-u");
    // Without a server nothing is said, and nothing is completed.
    drop(server);
    terminal.text("getlock why ni");
    terminal.keys("Tab");
    terminal.text("X");
    terminal.until(|shown| shown.trim_end().ends_with("$ getlock why niX")).await;
}

#[tokio::test]
async fn zsh_completes_flags_and_held_locks() {
    let script = "D=$(mktemp -d) && export D && getlock completions zsh > $D/_getlock && zsh -f; rm -r $D";
    let Some((_server, terminal)) = completing("zsh", script).await else { return };
    terminal.until(|shown| shown.contains('#') || shown.contains('%')).await;
    // Without the functions for a thousand other programs.
    terminal.enter("PS1='$ '; fpath=($D ${(M)fpath:#*(/Completion|/Base|/Zsh|/functions)}); autoload -U compinit; compinit -u -D; echo ready");
    terminal.until(|shown| shown.contains("\nready")).await;
    terminal.text("getlock why ni");
    terminal.keys("Tab");
    terminal.until(|shown| shown.contains("$ getlock why nightly")).await;
    terminal.keys("C-u");
    terminal.text("getlock why deploy:w");
    terminal.keys("Tab");
    terminal.until(|shown| shown.contains("$ getlock why deploy:web")).await;
    terminal.keys("C-u");
    terminal.text("getlock sess");
    terminal.keys("Tab");
    terminal.until(|shown| shown.contains("$ getlock sessions")).await;
}

#[tokio::test]
async fn fish_completes_held_locks() {
    let Some((_server, terminal)) = completing("fish", "exec fish --no-config").await else { return };
    terminal.enter("getlock completions fish | source; echo ready");
    terminal.until(|shown| shown.contains("\nready")).await;
    terminal.text("getlock why deploy:w");
    terminal.keys("Tab");
    terminal.until(|shown| shown.contains("getlock why deploy:web")).await;
}
