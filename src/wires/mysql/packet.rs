//! Packets: a payload after its length and a sequence number; longer payloads are split (MySQL internals, "Protocol
//! Basics"). Pure.

use std::mem;

use bytes::{Buf, BufMut, BytesMut};
use tokio_util::codec::Decoder;

use super::error::SqlError;

/// The largest payload of one packet. A payload of this size has a continuation.
const MAX_PAYLOAD: usize = 0xFF_FFFF;

/// The packets of one connection.
#[derive(Debug)]
pub(super) struct Packets {
    sequence: u8,
    limit: usize,
    /// The part of a split payload that has arrived.
    joined: BytesMut,
    /// How many bytes of a refused payload are still to arrive.
    unwanted: usize,
}

impl Packets {
    pub(super) fn new(limit: usize) -> Self {
        Self { sequence: 0, limit, joined: BytesMut::new(), unwanted: 0 }
    }

    /// Sets the largest payload that is accepted from now on.
    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Each command, and each message that the server sends by itself, is numbered from 0.
    pub(super) fn restart(&mut self) {
        self.sequence = 0;
    }

    /// The length of the payload whose head has arrived but not all of it, with the first bytes after the head.
    pub(super) fn announced(&self, input: &[u8]) -> Option<usize> {
        match *input {
            [a, b, c, _, _kind, _, _, _, _id, ..] if self.unwanted == 0 => {
                let length = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
                (input.len() < 4 + length).then_some(length)
            }
            _ => None,
        }
    }

    /// Drops the payload of that head as it arrives. At its end it is replaced by an empty one.
    pub(super) fn drop_announced(&mut self, input: &mut BytesMut) {
        if let Some(length) = self.announced(input) {
            self.sequence = input[3].wrapping_add(1);
            self.unwanted = length;
            input.advance(4);
        }
    }

    /// The number of the next packet to be sent.
    pub(super) fn sequence(&self) -> u8 {
        self.sequence
    }

    /// Sets the number of the next packet, after packets were discarded.
    pub(super) fn go_back(&mut self, sequence: u8) {
        self.sequence = sequence;
    }

    /// Whether a command has arrived and is not answered yet.
    pub(super) fn is_answering(&self) -> bool {
        self.sequence > 0
    }

    /// Appends a packet with what `payload` writes.
    pub(super) fn put(&mut self, output: &mut BytesMut, payload: impl FnOnce(&mut BytesMut)) {
        let start = output.len();
        output.put_u32(0);
        payload(output);
        let length = output.len() - start - 4;
        if length < MAX_PAYLOAD {
            let header = self.header(length);
            output[start..start + 4].copy_from_slice(&header);
            return;
        }
        let whole = output.split_off(start).split_off(4);
        for part in whole.chunks(MAX_PAYLOAD) {
            output.put_slice(&self.header(part.len()));
            output.put_slice(part);
        }
        if length.is_multiple_of(MAX_PAYLOAD) {
            output.put_slice(&self.header(0));
        }
    }

    fn header(&mut self, length: usize) -> [u8; 4] {
        let [a, b, c, ..] = length.to_le_bytes();
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        [a, b, c, sequence]
    }
}

impl Decoder for Packets {
    type Item = BytesMut;
    type Error = SqlError;

    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<BytesMut>, SqlError> {
        if self.unwanted > 0 {
            let came = self.unwanted.min(input.len());
            input.advance(came);
            self.unwanted -= came;
            return Ok((self.unwanted == 0).then(BytesMut::new));
        }
        while let [a, b, c, sequence, ..] = input[..] {
            let length = usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16;
            let wanted = self.sequence;
            if self.joined.len() + length > self.limit || sequence != wanted {
                // The error is numbered as the client expects it.
                self.sequence = sequence.wrapping_add(1);
                return Err(if sequence == wanted { SqlError::TooLarge } else { SqlError::OutOfOrder });
            }
            if input.len() < 4 + length {
                return Ok(None);
            }
            self.sequence = sequence.wrapping_add(1);
            input.advance(4);
            // Most often it is all that came, and the buffer need not be shared.
            let part = if input.len() == length { mem::take(input) } else { input.split_to(length) };
            if length == MAX_PAYLOAD {
                self.joined.extend_from_slice(&part);
            } else if self.joined.is_empty() {
                return Ok(Some(part));
            } else {
                self.joined.extend_from_slice(&part);
                return Ok(Some(mem::take(&mut self.joined)));
            }
        }
        Ok(None)
    }
}

impl From<std::io::Error> for SqlError {
    fn from(_: std::io::Error) -> Self {
        Self::Malformed
    }
}

/// The commands, by their first byte (MySQL internals, "Command Phase").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Quit,
    InitDb,
    Query,
    FieldList,
    Statistics,
    ProcessInfo,
    ProcessKill,
    Debug,
    Ping,
    ChangeUser,
    Prepare,
    Execute,
    SendLongData,
    Close,
    Reset,
    SetOption,
    Fetch,
    ResetConnection,
    Unknown,
}

