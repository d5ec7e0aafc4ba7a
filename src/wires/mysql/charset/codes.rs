//! Character sets whose characters are codes of one to four bytes. Pure.

use std::{
    ops::Range,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use encoding_rs::{DecoderResult, Encoding};

use super::{coding::UNKNOWN, exceptions::Exceptions};

/// The length of the codes that begin with a byte beyond ASCII.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lengths {
    /// Two bytes.
    Pairs,
    /// Two bytes, or four if the second is a digit.
    Chinese,
    /// Two bytes, or one for the small kana.
    ShiftJis,
    /// Two bytes, or three after 0x8F.
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

    /// The bytes of the first code that MySQL does not have, or has for another character.
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

/// Characters for which `encoding_rs` writes codes that it reads as other characters.
const LOOK_ALIKES: [char; 3] = ['\u{A5}', '\u{203E}', '\u{2212}'];

/// The codes of a character set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Codes {
    pub encoding: &'static Encoding,
    pub lengths: Lengths,
    pub exceptions: &'static Exceptions,
    pub found: &'static OnceLock<CodeIndex>,
}

/// The codes of the characters up to U+FFFF in one character set, each kept once it was looked up, since `encoding_rs`
/// searches its tables from one end to the other. 0 stands for one that was not looked up yet.
#[derive(Debug)]
pub(super) struct CodeIndex(Box<[AtomicU32]>);

impl CodeIndex {
    fn new() -> Self {
        Self((0..=u16::MAX).map(|_| AtomicU32::new(0)).collect())
    }

    fn code(&self, c: char, look: impl FnOnce() -> u32) -> u32 {
        let Some(found) = self.0.get(c as usize) else { return look() };
        match found.load(Relaxed) {
            0 => {
                let code = look();
                found.store(code, Relaxed);
                code
            }
            code => code,
        }
    }
}

impl Codes {
    /// Decodes codes. Fails with the rest from the first code on that is not a character.
    pub(super) fn read<'b>(&self, bytes: &'b [u8], room: usize) -> Result<String, &'b [u8]> {
        let Self { encoding, lengths, exceptions, .. } = *self;
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

    /// Encodes a string, with `?` for characters that the set lacks.
    pub(super) fn write(&self, text: &str) -> Vec<u8> {
        let (found, mut written) = (self.found.get_or_init(CodeIndex::new), Vec::with_capacity(text.len()));
        for c in text.chars() {
            if let Ok(byte @ 0..0x80) = u8::try_from(c) {
                written.push(byte);
            } else {
                let code = found.code(c, || self.code(c)).to_be_bytes();
                written.extend_from_slice(&code[code.iter().take_while(|byte| **byte == 0).count()..]);
            }
        }
        written
    }

    /// The code of a character; `?` if it has none, or one that MySQL would read as another character.
    fn code(&self, c: char) -> u32 {
        let Self { encoding, lengths, exceptions, .. } = *self;
        if let Some(code) = exceptions.code(c) {
            return code;
        }
        if matches!(lengths, Lengths::ShiftJis | Lengths::EucJp) && LOOK_ALIKES.contains(&c) {
            return UNKNOWN.into();
        }
        let mut utf8 = [0; 4];
        let (code, _, is_unmappable) = encoding.encode(c.encode_utf8(&mut utf8));
        if is_unmappable || lengths.first_exception(&code, exceptions).is_some() {
            return UNKNOWN.into();
        }
        number(&code)
    }
}

/// The number of a code, from its bytes.
fn number(code: &[u8]) -> u32 {
    code.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Decodes like `encoding_rs`. Fails with the rest from the first byte on that is not a character.
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
