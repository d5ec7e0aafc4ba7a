//! The floor of durable leases: grouped transactions of the same etcd, and nothing around them. One is under way, and
//! the next takes all that came meanwhile.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use tonic::{
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::pairs::Client;

/// As long as the record of a lease.
const RECORD: [u8; 200] = [b'x'; 200];

/// What etcd takes in one transaction is 128.
const MOST: usize = 120;

#[derive(Clone, PartialEq, prost::Message)]
struct Put {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DeleteRange {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Op {
    #[prost(message, tag = "2")]
    Put(Put),
    #[prost(message, tag = "3")]
    Delete(DeleteRange),
}

#[derive(Clone, PartialEq, prost::Message)]
struct RequestOp {
    #[prost(oneof = "Op", tags = "2, 3")]
    op: Option<Op>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Txn {
    #[prost(message, repeated, tag = "2")]
    success: Vec<RequestOp>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TxnAnswer {
    #[prost(bool, tag = "2")]
    succeeded: bool,
}

/// Commits what it is given, until all who may give it something are gone.
#[derive(Clone)]
pub struct Loop(mpsc::UnboundedSender<Change>);

struct Change {
    op: Op,
    done: oneshot::Sender<()>,
}

impl Loop {
    /// On the runtime that is entered.
    pub async fn start(port: u16) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
        let channel = endpoint.connect().await.unwrap();
        let (sender, mut changes) = mpsc::unbounded_channel::<Change>();
        tokio::spawn(async move {
            let mut grpc = Grpc::new(channel);
            let mut batch = Vec::new();
            while changes.recv_many(&mut batch, MOST).await > 0 {
                let (ops, done): (Vec<_>, Vec<_>) =
                    batch.drain(..).map(|Change { op, done }| (RequestOp { op: Some(op) }, done)).unzip();
                commit(&mut grpc, Txn { success: ops }).await;
                for done in done {
                    done.send(()).unwrap();
                }
            }
        });
        Self(sender)
    }

    pub fn client(&self) -> Bare {
        Bare { commits: self.clone(), key: Vec::new() }
    }

    async fn change(&self, op: Op) {
        let (done, committed) = oneshot::channel();
        self.0.send(Change { op, done }).ok().unwrap();
        committed.await.unwrap();
    }
}

async fn commit(grpc: &mut Grpc<Channel>, txn: Txn) {
    grpc.ready().await.unwrap();
    let path = PathAndQuery::from_static("/etcdserverpb.KV/Txn");
    let codec: ProstCodec<Txn, TxnAnswer> = ProstCodec::default();
    assert!(grpc.unary(tonic::Request::new(txn), path, codec).await.unwrap().into_inner().succeeded);
}

/// Puts a record, and deletes it.
pub struct Bare {
    commits: Loop,
    key: Vec<u8>,
}

impl Client for Bare {
    async fn take(&mut self) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // Anywhere among the keys, as the digest of a secret is.
        let digest = Sha256::digest(NEXT.fetch_add(1, Relaxed).to_le_bytes());
        self.key = digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes();
        self.commits.change(Op::Put(Put { key: self.key.clone(), value: RECORD.to_vec() })).await;
    }

    async fn free(&mut self) {
        self.commits.change(Op::Delete(DeleteRange { key: self.key.clone() })).await;
    }
}
