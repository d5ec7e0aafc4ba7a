//! Character sets in which a character is a code of one to four bytes. Pure.

use std::{borrow::Cow, ops::Range};

use encoding_rs::{DecoderResult, EncoderResult, Encoding};

use super::{coding::UNKNOWN, exceptions::Exceptions};

/// How long the codes are that begin with a byte beyond ASCII.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lengths {
    /// Two bytes.
    Pairs,
    /// Two bytes, or four if the second is a digit.
    Chinese,
    /// Two bytes, or one for the small kana.
    ShiftJis,
    /// Two bytes, or three behind 0x8F.
    EucJp,
}

impl Lengths {
    fn first(self, bytes: &[u8]) -> usize {
        match (self, bytes) {
            (_, [0..=0x80, ..]) | (Self::ShiftJis, [0xA1..=0xDF, ..]) => 1,
            (Self::Chinese, [_, b'0'..=b'9', ..]) => 4,
            (Self::EucJp, [0x8F, ..]) => 3,
            _ => 2,
        }
    }

    /// The bytes of the first code that MySQL has not, or has for another character.
    fn first_exception(self, bytes: &[u8], exceptions: &Exceptions) -> Option<Range<usize>> {
        let mut at = 0;
        while at < bytes.len() {
            let end = bytes.len().min(at + self.first(&bytes[at..]));
            let code = number(&bytes[at..end]);
            if code == 0x80 || code > 0x80 && exceptions.of(code).is_some() {
                return Some(at..end);
            }
            at = end;
        }
        None
    }
}

/// Characters for which `encoding_rs` writes codes that it reads as others.
const LOOK_ALIKES: [char; 3] = ['\u{A5}', '\u{203E}', '\u{2212}'];

/// The codes of a character set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codes {
    pub encoding: &'static Encoding,
    pub lengths: Lengths,
    pub exceptions: &'static Exceptions,
}

impl Codes {
    /// Codes as a text, or the bytes from the first on that is no character.
    pub(super) fn read<'b>(&self, bytes: &'b [u8], room: usize) -> Result<String, &'b [u8]> {
        let Self { encoding, lengths, exceptions } = *self;
        let (mut text, mut left) = (String::with_capacity(room), bytes);
        while let Some(code) = lengths.first_exception(left, exceptions) {
            let (regular, from) = left.split_at(code.start);
            append(&mut text, encoding, regular)?;
            let other = exceptions.of(number(&from[..code.len()])).flatten();
            text.push(other.ok_or(from)?);
            left = &from[code.len()..];
        }
        append(&mut text, encoding, left)?;
        Ok(text)
    }

    /// A text, with `?` for what cannot be written.
    pub(super) fn write(&self, text: &str) -> Vec<u8> {
        let Self { encoding, lengths, exceptions } = *self;
        let (mut written, mut left) = (Vec::with_capacity(text.len()), text);
        let mut others = text.match_indices(|c: char| !c.is_ascii() && exceptions.code(c).is_some());
        loop {
            let other = others.next();
            let at = other.map_or(text.len(), |(at, _)| at);
            let regular = &left[..at - (text.len() - left.len())];
            written.extend(without_exceptions(write(encoding, lengths, regular), lengths, exceptions));
            let Some((at, other)) = other else { return written };
            let code = other.chars().next().and_then(|c| exceptions.code(c)).unwrap_or_default();
            written.extend(code.to_be_bytes().into_iter().skip_while(|byte| *byte == 0));
            left = &text[at + other.len()..];
        }
    }
}

/// A code by its bytes.
fn number(code: &[u8]) -> u32 {
    code.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Reads as `encoding_rs` does. Fails with the bytes from the first on that is no character.
fn append<'b>(text: &mut String, encoding: &'static Encoding, bytes: &'b [u8]) -> Result<(), &'b [u8]> {
    let (mut decoder, mut done) = (encoding.new_decoder_without_bom_handling(), 0);
    loop {
        let (result, read) = decoder.decode_to_string_without_replacement(&bytes[done..], text, true);
        done += read;
        match result {
            DecoderResult::InputEmpty => return Ok(()),
            DecoderResult::OutputFull => text.reserve(bytes.len() - done + 8),
            DecoderResult::Malformed(length, behind) => {
                let end = done.saturating_sub(behind.into());
                return Err(&bytes[end.saturating_sub(length.into())..]);
            }
        }
    }
}

/// Writes as `encoding_rs` does.
fn write(encoding: &'static Encoding, lengths: Lengths, text: &str) -> Vec<u8> {
    let mut text = Cow::Borrowed(text);
    if matches!(lengths, Lengths::ShiftJis | Lengths::EucJp) && text.contains(LOOK_ALIKES) {
        text = text.replace(LOOK_ALIKES, "?").into();
    }
    let (mut encoder, mut left, mut written) =
        (encoding.new_encoder(), &*text, Vec::with_capacity(text.len() + 8));
    loop {
        let (result, read) = encoder.encode_from_utf8_to_vec_without_replacement(left, &mut written, true);
        left = &left[read..];
        match result {
            EncoderResult::InputEmpty => return written,
            EncoderResult::OutputFull => written.reserve(left.len() + 8),
            EncoderResult::Unmappable(_) => written.push(UNKNOWN),
        }
    }
}

/// The same bytes, with `?` for what MySQL would not read so.
fn without_exceptions(mut bytes: Vec<u8>, lengths: Lengths, exceptions: &Exceptions) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut from = 0;
    while let Some(wrong) = lengths.first_exception(&bytes[from..], exceptions) {
        kept.extend_from_slice(&bytes[from..from + wrong.start]);
        kept.push(UNKNOWN);
        from += wrong.end;
    }
    if from > 0 {
        kept.extend_from_slice(&bytes[from..]);
        bytes = kept;
    }
    bytes
}
