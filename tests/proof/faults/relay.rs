//! Between a client and the server: a relay whose own connection is reset, half closed or ended, in
//! place of that of the client, which may speak what it will.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy, copy_bidirectional},
    net::{TcpListener, TcpStream},
    process::Child,
    sync::oneshot,
};

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Its process is ended by `kill -9`.
    Killed,
    Reset,
    HalfClosed,
    Closed,
}

pub struct Relay {
    /// Where the client connects.
    pub addr: SocketAddr,
    link: Link,
}

enum Link {
    Task(oneshot::Sender<Fault>),
    Process(Child),
}

impl Relay {
    /// That can suffer this.
    pub async fn new(fault: Fault, server: SocketAddr) -> Self {
        if matches!(fault, Fault::Killed) { Self::process(server).await } else { Self::task(server).await }
    }

    async fn task(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (suffer, fault) = oneshot::channel();
        tokio::spawn(async move {
            let client = listener.accept().await.unwrap().0;
            relay(client, TcpStream::connect(server).await.unwrap(), fault).await;
        });
        Self { addr, link: Link::Task(suffer) }
    }

    /// This program, as the process of which `relay_process` is all.
    async fn process(server: SocketAddr) -> Self {
        let this = module_path!().split_once("::").unwrap().1;
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([&format!("{this}::relay_process"), "--exact", "--ignored", "--nocapture"]);
        command.env("RELAY_TO", server.to_string()).stdout(Stdio::piped());
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        loop {
            let line = lines.next_line().await.unwrap().expect("a relay");
            if let Some(addr) = line.strip_prefix("RELAY ") {
                return Self { addr: addr.parse().unwrap(), link: Link::Process(child) };
            }
        }
    }

    pub fn suffer(self, fault: Fault) {
        match self.link {
            Link::Task(suffer) => suffer.send(fault).unwrap(),
            Link::Process(mut child) => child.start_kill().unwrap(),
        }
    }
}

async fn relay(mut client: TcpStream, mut server: TcpStream, fault: oneshot::Receiver<Fault>) {
    for side in [&client, &server] {
        side.set_nodelay(true).unwrap();
    }
    let fault = tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => return,
        fault = fault => fault,
    };
    match fault {
        Ok(Fault::Reset) => server.set_zero_linger().unwrap(),
        Ok(Fault::HalfClosed) => {
            server.shutdown().await.unwrap();
            let _ = copy(&mut server, &mut client).await;
        }
        _ => {}
    }
}

#[tokio::test]
#[ignore = "it is a process for others to kill"]
async fn relay_process() {
    let Ok(server) = std::env::var("RELAY_TO") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("\nRELAY {}", listener.local_addr().unwrap());
    let client = listener.accept().await.unwrap().0;
    let (_never, fault) = oneshot::channel();
    relay(client, TcpStream::connect(server).await.unwrap(), fault).await;
}
