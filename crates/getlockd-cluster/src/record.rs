//! What stands in the engine, as values: the seat, the beat, and the nodes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How far the floors are ahead of the numbers that are given: of fencing tokens, and of session ids.
pub const AHEAD: Floors = Floors { token: 1 << 24, session: 1 << 20 };

/// The version of the records that this program writes, and the only one that it reads.
const VERSION: u64 = 1;

/// The longest record that is read.
const LONGEST: usize = 64 << 10;

/// The longest time that a record may name: a day.
const LONGEST_TIME: Duration = Duration::from_hours(24);

/// The seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeatRecord {
    /// A node leads.
    Leads(Leader),
    /// A node led, and has ended all that it had promised.
    Resigned(Resigned),
    /// A later version wrote it: it is waited for, and never taken.
    Unreadable,
}

/// A leader, as its record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Its name.
    pub node: String,
    /// Where relays reach it: `host:port`.
    pub address: String,
    /// Fresh for each try to take the seat.
    pub nonce: String,
    /// The version of its program.
    pub version: String,
    /// What relays show to be let in.
    pub secret: String,
    /// The SHA-256 of its certificate in hexadecimal digits; none if its cluster port speaks no TLS.
    pub pin: Option<String>,
    /// T: how long a beat counts.
    #[serde(rename = "ttl_ms", with = "millis")]
    pub ttl: Duration,
    /// How much longer a successor waits.
    #[serde(rename = "takeover_delay_ms", with = "millis")]
    pub takeover_delay: Duration,
    /// How long a client that is silent keeps what it holds; its relays use the same.
    #[serde(rename = "keepalive_ms", with = "millis")]
    pub keepalive: Duration,
    /// What tokens of repeated requests are made with, carried from term to term.
    pub request_key: String,
}

/// The end of a term, as its record says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resigned {
    /// The node that led.
    pub node: String,
    /// The term that it ended.
    pub term: u64,
    /// The node that is to lead next; the others hold back for a while.
    pub successor: Option<String>,
    /// As in [`Leader::request_key`].
    pub request_key: String,
}

/// The beat: digits of a fixed width, as engines compare them as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BeatRecord {
    /// It rises with each try of a term.
    pub n: u64,
    /// Numbers that were given are below these.
    pub floors: Floors,
}

/// Numbers above all that were ever given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Floors {
    /// Of fencing tokens.
    pub token: u64,
    /// Of session ids, which wrap: compared modulo 2^32.
    pub session: u32,
}

/// A node, as it announces itself each T.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Its name.
    pub node: String,
    /// Where its cluster port is reached.
    pub address: String,
    /// The version of its program.
    pub version: String,
    /// When its process began, in milliseconds since 1970.
    pub started_ms: u64,
    /// It rises with each announcement.
    pub n: u64,
}

/// What an operator asks of the leader: to let another node lead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOverRequest {
    /// The node that is to lead next; none: the leader chooses.
    pub successor: Option<String>,
    /// When it was asked, in milliseconds since 1970, for people.
    pub asked_ms: u64,
    /// No two requests have the same.
    pub nonce: String,
    /// The leader's answer, if it does not hand over: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// A record with its version, and what it says: the state of a seat, or nothing.
#[derive(Serialize, Deserialize)]
struct VersionedRecord<T> {
    v: u64,
    #[serde(flatten)]
    says: T,
}

/// The two states of a seat.
#[derive(Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
enum SeatState {
    Leads(Leader),
    Resigned(Resigned),
}

fn encode<T: Serialize>(says: T) -> Vec<u8> {
    // Strings and numbers cannot fail. If they did, an empty record is one that nobody reads, and nobody takes.
    serde_json::to_vec(&VersionedRecord { v: VERSION, says }).unwrap_or_default()
}

/// None if another version wrote it, or if it is no record at all.
fn decode<T: for<'a> Deserialize<'a>>(value: &[u8]) -> Option<T> {
    let record: VersionedRecord<T> =
        (value.len() <= LONGEST).then(|| serde_json::from_slice(value).ok())??;
    (record.v == VERSION).then_some(record.says)
}

impl SeatRecord {
    /// As it stands in the engine. [`SeatRecord::Unreadable`] is never written; it is empty.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Leads(leader) => encode(SeatState::Leads(leader.clone())),
            Self::Resigned(resigned) => encode(SeatState::Resigned(resigned.clone())),
            Self::Unreadable => Vec::new(),
        }
    }

    /// Reads it. What cannot be read, or makes no sense, is [`SeatRecord::Unreadable`].
    pub fn decode(value: &[u8]) -> Self {
        match decode(value) {
            Some(SeatState::Leads(leader)) if leader.makes_sense() => Self::Leads(leader),
            Some(SeatState::Resigned(resigned)) => Self::Resigned(resigned),
            _ => Self::Unreadable,
        }
    }
}

impl Leader {
    fn makes_sense(&self) -> bool {
        !self.ttl.is_zero() && self.ttl <= LONGEST_TIME && self.takeover_delay <= LONGEST_TIME
    }

    /// How long its successor waits after the last change that it saw.
    pub fn wait(&self) -> Duration {
        self.ttl + self.takeover_delay
    }
}

impl NodeRecord {
    /// As it stands in the engine.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads it; none if another version wrote it.
    pub fn decode(value: &[u8]) -> Option<Self> {
        decode(value)
    }
}

