//! `Hold` streams that send ahead, or do not read: all streams of a connection have one sum.

use getlockd::internal::{
    budget::MAX_CONNECTION_MEMORY,
    client_info::MAX_TEXT,
    grpc::proto::{HoldRequest, Introduce, hold_request::Command},
};
use prost::Message;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    attacked::Attacked,
    http::{MOST, call},
};
use crate::{
    common::grpc::{self, get_lock},
    h2::{self, Raw},
};

/// The longest words that a client may say of itself.
fn words() -> HoldRequest {
    let text = "語".repeat(MAX_TEXT);
    HoldRequest { command: Some(Command::Introduce(Introduce { client: text.clone(), note: text })) }
}

#[tokio::test]
async fn pipelining_streams_share_their_connection() {
    let mut server = Attacked::start(&[]).await;
    let locks = grpc::locks(server.at.http).await;
    let mut streams = JoinSet::new();
    for _ in 0..12 {
        let mut locks = locks.clone();
        streams.spawn(async move {
            let (requests, stream) = tokio::sync::mpsc::channel(10);
            let mut replies = locks.hold(ReceiverStream::new(stream)).await.unwrap().into_inner();
            let _ = requests.send(HoldRequest { command: Some(get_lock("the_neighbours", -1)) }).await;
            for _ in 0..250 {
                // A stream that is over is told of below.
                let _ = requests.send(words()).await;
            }
            replies.message().await.unwrap_err()
        });
    }
    let told: Status = streams.join_next().await.unwrap().unwrap();
    assert_eq!(told.code(), tonic::Code::ResourceExhausted, "{told}");
    assert!(told.message().starts_with("this connection makes the server keep 4194304 bytes "), "{told}");
    assert!(server.stats("memory").await <= MAX_CONNECTION_MEMORY);
    assert!(server.stats("waiters").await >= 9, "the other streams go on");
    server.shows("Hold: 12 streams that send 250 notes behind a request that waits", told.message());
    drop((streams, locks));
    while server.stats("memory").await > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn unread_replies_of_streams_are_bounded() {
    let mut server = Attacked::start(&[]).await;
    let before = server.program.resident();
    let message = words().encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let ask = [&[0][..], &length, &message].concat();
    for window in [0, 1 << 30] {
        let mut greedy = Raw::connect(server.at.http, window).await;
        for n in 0..100 {
            let stream = 2 * n + 1;
            let head = h2::frame(h2::HEADERS, h2::END_HEAD, stream, &call("/getlockd.v1.Locks/Hold"));
            let asks = h2::frame(h2::DATA, 0, stream, &ask).repeat(300);
            if greedy.send(&[head, asks].concat()).await.is_err() {
                break;
            }
            let charged = server.stats("memory").await;
            assert!(charged <= 2 * MAX_CONNECTION_MEMORY, "{charged}");
        }
        server.shows("Hold: 100 streams with 300 notes each, whose replies nobody reads", "nothing");
    }
    let grown = server.program.resident().saturating_sub(before);
    assert!(grown < MOST, "{grown} kB");
    while server.stats("memory").await > 0 {
        tokio::task::yield_now().await;
    }
}
