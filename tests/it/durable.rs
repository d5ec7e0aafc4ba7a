//! Leases that outlive the server, as people meet them: the transcripts of protocol.md that restart a server, and the
//! walk of docs/http.md.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
};

use serde_json::json;
use tempfile::TempDir;

use crate::{
    common::{
        console::output,
        http::post,
        program::{PROGRAM, Program},
    },
    docs::is_installed,
    markdown::{blocks, read},
    metrics::with_store,
};

/// A server in a process of its own, which can be killed, and started again with what it has stored.
pub struct Restartable {
    folder: TempDir,
    flags: Vec<String>,
    /// None while it does not run.
    program: Option<Program>,
    pub line: SocketAddr,
    pub http: SocketAddr,
}

impl Restartable {
    pub fn start(flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let flags: Vec<_> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let (program, line, http) = Self::run(folder.path(), &flags);
        Self { folder, flags, program: Some(program), line, http }
    }

    /// As after a full disk, a write of too much is an error and no signal.
    fn run(folder: &Path, flags: &[String]) -> (Program, SocketAddr, SocketAddr) {
        let mut command = Command::new("sh");
        command.args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#, PROGRAM]).current_dir(folder);
        command.args(["--line", "127.0.0.1:0", "--mysql", "off", "--http", "127.0.0.1:0"]).args(flags);
        // The folder for temporary files may be on a file system that forgets.
        let mut program = Program::spawn(command.env("GETLOCKD_STORE_ANYWAY", "true"));
        let http = program.next_addr();
        let line = program.addr;
        (program, line, http)
    }

    pub fn start_again(&mut self, flags: &[&str]) {
        assert!(self.program.is_none() && self.flags == flags, "the same server, once it has ended");
        let (program, line, http) = Self::run(self.folder.path(), &self.flags);
        (self.program, self.line, self.http) = (Some(program), line, http);
    }

    /// Ends it by a signal.
    pub fn end(&mut self, signal: &str) {
        let program = self.program.take().unwrap();
        program.signal(signal);
        program.wait();
    }

    /// Whether it can write files, as on a disk that has room.
    pub fn set_room(&self, has_room: bool) {
        let limit = if has_room { "unlimited" } else { "0" };
        let id = self.program.as_ref().unwrap().id().to_string();
        let limited =
            Command::new("prlimit").args(["--pid", &id, &format!("--fsize={limit}:")]).status().unwrap();
        assert!(limited.success());
    }
}

/// A commit takes longer than a try, which waits for no lock.
#[tokio::test]
async fn try_with_request_id_is_granted_once_it_is_stored() {
    let (_folder, server) = with_store();
    let request = json!({"resourceName": "nightly", "requestId": "8f14e45f-ceea-467f-9575-2b1c5a0d7e33"});
    let (first, again) = tokio::join!(
        post(server.http, "/api/lock/acquire", &request),
        post(server.http, "/api/lock/acquire", &request)
    );
    assert_eq!((first.0, &first.1["status"]), (200, &"Acquired".into()));
    assert_eq!((again.0, &again.1["lockToken"]), (200, &first.1["lockToken"]));
    let other = json!({"resourceName": "nightly", "requestId": "another-request-of-it"});
    assert_eq!(post(server.http, "/api/lock/acquire", &other).await.0, 409);
}

/// The commands of the page are run as they are, by one shell, with other ports.
#[tokio::test]
async fn lease_of_the_walk_outlives_kill_9() {
    if !is_installed("curl") {
        return;
    }
    let page = read("docs/http.md");
    let (_, console) =
        blocks(&page, "console").into_iter().find(|(_, lines)| lines[0].contains("--store")).unwrap();
    let free = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [http, line] = free.map(|listener| listener.local_addr().unwrap());
    let (commands, shown): (Vec<_>, Vec<_>) = console.into_iter().partition(|line| line.starts_with("$ "));
    let commands: Vec<_> =
        commands.iter().map(|line| line[2..].replace("127.0.0.1:3308", &http.to_string())).collect();
    let programs = Path::new(PROGRAM).parent().unwrap().display();
    let around = format!(
        "export PATH={programs}:$PATH GETLOCKD_HTTP={http} GETLOCKD_LINE={line} GETLOCKD_MYSQL=off \
         GETLOCKD_STORE_ANYWAY=true GETLOCKD_LOG_LEVEL=off\n"
    );
    let folder = tempfile::tempdir().unwrap();
    let got = output("sh", &["-c", &(around + &commands.join("\n"))], folder.path()).await;
    assert_eq!(got.lines().collect::<Vec<_>>(), shown);
}
