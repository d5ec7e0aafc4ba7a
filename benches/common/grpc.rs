//! Leases by gRPC, whose client sends each request in one piece. HTTP/2 writes the head and the body apart;
//! a server would find both at once or be woken for each, by chance.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use getlockd::internal::grpc::proto::locks_client::LocksClient;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tonic::transport::{Channel, Endpoint, Uri};
use tower_service::Service;

/// What the channel may write before it has to wait: more than a request.
const SPACE: usize = 64 * 1024;

/// How often other tasks get their turn before what has been written counts as all.
const TURNS: usize = 32;

/// On a runtime of one thread, so that who writes has its turn before the piece is sent.
pub async fn connect(port: u16) -> LocksClient<Channel> {
    let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    server.set_nodelay(true).unwrap();
    let (near, far) = tokio::io::duplex(SPACE);
    let (requests, mut answers) = tokio::io::split(far);
    let (mut read, write) = server.into_split();
    tokio::spawn(in_pieces(requests, write));
    tokio::spawn(async move { tokio::io::copy::<OwnedReadHalf, _>(&mut read, &mut answers).await });
    let endpoint = Endpoint::from_static("http://127.0.0.1");
    LocksClient::new(endpoint.connect_with_connector(Once(Some(near))).await.unwrap())
}

async fn in_pieces(mut requests: ReadHalf<DuplexStream>, mut server: OwnedWriteHalf) {
    let mut piece = Vec::new();
    while read(&mut requests, &mut piece).await {
        while tokio::select! {
            biased;
            more = read(&mut requests, &mut piece) => more,
            () = others_have_run() => false,
        } {}
        server.write_all(&piece).await.unwrap();
        piece.clear();
    }
}

/// False at the end.
async fn read(requests: &mut ReadHalf<DuplexStream>, piece: &mut Vec<u8>) -> bool {
    requests.read_buf(piece).await.unwrap() > 0
}

async fn others_have_run() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

/// Connects to this, once.
struct Once(Option<DuplexStream>);

impl Service<Uri> for Once {
    type Response = TokioIo<DuplexStream>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        ready(Ok(TokioIo::new(self.0.take().unwrap())))
    }
}
