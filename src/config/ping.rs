//! `getlockd ping`: checks whether a server answers, for health checks.

use std::{
    io::{self, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::config::PingTarget;

/// How long connecting, and each read, may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most bytes that are read of an answer.
const MAX_ANSWER: u64 = 4096;

/// The request, and the answers of a healthy server. A full server is healthy, and so is one that accepts only TLS: a
/// health check needs neither a certificate nor a password.
type Question = (&'static str, [&'static str; 3]);
const LINE: Question = ("PING\n", ["PONG\n", "ERROR LIMIT ", "this port requires TLS"]);
const HTTP: Question = (
    "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    ["\r\n\r\nok", "connection limit reached", "this port requires TLS"],
);

/// Asks a server whether it is healthy.
///
/// # Errors
/// A line that says what went wrong, and what to do.
pub fn ping(asked: PingTarget) -> Result<(), String> {
    let (addr, question) = match asked {
        PingTarget::Line(addr) => (addr, LINE),
        PingTarget::Http(addr) => (addr, HTTP),
    };
    let answer = ask(addr, question).map_err(|error| format!("no answer from {addr}: {error}"))?;
    if is_well(&answer, question) { Ok(()) } else { Err(mistake(asked, &answer)) }
}

/// What to do about an answer that is not one of a healthy server.
fn mistake(asked: PingTarget, answer: &str) -> String {
    match asked {
        PingTarget::Line(addr) if answer.starts_with("HTTP/") => {
            format!("{addr} speaks HTTP and not the line protocol; ask http://{addr}")
        }
        PingTarget::Line(addr) if is_mysql(answer) => {
            format!("{addr} speaks MySQL's protocol; ask the port of the line protocol, or of HTTP")
        }
        PingTarget::Line(addr) | PingTarget::Http(addr) => {
            format!("{addr} is not a getlockd server: it answered {answer:?}")
        }
    }
}

fn is_well(answer: &str, (_, well): Question) -> bool {
    well.iter().any(|words| answer.contains(words))
}

/// Whether an answer is the first packet of MySQL's protocol: behind its length and the number 0, a greeting or an error.
fn is_mysql(answer: &str) -> bool {
    let number_and_kind: String = answer.chars().skip(3).take(2).collect();
    ["\0\n", "\0\u{ff}"].contains(&&*number_and_kind)
}

/// Sends the request and returns the answer, up to the words that decide.
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
