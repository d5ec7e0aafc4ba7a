//! A person at telnet, in a terminal of tmux.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::common::{PATIENCE, TestServer, skip::skip_missing};

struct Terminal(tempfile::TempDir);

impl Terminal {
    /// None, told, where a program is not installed.
    fn start(program: &str, args: &[&str]) -> Option<Self> {
        for (needed, asks) in [("tmux", "-V"), (program, "--version")] {
            if Command::new(needed).arg(asks).stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
                skip_missing(needed);
                return None;
            }
        }
        let terminal = Self(tempfile::tempdir().unwrap());
        let new = ["-f", "/dev/null", "new-session", "-d", "-x", "100", "-y", "20", program];
        terminal.tmux(&[&new, args].concat());
        Some(terminal)
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux").arg("-S").arg(self.socket()).args(args).output().unwrap();
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.0.path().join("tmux")
    }

    fn types(&self, line: &str) {
        self.tmux(&["send-keys", line, "Enter"]);
    }

    async fn shows(&self, text: &str) {
        let began = Instant::now();
        loop {
            let shown = self.tmux(&["capture-pane", "-p"]);
            if shown.contains(text) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "no {text:?} in:\n{shown}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(self.socket()).arg("kill-server").output();
    }
}

#[tokio::test]
async fn telnet_shows_replies_after_an_interrupt() {
    let server = TestServer::start();
    let mut holder = server.client().await;
    assert_eq!(holder.ask("GET_LOCK nightly 0").await, "1");
    let Some(telnet) = Terminal::start("telnet", &["127.0.0.1", &server.addr.port().to_string()]) else {
        return;
    };
    telnet.shows("Escape character").await;
    telnet.types("GET_LOCK mine 0");
    server.until(|stats| stats.table.locks == 2).await;
    telnet.types("GET_LOCK nightly 60");
    server.until_waiting(1).await;
    telnet.tmux(&["send-keys", "C-c"]);
    server.until_waiting(0).await;
    telnet.types("PING");
    telnet.shows("PONG").await;
    assert_eq!(holder.ask("IS_FREE_LOCK mine").await, "0");
}
