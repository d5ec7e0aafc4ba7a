//! A terminal for tests: that of tmux.
//!
//! With `DRIVERS=all` in the environment it is a failure that there is no tmux.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    GETLOCK,
    common::{PATIENCE, TestServer, skip::skip_missing},
};

/// A terminal of 100 columns and 20 rows, in which a script runs.
pub struct Terminal {
    folder: tempfile::TempDir,
}

impl Terminal {
    /// None where there is no tmux.
    pub fn start(server: &TestServer, script: &str) -> Option<Self> {
        let there = Command::new("tmux").arg("-V").stdout(Stdio::null()).status().is_ok();
        if !there {
            skip_missing("tmux");
            return None;
        }
        let terminal = Self { folder: tempfile::tempdir().unwrap() };
        let folder = Path::new(GETLOCK).parent().unwrap().display();
        let script = format!("export GETLOCK_HOST={} PATH={folder}:$PATH; {script}", server.addr);
        terminal.tmux(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            "100",
            "-y",
            "20",
            "sh",
            "-c",
            &script,
        ]);
        Some(terminal)
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("tmux")
    }

    pub fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux").arg("-S").arg(self.socket()).args(args).output().unwrap();
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn shown(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    pub fn keys(&self, keys: &str) {
        self.tmux(&["send-keys", keys]);
    }

    /// Types a text, and no Enter behind it.
    pub fn text(&self, text: &str) {
        self.tmux(&["send-keys", "-l", "--", text]);
    }

    /// Types a line.
    pub fn enter(&self, line: &str) {
        self.text(line);
        self.keys("Enter");
    }

    /// Resolves when what is shown is as wanted.
    pub async fn until(&self, wanted: impl Fn(&str) -> bool) -> String {
        let began = Instant::now();
        loop {
            let shown = self.shown();
            if wanted(&shown) {
                return shown;
            }
            assert!(began.elapsed() < PATIENCE, "still:\n{shown}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(self.socket()).arg("kill-server").output();
    }
}

pub fn line<'a>(shown: &'a str, start: &str) -> &'a str {
    shown.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("no {start:?} in:\n{shown}"))
}
