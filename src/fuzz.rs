//! What the fuzzers in `fuzz/` run: every decoder of bytes from outside, without a socket.

pub use crate::mysql::fuzz::{packets as mysql_packets, sql as mysql_sql};

use bytes::BytesMut;
use tokio_util::codec::{Decoder, Encoder};

use crate::line::{Codec, Response};

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
