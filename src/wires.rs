//! How clients speak to the server: each wire reads requests, asks the core, and writes what it answers.
//!
//! | wire | what it is |
//! |---|---|
//! | [`mod@line`] | the line protocol, for people and programs |
//! | [`mysql`] | the protocol of MySQL, with the statements about its user locks |
//! | [`rest`] | HTTP with JSON, and the live page |
//! | [`grpc`] | gRPC |
//! | [`compat`] | the interfaces of other lock services, by HTTP and gRPC |
//!
//! Wires use [`core`](crate::core) and [`net`](crate::net), and `rest` the metrics of [`ops`](crate::ops). No wire uses
//! another. What several of them need is in [`socket`] for those that own a socket, and in [`web`] for those over HTTP:
//! `rest`, `grpc` and `compat` share a port.

pub(crate) mod compat;
pub(crate) mod grpc;
pub(crate) mod line;
pub(crate) mod mysql;
pub(crate) mod rest;
pub(crate) mod socket;
pub(crate) mod web;
