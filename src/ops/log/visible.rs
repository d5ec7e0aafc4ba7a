//! Unseen characters in a log of JSON: text from clients must not change the terminal of who reads it.

use std::io::{self, Write};

use getlockd_proto::escape::VisibleJson;
use tracing_subscriber::fmt::MakeWriter;

/// Writes lines of JSON with unseen characters escaped. Each write is of whole lines.
#[derive(Debug)]
pub struct VisibleLines<W>(pub W);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for VisibleLines<M> {
    type Writer = VisibleLines<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        VisibleLines(self.0.make_writer())
    }
}

impl<W: Write> Write for VisibleLines<W> {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let visible = VisibleJson(&String::from_utf8_lossy(lines)).to_string();
        self.0.write_all(visible.as_bytes())?;
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn unseen_characters_of_a_line_are_escaped() {
        let mut lines = VisibleLines(Vec::new());
        lines.write_all("{\"client\":\"a\u{9b}\u{202e}b\"}\n".as_bytes()).unwrap();
        assert_eq!(lines.0, b"{\"client\":\"a\\u009b\\u202eb\"}\n");
    }
}
