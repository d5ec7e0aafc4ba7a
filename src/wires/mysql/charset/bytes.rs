//! Single-byte character sets. Pure.

use encoding_rs::Encoding;

use super::exceptions::Exceptions;

/// The characters of the bytes beyond ASCII.
#[derive(Debug)]
pub(super) struct Bytes {
    characters: [Option<char>; 128],
    /// The reverse mapping, in the order of the characters.
    bytes: Vec<(char, u8)>,
}

impl Bytes {
    pub(super) fn new(encoding: &'static Encoding, exceptions: &Exceptions) -> Self {
        let mut characters = [None; 128];
        for (byte, character) in (0x80..=u8::MAX).zip(&mut characters) {
            let read = encoding
                .decode_without_bom_handling_and_without_replacement(&[byte])
                .map(|text| text.chars().next());
            *character = exceptions.of(byte.into()).unwrap_or(read.flatten());
        }
        let mut bytes: Vec<_> =
            (0x80..=u8::MAX).zip(characters).filter_map(|(byte, c)| Some((c?, byte))).collect();
        bytes.sort_unstable();
        Self { characters, bytes }
    }

    /// Decodes bytes. Fails with the rest from the first byte on that is not a character.
    pub(super) fn read<'b>(&self, bytes: &'b [u8]) -> Result<String, &'b [u8]> {
        let mut text = String::with_capacity(bytes.len());
        for (at, byte) in bytes.iter().enumerate() {
            match byte.checked_sub(0x80) {
                None => text.push(char::from(*byte)),
                Some(beyond) => text.push(self.characters[usize::from(beyond)].ok_or(&bytes[at..])?),
            }
        }
        Ok(text)
    }

    pub(super) fn byte(&self, c: char) -> Option<u8> {
        if c.is_ascii() {
            return u8::try_from(c).ok();
        }
        let at = self.bytes.binary_search_by_key(&c, |(c, _)| *c).ok()?;
        Some(self.bytes[at].1)
    }
}
