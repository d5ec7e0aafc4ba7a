//! `getlockd ping`: whether a server answers, for health checks.

use std::{
    io::{self, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::config::PingTarget;

/// A health check that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// No answer to these requests is longer.
const MAX_ANSWER: u64 = 4096;

/// The request, and the answers of a server that is well. One that is full is well, and so is one that takes TLS only: a
/// health check needs neither a certificate nor a password.
type Question = (&'static str, [&'static str; 3]);
const LINE: Question = ("PING\n", ["PONG\n", "ERROR LIMIT ", "this port requires TLS"]);
const HTTP: Question = (
    "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    ["\r\n\r\nok", "connection limit reached", "this port requires TLS"],
);

/// Asks a server whether it is well.
///
/// # Errors
/// A line that says what went wrong.
pub fn ping(asked: PingTarget) -> Result<(), String> {
    let (addr, question) = match asked {
        PingTarget::Line(addr) => (addr, LINE),
        PingTarget::Http(addr) => (addr, HTTP),
    };
    let answer = ask(addr, question).map_err(|error| format!("no answer from {addr}: {error}"))?;
    if is_well(&answer, question) {
        Ok(())
    } else {
        Err(format!("{addr} is no getlockd: it said {answer:?}"))
    }
}

fn is_well(answer: &str, (_, well): Question) -> bool {
    well.iter().any(|words| answer.contains(words))
}

/// The answer, up to the words that decide.
fn ask(addr: SocketAddr, question: Question) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(question.0.as_bytes())?;
    let mut answer = String::new();
    for byte in BufReader::new(stream).take(MAX_ANSWER).bytes() {
        answer.push(byte?.into());
        if is_well(&answer, question) {
            break;
        }
    }
    Ok(answer)
}
