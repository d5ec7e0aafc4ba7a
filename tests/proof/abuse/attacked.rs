//! A server that is attacked, with a neighbour beside the attacker, and an echo server to compare the neighbour's
//! times with: how busy the machine is shows in both.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc, Mutex, Once,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::RwLockWriteGuard;

use crate::{
    MACHINE,
    common::{
        Addrs, Client, PATIENCE,
        mysql::Reply,
        program::{PROGRAM, Program},
    },
};

/// A server that may have 3 GB of addresses: one that asks for more is gone, with all locks.
pub(crate) struct Attacked {
    // Before the program: they end while it lives.
    neighbour: Beside,
    echo: Beside,
    pub(crate) program: Program,
    pub(crate) at: Addrs,
    /// When the last row was shown, in kB.
    memory: u64,
    /// One attack at a time: the times of a neighbour are of that one.
    _alone: RwLockWriteGuard<'static, ()>,
}

impl Attacked {
    pub(crate) async fn start(flags: &[&str]) -> Self {
        Self::with_address_space(3_000_000, flags).await
    }

    /// With so many kB of it.
    pub(crate) async fn with_address_space(size: u32, flags: &[&str]) -> Self {
        let alone = MACHINE.write().await;
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -v {size} && exec \"$0\" \"$@\""), PROGRAM]);
        let free = "127.0.0.1:0";
        let mut program =
            Program::spawn(command.args(["--line", free, "--mysql", free, "--http", free]).args(flags));
        let (line, [mysql, http]) = (program.addr, [(); 2].map(|()| program.next_addr()));
        let (neighbour, echo) = (Beside::a_server(line), Beside::an_echo());
        let memory = program.resident();
        Self { neighbour, echo, program, at: Addrs { line, mysql, http }, memory, _alone: alone }
    }

    /// A number of STATS.
    pub(crate) async fn stats(&self, key: &str) -> usize {
        let mut client = Client::connect(self.at.line).await;
        let stats = client.list("STATS").await.remove(0);
        let mut fields = stats.split(' ').filter_map(|field| field.split_once('='));
        fields.find(|(name, _)| *name == key).unwrap().1.parse().unwrap()
    }

    /// A row of the table: what was tried since the row before, and what the attacker was told.
    pub(crate) fn shows(&mut self, attack: &str, told: &str) {
        static HEAD: Once = Once::new();
        HEAD.call_once(|| {
            println!("\n| attack | neighbour: median, 99 %, worst | an echo beside it | memory before, after | the attacker is told |");
        });
        let [neighbour, echo] = [&self.neighbour, &self.echo].map(|beside| shown(beside.times()));
        let (before, after) = (self.memory, self.program.resident());
        let told: String = told.chars().take(90).collect();
        println!("\n| {attack} | {neighbour} | {echo} | {before} kB, {after} kB | {told} |");
        self.memory = after;
    }

    /// The neighbour leaves before what is to come.
    pub(crate) fn lets_the_neighbour_go(&mut self) {
        self.neighbour.leave();
    }

    /// Has it stop, once the neighbour has: the rest of its log.
    pub(crate) fn ends(mut self) -> String {
        self.lets_the_neighbour_go();
        let Self { program, .. } = self;
        program.signal("-TERM");
        let (status, log) = program.wait();
        assert!(status.success(), "{log}");
        log
    }

    /// The same as [`Self::shows`] with an answer by MySQL: its code, 0 if it is no error.
    pub(crate) fn told(&mut self, attack: &str, reply: &Reply) -> u16 {
        let (code, text) = match reply {
            Reply::Error { code, text, .. } => (*code, format!("{code}: {text}")),
            Reply::Ok { .. } => (0, "OK".to_owned()),
            Reply::Rows { .. } => (0, "rows".to_owned()),
        };
        self.shows(attack, &text);
        code
    }
}

/// The median, the 99th of a hundred and the worst, in milliseconds.
fn shown(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
    format!("{:.2}, {:.2}, {:.2} ms", at(50), at(99), at(100))
}

/// Somebody who asks two things, over and over, one after the other.
struct Beside {
    times: Arc<Mutex<Vec<Duration>>>,
    over: Arc<AtomicBool>,
    running: Option<JoinHandle<()>>,
}

impl Beside {
    /// Takes a lock and frees it, and keeps another one.
    fn a_server(line: SocketAddr) -> Self {
        let mut asked = Asked::of(line);
        // Where there are no users, everybody is let in.
        assert_eq!(asked.ask("AUTH neighbour 'secret of neighbour'"), "1");
        assert_eq!(asked.ask("GET_LOCK the_neighbours 0"), "1");
        let pair = ["GET_LOCK pair 0", "RELEASE_LOCK pair"];
        Self::start(asked, pair, ["1", "1"], |mut asked| {
            assert_eq!(asked.ask("RELEASE_LOCK the_neighbours"), "1", "it has what it had");
        })
    }

    fn an_echo() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            client.set_nodelay(true).unwrap();
            let mut said = [0; 64];
            while let Ok(length @ 1..) = client.read(&mut said) {
                client.write_all(&said[..length]).unwrap();
            }
        });
        Self::start(Asked::of(addr), ["one", "two"], ["one", "two"], drop)
    }

    fn start(mut asked: Asked, pair: [&'static str; 2], right: [&'static str; 2], end: fn(Asked)) -> Self {
        let (times, over) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (timed, is_over) = (times.clone(), over.clone());
        let running = thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let begin = Instant::now();
                assert_eq!(pair.map(|line| asked.ask(line)), right);
                timed.lock().unwrap().push(begin.elapsed());
                // It is one of many, and no load of its own.
                thread::sleep(Duration::from_millis(1));
            }
            end(asked);
        });
        Self { times, over, running: Some(running) }
    }

    /// The times since the last call, once there is one more.
    fn times(&self) -> Vec<Duration> {
        let so_far = self.times.lock().unwrap().len();
        while self.times.lock().unwrap().len() == so_far {
            let runs = self.running.as_ref().is_some_and(|running| !running.is_finished());
            assert!(runs, "the neighbour is served");
            thread::sleep(Duration::from_millis(1));
        }
        std::mem::take(&mut self.times.lock().unwrap())
    }
}

impl Beside {
    fn leave(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let was_served = self.running.take().is_none_or(|running| running.join().is_ok());
        assert!(thread::panicking() || was_served, "the neighbour was served to the end");
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.leave();
    }
}

struct Asked(BufReader<TcpStream>);

impl Asked {
    fn of(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    fn ask(&mut self, line: &str) -> String {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        self.0.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }
}
