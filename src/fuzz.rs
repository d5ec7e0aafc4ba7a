//! What the fuzzers in `fuzz/` run: every decoder of bytes from outside, without a socket.

mod http;

use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use crate::{
    client,
    wires::{
        line::{Codec, Response},
        mysql,
    },
};

/// Lines, and what is said to those that are refused.
pub fn line(data: &[u8]) {
    let (mut codec, mut input, mut output) = (Codec::default(), BytesMut::from(data), BytesMut::new());
    loop {
        let response = match codec.decode(&mut input) {
            Ok(Some(Ok(_))) => continue,
            Ok(Some(Err(refusal))) => Response::Refused(refusal),
            Ok(None) => return,
            Err(untrusted) => Response::Untrusted(untrusted),
        };
        let is_last = matches!(response, Response::Untrusted(_));
        let before = output.len();
        codec.encode(response, &mut output).expect("a buffer takes everything");
        let said = &output[before..];
        assert!(said.starts_with(b"ERROR ") && said.iter().filter(|c| **c == b'\n').count() == 1, "one line");
        if is_last {
            return;
        }
    }
}

/// MySQL packets, logins and parameters.
pub fn mysql_packets(data: &[u8]) {
    mysql::fuzz::packets(data);
}

/// SQL, read and evaluated.
pub fn mysql_sql(data: &[u8]) {
    mysql::fuzz::sql(data);
}

/// Requests of HTTP and gRPC, and all that they bring about.
pub fn http(data: &[u8]) {
    http::requests(data);
}
