//! The terminal: its size, its keys, and how it was before.

use std::{
    io::{Read, Write, stdin, stdout},
    thread,
};

use anstream::{AutoStream, ColorChoice, adapter::strip_str};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;
use unicode_width::UnicodeWidthStr;

use crate::exit::Failure;

const ESCAPE: u8 = 0x1b;

/// The alternate screen of the terminal, with keys as they are hit. Dropped, it restores the terminal.
pub(crate) struct Screen {
    before: Termios,
}

impl Screen {
    pub(crate) fn new() -> Result<Self, Failure> {
        let before = tcgetattr(stdin())
            .map_err(|_| Failure::usage("this needs a terminal; without one: getlock ls"))?;
        let mut keys = before.clone();
        keys.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG | LocalModes::IEXTEN;
        let screen = Self { before };
        tcsetattr(stdin(), OptionalActions::Now, &keys).map_err(|error| Failure::system(error.into()))?;
        put("\x1b[?1049h\x1b[?25l");
        Ok(screen)
    }

    /// Draws the lines from the top, as many as there is place for.
    pub(crate) fn draw(lines: &[String]) {
        let (width, height) = size();
        let is_plain = AutoStream::choice(&stdout()) == ColorChoice::Never;
        let plain = |line: String| if is_plain { strip_str(&line).to_string() } else { line };
        let shown = lines.iter().take(height).map(|line| plain(cut(line, width))).collect::<Vec<_>>();
        put(&format!("\x1b[H{}\x1b[0m\x1b[K\x1b[J", shown.join("\x1b[0m\x1b[K\r\n")));
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        put("\x1b[?25h\x1b[?1049l");
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

/// A terminal that is gone is no failure: there is nobody to see it.
fn put(text: &str) {
    let mut out = stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A key of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyPress {
    Byte(u8),
    Up,
    Down,
    PageUp,
    PageDown,
}

/// The keys that are hit, up to the end of the input.
pub(crate) fn keys() -> mpsc::UnboundedReceiver<KeyPress> {
    let (hit, keys) = mpsc::unbounded_channel();
    // A read of a terminal cannot be cancelled, so a thread does it, which is left behind at the end.
    thread::spawn(move || {
        let mut escape = Vec::new();
        let bytes = stdin().lock().bytes().map_while(Result::ok);
        bytes.filter_map(|byte| key(&mut escape, byte)).try_for_each(|key| hit.send(key))
    });
    keys
}

/// The key that ends with this byte. `escape` is what came of a longer one.
fn key(escape: &mut Vec<u8>, byte: u8) -> Option<KeyPress> {
    let is_over = match escape.as_slice() {
        [] | [ESCAPE] => false,
        _ => (0x40..0x7f).contains(&byte),
    };
    match (escape.as_slice(), byte) {
        (_, ESCAPE) => *escape = vec![ESCAPE],
        ([], _) => return Some(KeyPress::Byte(byte)),
        ([ESCAPE], b'[' | b'O') => escape.push(byte),
        // The key Esc, and then another.
        ([ESCAPE], _) => {
            escape.clear();
            return Some(KeyPress::Byte(byte));
        }
        _ => escape.push(byte),
    }
    if !is_over {
        return None;
    }
    match std::mem::take(escape)[2..] {
        [b'A'] => Some(KeyPress::Up),
        [b'B'] => Some(KeyPress::Down),
        [b'5', b'~'] => Some(KeyPress::PageUp),
        [b'6', b'~'] => Some(KeyPress::PageDown),
        _ => None,
    }
}

/// Columns and rows.
pub(crate) fn size() -> (usize, usize) {
    let size = tcgetwinsize(stdout()).or_else(|_| tcgetwinsize(std::io::stderr()));
    let size = size.ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
}

pub(crate) fn width() -> usize {
    size().0
}

/// A text, or its beginning and a sign that there is more.
pub(crate) fn shortened(text: &str, width: usize) -> String {
    if text.width() <= width { text.to_owned() } else { cut(text, width.saturating_sub(1)) + "…" }
}

/// As much of a line as fits. What sets colours takes no place.
pub(crate) fn cut(line: &str, width: usize) -> String {
    // Characters are not measured one by one: a sign that joins or varies others changes how wide these are.
    let (mut before, mut word, mut in_escape) = (0, String::new(), false);
    let fits = |c: &char| {
        if *c == '\x1b' || in_escape {
            in_escape = !c.is_ascii_alphabetic();
            return true;
        }
        // Nothing joins across a blank, so no more than a word is measured again.
        if *c == ' ' {
            before += word.width();
            word.clear();
        }
        word.push(*c);
        before + word.width() <= width
    };
    line.chars().take_while(fits).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Texts whose width is not that of their characters, and others that terminals treat in their own way: all pairs
    /// of these pieces, many times over.
    pub(crate) fn strange_texts() -> impl Iterator<Item = String> {
        const PIECES: [&str; 14] = [
            "a",
            " ",
            "語",
            "☎\u{fe0f}",
            "👨\u{200d}",
            "👩\u{1f3fd}",
            "1\u{fe0f}\u{20e3}",
            "🇩",
            "e\u{301}",
            "\u{301}",
            "ل",
            "ا",
            "\u{1b}[2J",
            "\u{7}\n",
        ];
        let pairs = PIECES.iter().flat_map(|one| PIECES.iter().map(move |other| format!("{one}{other}")));
        pairs.map(|pair| pair.repeat(32))
    }

    #[test]
    fn strange_texts_are_cut_to_no_more_than_the_width() {
        for text in strange_texts().map(|text| getlockd_client::visible(&text)) {
            for width in [1, 2, 7, 40, 79] {
                let (cut, shortened) = (cut(&text, width), shortened(&text, width));
                assert!(text.starts_with(&cut) && cut.width() <= width, "{width}: {cut:?}");
                assert!(shortened.width() <= width, "{width}: {shortened:?}");
            }
        }
    }

    #[test]
    fn lines_are_cut_at_the_screen_width() {
        assert_eq!(cut("nightly", 3), "nig");
        assert_eq!(cut("語語", 3), "語");
        assert_eq!(cut("\x1b[1mab\x1b[0mcd", 3), "\x1b[1mab\x1b[0mc");
        assert_eq!(["nightly", "語語"].map(|text| shortened(text, 4)), ["nig…", "語語"]);
        assert_eq!(cut("☎\u{fe0f}☎\u{fe0f}☎\u{fe0f}", 4), "☎\u{fe0f}☎\u{fe0f}");
    }

    #[test]
    fn multibyte_keys_are_read() {
        let mut escape = Vec::new();
        let mut keys =
            |bytes: &[u8]| bytes.iter().filter_map(|&byte| key(&mut escape, byte)).collect::<Vec<_>>();
        assert_eq!(keys(b"j\x1b[A\x1bOB"), [KeyPress::Byte(b'j'), KeyPress::Up, KeyPress::Down]);
        assert_eq!(keys(b"\x1b[5~\x1b[6~\x1b[1;5C"), [KeyPress::PageUp, KeyPress::PageDown]);
        assert_eq!(keys(b"\x1b\x1bq"), [KeyPress::Byte(b'q')], "Esc is none");
    }
}
