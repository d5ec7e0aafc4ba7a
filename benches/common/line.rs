//! The line wire: what a load sends, and a client that waits for each reply.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    thread,
    time::Duration,
};

use super::load::Wire;

pub const LINE: Wire = Wire {
    log_in: |_| (),
    take: |name, _| format!("GET_LOCK {name} 60\n").into_bytes(),
    free: |name, _| format!("RELEASE_LOCK {name}\n").into_bytes(),
    reply,
    pause: Duration::ZERO,
};

fn reply(bytes: &[u8]) -> Option<(usize, bool)> {
    let end = bytes.iter().position(|c| *c == b'\n')?;
    Some((end + 1, &bytes[..end] == b"1"))
}

/// Lines that are sent at once.
const BURST: usize = 500;

pub struct Line(BufReader<TcpStream>);

impl Line {
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        // There may be very many of them.
        Self(BufReader::with_capacity(256, stream))
    }

    /// So many of them, each with a first reply.
    pub fn many(port: u16, count: usize) -> Vec<Self> {
        let mut lines: Vec<_> = (0..count).map(|_| Self::connect(port)).collect();
        for line in &mut lines {
            assert_eq!(line.ask("PING"), "PONG");
        }
        lines
    }

    pub fn send(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub fn reply(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.reply()
    }

    /// Takes locks named by the prefix and a number, of `numbers`.
    pub fn hold(&mut self, prefix: &str, numbers: std::ops::Range<usize>) {
        let numbers: Vec<_> = numbers.collect();
        for burst in numbers.chunks(BURST) {
            let lines = burst.iter().fold(String::new(), |mut lines, number| {
                writeln!(lines, "GET_LOCK {prefix}{number} 0").unwrap();
                lines
            });
            self.0.get_mut().write_all(lines.as_bytes()).unwrap();
            let mut replies = vec![0; 2 * burst.len()];
            self.0.read_exact(&mut replies).unwrap();
            assert_eq!(replies, b"1\n".repeat(burst.len()));
        }
    }

    /// A number of STATS.
    pub fn stat(&mut self, name: &str) -> usize {
        let stats = self.ask("STATS");
        assert_eq!(self.reply(), "END 1");
        let value = stats.split(' ').find_map(|stat| stat.strip_prefix(name)?.strip_prefix('='));
        value.unwrap().parse().unwrap()
    }

    /// Asks until a number of STATS is as wanted.
    pub fn until(&mut self, name: &str, pause: Duration, wanted: impl Fn(usize) -> bool) {
        while !wanted(self.stat(name)) {
            thread::sleep(pause);
        }
    }

    pub fn into_stream(self) -> TcpStream {
        self.0.into_inner()
    }
}
