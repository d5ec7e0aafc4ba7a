//! Clients that take and free leases one after the other, and how long each step takes them.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use getlockd::internal::grpc::proto::{AcquireRequest, ReleaseRequest, locks_client::LocksClient};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::transport::Channel;

use super::common::http;

/// How long each round runs, and how long before it counts.
const TIME: Duration = Duration::from_secs(2);
const FIRST: Duration = Duration::from_millis(300);

/// Long enough that none ends by itself.
const TTL_MS: u64 = 60_000;

/// What takes one lease, and frees it.
pub trait Client {
    async fn take(&mut self);
    async fn free(&mut self);
}

/// What a round has shown: of all clients together, from the quickest step to the slowest.
pub struct Round {
    pub pairs_a_second: f64,
    /// With those that came before they count.
    pub all_pairs: usize,
    take: Vec<Duration>,
    free: Vec<Duration>,
}

impl Round {
    /// Lets so many clients work.
    pub async fn of<C: Client>(clients: usize, connect: impl AsyncFn(usize) -> C) -> Self {
        let mut all = Vec::new();
        for at in 0..clients {
            all.push(connect(at).await);
        }
        let start = Instant::now() + FIRST;
        let steps = join_all(all.into_iter().map(|client| work(client, start))).await;
        let all_pairs = steps.iter().map(|(pairs, _)| pairs).sum();
        let counted = steps.into_iter().flat_map(|(_, steps)| steps);
        let (mut take, mut free): (Vec<_>, Vec<_>) = counted.unzip();
        take.sort();
        free.sort();
        #[expect(clippy::cast_precision_loss)]
        let pairs_a_second = take.len() as f64 / TIME.as_secs_f64();
        Self { pairs_a_second, all_pairs, take, free }
    }

    /// So many thousandths of the steps took no longer, in milliseconds: to take a lease, and to free it.
    pub fn within(&self, thousandths: usize) -> [f64; 2] {
        [&self.take, &self.free].map(|took| took[took.len() * thousandths / 1000].as_secs_f64() * 1e3)
    }
}

/// How many pairs it did, and the steps of those that count.
async fn work(mut client: impl Client, start: Instant) -> (usize, Vec<(Duration, Duration)>) {
    let (mut pairs, mut steps) = (0, Vec::new());
    loop {
        let begun = Instant::now();
        client.take().await;
        let taken = Instant::now();
        client.free().await;
        let freed = Instant::now();
        pairs += 1;
        if begun >= start {
            steps.push((taken - begun, freed - taken));
        }
        if freed >= start + TIME {
            return (pairs, steps);
        }
    }
}

/// Leases by HTTP, over a connection that stays. As little as possible is done here: the server runs on the same cores.
pub struct Http {
    stream: TcpStream,
    name: String,
    token: String,
    reply: Vec<u8>,
}

impl Http {
    pub async fn connect(port: u16, name: String) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, name, token: String::new(), reply: Vec::new() }
    }

    /// Takes a lease of this name.
    pub async fn take_named(&mut self, name: &str, ttl_ms: u64) {
        self.ask("acquire", &format!(r#"{{"resourceName":"{name}","ttlMs":{ttl_ms}}}"#)).await;
        self.token = http::lock_token(std::str::from_utf8(&self.reply).unwrap());
    }

    async fn ask(&mut self, path: &str, body: &str) {
        let length = body.len();
        let request = format!(
            "POST /api/lock/{path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        self.reply.clear();
        while !is_whole(&self.reply) {
            assert!(self.stream.read_buf(&mut self.reply).await.unwrap() > 0, "the server has gone");
        }
        assert!(self.reply.starts_with(b"HTTP/1.1 200"), "{}", self.reply.escape_ascii());
    }
}

fn is_whole(reply: &[u8]) -> bool {
    let text = std::str::from_utf8(reply).unwrap();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    body.len() == length.parse::<usize>().unwrap()
}

impl Client for Http {
    async fn take(&mut self) {
        let name = std::mem::take(&mut self.name);
        self.take_named(&name, TTL_MS).await;
        self.name = name;
    }

    async fn free(&mut self) {
        let body = format!(r#"{{"resourceName":"{}","lockToken":"{}"}}"#, self.name, self.token);
        self.ask("release", &body).await;
    }
}

/// Leases by gRPC, over a connection of its own.
pub struct Grpc {
    locks: LocksClient<Channel>,
    name: String,
    lease_token: String,
}

impl Grpc {
    pub async fn connect(port: u16, name: String) -> Self {
        let channel = Channel::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
        let locks = LocksClient::new(channel.connect().await.unwrap());
        Self { locks, name, lease_token: String::new() }
    }
}

impl Client for Grpc {
    async fn take(&mut self) {
        let wanted = AcquireRequest { name: self.name.clone(), ttl_ms: Some(TTL_MS), ..Default::default() };
        self.lease_token = self.locks.acquire(wanted).await.unwrap().into_inner().lease_token;
    }

    async fn free(&mut self) {
        let lease_token = std::mem::take(&mut self.lease_token);
        self.locks.release(ReleaseRequest { name: self.name.clone(), lease_token }).await.unwrap();
    }
}
