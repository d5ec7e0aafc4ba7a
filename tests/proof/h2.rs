//! HTTP/2 as it is on the wire, for what no library of clients sends.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::common::PATIENCE;

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const WINDOW_UPDATE: u8 = 8;

/// The end of what a stream sends.
pub const END: u8 = 1;
/// The end of a head.
pub const END_HEAD: u8 = 4;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Headers as literals that nobody keeps.
pub fn head(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = Vec::new();
    for (name, value) in headers {
        head.push(0);
        for text in [name, value] {
            put_length(&mut head, text.len());
            head.extend(text.as_bytes());
        }
    }
    head
}

/// A number with a prefix of 7 bits.
fn put_length(head: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(127) else { return head.push(u8::try_from(length).unwrap()) };
    head.push(127);
    while rest >= 128 {
        head.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    head.push(u8::try_from(rest).unwrap());
}

/// A connection of which only the beginning is said.
pub struct Raw(pub TcpStream);

impl Raw {
    /// `window`: how much of each answer it takes.
    pub async fn connect(http: SocketAddr, window: u32) -> Self {
        Self::begin(TcpStream::connect(http).await.unwrap(), window).await
    }

    /// The same on a connection that is there.
    pub async fn begin(mut stream: TcpStream, window: u32) -> Self {
        let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &settings)).await.unwrap();
        Self(stream)
    }

    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(PATIENCE, self.0.write_all(bytes)).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The kind, the stream and the payload of the next frame; none at the end.
    pub async fn next(&mut self) -> Option<(u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        timeout(PATIENCE, self.0.read_exact(&mut head)).await.expect("a frame in time").ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }
}