impl Opcode {
    pub(super) fn of(byte: u8) -> Self {
        match byte {
            0x01 => Self::Quit,
            0x02 => Self::InitDb,
            0x03 => Self::Query,
            0x04 => Self::FieldList,
            0x09 => Self::Statistics,
            0x0A => Self::ProcessInfo,
            0x0C => Self::ProcessKill,
            0x0D => Self::Debug,
            0x0E => Self::Ping,
            0x11 => Self::ChangeUser,
            0x16 => Self::Prepare,
            0x17 => Self::Execute,
            0x18 => Self::SendLongData,
            0x19 => Self::Close,
            0x1A => Self::Reset,
            0x1B => Self::SetOption,
            0x1C => Self::Fetch,
            0x1F => Self::ResetConnection,
            _ => Self::Unknown,
        }
    }
}

/// Writes numbers, and strings after their length.
pub(super) trait PutLengthEncoded: BufMut {
    fn put_length(&mut self, number: u64) {
        match number {
            0..=250 => self.put_uint_le(number, 1),
            251..=0xFFFF => {
                self.put_u8(0xFC);
                self.put_uint_le(number, 2);
            }
            0x1_0000..=0xFF_FFFF => {
                self.put_u8(0xFD);
                self.put_uint_le(number, 3);
            }
            _ => {
                self.put_u8(0xFE);
                self.put_u64_le(number);
            }
        }
    }

    fn put_text(&mut self, text: &[u8]) {
        self.put_length(text.len() as u64);
        self.put_slice(text);
    }
}

impl PutLengthEncoded for BytesMut {}

/// Reads the fields of a payload. Each function fails if the payload is too short.
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], SqlError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(SqlError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], SqlError> {
        self.take(N)?.try_into().map_err(|_| SqlError::Malformed)
    }

    pub(super) fn u8(&mut self) -> Result<u8, SqlError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, SqlError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, SqlError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, SqlError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads up to a NUL, or to the end.
    pub(super) fn until_nul(&mut self) -> &'a [u8] {
        let end = memchr::memchr(0, self.0);
        let text = &self.0[..end.unwrap_or(self.0.len())];
        self.0 = end.map_or(&[], |end| &self.0[end + 1..]);
        text
    }

    pub(super) fn length(&mut self) -> Result<u64, SqlError> {
        Ok(match self.u8()? {
            0xFC => self.u16()?.into(),
            0xFD => {
                let [a, b, c] = self.array()?;
                u32::from_le_bytes([a, b, c, 0]).into()
            }
            0xFE => self.u64()?,
            small => small.into(),
        })
    }

    pub(super) fn text(&mut self) -> Result<&'a [u8], SqlError> {
        let length = self.length()?;
        self.take(usize::try_from(length).map_err(|_| SqlError::Malformed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_round_trip_across_read_boundaries() {
        for length in [0, 1, 1000, MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1] {
            let payload = vec![7; length];
            let mut wire = BytesMut::new();
            Packets::new(0).put(&mut wire, |output| output.put_slice(&payload));
            let (mut packets, mut input, mut got) = (Packets::new(1 << 25), BytesMut::new(), None);
            let step = (wire.len() / 7).max(1);
            for piece in wire.chunks(step) {
                input.extend_from_slice(piece);
                got = packets.decode(&mut input).unwrap();
            }
            assert_eq!(got.unwrap(), payload, "{length}");
        }
    }

    #[test]
    fn bad_packet_is_refused_at_its_header() {
        let decode = |header: &[u8]| Packets::new(100).decode(&mut BytesMut::from(header));
        assert_eq!(decode(&[101, 0, 0, 0]), Err(SqlError::TooLarge));
        assert_eq!(decode(&[100, 0, 0, 1]), Err(SqlError::OutOfOrder));
        assert_eq!(decode(&[100, 0, 0, 0]), Ok(None));
        assert_eq!(decode(&[100, 0, 0]), Ok(None));
    }

    #[test]
    fn unwanted_packet_is_skipped() {
        let (mut packets, mut input) = (Packets::new(1000), BytesMut::from(&b"\x07\0\0\0abcde"[..]));
        assert_eq!((packets.announced(&input), packets.decode(&mut input)), (Some(7), Ok(None)));
        packets.drop_announced(&mut input);
        assert_eq!((packets.announced(&input), packets.decode(&mut input)), (None, Ok(None)));
        input.extend_from_slice(b"fg\x01\0\0\0x");
        assert_eq!(packets.decode(&mut input), Ok(Some(BytesMut::new())));
        packets.restart();
        assert_eq!(packets.decode(&mut input), Ok(Some(BytesMut::from("x"))));
    }

    #[test]
    fn length_encoding_round_trips() {
        for number in [0, 250, 251, 0xFFFF, 0x1_0000, 0xFF_FFFF, 0x100_0000, u64::MAX] {
            let mut output = BytesMut::new();
            output.put_length(number);
            assert_eq!(Fields(&output).length(), Ok(number));
        }
    }
}
