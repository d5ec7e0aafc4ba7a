//! `getlockd ping`: whether a server answers, for health checks.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::Duration,
};

use crate::config::Listen;

/// A health check that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks a server's line protocol for a sign of life.
///
/// # Errors
/// A line that says what went wrong.
pub fn ping(server: Listen) -> Result<(), String> {
    let Listen::At(addr) = server else { return Err("the line protocol is off".to_owned()) };
    let answer = ask(addr).map_err(|error| format!("no answer from {addr}: {error}"))?;
    // One that is full answers too, and is well.
    let answers = answer == "PONG\n" || answer.starts_with("ERROR LIMIT ");
    if answers { Ok(()) } else { Err(format!("{addr} is no getlockd: it said {answer:?}")) }
}

fn ask(addr: std::net::SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"PING\n")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer)
}
