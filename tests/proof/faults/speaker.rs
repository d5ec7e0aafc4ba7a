//! A client on any wire, that asks for a lock and has it some time.

use std::net::SocketAddr;

use getlockd::internal::grpc::proto::{AcquireRequest, ReleaseAllLocks, hold_request::Command};
use tokio::task::JoinHandle;
use tonic::Code;

use crate::common::{
    Client,
    grpc::{Hold, get_lock, locks},
    http::Request,
    mysql::MySql,
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wire {
    Line,
    MySql,
    Hold,
    /// A lease, waited for.
    Http,
    /// The same by gRPC.
    Acquire,
}

impl Wire {
    pub const ALL: [Self; 5] = [Self::Line, Self::MySql, Self::Hold, Self::Http, Self::Acquire];
    /// Where a lock ends with its connection.
    pub const SESSIONS: [Self; 3] = [Self::Line, Self::MySql, Self::Hold];

    pub fn name(self) -> &'static str {
        match self {
            Self::Line => "line",
            Self::MySql => "MySQL",
            Self::Hold => "gRPC Hold",
            Self::Http => "HTTP acquire",
            Self::Acquire => "gRPC Acquire",
        }
    }
}

/// Where each wire listens.
#[derive(Clone, Copy, Debug)]
pub struct Addrs {
    pub line: SocketAddr,
    pub mysql: SocketAddr,
    pub http: SocketAddr,
}

impl Addrs {
    pub fn of(self, wire: Wire) -> SocketAddr {
        match wire {
            Wire::Line => self.line,
            Wire::MySql => self.mysql,
            Wire::Hold | Wire::Http | Wire::Acquire => self.http,
        }
    }
}

/// A lease, waited for as long as by the others.
pub fn wish(lock: &str) -> AcquireRequest {
    AcquireRequest { name: lock.to_owned(), wait_ms: 60_000, ..AcquireRequest::default() }
}

pub enum Speaker {
    Line(Client),
    MySql(Box<MySql>),
    Hold(Hold),
    Http(Request),
    Acquire(JoinHandle<bool>),
}

impl Speaker {
    /// Has asked for the lock, and waits for a minute.
    pub async fn asking(wire: Wire, at: SocketAddr, lock: &str) -> Self {
        match wire {
            Wire::Line => {
                let mut client = Self::Line(Client::connect(at).await);
                client.ask(lock).await;
                client
            }
            Wire::MySql => {
                let mut client = Self::MySql(Box::new(MySql::connect(at).await));
                client.ask(lock).await;
                client
            }
            Wire::Hold => {
                let mut client = Self::Hold(Hold::open(at).await);
                client.ask(lock).await;
                client
            }
            Wire::Http => {
                let body = format!(r#"{{"resourceName":"{lock}","waitMs":60000}}"#);
                Self::Http(Request::send(at, "POST", "/api/lock/acquire", &body).await)
            }
            Wire::Acquire => {
                let (mut client, wish) = (locks(at).await, wish(lock));
                Self::Acquire(tokio::spawn(async move { client.acquire(wish).await.is_ok() }))
            }
        }
    }

    /// A session asks for one more, and waits.
    pub async fn ask(&mut self, lock: &str) {
        match self {
            Self::Line(client) => client.send(&format!("GET_LOCK {lock} 60")).await,
            Self::MySql(client) => client.start(&format!("SELECT GET_LOCK('{lock}', 60)")).await,
            Self::Hold(client) => client.send(get_lock(lock, 60_000)).await,
            Self::Http(_) | Self::Acquire(_) => unreachable!("no session"),
        }
    }

    /// Whether it is told that it has the lock.
    pub async fn granted(self) -> (bool, Option<Self>) {
        match self {
            Self::Line(mut client) => (client.next().await.as_deref() == Some("1"), Some(Self::Line(client))),
            Self::MySql(mut client) => {
                let is_granted = client.reply().await.value().as_deref() == Some("1");
                (is_granted, Some(Self::MySql(client)))
            }
            Self::Hold(mut client) => (client.next().await.result == Some(1), Some(Self::Hold(client))),
            Self::Http(client) => (client.reply().await.0 == 200, None),
            Self::Acquire(client) => (client.await.unwrap(), None),
        }
    }

    /// Frees all that it holds while the server stops, and sees its connection end.
    pub async fn release(self) {
        match self {
            Self::Line(mut client) => {
                assert_eq!(client.ask("RELEASE_ALL_LOCKS").await, "1");
                assert!(client.rest().await.starts_with("ERROR SHUTDOWN "));
            }
            Self::MySql(mut client) => {
                assert_eq!(client.value("SELECT RELEASE_ALL_LOCKS()").await.as_deref(), Some("1"));
                assert_eq!(client.packet().await, None);
            }
            Self::Hold(mut client) => {
                client.send(Command::ReleaseAllLocks(ReleaseAllLocks {})).await;
                assert_eq!(client.next().await.result, Some(1));
                assert_eq!(client.last().await.unwrap_err().code(), Code::Unavailable);
            }
            Self::Http(_) | Self::Acquire(_) => unreachable!("no session"),
        }
    }

    /// Has the lock, which must be free or become free.
    pub async fn holding(wire: Wire, at: SocketAddr, lock: &str) -> Self {
        let (is_granted, holder) = Self::asking(wire, at, lock).await.granted().await;
        assert!(is_granted, "{wire:?}");
        holder.expect("a session")
    }
}
