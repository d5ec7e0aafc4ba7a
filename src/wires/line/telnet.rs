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

/// The most bytes of parameters. Their end is missing if they have more, as they come from something else than telnet.
const MAX_PARAMETERS: usize = 512;

/// Takes telnet's sequences out of what arrives, wherever a read has cut them.
#[derive(Debug, Default)]
pub struct Telnet {
    state: TelnetState,
    /// How much of the input has arrived behind the last `^C`; none if that was obeyed, or there was none.
    behind_interrupt: Option<u32>,
    /// Boxed: no client sends parameters whose options are all refused.
    parameters: Option<Box<Parameters>>,
}

/// What has arrived of parameters, in case that they are text.
#[derive(Debug, Default)]
struct Parameters(Vec<u8>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TelnetState {
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
    /// Looks at what is in `input` behind `from`, where no byte has been looked at.
    pub fn filter(&mut self, input: &mut BytesMut, from: usize, output: &mut BytesMut) {
        if self.state == TelnetState::Text && memchr::memchr(IAC, &input[from..]).is_none() {
            if self.behind_interrupt.is_some() {
                self.move_interrupt(input.len() - from);
            }
        } else {
            self.take_out(input, from, output);
        }
    }

    /// Whether the user has interrupted the command behind which `unread` bytes have arrived. They do it once.
    pub fn interrupts(&mut self, unread: usize) -> bool {
        // What stands in front of this command stands in front of all later ones too.
        self.behind_interrupt.take().is_some_and(|behind| behind as usize <= unread)
    }

    #[cold]
    fn move_interrupt(&mut self, arrived: usize) {
        let arrived = u32::try_from(arrived).unwrap_or(u32::MAX);
        self.behind_interrupt = self.behind_interrupt.map(|behind| behind.saturating_add(arrived));
    }

    #[cold]
    fn take_out(&mut self, input: &mut BytesMut, from: usize, output: &mut BytesMut) {
        let arrived = input.split_off(from);
        let mut start = from;
        for byte in arrived {
            let next = match (self.state, byte) {
                (TelnetState::Text, IAC) => TelnetState::Command,
                (TelnetState::Command, DONT | DO | WONT | WILL) => TelnetState::Option(byte),
                (TelnetState::Command, SB) => {
                    self.parameters = Some(Box::new(Parameters(vec![IAC, SB])));
                    TelnetState::Parameters
                }
                (TelnetState::EndOfParameters, SE) => {
                    self.parameters = None;
                    TelnetState::Text
                }
                (TelnetState::Parameters | TelnetState::EndOfParameters, _) => self.parameter(byte, input),
                (TelnetState::Option(verb), option) => {
                    refuse(verb, option, output);
                    TelnetState::Text
                }
                (TelnetState::Command, IP) => {
                    (self.behind_interrupt, start) = (Some(0), input.len());
                    TelnetState::Text
                }
                // Other commands mean nothing here. What is none has come from something else than telnet.
                (TelnetState::Command, SE..IAC) => TelnetState::Text,
                (TelnetState::Command, IAC) | (TelnetState::Text, _) => {
                    input.put_u8(byte);
                    TelnetState::Text
                }
                (TelnetState::Command, _) => {
                    input.put_slice(&[IAC, byte]);
                    TelnetState::Text
                }
            };
            self.state = next;
        }
        self.move_interrupt(input.len() - start);
    }

    /// Keeps a byte of parameters. If there are too many, they are text: nothing that a client sends is lost.
    fn parameter(&mut self, byte: u8, input: &mut BytesMut) -> TelnetState {
        let Parameters(bytes) = &mut **self.parameters.get_or_insert_default();
        bytes.push(byte);
        if bytes.len() > MAX_PARAMETERS {
            input.put_slice(bytes);
            self.parameters = None;
            return TelnetState::Text;
        }
        let is_end = self.state == TelnetState::Parameters && byte == IAC;
        if is_end { TelnetState::EndOfParameters } else { TelnetState::Parameters }
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

    /// What is left, what is answered, and how many reads interrupt something, where reads take `step` bytes.
    fn filtered(arrives: &[u8], step: usize) -> (Vec<u8>, Vec<u8>, usize) {
        let (mut telnet, mut input, mut output) = (Telnet::default(), BytesMut::new(), BytesMut::new());
        let mut interrupts = 0;
        for read in arrives.chunks(step) {
            let from = input.len();
            input.extend_from_slice(read);
            telnet.filter(&mut input, from, &mut output);
            interrupts += usize::from(telnet.interrupts(input.len()));
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
    fn interrupt_is_of_the_command_in_front_of_it() {
        let sent = [b"a\nb\n", &[IAC, IP][..], b"c\nd\n"].concat();
        for step in 1..=sent.len() {
            for (unread, interrupts) in [(6, true), (4, true), (2, false), (0, false)] {
                let (mut telnet, mut input) = (Telnet::default(), BytesMut::new());
                for read in sent.chunks(step) {
                    let from = input.len();
                    input.extend_from_slice(read);
                    telnet.filter(&mut input, from, &mut BytesMut::new());
                }
                assert_eq!(telnet.interrupts(unread), interrupts, "{unread} behind it, in reads of {step}");
                assert!(!telnet.interrupts(unread), "once");
            }
        }
    }

    #[test]
    fn parameters_without_an_end_are_text() {
        let mut sent = [b"GET_LOCK ", &[IAC, SB][..], b" 0\n"].concat();
        sent.extend_from_slice(&b"PING\n".repeat(MAX_PARAMETERS / 5));
        for step in [1, 7, sent.len()] {
            assert_eq!(filtered(&sent, step), (sent.clone(), Vec::new(), 0), "in reads of {step}");
        }
    }

    #[test]
    fn refusals_for_a_client_that_does_not_read_are_bounded() {
        let (_, answered, _) = filtered(&[IAC, DO, TIMING_MARK].repeat(MAX_UNSENT), 300);
        assert!((MAX_UNSENT..MAX_UNSENT + 3).contains(&answered.len()));
    }
}
