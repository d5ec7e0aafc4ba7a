//! What relays and leaders say on their connections, apart from what they pass on: numbers of a fixed length.

use std::{io, time::Duration};

use bytes::{Buf, BufMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A frame of a relay, on its control connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromRelay {
    /// A question, with its number: how long does the term run?
    Ask(u64),
    /// All clients are cut, and have acknowledged it.
    HasCut,
}

/// A frame of a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromLeader {
    /// The relay is let in, under this term.
    Welcome(u64),
    /// An answer.
    Left(TermLeft),
    /// All clients are to be cut: the term is about to be handed over.
    Cut,
    /// What answers a node that asks whether an address is its own: the number of the process.
    Process(u64),
}

/// The answer to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermLeft {
    /// The number of the question.
    pub number: u64,
    /// The term.
    pub term: u64,
    /// How long it runs, from the sending of the question on.
    pub left: Duration,
    /// Within which time a vanished client is to be found.
    pub keepalive: Duration,
}

const ASK: u8 = b'?';
const HAS_CUT: u8 = b'c';
const WELCOME: u8 = b'w';
const LEFT: u8 = b'=';
const CUT: u8 = b'!';
const PROCESS: u8 = b'p';

impl FromRelay {
    /// The length of each.
    pub const LENGTH: usize = 9;

    /// The frame as it is sent.
    pub fn encode(self) -> [u8; Self::LENGTH] {
        let mut frame = [0; Self::LENGTH];
        let mut space = &mut frame[..];
        match self {
            Self::Ask(number) => {
                space.put_u8(ASK);
                space.put_u64(number);
            }
            Self::HasCut => space.put_u8(HAS_CUT),
        }
        frame
    }

    /// None if it is no such frame.
    pub fn decode(frame: [u8; Self::LENGTH]) -> Option<Self> {
        let mut frame = &frame[..];
        match frame.get_u8() {
            ASK => Some(Self::Ask(frame.get_u64())),
            HAS_CUT => Some(Self::HasCut),
            _ => None,
        }
    }
}

impl FromLeader {
    /// The length of each.
    pub const LENGTH: usize = 33;

    /// The frame as it is sent.
    pub fn encode(self) -> [u8; Self::LENGTH] {
        let mut frame = [0; Self::LENGTH];
        let mut space = &mut frame[..];
        match self {
            Self::Welcome(term) => {
                space.put_u8(WELCOME);
                space.put_u64(term);
            }
            Self::Left(TermLeft { number, term, left, keepalive }) => {
                space.put_u8(LEFT);
                for number in [number, term, micros(left), micros(keepalive)] {
                    space.put_u64(number);
                }
            }
            Self::Cut => space.put_u8(CUT),
            Self::Process(process) => {
                space.put_u8(PROCESS);
                space.put_u64(process);
            }
        }
        frame
    }

    /// None if it is no such frame.
    pub fn decode(frame: [u8; Self::LENGTH]) -> Option<Self> {
        let mut frame = &frame[..];
        Some(match frame.get_u8() {
            WELCOME => Self::Welcome(frame.get_u64()),
            LEFT => {
                let [number, term, left, keepalive] = [(); 4].map(|()| frame.get_u64());
                let (left, keepalive) = (Duration::from_micros(left), Duration::from_micros(keepalive));
                Self::Left(TermLeft { number, term, left, keepalive })
            }
            CUT => Self::Cut,
            PROCESS => Self::Process(frame.get_u64()),
            _ => return None,
        })
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The bytes of a frame that have come, so that a wait for one can be dropped.
#[derive(Debug)]
pub struct FrameReader<const LENGTH: usize> {
    frame: [u8; LENGTH],
    came: usize,
}

impl<const LENGTH: usize> Default for FrameReader<LENGTH> {
    fn default() -> Self {
        Self { frame: [0; LENGTH], came: 0 }
    }
}

impl<const LENGTH: usize> FrameReader<LENGTH> {
    /// The next frame.
    ///
    /// Cancel-safe: what has come is kept.
    ///
    /// # Errors
    /// An I/O error, also at the end of the stream.
    pub async fn next(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; LENGTH]> {
        while self.came < LENGTH {
            match stream.read(&mut self.frame[self.came..]).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                came => self.came += came,
            }
        }
        self.came = 0;
        Ok(self.frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_is_read_as_it_was_written() {
        for frame in [FromRelay::Ask(u64::MAX), FromRelay::HasCut] {
            assert_eq!(FromRelay::decode(frame.encode()), Some(frame));
        }
        let (left, keepalive) = (Duration::from_micros(4_212_001), Duration::from_secs(30));
        for frame in [
            FromLeader::Welcome(16_226),
            FromLeader::Left(TermLeft { number: 7, term: 16_226, left, keepalive }),
            FromLeader::Cut,
            FromLeader::Process(1 << 63),
        ] {
            assert_eq!(FromLeader::decode(frame.encode()), Some(frame));
        }
        assert_eq!(FromLeader::decode([b'H'; FromLeader::LENGTH]), None);
        assert_eq!(FromRelay::decode([0; FromRelay::LENGTH]), None);
    }

    #[tokio::test]
    async fn frame_comes_in_pieces() {
        let (mut from, mut to) = tokio::io::duplex(4);
        let write = tokio::spawn(async move {
            use tokio::io::AsyncWriteExt;
            to.write_all(&FromRelay::Ask(7).encode()).await.unwrap();
        });
        let mut reader = FrameReader::default();
        assert_eq!(FromRelay::decode(reader.next(&mut from).await.unwrap()), Some(FromRelay::Ask(7)));
        write.await.unwrap();
        assert!(reader.next(&mut from).await.is_err(), "the end");
    }
}
