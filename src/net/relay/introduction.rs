//! How a relay introduces a connection to the leader: fields of the PROXY header.

use std::sync::Arc;

use bytes::{Buf, BufMut};

use crate::{
    core::client_info::Wire,
    net::{HeaderError, Proxied, ProxyHeader},
};

/// What the connection is for.
const PURPOSE: u8 = 0xE0;

/// The term, and the secret of its seat.
const TERM: u8 = 0xE1;

/// The process of the relay, and the name of its node.
const NODE: u8 = 0xE2;

/// The most bytes of a node's name.
pub const MAX_NODE: usize = 256;

const CONTROL: &[u8] = b"control";
const WHO: &[u8] = b"who";

/// The first words on a connection to a cluster port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Introduction {
    /// A client's connection.
    Client(Pass, Wire, Proxied),
    /// The control connection of a relay.
    Control(Pass),
    /// A node asks which process this is.
    Who,
}

/// What lets a relay in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// The term that the relay has seen.
    pub term: u64,
    /// What stands in its seat.
    pub secret: Vec<u8>,
    /// The process of the relay.
    pub process: u64,
    /// The name of its node.
    pub node: Arc<str>,
}

impl Introduction {
    /// As it is sent.
    ///
    /// # Errors
    /// [`HeaderError::TooLong`] if the secret or the name is.
    pub fn encode(&self) -> Result<Vec<u8>, HeaderError> {
        let (purpose, pass, connection) = match self {
            Self::Client(pass, wire, connection) => (wire.as_str().as_bytes(), Some(pass), Some(*connection)),
            Self::Control(pass) => (CONTROL, Some(pass), None),
            Self::Who => (WHO, None, None),
        };
        let mut fields = vec![(PURPOSE, purpose.to_vec())];
        if let Some(Pass { term, secret, process, node }) = pass {
            fields.push((TERM, numbered(*term, secret)));
            fields.push((NODE, numbered(*process, node.as_bytes())));
        }
        ProxyHeader { connection, fields }.encode()
    }

    /// None if the header says something else.
    pub fn of(header: &ProxyHeader) -> Option<Self> {
        match header.field(PURPOSE)? {
            WHO => Some(Self::Who),
            CONTROL => Some(Self::Control(Pass::of(header)?)),
            purpose => {
                let wire = Wire::ALL.into_iter().find(|wire| wire.as_str().as_bytes() == purpose)?;
                Some(Self::Client(Pass::of(header)?, wire, header.connection?))
            }
        }
    }
}

impl Pass {
    fn of(header: &ProxyHeader) -> Option<Self> {
        let (mut term, mut node) = (header.field(TERM)?, header.field(NODE)?);
        let (term, secret) = (term.try_get_u64().ok()?, term);
        let (process, name) = (node.try_get_u64().ok()?, node);
        let name = std::str::from_utf8(name).ok().filter(|name| name.len() <= MAX_NODE)?;
        Some(Self { term, secret: secret.to_vec(), process, node: name.into() })
    }
}

fn numbered(number: u64, rest: &[u8]) -> Vec<u8> {
    let mut field = Vec::with_capacity(8 + rest.len());
    field.put_u64(number);
    field.put_slice(rest);
    field
}

/// What the fuzzer runs: whatever is read can be written, and read again as the same.
#[cfg(fuzzing)]
pub fn fuzz(data: &[u8]) {
    let Ok(header) = ProxyHeader::parse(data) else { return };
    let written = header.encode().expect("it is not longer than what was read");
    assert_eq!(ProxyHeader::parse(&written).as_ref(), Ok(&header));
    if let Some(introduction) = Introduction::of(&header) {
        let written = ProxyHeader::parse(&introduction.encode().expect("it is shorter than that"));
        assert_eq!(Introduction::of(&written.expect("a header")), Some(introduction));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn introduction_is_read_as_it_was_written() {
        let pass = Pass { term: 16_226, secret: b"secret".to_vec(), process: 7, node: "b".into() };
        let connection =
            Proxied { from: "192.0.2.7:40112".parse().unwrap(), to: "192.0.2.1:3307".parse().unwrap() };
        for introduction in [
            Introduction::Client(pass.clone(), Wire::MySql, connection),
            Introduction::Control(pass.clone()),
            Introduction::Who,
        ] {
            let header = ProxyHeader::parse(&introduction.encode().unwrap()).unwrap();
            assert_eq!(Introduction::of(&header), Some(introduction));
        }
        let long = Pass { node: "b".repeat(MAX_NODE + 1).into(), ..pass };
        let header = ProxyHeader::parse(&Introduction::Control(long).encode().unwrap()).unwrap();
        assert_eq!(Introduction::of(&header), None);
        assert_eq!(Introduction::of(&ProxyHeader::default()), None);
    }
}
