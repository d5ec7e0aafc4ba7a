//! The load of the end-to-end benches: connections that take a lock and free it, over any wire.

use std::{
    net::TcpStream,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use super::Server;

const TIME: Duration = Duration::from_millis(600);

#[derive(Clone, Copy)]
pub struct Load {
    pub connections: usize,
    /// Pairs that each sends at once. At 1 it works while it has the lock: each command waits for its
    /// reply.
    pub depth: usize,
    /// Whether all want one name.
    pub one_name: bool,
    /// A thread for each connection, where one process with an event loop is the rule.
    pub threads: bool,
}

/// What a load has cost.
#[derive(Clone)]
pub struct Cost {
    /// CPU time of the server in microseconds for a pair.
    pub micros: f64,
    pub pairs_a_second: f64,
    /// What part of all pairs the busiest connection got.
    pub busiest: f64,
}

/// One connection at work.
pub type Client = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What can put a load on the server at a port.
pub trait Clients: Sync {
    fn start(&self, port: u16, load: Load, tally: &Arc<Tally>) -> Vec<Client>;
}

/// What is sent over a wire, and how replies are told apart.
#[derive(Clone, Copy)]
pub struct Wire {
    pub log_in: fn(&mut TcpStream),
    /// Of a name, by the client of this number.
    pub take: fn(&str, usize) -> Vec<u8>,
    pub free: fn(&str, usize) -> Vec<u8>,
    /// The length of the reply that stands first and whether it is a yes; None until all of it is there.
    pub reply: fn(&[u8]) -> Option<(usize, bool)>,
    /// Before a client asks again that was told no.
    pub pause: Duration,
}

/// Counts pairs.
pub struct Tally {
    stop: AtomicBool,
    ready: AtomicUsize,
    pairs: Vec<AtomicU64>,
}

impl Tally {
    /// What a client has to say once it has logged in.
    pub fn ready(&self) {
        self.ready.fetch_add(1, Relaxed);
    }

    pub fn goes_on(&self) -> bool {
        !self.stop.load(Relaxed)
    }

    pub fn add(&self, client: usize, pairs: usize) {
        self.pairs[client].fetch_add(pairs as u64, Relaxed);
    }

    fn pairs(&self) -> Vec<u64> {
        self.pairs.iter().map(|pairs| pairs.load(Relaxed)).collect()
    }

    fn is_warm(&self) -> bool {
        self.ready.load(Relaxed) == self.pairs.len()
            && self.pairs().iter().sum::<u64>() >= self.pairs.len() as u64
    }
}

impl Load {
    pub fn name(self, client: usize) -> String {
        if self.one_name { "one".to_owned() } else { format!("own{client}") }
    }

    pub fn put(self, clients: &dyn Clients, server: &Server, port: u16) -> Cost {
        let pairs = (0..self.connections).map(|_| AtomicU64::new(0)).collect();
        let tally = Arc::new(Tally { stop: AtomicBool::new(false), ready: AtomicUsize::new(0), pairs });
        let work = clients.start(port, self, &tally);
        let threads: Vec<_> = if self.threads {
            work.into_iter().map(|work| thread::spawn(|| run(work))).collect()
        } else {
            let all = async { drop(work.into_iter().collect::<JoinSet<()>>().join_all().await) };
            vec![thread::spawn(|| run(all))]
        };
        while !tally.is_warm() {
            assert!(!threads.iter().any(thread::JoinHandle::is_finished), "a client has ended");
            thread::sleep(Duration::from_millis(1));
        }
        let cost = cost(&tally, server);
        tally.stop.store(true, Relaxed);
        for thread in threads {
            thread.join().unwrap();
        }
        cost
    }
}

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
}

