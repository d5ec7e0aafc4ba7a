//! Tools and drivers as they are. What is not installed is skipped; with `DRIVERS=all` in the
//! environment that is a failure.

use std::{
    path::Path,
    process::{Output, Stdio},
};

use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use super::caller::{Caller, Wire};
use crate::common::{
    Addrs, PATIENCE, TestServer,
    authority::{Authority, text},
    program::{Program, next_with},
    python,
    skip::{NOT_INSTALLED, skip_missing},
};

/// What a tool said, to this input. None if it is not installed.
async fn said(program: impl AsRef<Path>, args: &[&str], input: &str) -> Option<String> {
    let program = program.as_ref();
    let output = output(program, args, input).await;
    let Some(output) = output.filter(|output| output.status.code() != Some(NOT_INSTALLED)) else {
        skip_missing(&format!("{} {}", program.display(), args[0]));
        return None;
    };
    let [said, errors] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(output.status.success(), "{} {args:?}: {}\n{said}\n{errors}", program.display(), output.status);
    Some(said)
}

async fn output(program: &Path, args: &[&str], input: &str) -> Option<Output> {
    let mut command = Command::new(program);
    command.args(args).env("PYTHONDONTWRITEBYTECODE", "1").kill_on_drop(true);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().ok()?;
    let mut stdin = child.stdin.take().unwrap();
    // One that has ended already does not need it.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    Some(timeout(3 * PATIENCE, child.wait_with_output()).await.expect("an end in time").unwrap())
}

fn start() -> (Authority, TestServer) {
    let authority = Authority::new();
    let server = TestServer::with(&authority.sign("server").flags(&[]));
    (authority, server)
}

#[tokio::test]
async fn openssl_s_client() {
    let (authority, server) = start();
    let (addr, ca) = (server.addr.to_string(), authority.ca());
    let verify = ["-CAfile", text(&ca), "-verify_return_error", "-verify_ip", "127.0.0.1"];
    for version in ["-tls1_2", "-tls1_3"] {
        let args = [&["s_client", "-quiet", version, "-connect", &addr], &verify[..]].concat();
        let Some(said) = said("openssl", &args, "GET_LOCK nightly 10\r\nQUIT\r\n").await else { return };
        assert_eq!(said, "1\r\nBYE\r\n");
    }
}

#[tokio::test]
async fn mariadb_command_line() {
    let (authority, server) = start();
    let (port, ca) = (server.mysql.port().to_string(), authority.ca());
    let ca = format!("--ssl-ca={}", text(&ca));
    let args = ["-h", "127.0.0.1", "-P", &port, "-u", "root", &ca, "--ssl-verify-server-cert"];
    let asking = "SELECT GET_LOCK('nightly', 0);\nstatus\n";
    let args = [&args[..], &["--batch", "--skip-column-names"]].concat();
    let Some(said) = said("mariadb", &args, asking).await else { return };
    assert!(said.starts_with("1\n") && said.contains("Cipher in use is TLS_AES_"), "{said}");
    let plain =
        output(Path::new("mariadb"), &["-h", "127.0.0.1", "-P", &port, "--skip-ssl"], "").await.unwrap();
    let refused = String::from_utf8(plain.stderr).unwrap();
    assert!(refused.contains("ERROR 3159 (HY000)"), "{refused}");
}

#[tokio::test]
async fn curl_by_http_1_and_http_2() {
    let (authority, server) = start();
    let (url, ca) = (format!("https://localhost:{}/healthz", server.http.port()), authority.ca());
    for (version, number) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let args = ["-sS", version, "-w", " %{http_version} %{http_code}", "--cacert", text(&ca), &url];
        let Some(said) = said("curl", &args, "").await else { return };
        assert!(said.ends_with(&format!(" {number} 200")), "{said}");
    }
}

/// A script of this folder, with a port and the certificate of the authority.
async fn script(name: &str, port: impl Fn(Addrs) -> u16) {
    let (authority, server) = start();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls");
    let (script, port, ca) = (folder.join(name), port(server.addrs()).to_string(), authority.ca());
    said(python(), &[text(&script), &port, text(&ca)], "").await;
}

#[tokio::test]
async fn grpcio() {
    script("grpc_.py", |addrs| addrs.http.port()).await;
}

#[tokio::test]
async fn pymysql() {
    script("pymysql_.py", |addrs| addrs.mysql.port()).await;
}

#[tokio::test]
async fn mysql_connector_python() {
    script("mysql_connector.py", |addrs| addrs.mysql.port()).await;
}

#[tokio::test]
async fn sighup_reloads_the_certificate() {
    let authority = Authority::new();
    let files = authority.sign("server");
    let (mut program, mysql, http) = Program::on_all_wires(&files.flags(&[]));
    let addrs = Addrs { line: program.addr, mysql, http };
    let client = authority.client(None);
    let mut old = Caller::come(Wire::Line, addrs, &client).await.unwrap();
    assert_eq!(old.get("x", 0).await.unwrap(), "1");

    let second = authority.sign("server").der();
    program.signal("-HUP");
    next_with(program.log.as_mut().unwrap(), "reloaded");
    let mut new = Caller::come(Wire::Line, addrs, &client).await.unwrap();
    assert_eq!(new.io.get_ref().1.peer_certificates().unwrap()[0], second);
    assert_eq!(new.get("x", 0).await.unwrap(), "0");
    assert_eq!(old.get("x", 0).await.unwrap(), "1");

    std::fs::remove_file(&files.cert).unwrap();
    program.signal("-HUP");
    let told = next_with(program.log.as_mut().unwrap(), "the old one stays in use");
    assert!(told.contains("cannot read ") && told.contains("server.pem"), "{told}");
    assert_eq!(old.get("x", 0).await.unwrap(), "1");
}

#[test]
fn sighup_without_files_changes_nothing() {
    let mut program = Program::start(&[]);
    program.signal("-HUP");
    next_with(program.log.as_mut().unwrap(), "nothing to reload");
    program.signal("-TERM");
    assert_eq!(program.wait().0.code(), Some(0));
}
