//! Connections of the line wire that take and free names of their own, from a thread of their own.

use std::{
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
};

use super::Server;

pub struct Traffic {
    progress: Arc<Progress>,
    thread: JoinHandle<Vec<TcpStream>>,
}

#[derive(Default)]
struct Progress {
    stop: AtomicBool,
    pairs: AtomicU64,
}

impl Traffic {
    /// All connections work in turn, `hands` of them at a time, and each sends `depth` pairs at once;
    /// at depth 1 each command waits for its reply.
    pub fn start(streams: Vec<TcpStream>, hands: usize, depth: usize) -> Self {
        let progress = Arc::new(Progress::default());
        let work = work(streams, hands, depth, progress.clone());
        let run =
            || tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap().block_on(work);
        let traffic = Self { progress, thread: thread::spawn(run) };
        while traffic.pairs() == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        traffic
    }

    /// How many pairs were done.
    pub fn pairs(&self) -> u64 {
        self.progress.pairs.load(Ordering::Relaxed)
    }

    /// CPU time of the server in microseconds for a pair, in the time to come.
    pub fn cost(&self, server: &Server, time: Duration) -> f64 {
        let (cpu, before) = (server.cpu(), self.pairs());
        thread::sleep(time);
        let (cpu, after) = (server.cpu().saturating_sub(cpu), self.pairs());
        #[expect(clippy::cast_precision_loss)]
        let pairs = (after - before) as f64;
        cpu.as_secs_f64() * 1e6 / pairs
    }

    /// Ends it; its connections go on.
    pub fn stop(self) -> Vec<TcpStream> {
        self.progress.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

async fn work(
    streams: Vec<TcpStream>,
    hands: usize,
    depth: usize,
    progress: Arc<Progress>,
) -> Vec<TcpStream> {
    let mut shares: Vec<_> = (0..hands).map(|_| Vec::new()).collect();
    for (at, stream) in streams.into_iter().enumerate() {
        stream.set_nonblocking(true).unwrap();
        shares[at % hands].push((tokio::net::TcpStream::from_std(stream).unwrap(), bursts(at, depth)));
    }
    let working: JoinSet<_> =
        shares.into_iter().map(|share| take_and_free(share, depth, progress.clone())).collect();
    let back = |stream: tokio::net::TcpStream| {
        let stream = stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream
    };
    working.join_all().await.into_iter().flatten().map(back).collect()
}

/// What is sent before a reply is awaited.
fn bursts(at: usize, depth: usize) -> Vec<String> {
    let (take, free) = (format!("GET_LOCK own{at} 60\n"), format!("RELEASE_LOCK own{at}\n"));
    if depth == 1 { vec![take, free] } else { vec![[take, free].concat().repeat(depth)] }
}

async fn take_and_free(
    mut share: Vec<(tokio::net::TcpStream, Vec<String>)>,
    depth: usize,
    progress: Arc<Progress>,
) -> Vec<tokio::net::TcpStream> {
    while !progress.stop.load(Ordering::Relaxed) {
        for (stream, bursts) in &mut share {
            for burst in bursts {
                let wanted = "1\n".repeat(burst.lines().count());
                let mut reply = vec![0; wanted.len()];
                stream.write_all(burst.as_bytes()).await.unwrap();
                stream.read_exact(&mut reply).await.unwrap();
                assert_eq!(reply, wanted.as_bytes());
            }
            progress.pairs.fetch_add(depth as u64, Ordering::Relaxed);
        }
    }
    share.into_iter().map(|(stream, _)| stream).collect()
}
