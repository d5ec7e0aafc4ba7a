//! gRPC: the service itself, and a session as a stream.

use std::net::SocketAddr;

use getlockd::internal::grpc::proto::{
    GetLock, HoldRequest, HoldResponse, LeaseLock, LockMode, hold_request::Command, locks_client::LocksClient,
};
use tokio::{
    sync::mpsc::{Sender, channel},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};

use super::PATIENCE;

pub async fn connected(http: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{http}")).unwrap().connect().await.unwrap()
}

pub async fn locks(http: SocketAddr) -> LocksClient<Channel> {
    LocksClient::new(connected(http).await)
}

pub struct Hold {
    requests: Sender<HoldRequest>,
    replies: Streaming<HoldResponse>,
}

impl Hold {
    pub async fn open(http: SocketAddr) -> Self {
        let (requests, stream) = channel(10);
        let replies = locks(http).await.hold(ReceiverStream::new(stream)).await.unwrap().into_inner();
        Self { requests, replies }
    }

    /// None if no server opens the stream.
    pub async fn reach(http: SocketAddr) -> Option<Self> {
        let connected = Channel::from_shared(format!("http://{http}")).unwrap().connect().await.ok()?;
        let (requests, stream) = channel(10);
        let replies = LocksClient::new(connected).hold(ReceiverStream::new(stream)).await.ok()?.into_inner();
        Some(Self { requests, replies })
    }

    /// With this after `authorization:`.
    pub async fn open_as(http: SocketAddr, login: &str) -> Self {
        let (requests, stream) = channel(10);
        let mut request = tonic::Request::new(ReceiverStream::new(stream));
        request.metadata_mut().insert("authorization", login.parse().unwrap());
        let replies = locks(http).await.hold(request).await.unwrap().into_inner();
        Self { requests, replies }
    }

    pub async fn send(&self, command: Command) {
        assert!(self.try_send(command).await, "the stream is over");
    }

    /// Whether the stream is not over yet.
    pub async fn try_send(&self, command: Command) -> bool {
        self.requests.send(HoldRequest { command: Some(command) }).await.is_ok()
    }

    /// None if the stream has ended.
    pub async fn heard(&mut self) -> Option<HoldResponse> {
        timeout(PATIENCE, self.last()).await.expect("a message in time").ok().flatten()
    }

    pub async fn next(&mut self) -> HoldResponse {
        self.last().await.unwrap().unwrap()
    }

    /// The next reply, or how the stream has ended.
    pub async fn last(&mut self) -> Result<Option<HoldResponse>, Status> {
        self.replies.message().await
    }
}

pub fn get_lock(name: &str, wait_ms: i64) -> Command {
    let (name, mode) = (name.to_owned(), LockMode::Exclusive.into());
    Command::GetLock(GetLock { name, mode, wait_ms, ..GetLock::default() })
}

pub fn lease_lock(name: &str, ttl_ms: u64) -> Command {
    Command::LeaseLock(LeaseLock { name: name.to_owned(), ttl_ms })
}
