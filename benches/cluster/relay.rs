//! The floor of a relay: an epoll loop that copies bytes between pairs of sockets, and knows nothing of them.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::SocketAddr,
    process::Command,
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};

use super::common::{Server, free_port};

const FROM: &str = "BARE_RELAY_FROM";
const TO: &str = "BARE_RELAY_TO";

/// A relay to this port, and its own.
pub fn start(to: u16) -> (Server, u16) {
    let from = free_port();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(FROM, from.to_string()).env(TO, to.to_string());
    (Server::start(command, from), from)
}

/// The floor is the bench's own program: becomes it where it was started as that.
pub fn become_relay_if_told() {
    let port = |key| std::env::var(key).ok().and_then(|port| port.parse::<u16>().ok());
    if let (Some(from), Some(to)) = (port(FROM), port(TO)) {
        relay(from, ([127, 0, 0, 1], to).into());
    }
}

/// A socket, what waits to be written to it, and the other one of its pair.
struct End {
    stream: TcpStream,
    waiting: Vec<u8>,
    other: Token,
}

fn relay(from: u16, to: SocketAddr) -> ! {
    let mut poll = Poll::new().unwrap();
    let mut listener = TcpListener::bind(([127, 0, 0, 1], from).into()).unwrap();
    poll.registry().register(&mut listener, Token(0), Interest::READABLE).unwrap();
    let (mut events, mut ends, mut last) = (Events::with_capacity(1024), HashMap::new(), 0);
    let mut space = vec![0; 16 * 1024];
    loop {
        poll.poll(&mut events, None).unwrap();
        for event in &events {
            if event.token() == Token(0) {
                while let Ok((client, _)) = listener.accept() {
                    let tokens = [Token(last + 1), Token(last + 2)];
                    last += 2;
                    let server = TcpStream::connect(to).unwrap();
                    for (mut stream, at) in [(client, 0), (server, 1)] {
                        stream.set_nodelay(true).unwrap();
                        let both = Interest::READABLE | Interest::WRITABLE;
                        poll.registry().register(&mut stream, tokens[at], both).unwrap();
                        ends.insert(tokens[at], End { stream, waiting: Vec::new(), other: tokens[1 - at] });
                    }
                }
                continue;
            }
            let is_open = !event.is_writable() || write_waiting(&mut ends, event.token());
            if !is_open || event.is_readable() && !copy(&mut ends, event.token(), &mut space) {
                let other = ends.remove(&event.token()).map(|end| end.other);
                other.and_then(|other| ends.remove(&other));
            }
        }
    }
}

/// False if the pair is to be closed.
fn copy(ends: &mut HashMap<Token, End>, from: Token, space: &mut [u8]) -> bool {
    loop {
        let Some(end) = ends.get_mut(&from) else { return true };
        let read = match end.stream.read(space) {
            Ok(0) => return false,
            Ok(read) => read,
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        };
        let to = end.other;
        let Some(other) = ends.get_mut(&to) else { return false };
        let mut written = 0;
        if other.waiting.is_empty() {
            match other.stream.write(&space[..read]) {
                Ok(count) => written = count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return false,
            }
        }
        other.waiting.extend(&space[written..read]);
        if read < space.len() {
            return true;
        }
    }
}

/// False if the pair is to be closed.
fn write_waiting(ends: &mut HashMap<Token, End>, to: Token) -> bool {
    let Some(end) = ends.get_mut(&to) else { return true };
    while !end.waiting.is_empty() {
        match end.stream.write(&end.waiting) {
            Ok(count) => drop(end.waiting.drain(..count)),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
    true
}
