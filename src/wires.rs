//! How clients speak to the server: each wire reads requests, asks the core, and writes what it answers.
//!
//! Wires use [`core`](crate::core) and [`net`](crate::net). No wire uses another; what several of them need is in
//! [`socket`] for those that own a socket, and in [`web`] for those over HTTP.

pub(crate) mod compat;
pub(crate) mod grpc;
pub(crate) mod line;
pub(crate) mod mysql;
pub(crate) mod rest;
pub(crate) mod socket;
pub(crate) mod web;
