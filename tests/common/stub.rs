//! A server that says what a test has it say, and nothing when it has nothing to say.

use tokio::{
    io::BufReader,
    net::TcpListener,
    time::{Instant, timeout},
};

use super::{Client, PATIENCE};

pub struct Stub {
    listener: TcpListener,
}

impl Stub {
    pub async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub fn addr(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// The next client, before it has said anything.
    pub async fn accept(&self) -> Client {
        let (stream, _) = timeout(PATIENCE, self.listener.accept()).await.expect("a client in time").unwrap();
        Client { stream: BufReader::new(stream) }
    }

    /// The next client, which is told this promise.
    pub async fn welcome(&self, left: &str) -> Client {
        self.welcome_with(left, "").await
    }

    /// The same as the leader of a cluster: the promise has a term, and `HELLO` tells more.
    pub async fn welcome_with(&self, left: &str, cluster: &str) -> Client {
        let mut client = self.accept().await;
        answer_keepalive(&mut client, left).await;
        assert_eq!(client.line().await, "HELLO");
        client.send(&format!("HELLO version=9 protocol=1 session=7 max_line=1024{cluster}")).await;
        client
    }
}

/// Answers a question; when it had come.
pub async fn answer_keepalive(client: &mut Client, left: &str) -> Instant {
    assert_eq!(client.line().await, "KEEPALIVE");
    let came = Instant::now();
    client.send(&format!("KEEPALIVE left={left}")).await;
    came
}

/// Grants what is asked for next.
pub async fn grant(client: &mut Client, name: &str, left: &str) {
    answer_keepalive(client, left).await;
    expect_take(client, name).await;
    client.send("1\n99").await;
}

pub async fn expect_take(client: &mut Client, name: &str) {
    assert!(client.line().await.starts_with(&format!("GET_LOCK {name} ")));
    assert_eq!(client.line().await, format!("FENCING_TOKEN {name}"));
}
