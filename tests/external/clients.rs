//! Real clients against the port of HTTP and gRPC, while line sessions contend with them.
//!
//! What is not installed is skipped; with `DRIVERS=all` in the environment that is a failure.
//! `.ci/run` installs it below `target/drivers`.

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use crate::{
    MACHINE,
    common::{
        PATIENCE, TestServer, python,
        skip::{NOT_INSTALLED, skip_missing},
    },
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/external/clients")
}

/// Starts a script on the ports of a server. None if there is no Python.
fn start(server: &TestServer, script: &str, args: &[&str]) -> Option<Child> {
    let mut command = Command::new(python());
    let ports = [server.http, server.addr].map(|addr| addr.port().to_string());
    command.arg(folder().join(script)).args(ports).args(args).env("PYTHONDONTWRITEBYTECODE", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true).spawn().ok()
}

/// Waits for the end of a script, which must be a good one if all of it is installed.
async fn finish(script: &str, child: Option<Child>) {
    let output = match child {
        Some(child) => Some(timeout(6 * PATIENCE, child.wait_with_output()).await),
        None => None,
    };
    let output: Option<Output> = output.map(|in_time| in_time.expect("an end in time").unwrap());
    let Some(output) = output.filter(|output| output.status.code() != Some(NOT_INSTALLED)) else {
        return skip_missing(&format!("what {script} needs"));
    };
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{script}: {}\n{}", output.status, String::from_utf8_lossy(&said));
}

macro_rules! scripts {
    ($($test:ident: $script:literal $flags:tt $args:tt,)*) => {
        $(#[tokio::test]
        async fn $test() {
            let _beside_others = MACHINE.read().await;
            let server = TestServer::with(&$flags);
            finish($script, start(&server, $script, &$args)).await;
        })*

        #[test]
        fn every_script_is_run() {
            let known = ["steps.py", "generated.py", "openapi.ts", "grpc_stopping.py", $($script,)*];
            for entry in std::fs::read_dir(folder()).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(name.starts_with("__") || known.contains(&name.as_str()), "{name}");
            }
        }
    };
}

scripts! {
    grpc_leases: "grpc_own.py" ["--max-leases", "50"] ["50"],
    grpc_sessions: "grpc_hold.py" [] [],
    grpc_reflection_and_health: "grpc_reflection_.py" [] [],
    netlocker: "netlocker.py" [] [],
    sharelock: "sharelock.py" [] [],
    waelson: "waelson.py" [] [],
    doubledutch: "doubledutch.py" [] [],
    locking: "locking.py" [] [],
    openapi: "openapi.py" [] [],
    openapi_python_client: "openapi_python.py" [] [],
    datamodel_code_generator: "openapi_models.py" [] [],
    openapi_typescript: "openapi_typescript.py" [] [],
}

/// The script says when the server is to stop, and sees what becomes of what it has.
#[tokio::test]
async fn grpc_during_shutdown() {
    let _beside_others = MACHINE.read().await;
    let mut server = TestServer::start();
    let mut child = start(&server, "grpc_stopping.py", &[]);
    if let Some(child) = &mut child {
        // One line is read here; there is no more that could be lost.
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let word = timeout(PATIENCE, said.next_line()).await.expect("a word in time").unwrap();
        if word.is_some() {
            server.stop();
        }
    }
    finish("grpc_stopping.py", child).await;
    server.stop();
    server.stopped().await;
}
