//! A client of HTTP, one request a connection.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::PATIENCE;

/// A request that is on its way. Dropped, it hangs up.
pub struct Request {
    stream: TcpStream,
}

impl Request {
    pub async fn send(addr: SocketAddr, method: &str, path: &str, body: &str) -> Self {
        Self::send_as(addr, "", method, path, body).await
    }

    /// With this after `Authorization:`, unless it is empty.
    pub async fn send_as(addr: SocketAddr, login: &str, method: &str, path: &str, body: &str) -> Self {
        let login = if login.is_empty() { String::new() } else { format!("authorization: {login}\r\n") };
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{login}content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        Self { stream }
    }

    pub async fn send_more(&mut self, bytes: &str) {
        self.stream.write_all(bytes.as_bytes()).await.unwrap();
    }

    pub async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Its status and its body.
    pub async fn reply(mut self) -> (u16, String) {
        let mut reply = String::new();
        timeout(PATIENCE, self.stream.read_to_string(&mut reply)).await.expect("a reply in time").unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").expect("a head");
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

pub async fn get(addr: SocketAddr, path: &str) -> (u16, String) {
    Request::send(addr, "GET", path, "").await.reply().await
}

/// Posts JSON; the reply is JSON.
pub async fn post(addr: SocketAddr, path: &str, body: &serde_json::Value) -> (u16, serde_json::Value) {
    let (status, body) = Request::send(addr, "POST", path, &body.to_string()).await.reply().await;
    (status, serde_json::from_str(&body).unwrap())
}
