//! Clients that take and free leases one after the other, and how long each step takes them, as the benches of what
//! makes leases durable show it.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use getlockd::internal::grpc::proto::{AcquireRequest, ReleaseRequest, locks_client::LocksClient};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tonic::transport::Channel;

use super::common::{http, median};

/// How long each round runs, and how long before it counts.
const TIME: Duration = Duration::from_secs(2);
const FIRST: Duration = Duration::from_millis(300);

/// Long enough that none ends by itself.
const TTL_MS: u64 = 60_000;

/// How long leases run that stay to the end of the bench and beyond.
const HOUR_MS: u64 = 3_600_000;
/// Connections that take them.
const HANDS: usize = 64;

/// What the goals allow: of the rate of a bare loop, and of its p99.
const LEAST_RATE: f64 = 0.5;
const MOST_P99: f64 = 3.0;

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

/// What `row` prints below `HEADS`.
pub const HEADS: &str =
    "                           pairs a second             take p50, p99    free p50, p99, ms";

/// The medians of rounds, without the end of the line.
pub fn row(name: &str, rounds: &[Round]) -> String {
    let (rate, least, most) = median(rounds.iter().map(|round| round.pairs_a_second).collect());
    let within = |step: usize, thousandths| {
        median(rounds.iter().map(|round| round.within(thousandths)[step]).collect()).0
    };
    let steps = [0, 1].map(|step| format!(" {:>6.2} {:>6.2}   ", within(step, 500), within(step, 990)));
    format!("{name:<26} {rate:>7.0} {:<18}{}", format!("({least:.0} to {most:.0})"), steps.concat())
}

/// The ratios to the rounds of a bare loop, which took turns with these.
pub fn beside(name: &str, rounds: &[Round], bare: &[Round]) -> String {
    let ratio = |of: &dyn Fn(&Round) -> f64| {
        median(rounds.iter().zip(bare).map(|(round, bare)| of(round) / of(bare)).collect())
    };
    let (rate, least, most) = ratio(&|round| round.pairs_a_second);
    let [(take, ..), (free, ..)] = [0, 1].map(|step| ratio(&|round| round.within(990)[step]));
    format!(
        "{name:<26} {rate:.2} ({least:.2} to {most:.2}) of the rate ({}), p99 {take:.2} and {free:.2} times ({})",
        goal(rate >= LEAST_RATE),
        goal(take <= MOST_P99 && free <= MOST_P99)
    )
}

pub fn goal(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}

/// Takes so many leases, of names of 11 bytes or less.
pub async fn take_many(port: u16, count: usize) {
    let each = count / HANDS + 1;
    join_all((0..HANDS).map(async |hand| {
        let mut client = Http::connect(port, String::new()).await;
        for lease in (hand * each..(hand + 1) * each).take_while(|lease| *lease < count) {
            client.take_named(&format!("lease-{lease}"), HOUR_MS).await;
        }
    }))
    .await;
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
    async fn take_named(&mut self, name: &str, ttl_ms: u64) {
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
