//! A server in this process, and clients that read like transcripts.

pub mod authority;
pub mod console;
pub mod dice;
pub mod etcd;
pub mod group;
pub mod grpc;
pub mod http;
pub mod link;
pub mod manual;
pub mod mysql;
pub mod packages;
mod places;
pub mod program;
pub mod scene;
pub mod session;
pub mod skip;
pub mod stub;
pub mod stub_cluster;
pub mod words;

use std::{net::SocketAddr, sync::Arc, time::Duration};

#[allow(unused_imports, reason = "each of the test binaries uses its part")]
pub use places::{installed, project, python};

use getlockd::{
    config::Cli,
    internal::{cluster::term::Term, command::Stats, lock::SessionId, session::LockService},
    server::{Reloader, Server},
};
use stub_cluster::LeaderOfTwo;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpSocket, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

/// How long a test waits for what must come. Only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Where a server listens.
#[derive(Clone, Copy, Debug)]
pub struct Addrs {
    pub line: SocketAddr,
    pub mysql: SocketAddr,
    pub http: SocketAddr,
}

pub struct TestServer {
    pub addr: SocketAddr,
    pub mysql: SocketAddr,
    pub http: SocketAddr,
    pub service: Arc<LockService>,
    reloader: Reloader,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<()>,
}

impl TestServer {
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// A server on a free port, with more flags.
    pub fn with(flags: &[&str]) -> Self {
        Self::at("127.0.0.1:0", flags)
    }

    /// The same, where its line protocol is to be.
    pub fn at(line: &str, flags: &[&str]) -> Self {
        let free = "127.0.0.1:0";
        let args = ["getlockd", "--line", line, "--mysql", free, "--http", free];
        let args = args.iter().chain(flags);
        Self::run(Server::bind(&Cli::read(args).unwrap().config).unwrap())
    }

    /// The leader `a` of a cluster of two, for as long as this term runs.
    pub fn leading(term: Arc<Term>, flags: &[&str]) -> Self {
        let free = "127.0.0.1:0";
        let args = ["getlockd", "--line", free, "--mysql", free, "--http", free];
        let config = Cli::read(args.iter().chain(flags)).unwrap().config;
        let cluster = Arc::new(LeaderOfTwo(term.clone()));
        Self::run(Server::bind_as_leader(&config, cluster, term).unwrap())
    }

    fn run(server: Server) -> Self {
        let (addr, service) = (server.line_addr().unwrap(), server.service().clone());
        let (mysql, http) = (server.mysql_addr().unwrap(), server.http_addr().unwrap());
        let reloader = server.reloader();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run(async { drop(stopped.await) }));
        Self { addr, mysql, http, service, reloader, stop: Some(stop), running }
    }

    pub fn addrs(&self) -> Addrs {
        Addrs { line: self.addr, mysql: self.mysql, http: self.http }
    }

    /// Has this session look as if the node `b` relayed it.
    pub fn relay(&self, session: u32) {
        let handle = self.service.registry().handle(SessionId(session)).expect("a session");
        handle.note(|client_info| client_info.via = Some("b".into()));
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.addr).await
    }

    pub async fn clients<const N: usize>(&self) -> [Client; N] {
        let mut clients = Vec::new();
        for _ in 0..N {
            clients.push(self.client().await);
        }
        clients.try_into().unwrap_or_else(|_| unreachable!())
    }

    /// Resolves when the server's numbers are as wanted.
    pub async fn until(&self, wanted: impl Fn(&Stats) -> bool) {
        let seen = async {
            while !wanted(&self.service.stats()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let in_time = timeout(PATIENCE, seen).await;
        assert!(in_time.is_ok(), "still {:?}", self.service.stats());
    }

    pub async fn until_waiting(&self, waiters: usize) {
        self.until(|stats| stats.table.waiters == waiters).await;
    }

    /// Has it read its files again, as SIGHUP does.
    pub fn reload(&self) -> Result<(), String> {
        self.reloader.reload().map_err(|error| error.to_string())
    }

    /// Tells the server to stop.
    pub fn stop(&mut self) {
        drop(self.stop.take());
    }

    pub async fn stopped(self) {
        timeout(PATIENCE, self.running).await.expect("the server has stopped").unwrap();
    }
}

pub struct Client {
    pub stream: BufReader<TcpStream>,
}

impl Client {
    pub async fn connect(addr: SocketAddr) -> Self {
        Self { stream: BufReader::new(TcpStream::connect(addr).await.unwrap()) }
    }

    /// The same from another address of this machine: 127.0.0.2.
    pub async fn connect_from(from: [u8; 4], addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        Self { stream: BufReader::new(socket.connect(addr).await.unwrap()) }
    }

    pub async fn send(&mut self, line: &str) {
        self.send_bytes(format!("{line}\n").as_bytes()).await;
    }

    /// That the connection has ended shows in what is read.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes).await);
    }

    /// The next line, without its end; none at the end of the stream.
    pub async fn next(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.stream.read_line(&mut line)).await.expect("a line in time");
        let line = if read.is_ok() { line } else { String::new() };
        line.strip_suffix('\n').map(|line| line.trim_end_matches('\r').to_owned())
    }

    pub async fn line(&mut self) -> String {
        self.next().await.expect("a line, not the end of the stream")
    }

    pub async fn ask(&mut self, line: &str) -> String {
        self.send(line).await;
        self.line().await
    }

    /// The rows of a list, without its END.
    pub async fn list(&mut self, line: &str) -> Vec<String> {
        let mut rows = vec![self.ask(line).await];
        while !rows.last().unwrap().starts_with("END ") {
            rows.push(self.line().await);
        }
        let end = rows.pop().unwrap();
        assert_eq!(end, format!("END {}", rows.len()));
        rows
    }

    pub async fn id(&mut self) -> u32 {
        self.ask("CONNECTION_ID").await.parse().unwrap()
    }

    /// Closes the sending side only.
    pub async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// All that comes until the end of the stream.
    pub async fn rest(&mut self) -> String {
        let mut rest = String::new();
        let read = timeout(PATIENCE, self.stream.read_to_string(&mut rest)).await;
        read.expect("the end of the stream in time").unwrap();
        rest
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        self.stream.get_ref().set_zero_linger().unwrap();
    }
}
