//! Leases by HTTP, over a connection that stays.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

/// Sends all its requests at once and reads the bodies of the replies.
pub struct Http(BufReader<TcpStream>);

impl Http {
    pub fn connect(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    /// Requests of a path below `/api/lock/` and a body.
    pub fn ask(&mut self, requests: &[(&str, String)]) -> Vec<String> {
        let write = |(path, body): &(&str, String)| {
            let length = body.len();
            format!(
                "POST /api/lock/{path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}"
            )
        };
        let all: String = requests.iter().map(write).collect();
        self.0.get_mut().write_all(all.as_bytes()).unwrap();
        requests.iter().map(|_| self.reply()).collect()
    }

    fn reply(&mut self) -> String {
        let (mut length, mut line) = (0, String::new());
        loop {
            line.clear();
            self.0.read_line(&mut line).unwrap();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).unwrap();
        String::from_utf8(body).unwrap()
    }
}

/// The token in the answer to who took a lease.
pub fn lock_token(reply: &str) -> String {
    reply.split_once(r#""lockToken":""#).unwrap().1[..32].to_owned()
}
