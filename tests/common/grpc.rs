//! Clients of gRPC.

use std::net::SocketAddr;

use getlockd::grpc::proto::{HoldRequest, HoldResponse, hold_request::Command, locks_client::LocksClient};
use tokio::{
    sync::mpsc::{Sender, channel},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use super::PATIENCE;

/// With a connection of its own.
pub async fn locks(addr: SocketAddr) -> LocksClient<Channel> {
    let channel = Channel::from_shared(format!("http://{addr}")).unwrap();
    LocksClient::new(channel.connect().await.unwrap())
}

/// A session on a stream.
pub struct Hold {
    requests: Sender<HoldRequest>,
    replies: Streaming<HoldResponse>,
}

impl Hold {
    pub async fn open(addr: SocketAddr) -> Self {
        let (requests, stream) = channel(10);
        let replies = locks(addr).await.hold(ReceiverStream::new(stream)).await.unwrap().into_inner();
        Self { requests, replies }
    }

    /// That the stream has ended shows in what is read.
    pub async fn send(&self, command: Command) {
        drop(self.requests.send(HoldRequest { command: Some(command) }).await);
    }

    /// None if the stream has ended.
    pub async fn heard(&mut self) -> Option<HoldResponse> {
        timeout(PATIENCE, self.replies.message()).await.expect("a message in time").ok().flatten()
    }

    pub async fn next(&mut self) -> HoldResponse {
        self.heard().await.expect("a message, not the end of the stream")
    }
}
