//! Leases in the engine of a cluster: each a record under the digest of its secret, written with the beats of the leader.

use std::{io, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use getlockd_cluster::driver::{NotWritten, Tenure};

use super::record::{self, BadRecord};
use crate::core::{
    lease::Key,
    store::{Batch, CommitError, DurableLease, Floors, Store},
};

/// The leases of one term. Floors are in its beats.
#[derive(Debug)]
pub(crate) struct ClusterStore(pub(crate) Arc<Tenure>);

/// What stands in the engine is not to be taken up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    /// Its key is no digest.
    #[error("the key {0:?} is no digest of a lease; remove it")]
    Key(String),
    /// A later version wrote it.
    #[error("{0} has format {1}, which this version does not read; update this node")]
    Format(String, u8),
    /// It is damaged.
    #[error("{0}: {1}")]
    Record(String, BadRecord),
}

/// The leases among the records of an engine.
///
/// # Errors
/// [`Unreadable`]: a node that does not know all leases must not lead.
pub(crate) fn read(records: Vec<(String, Vec<u8>)>) -> Result<Vec<DurableLease>, Unreadable> {
    records.into_iter().map(|(key, record)| read_one(key, &record)).collect()
}

fn read_one(key: String, bytes: &[u8]) -> Result<DurableLease, Unreadable> {
    let Some(digest) = digest(&key) else { return Err(Unreadable::Key(key)) };
    match bytes.split_first() {
        Some((&format, record)) if u32::from(format) <= record::FORMAT => {
            record::decode(digest, record).map_err(|error| Unreadable::Record(key, error))
        }
        Some((&format, _)) => Err(Unreadable::Format(key, format)),
        None => Err(Unreadable::Format(key, 0)),
    }
}

/// The key and the record of a lease.
fn written(lease: &DurableLease) -> (String, Option<Vec<u8>>) {
    // Formats are few.
    let mut record = vec![u8::try_from(record::format_of(lease)).unwrap_or(u8::MAX)];
    record.extend(record::encode(lease));
    (name(&lease.key), Some(record))
}

/// What the names of leases start with.
const FOLDER: &str = "lease/";

fn name(key: &Key) -> String {
    key.bytes().iter().fold(FOLDER.to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

fn digest(name: &str) -> Option<[u8; 32]> {
    let key = name.strip_prefix(FOLDER)?;
    let is_hex = key.len() == 64 && key.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let mut digest = [0; 32];
    for (byte, digits) in digest.iter_mut().zip(key.as_bytes().chunks(2)).filter(|_| is_hex) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    is_hex.then_some(digest)
}

impl ClusterStore {
    async fn write(&self, changes: Vec<(String, Option<Vec<u8>>)>) -> Result<(), CommitError> {
        self.0.write(changes).await.map_err(|error| match error {
            NotWritten::Over => CommitError::Lost,
            NotWritten::Refused(why) => CommitError::Unknown(io::Error::other(why)),
        })
    }
}

impl Store for ClusterStore {
    fn commit(&self, batch: Batch) -> BoxFuture<'_, Result<(), CommitError>> {
        let changes = batch.changes.into_iter().map(|(key, change)| match change.put() {
            Some(lease) => written(lease),
            None => (name(&key), None),
        });
        self.write(changes.collect()).boxed()
    }

    /// The driver repeats what may have been lost, so that only a change that the engine refuses ends here. What was refused
    /// is not in the engine.
    fn replace(&self, leases: Vec<DurableLease>, _: Floors) -> BoxFuture<'_, Result<(), CommitError>> {
        self.write(leases.iter().map(written).collect()).boxed()
    }

    /// A term that ends leaves its leases where they are.
    fn close(&self, _: Floors, _: bool) -> BoxFuture<'_, Result<(), CommitError>> {
        async { Ok(()) }.boxed()
    }

    fn has_floors(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        core::{
            client_info::{Origin, Wire},
            lock::{Mode, SessionId},
        },
        name::Name,
    };

    fn lease(mode: Mode) -> DurableLease {
        DurableLease {
            key: Key::of("token", &["x"]),
            names: Name::new("nightly").unwrap().into(),
            mode,
            token: 7,
            ttl: std::time::Duration::from_secs(45),
            session: SessionId(9),
            origin: Origin { wire: Wire::Http, peer: ([127, 0, 0, 1], 40112).into() },
            user: None,
            client: String::new(),
            note: None,
            granted_ms: 0,
            ends: None,
        }
    }

    #[test]
    fn leases_round_trip_as_records() {
        for mode in [Mode::Exclusive, Mode::Permit(3)] {
            let (name, record) = written(&lease(mode));
            assert!(name.starts_with("lease/") && name.len() == 70, "{name}");
            assert_eq!(read(vec![(name, record.unwrap())]).unwrap(), [lease(mode)]);
        }
    }

    #[test]
    fn lease_of_a_later_format_is_not_skipped() {
        let (key, record) = written(&lease(Mode::Exclusive));
        let mut later = record.unwrap();
        later[0] = 3;
        let told = read(vec![(key.clone(), later)]).unwrap_err().to_string();
        assert_eq!(told, format!("{key} has format 3, which this version does not read; update this node"));
        assert!(matches!(read(vec![(key.clone(), Vec::new())]), Err(Unreadable::Format(..))));
        assert!(matches!(read(vec![(key[..69].to_owned(), vec![1])]), Err(Unreadable::Key(_))));
    }
}
