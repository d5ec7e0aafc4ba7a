//! The wires: each one reads the requests of its protocol, asks the core, and writes the replies.
//!
//! | wire | protocol |
//! |---|---|
//! | [`mod@line`] | the line protocol, for people and programs |
//! | [`mysql`] | MySQL's protocol, with the statements for its user-level locks |
//! | [`rest`] | HTTP with JSON, and the live page |
//! | [`grpc`] | gRPC |
//! | [`compat`] | the interfaces of other lock services, over HTTP and gRPC |
//!
//! Wires use [`core`](crate::core) and [`net`](crate::net), and `rest` also the metrics of [`ops`](crate::ops). No wire
//! uses another. What several of them need is in [`socket`], for wires that own a socket, and in [`web`], for those
//! over HTTP: `rest`, `grpc` and `compat` share a port.

pub(crate) mod compat;
pub(crate) mod grpc;
pub(crate) mod line;
pub(crate) mod mysql;
pub(crate) mod rest;
pub(crate) mod socket;
pub(crate) mod web;
