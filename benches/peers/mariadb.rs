//! MariaDB: `GET_LOCK` and `RELEASE_LOCK`, which getlockd speaks too.

use std::process::{Command, Stdio};

use crate::{
    LOADS, Load, Ours, Peer, Way,
    common::{Server, free_port, mysql::MYSQL},
};

const WAYS: &[Way] = &[
    Way {
        does: "SELECT GET_LOCK(name, 60), SELECT RELEASE_LOCK(name)",
        gives_up: "nothing of it: it queues, frees at the end of the connection and finds deadlocks; a thread for each \
            connection",
        clients: &MYSQL,
        loads: LOADS,
        beside: &[Ours::Mysql, Ours::Line],
    },
    Way {
        does: "the same, from a client with a thread for each connection",
        gives_up: "as above; a reply wakes a thread each, which the kernel counts as the server's time",
        clients: &MYSQL,
        loads: &[Load { threads: true, ..LOADS[0] }],
        beside: &[Ours::Mysql],
    },
];

pub fn start() -> Option<Peer> {
    let version = crate::version("mariadbd")?;
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let data = format!("--datadir={}/data", folder.path().display());
    let install = ["--no-defaults", &data, "--auth-root-authentication-method=normal", "--skip-test-db"];
    let installed = Command::new("mariadb-install-db").args(install).stdout(Stdio::null()).status();
    assert!(installed.unwrap().success(), "mariadb-install-db");
    let mut command = Command::new("mariadbd");
    command.args([
        "--no-defaults",
        "--user=root",
        &data,
        "--bind-address=127.0.0.1",
        "--max-connections=4000",
    ]);
    command.arg(format!("--port={port}")).arg(format!("--socket={}/socket", folder.path().display()));
    Some(Peer { version, server: Server::start(command, port), port, ways: WAYS, _folder: folder })
}