#[expect(clippy::cast_precision_loss)]
fn cost(tally: &Tally, server: &Server) -> Cost {
    let (start, cpu, before) = (Instant::now(), server.cpu(), tally.pairs());
    thread::sleep(TIME);
    let (time, cpu, after) = (start.elapsed(), server.cpu().saturating_sub(cpu), tally.pairs());
    let pairs: Vec<_> = after.iter().zip(before).map(|(after, before)| (after - before) as f64).collect();
    let all: f64 = pairs.iter().sum();
    Cost {
        micros: cpu.as_secs_f64() * 1e6 / all,
        pairs_a_second: all / time.as_secs_f64(),
        busiest: pairs.into_iter().fold(0.0, f64::max) / all,
    }
}

impl Clients for Wire {
    fn start(&self, port: u16, load: Load, tally: &Arc<Tally>) -> Vec<Client> {
        let start = |at| -> Client {
            let stream = self.connect(port);
            tally.ready();
            Box::pin(take_and_free(*self, stream, at, load, tally.clone()))
        };
        (0..load.connections).map(start).collect()
    }
}

impl Wire {
    fn connect(&self, port: u16) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        (self.log_in)(&mut stream);
        stream
    }

    /// One connection that does so many pairs, `depth` at once, and ends. What it sends finds the server
    /// asleep.
    pub fn pairs(self, server: &Server, port: u16, depth: usize, pairs: usize) {
        assert_eq!(pairs % depth, 0, "a part of what is sent at once");
        let stream = self.connect(port);
        run(async {
            let load = Load { connections: 1, depth, one_name: false, threads: false };
            let mut worker = Worker::of(self, stream, 0, load);
            for _ in 0..pairs / depth {
                worker.turn(|| server.until_asleep()).await;
            }
        });
    }
}

async fn take_and_free(wire: Wire, stream: TcpStream, at: usize, load: Load, tally: Arc<Tally>) {
    let mut worker = Worker::of(wire, stream, at, load);
    while tally.goes_on() {
        worker.turn(|| ()).await;
        tally.add(at, load.depth);
    }
}

/// A connection and what it sends.
struct Worker {
    connection: Connection,
    take: Vec<u8>,
    free: Vec<u8>,
    depth: usize,
    /// All pairs that are sent at once.
    all: Vec<u8>,
}

impl Worker {
    fn of(wire: Wire, stream: TcpStream, at: usize, load: Load) -> Self {
        let name = load.name(at);
        let (take, free) = ((wire.take)(&name, at), (wire.free)(&name, at));
        let all = [&take[..], &free].concat().repeat(load.depth);
        Self { connection: Connection::of(wire, stream), take, free, depth: load.depth, all }
    }

    /// As many pairs as are sent at once, and before each that is sent what is given.
    async fn turn(&mut self, before: impl Fn()) {
        before();
        if self.depth > 1 {
            assert!(self.connection.ask(&self.all, 2 * self.depth).await, "not all was granted");
        } else {
            while !self.connection.ask(&self.take, 1).await {
                self.connection.pause().await;
            }
            before();
            assert!(self.connection.ask(&self.free, 1).await, "it was not freed");
        }
    }
}

struct Connection {
    wire: Wire,
    stream: tokio::net::TcpStream,
    bytes: Vec<u8>,
}

impl Connection {
    fn of(wire: Wire, stream: TcpStream) -> Self {
        stream.set_nonblocking(true).unwrap();
        Self { wire, stream: tokio::net::TcpStream::from_std(stream).unwrap(), bytes: Vec::new() }
    }

    /// Whether each of the replies is a yes.
    async fn ask(&mut self, requests: &[u8], replies: usize) -> bool {
        self.stream.write_all(requests).await.unwrap();
        self.bytes.clear();
        let (mut at, mut seen, mut yes) = (0, 0, true);
        while seen < replies {
            if let Some((length, is_yes)) = (self.wire.reply)(&self.bytes[at..]) {
                (at, seen, yes) = (at + length, seen + 1, yes && is_yes);
            } else {
                let read = self.stream.read_buf(&mut self.bytes).await.unwrap();
                assert!(read > 0, "the server has gone");
            }
        }
        assert_eq!(at, self.bytes.len(), "more than was asked for");
        yes
    }

    async fn pause(&self) {
        if !self.wire.pause.is_zero() {
            tokio::time::sleep(self.wire.pause).await;
        }
    }
}
