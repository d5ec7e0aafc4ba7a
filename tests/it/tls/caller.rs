//! A client by TLS, on each wire.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::common::{
    Addrs, PATIENCE,
    authority::{connect, shaken},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Line,
    MySql,
    Http,
}

pub const WIRES: [Wire; 3] = [Wire::Line, Wire::MySql, Wire::Http];

/// PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH, DEPRECATE_EOF.
const MYSQL: u32 = 1 << 9 | 1 << 15 | 1 << 19 | 1 << 24;
const MYSQL_SSL: u32 = 1 << 11;

pub struct Caller {
    wire: Wire,
    pub io: TlsStream<TcpStream>,
}

impl Caller {
    pub async fn come(wire: Wire, addrs: Addrs, tls: &TlsConnector) -> io::Result<Self> {
        let io = match wire {
            Wire::Line => connect(tls, addrs.line).await?,
            Wire::Http => connect(tls, addrs.http).await?,
            Wire::MySql => log_in(addrs, tls).await?,
        };
        Ok(Self { wire, io })
    }

    /// Asks for a lock and waits for the answer: `1`, `0`, or something else in case of an error.
    pub async fn get(&mut self, name: &str, wait: u32) -> io::Result<String> {
        self.send(name, wait).await?;
        self.answer().await
    }

    pub async fn send(&mut self, name: &str, wait: u32) -> io::Result<()> {
        let bytes = match self.wire {
            Wire::Line => format!("GET_LOCK {name} {wait}\n").into_bytes(),
            Wire::MySql => packet(0, format!("\x03SELECT GET_LOCK('{name}', {wait})").as_bytes()),
            Wire::Http => {
                let wish = serde_json::json!({ "resourceName": name, "waitMs": wait * 1000 }).to_string();
                let length = wish.len();
                format!(
                    "POST /api/lock/acquire HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{wish}"
                )
                .into_bytes()
            }
        };
        self.io.write_all(&bytes).await?;
        self.io.flush().await
    }

    pub async fn answer(&mut self) -> io::Result<String> {
        timeout(PATIENCE, self.read()).await.expect("an answer in time")
    }

    async fn read(&mut self) -> io::Result<String> {
        match self.wire {
            Wire::Line => Ok(until(&mut self.io, "\n").await?.trim_end().to_owned()),
            Wire::MySql => {
                let mut packets = Vec::new();
                // The number of columns, the column, the row, the end.
                for _ in 0..4 {
                    packets.push(read_packet(&mut self.io).await?);
                }
                Ok(String::from_utf8_lossy(&packets[2][1..]).into_owned())
            }
            Wire::Http => {
                let head = until(&mut self.io, "\r\n\r\n").await?;
                let taken = u8::from(head.starts_with("HTTP/1.1 200"));
                Ok(taken.to_string())
            }
        }
    }
}

async fn until(io: &mut TlsStream<TcpStream>, end: &str) -> io::Result<String> {
    let mut text = Vec::new();
    while !text.ends_with(end.as_bytes()) {
        text.push(io.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

pub fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let [a, b, c, ..] = payload.len().to_le_bytes();
    [&[a, b, c, sequence], payload].concat()
}

pub async fn read_packet(io: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Vec<u8>> {
    // Behind the length, of three bytes, stands the number of the packet.
    let length = io.read_u32_le().await? & 0xFF_FFFF;
    let mut payload = vec![0; length.try_into().unwrap()];
    io.read_exact(&mut payload).await?;
    Ok(payload)
}

fn start_of_login() -> Vec<u8> {
    let mut start = (MYSQL | MYSQL_SSL).to_le_bytes().to_vec();
    start.extend([0, 0, 0, 1, 255]);
    start.extend([0; 23]);
    start
}

async fn log_in(addrs: Addrs, tls: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
    let mut stream = TcpStream::connect(addrs.mysql).await?;
    read_packet(&mut stream).await?;
    stream.write_all(&packet(1, &start_of_login())).await?;
    let mut io = shaken(tls, stream).await?;
    let login = [&start_of_login()[..], b"root\0\0caching_sha2_password\0"].concat();
    io.write_all(&packet(2, &login)).await?;
    assert_eq!(read_packet(&mut io).await?[0], 0, "an OK");
    Ok(io)
}
