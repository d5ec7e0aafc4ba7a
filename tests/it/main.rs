//! What the server and its programs do, on every wire, as protocol.md and the other documents say it.
#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used)]
#![allow(clippy::float_cmp, reason = "what is counted is whole")]
#![allow(clippy::unnecessary_wraps, reason = "a value as a row has it")]

#[allow(dead_code, reason = "each of the test binaries uses its part")]
#[path = "../common/mod.rs"]
mod common;

mod architecture;
mod charsets;
mod client;
mod cluster_view;
mod connect_attributes;
mod cross_wire;
mod dates;
mod docs;
mod durable;
mod durable_stop;
mod events;
mod functions;
mod getlockd_tables;
mod glossary;
mod grpc_limits;
mod instructions;
mod introduce;
mod keepalive;
mod leader_election;
mod lease;
mod lease_kinds;
mod lease_lock;
mod limits;
mod line;
mod links;
mod lists;
mod locking_service;
mod manual;
mod markdown;
mod metrics;
mod mysql;
mod mysql_several;
mod mysql_transcripts;
mod ops;
mod oracle;
mod pagination;
mod permits;
mod process;
mod proto;
mod readme;
mod reentry;
mod request_ids;
mod several_locks;
mod show;
mod statements;
mod status_port;
mod store_command;
mod store_start;
mod structure;
mod timeout;
mod tls;
mod transcripts;
mod typed;
mod users;
mod variables;
mod words;
