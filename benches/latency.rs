//! `cargo bench --bench latency`: how long a waiter waits once the lock is let go, and how long others
//! wait while a session with very many locks ends. Over the line wire, with sockets.
//!
//! Needs Linux. What was measured stands in benches/README.md.
#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout, reason = "a program for people")]

mod common;

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::{Server, line::Line, median, traffic::Traffic};

/// Waiters in a queue.
const QUEUES: [usize; 2] = [2, 1_000];
const ROUNDS: usize = 21;
/// Of each kind, in each round.
const SAMPLES: usize = 250;
/// Connections with names of their own, on a loaded server.
const OTHERS: usize = 32;

/// Locks of a session that ends, and how many such.
const HOLDS: usize = 100_000;
const ENDS: usize = 20;
/// As long nothing happens before each of them.
const CALM: Duration = Duration::from_millis(50);

fn main() {
    if common::is_only_asked() {
        return;
    }
    common::open_many_files();
    hand_overs();
    ends();
}

/// What is timed.
const KINDS: [&str; 4] = ["an echo beside", "PING", "RELEASE_LOCK", "close"];

/// In microseconds, of each kind.
type Times = [Vec<f64>; KINDS.len()];

fn hand_overs() {
    let mut echo = Line::connect(echo());
    let mut queues = QUEUES.map(Queue::new);
    println!("us to the reply; p50 and p99 are medians of {ROUNDS} rounds in turns of {SAMPLES} samples");
    for others in [0, OTHERS] {
        println!("\n{others} other connections at work");
        let head = |waiters| format!("{waiters:>5} waiters: p50     p99   p99.9");
        println!("{:<7}{}  {}  ratio of p99", "", head(QUEUES[0]), head(QUEUES[1]));
        let mut round = || [0, 1].map(|at| queues[at].round(&mut echo, others));
        let rounds: Vec<_> = (0..ROUNDS).map(|_| round()).collect();
        for (kind, what) in KINDS.iter().enumerate() {
            let of = |at: usize| rounds.iter().map(|round| round[at][kind].as_slice()).collect::<Vec<_>>();
            print_kind(what, percentiles(&of(0)), percentiles(&of(1)));
        }
    }
}

fn print_kind(what: &str, few: [f64; 3], many: [f64; 3]) {
    print!("{what:<14}");
    for [p50, p99, p999] in [few, many] {
        print!("{p50:>8.1} {p99:>7.1} {p999:>7.1}      ");
    }
    println!("{:>7.2}", many[1] / few[1]);
}

/// The 50th and the 99th, medians of rounds: a machine that is shared is busy with others for one time in
/// a hundred. The 99.9th of all.
fn percentiles(rounds: &[&[f64]]) -> [f64; 3] {
    let of_rounds = |per_mille| median(rounds.iter().map(|times| percentile(times, per_mille)).collect()).0;
    [of_rounds(500), of_rounds(990), percentile(&rounds.concat(), 999)]
}

fn percentile(times: &[f64], per_mille: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times[times.len() * per_mille / 1000]
}

/// The floor: a thread that sends back what it reads. Its port.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut space = [0; 64];
        while let Ok(read @ 1..) = stream.read(&mut space) {
            stream.write_all(&space[..read]).unwrap();
        }
    });
    port
}

/// A server with one lock: the first of the line holds it, the others wait in this order.
struct Queue {
    _server: Server,
    port: u16,
    line: VecDeque<Line>,
    /// Not in the queue.
    aside: Line,
}

impl Queue {
    fn new(waiters: usize) -> Self {
        let (server, port) = Server::getlockd("line", &[]);
        let mut holder = Line::connect(port);
        assert_eq!(holder.ask("GET_LOCK one 60"), "1");
        let (line, aside) = (VecDeque::from([holder]), Line::connect(port));
        let mut queue = Self { _server: server, port, line, aside };
        for _ in 0..waiters {
            queue.join(Line::connect(port));
        }
        queue
    }

    /// Resolves when it is in the queue.
    fn join(&mut self, mut line: Line) {
        line.send("GET_LOCK one -1");
        self.line.push_back(line);
        let waiters = self.line.len() - 1;
        self.aside.until("waiters", Duration::ZERO, |waiting| waiting == waiters);
    }