impl HandOverRequest {
    /// As it stands in the engine.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads it; none if another version wrote it.
    pub fn decode(value: &[u8]) -> Option<Self> {
        decode(value)
    }
}

impl BeatRecord {
    /// As it stands in the engine: digits of a fixed width, so that a higher `n` is a higher text.
    pub fn encode(&self) -> Vec<u8> {
        let Self { n, floors: Floors { token, session } } = self;
        format!("{n:020} {token:020} {session:010}").into_bytes()
    }

    /// Reads it; none if it is not exactly of that form.
    pub fn decode(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (n, floors) = text.split_once(' ')?;
        let (token, session) = floors.split_once(' ')?;
        let floors = Floors { token: digits(token, 20)?, session: u32::try_from(digits(session, 10)?).ok()? };
        Some(Self { n: digits(n, 20)?, floors })
    }
}

/// A number of exactly so many digits.
fn digits(text: &str, width: usize) -> Option<u64> {
    let is_number = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

impl Floors {
    /// So far above these. Session ids wrap.
    #[must_use]
    pub fn ahead(self) -> Self {
        Self {
            token: self.token.saturating_add(AHEAD.token),
            session: self.session.wrapping_add(AHEAD.session),
        }
    }
}

/// Times in whole milliseconds, as people read them in the engine.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leader() -> Leader {
        Leader {
            node: "a".into(),
            address: "10.0.0.1:3309".into(),
            nonce: "77".into(),
            version: "1.2.3".into(),
            secret: "s".into(),
            pin: None,
            ttl: Duration::from_secs(5),
            takeover_delay: Duration::from_millis(1500),
            keepalive: Duration::from_secs(20),
            request_key: "k".into(),
        }
    }

    #[test]
    fn seat_is_json_that_people_read() {
        let seat = SeatRecord::Leads(leader());
        let text = String::from_utf8(seat.encode()).expect("text");
        assert!(text.starts_with(r#"{"v":1,"state":"leads","node":"a","address":"10.0.0.1:3309""#), "{text}");
        assert!(text.contains(r#""ttl_ms":5000,"takeover_delay_ms":1500"#), "{text}");
        assert_eq!(SeatRecord::decode(text.as_bytes()), seat);
        let resigned = SeatRecord::Resigned(Resigned {
            node: "a".into(),
            term: 7,
            successor: Some("b".into()),
            request_key: "k".into(),
        });
        assert_eq!(SeatRecord::decode(&resigned.encode()), resigned);
    }

    #[test]
    fn seat_of_another_version_is_unreadable() {
        let text = String::from_utf8(SeatRecord::Leads(leader()).encode()).expect("text");
        let other = |from, to| SeatRecord::decode(text.replacen(from, to, 1).as_bytes());
        assert_eq!(other(r#""v":1"#, r#""v":2"#), SeatRecord::Unreadable);
        assert_eq!(other(r#""v":1,"#, ""), SeatRecord::Unreadable);
        assert_eq!(other("leads", "dreams"), SeatRecord::Unreadable);
        assert_eq!(other(r#""ttl_ms":5000"#, r#""ttl_ms":0"#), SeatRecord::Unreadable, "taken at once");
        assert_eq!(SeatRecord::decode(b""), SeatRecord::Unreadable);
        assert_eq!(SeatRecord::decode(&vec![b' '; LONGEST + 1]), SeatRecord::Unreadable);
        assert_ne!(
            other(r#""v":1"#, r#""v":1,"more":[1]"#),
            SeatRecord::Unreadable,
            "a field more is no harm"
        );
    }

    #[test]
    fn order_of_beats_is_that_of_n() {
        let beat = |n, token| BeatRecord { n, floors: Floors { token, session: u32::MAX } };
        let text = beat(9, 1 << 53).encode();
        assert_eq!(text, b"00000000000000000009 00009007199254740992 4294967295");
        assert_eq!(BeatRecord::decode(&text), Some(beat(9, 1 << 53)));
        assert!(beat(9, u64::MAX).encode() < beat(10, 0).encode());
        for wrong in [
            "",
            "1 2 3",
            "00000000000000000009 00009007199254740992 4294967296",
            "00000000000000000009 00009007199254740992 4294967295 ",
            "+0000000000000000009 00009007199254740992 4294967295",
            "99999999999999999999 00009007199254740992 4294967295",
        ] {
            assert_eq!(BeatRecord::decode(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn node_and_hand_over_are_read_as_written() {
        let node = NodeRecord {
            node: "a".into(),
            address: "10.0.0.1:3309".into(),
            version: "1.2.3".into(),
            started_ms: 5,
            n: 6,
        };
        assert_eq!(NodeRecord::decode(&node.encode()), Some(node));
        let request = HandOverRequest { successor: None, asked_ms: 7, nonce: "n".into(), refused: None };
        assert_eq!(HandOverRequest::decode(&request.encode()), Some(request));
        assert_eq!(HandOverRequest::decode(br#"{"v":2,"asked_ms":7,"nonce":"n"}"#), None);
    }

    #[test]
    fn session_floor_wraps_and_token_floor_does_not() {
        let last = Floors { token: u64::MAX, session: u32::MAX };
        assert_eq!(last.ahead(), Floors { token: u64::MAX, session: (1 << 20) - 1 });
    }
}
