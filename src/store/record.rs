//! What a store has, as bytes: messages of Protocol Buffers, which a later version may add fields to.

use std::{net::SocketAddr, time::Duration};

use prost::Message;

use crate::{
    core::{
        client_info::{Origin, Wire},
        command::MAX_NAMES,
        lease::{Key, LeaseNames},
        lock::{Mode, SessionId},
        store::{BootMoment, DurableLease, Floors},
    },
    name::Name,
};

/// The newest format that this version reads.
pub(super) const FORMAT: u32 = 2;

/// The format of a file with leases of one lock each, shared or exclusive. Versions that know no other read it.
pub(super) const FIRST_FORMAT: u32 = 1;

/// The oldest format that a file with this lease may have: an older version would take up the first of its locks alone, and a
/// permit as an exclusive lock.
pub(super) fn format_of(lease: &DurableLease) -> u32 {
    let is_plain = lease.names.others().is_empty() && lease.mode.limit().is_none();
    if is_plain { FIRST_FORMAT } else { FORMAT }
}

/// What there is beside the leases.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Meta {
    #[prost(uint32, tag = "1")]
    pub format: u32,
    #[prost(uint64, tag = "2")]
    pub token_floor: u64,
    #[prost(uint32, tag = "3")]
    pub session_floor: u32,
    /// For how long nothing may be granted after the next start.
    #[prost(uint64, tag = "4")]
    pub grace_ms: u64,
    /// As secret as the tokens of the leases.
    #[prost(string, tag = "5")]
    pub request_key: String,
    /// A server has it open, or has crashed.
    #[prost(bool, tag = "6")]
    pub is_open: bool,
}

impl Meta {
    pub fn floors(&self) -> Floors {
        Floors { token: self.token_floor, session: self.session_floor }
    }

    pub fn set_floors(&mut self, floors: Floors) {
        (self.token_floor, self.session_floor) = (floors.token, floors.session);
    }
}

#[derive(Clone, PartialEq, Message)]
struct LeaseRecord {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bool, tag = "2")]
    is_shared: bool,
    #[prost(uint64, tag = "3")]
    token: u64,
    #[prost(uint64, tag = "4")]
    ttl_ms: u64,
    #[prost(uint32, tag = "5")]
    session: u32,
    #[prost(string, tag = "6")]
    wire: String,
    #[prost(string, tag = "7")]
    peer: String,
    #[prost(string, optional, tag = "8")]
    user: Option<String>,
    #[prost(string, tag = "9")]
    client: String,
    #[prost(string, optional, tag = "10")]
    note: Option<String>,
    #[prost(uint64, tag = "11")]
    granted_ms: u64,
    #[prost(bytes = "vec", tag = "12")]
    boot: Vec<u8>,
    #[prost(uint64, tag = "13")]
    ends_ms: u64,
    /// From format 2 on.
    #[prost(string, repeated, tag = "14")]
    other_names: Vec<String>,
    /// Of permits, from format 2 on; else 0.
    #[prost(uint32, tag = "15")]
    limit: u32,
}

