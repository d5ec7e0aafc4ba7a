//! The code generated from `proto/`. `tests/it/proto.rs` of the server compares them.
#![allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, dead_code, reason = "generated")]

pub(super) mod mvccpb {
    include!("generated/mvccpb.rs");
}

pub(super) mod etcdserverpb {
    include!("generated/etcdserverpb.rs");
}