    fn round(&mut self, echo: &mut Line, others: usize) -> Times {
        let load = (others > 0).then(|| {
            let streams = Line::many(self.port, others).into_iter().map(Line::into_stream);
            Traffic::start(streams.collect(), others, 1)
        });
        let mut times = Times::default();
        for _ in 0..SAMPLES {
            let echo = time(|| drop(echo.ask("PING")));
            let ping = time(|| drop(self.aside.ask("PING")));
            let taken = [echo, ping, self.release(), self.close()];
            times.iter_mut().zip(taken).for_each(|(times, taken)| times.push(taken.as_secs_f64() * 1e6));
        }
        drop(load.map(Traffic::stop));
        times
    }

    /// The holder frees the lock and queues again.
    fn release(&mut self) -> Duration {
        let mut holder = self.line.pop_front().unwrap();
        let taken = time(|| {
            holder.send("RELEASE_LOCK one");
            assert_eq!(self.line[0].reply(), "1");
        });
        assert_eq!(holder.reply(), "1");
        self.join(holder);
        taken
    }

    /// The holder closes its connection; another queues.
    fn close(&mut self) -> Duration {
        let holder = self.line.pop_front().unwrap();
        let taken = time(|| {
            drop(holder);
            assert_eq!(self.line[0].reply(), "1");
        });
        self.join(Line::connect(self.port));
        taken
    }
}

fn time(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// How a session lets go of its locks: what is done, and how it is done.
type End = (&'static str, fn(Line));

fn ends() {
    let ends: [End; 2] = [
        ("it closes its connection", drop),
        ("it sends RELEASE_ALL_LOCKS", |mut line| {
            assert_eq!(line.ask("RELEASE_ALL_LOCKS"), HOLDS.to_string());
        }),
    ];
    println!(
        "\na session frees {HOLDS} locks: another one's slowest reply, ms; {ENDS} times: median (least to most)"
    );
    for (what, end) in ends {
        let seen = many_ends(end);
        println!("{what}");
        for (when, of) in WHEN {
            let (middle, least, most) = median(seen.iter().map(|ended| ended[of]).collect());
            println!("  {when:<28}{middle:>7.2}  ({least:.2} to {most:.2})");
        }
    }
}

/// Of an end, in milliseconds.
type Ended = [f64; 3];

const WHEN: [(&str, usize); 3] = [("calm, before", 0), ("meanwhile", 1), ("until all are free", 2)];

fn many_ends(end: fn(Line)) -> Vec<Ended> {
    let (_server, port) = Server::getlockd("line", &["--max-locks-per-session", &HOLDS.to_string()]);
    let stop = Arc::new(AtomicBool::new(false));
    let probe = {
        let stop = stop.clone();
        thread::spawn(move || back_to_back(port, &stop))
    };
    let moments: Vec<_> = (0..ENDS).map(|_| one_end(port, end)).collect();
    stop.store(true, Ordering::Relaxed);
    let replies = probe.join().unwrap();
    let slowest = |from: Instant, to: Instant| {
        let within = replies.iter().filter(|(sent, taken)| *sent <= to && *sent + *taken >= from);
        within.map(|(_, taken)| millis(*taken)).fold(0.0, f64::max)
    };
    let ended = |(from, to): (Instant, Instant)| {
        [slowest(from.checked_sub(CALM).unwrap(), from), slowest(from, to), millis(to - from)]
    };
    moments.into_iter().map(ended).collect()
}

/// One session takes its locks, is calm, and lets go of them: when, and when all were free.
fn one_end(port: u16, end: fn(Line)) -> (Instant, Instant) {
    let (mut line, mut watch) = (Line::connect(port), Line::connect(port));
    line.hold("held", 0..HOLDS);
    thread::sleep(2 * CALM);
    let start = Instant::now();
    end(line);
    // The other session may hold one.
    watch.until("locks", Duration::from_millis(1), |locks| locks <= 1);
    (start, Instant::now())
}

/// Another session's requests, each when the last is answered: when it was sent, and the time that its
/// reply took.
fn back_to_back(port: u16, stop: &AtomicBool) -> Vec<(Instant, Duration)> {
    let mut line = Line::connect(port);
    let mut replies = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        for (request, reply) in [("PING", "PONG"), ("GET_LOCK own 0", "1"), ("RELEASE_LOCK own", "1")] {
            let sent = Instant::now();
            assert_eq!(line.ask(request), reply);
            replies.push((sent, sent.elapsed()));
        }
    }
    replies
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