/// What stands in a store is no lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record of a lease is damaged: {0}")]
pub struct BadRecord(&'static str);

pub(super) fn encode(lease: &DurableLease) -> Vec<u8> {
    let record = LeaseRecord {
        name: lease.names.first().as_str().to_owned(),
        is_shared: lease.mode == Mode::Shared,
        token: lease.token,
        ttl_ms: millis(lease.ttl),
        session: lease.session.0,
        wire: lease.origin.wire.as_str().to_owned(),
        peer: lease.origin.peer.to_string(),
        user: lease.user.clone(),
        client: lease.client.clone(),
        note: lease.note.clone(),
        granted_ms: lease.granted_ms,
        boot: lease.ends.map(|ends| ends.boot.to_vec()).unwrap_or_default(),
        ends_ms: lease.ends.map(|ends| ends.millis).unwrap_or_default(),
        other_names: lease.names.others().iter().map(|name| name.as_str().to_owned()).collect(),
        limit: lease.mode.limit().unwrap_or_default().into(),
    };
    record.encode_to_vec()
}

pub(super) fn decode(key: [u8; 32], bytes: &[u8]) -> Result<DurableLease, BadRecord> {
    let record = LeaseRecord::decode(bytes).map_err(|_| BadRecord("it is no message"))?;
    let wire = Wire::ALL.into_iter().find(|wire| wire.as_str() == record.wire);
    let peer: Option<SocketAddr> = record.peer.parse().ok();
    let boot: Option<[u8; 16]> = record.boot.try_into().ok();
    if record.other_names.len() >= MAX_NAMES {
        return Err(BadRecord("it has too many names"));
    }
    let names = [&record.name].into_iter().chain(&record.other_names).map(|name| Name::new(name));
    let names: Vec<_> = names.collect::<Result<_, _>>().map_err(|_| BadRecord("its name is none"))?;
    let names = LeaseNames::new(names).ok_or(BadRecord("it has no name"))?;
    let mode = match (record.is_shared, record.limit) {
        (true, 0) => Mode::Shared,
        (false, 0) => Mode::Exclusive,
        (false, limit) => Mode::Permit(limit.try_into().map_err(|_| BadRecord("its limit is none"))?),
        (true, _) => return Err(BadRecord("it is shared, with a limit")),
    };
    Ok(DurableLease {
        key: Key::from_bytes(key),
        names,
        mode,
        token: record.token,
        ttl: Duration::from_millis(record.ttl_ms),
        session: SessionId(record.session),
        origin: Origin {
            wire: wire.ok_or(BadRecord("its wire is none"))?,
            peer: peer.ok_or(BadRecord("its address is none"))?,
        },
        user: record.user,
        client: record.client,
        note: record.note,
        granted_ms: record.granted_ms,
        ends: boot.map(|boot| BootMoment { boot, millis: record.ends_ms }),
    })
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> DurableLease {
        DurableLease {
            key: Key::of("token", &["x"]),
            names: Name::new("nightly").unwrap().into(),
            mode: Mode::Shared,
            token: 1 << 52,
            ttl: Duration::from_secs(45),
            session: SessionId(u32::MAX),
            origin: Origin { wire: Wire::Grpc, peer: ([127, 0, 0, 1], 40112).into() },
            user: Some("app1".to_owned()),
            client: "web-1".to_owned(),
            note: None,
            granted_ms: 1_795_168_800_000,
            ends: Some(BootMoment { boot: [7; 16], millis: 12 }),
        }
    }

    #[test]
    fn lease_round_trips() {
        let names = ["b", "a"].map(|name| Name::new(name).unwrap()).to_vec();
        let several = DurableLease { names: LeaseNames::new(names).unwrap(), ..lease() };
        let permit = DurableLease { mode: Mode::Permit(u16::MAX), ..lease() };
        assert_eq!([&lease(), &several, &permit].map(format_of), [1, 2, 2]);
        let no_user = DurableLease { user: None, note: Some("x".into()), ends: None, ..lease() };
        for lease in [lease(), no_user, several, permit] {
            assert_eq!(decode(*lease.key.bytes(), &encode(&lease)).unwrap(), lease);
        }
    }

    /// As the version before format 2 wrote that lease.
    #[test]
    fn record_of_the_first_format_is_read() {
        let written = "0a076e696768746c79100118808080808080800820c8df0228ffffffff0f3204677270633a0f3132372e302e\
                       302e313a34303131324204617070314a057765622d3158809a98c39f346210070707070707070707070707070707\
                       07680c";
        let digits = written.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let bytes: Vec<u8> = digits.map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect();
        assert_eq!(decode(*lease().key.bytes(), &bytes).unwrap(), lease());
    }

    #[test]
    fn damaged_record_is_an_error() {
        let whole = encode(&lease());
        for end in 0..whole.len() {
            // Cut or not, it is an error or another lease, and no panic.
            let _ = decode([0; 32], &whole[..end]);
        }
        assert_eq!(decode([0; 32], b"\xff"), Err(BadRecord("it is no message")));
        assert_eq!(decode([0; 32], b""), Err(BadRecord("its name is none")));
        let too_large = LeaseRecord { limit: 1 << 16, ..LeaseRecord::decode(&*encode(&lease())).unwrap() };
        for (is_shared, wrong) in [(false, "its limit is none"), (true, "it is shared, with a limit")] {
            let record = LeaseRecord { is_shared, ..too_large.clone() };
            assert_eq!(decode([0; 32], &record.encode_to_vec()), Err(BadRecord(wrong)));
        }
    }
}
