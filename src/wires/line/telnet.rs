//! What telnet sends beside text (RFC 854): it is taken out of the lines, and what has to be answered is refused.
//!
//! After `^C` telnet shows nothing until its `DO TIMING-MARK` is answered (RFC 860). Pure: no socket.

use bytes::{BufMut, BytesMut};

use crate::net::MAX_UNSENT;

/// The byte that begins each sequence. No UTF-8 has it.
const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
/// Up to [`SE`] there are parameters.
const SB: u8 = 250;
/// `^C`: interrupt the process.
const IP: u8 = 244;
const SE: u8 = 240;

/// Takes telnet's sequences out of what arrives, wherever a read has cut them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Telnet {
    /// In text.
    #[default]
    Text,
    /// Behind IAC.
    Command,
    /// Behind WILL, WONT, DO or DONT, which is this.
    Option(u8),
    /// In parameters.
    Parameters,
    /// Behind IAC in parameters.
    EndOfParameters,
}

impl Telnet {
    /// Looks at what is in `input` behind `from`, where no byte has been looked at. True if the user wants to interrupt
    /// what runs.
    pub fn filter(&mut self, input: &mut BytesMut, from: usize, output: &mut BytesMut) -> bool {
        if *self == Self::Text && memchr::memchr(IAC, &input[from..]).is_none() {
            return false;
        }
        self.take_out(input, from, output)
    }

    #[cold]
    fn take_out(&mut self, input: &mut BytesMut, from: usize, output: &mut BytesMut) -> bool {
        let arrived = input.split_off(from);
        let mut interrupts = false;
        for byte in arrived {
            let next = match (*self, byte) {
                (Self::Text, IAC) => Self::Command,
                (Self::Command, DONT | DO | WONT | WILL) => Self::Option(byte),
                (Self::Command, SB) => Self::Parameters,
                (Self::Parameters, IAC) => Self::EndOfParameters,
                (Self::Parameters, _) => Self::Parameters,
                (Self::EndOfParameters, SE) => Self::Text,
                (Self::EndOfParameters, _) => Self::Parameters,
                (Self::Option(verb), option) => {
                    refuse(verb, option, output);
                    Self::Text
                }
                (Self::Command, IP) => {
                    interrupts = true;
                    Self::Text
                }
                // Other commands mean nothing here. What is none has come from something else than telnet.
                (Self::Command, SE..IAC) => Self::Text,
                (Self::Command, IAC) | (Self::Text, _) => {
                    input.put_u8(byte);
                    Self::Text
                }
                (Self::Command, _) => {
                    input.put_slice(&[IAC, byte]);
                    Self::Text
                }
            };
            *self = next;
        }
        interrupts
    }
}

/// No option is used. A client that does not read its answers gets no more until it does.
fn refuse(verb: u8, option: u8, output: &mut BytesMut) {
    let refusal = match verb {
        DO => WONT,
        WILL => DONT,
        _ => return,
    };
    if output.len() < MAX_UNSENT {
        output.put_slice(&[IAC, refusal, option]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING_MARK: u8 = 6;

    /// What is left, what is answered, and how often something is interrupted, where reads take `step` bytes.
    fn filtered(arrives: &[u8], step: usize) -> (Vec<u8>, Vec<u8>, usize) {
        let (mut telnet, mut input, mut output) = (Telnet::default(), BytesMut::new(), BytesMut::new());
        let mut interrupts = 0;
        for read in arrives.chunks(step) {
            let from = input.len();
            input.extend_from_slice(read);
            interrupts += usize::from(telnet.filter(&mut input, from, &mut output));
        }
        (input.to_vec(), output.to_vec(), interrupts)
    }

    #[test]
    fn sequences_are_taken_out_wherever_reads_cut_them() {
        for (arrives, left, answered, interrupts) in [
            (&b"PING\n"[..], &b"PING\n"[..], &b""[..], 0),
            (&[b'a', IAC, IP, IAC, DO, TIMING_MARK, b'b'], b"ab", &[IAC, WONT, TIMING_MARK], 1),
            (&[IAC, WILL, 31, IAC, DO, b'\n', b'a'], b"a", &[IAC, DONT, 31, IAC, WONT, b'\n'], 0),
            (&[IAC, WONT, 1, IAC, DONT, 3, b'a', IAC, 241], b"a", b"", 0),
            (&[b'a', IAC, SB, 31, 0, b'\n', IAC, IAC, b'x', IAC, SE, b'b'], b"ab", b"", 0),
            (&[b'a', IAC, IAC, b'b', IAC, b'c'], &[b'a', IAC, b'b', IAC, b'c'], b"", 0),
            (&[b'a', IAC], b"a", b"", 0),
        ] {
            for step in 1..=arrives.len() {
                let expected = (left.to_vec(), answered.to_vec(), interrupts);
                assert_eq!(filtered(arrives, step), expected, "{arrives:?} in reads of {step}");
            }
        }
    }

    #[test]
    fn refusals_for_a_client_that_does_not_read_are_bounded() {
        let (_, answered, _) = filtered(&[IAC, DO, TIMING_MARK].repeat(MAX_UNSENT), 300);
        assert!((MAX_UNSENT..MAX_UNSENT + 3).contains(&answered.len()));
    }
}
