//! The functions that the fuzzers in `fuzz/` run: every decoder of bytes from outside, without a socket.

mod http;

use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use crate::{
    net,
    wires::{
        line::{CloseError, Codec, Response, Telnet},
        mysql,
    },
};

/// Lines, and their errors.
pub fn line(data: &[u8]) {
    let (mut codec, mut input, mut output) =
        (Codec::default(), without_telnet(data, data.len().max(1)), BytesMut::new());
    assert_eq!(input, without_telnet(data, 1), "it does not matter where reads end");
    loop {
        let response = match codec.decode(&mut input) {
            Ok(Some(Ok(_))) => continue,
            Ok(Some(Err(error))) => Response::Refused(error),
            Ok(None) => return,
            Err(fatal) => Response::Closing(CloseError::Fatal(fatal)),
        };
        let is_last = matches!(response, Response::Closing(_));
        let before = output.len();
        codec.encode(response, &mut output).expect("a buffer takes everything");
        let said = &output[before..];
        assert!(said.starts_with(b"ERROR ") && said.iter().filter(|c| **c == b'\n').count() == 1, "one line");
        if is_last {
            return;
        }
    }
}

/// What is left of reads of this length.
fn without_telnet(data: &[u8], length: usize) -> BytesMut {
    let (mut telnet, mut input, mut output) = (Telnet::default(), BytesMut::new(), BytesMut::new());
    for read in data.chunks(length) {
        let from = input.len();
        input.extend_from_slice(read);
        telnet.filter(&mut input, from, &mut output);
    }
    input
}

/// MySQL packets, logins and parameters.
pub fn mysql_packets(data: &[u8]) {
    mysql::fuzz::packets(data);
}

/// SQL, parsed and evaluated.
pub fn mysql_sql(data: &[u8]) {
    mysql::fuzz::sql(data);
}

/// Headers of the PROXY protocol, and what relays say in them.
pub fn proxy(data: &[u8]) {
    net::fuzz(data);
}

/// HTTP and gRPC requests, and all their effects.
pub fn http(data: &[u8]) {
    http::requests(data);
}
