//! Several keys of a map at once: the shards that they are in, all locked in one order.

use std::hash::{BuildHasher, Hash};

use dashmap::{DashMap, RwLockWriteGuard, SharedValue};
use hashbrown::raw::RawTable;
use smallvec::SmallVec;

type Shard<'a, K, V> = (usize, RwLockWriteGuard<'a, RawTable<(K, SharedValue<V>)>>);

/// Looks at all that is in a map, a shard at a time.
pub(crate) fn each<K: Eq + Hash, V, S: BuildHasher + Clone>(
    map: &DashMap<K, V, S>,
    mut look: impl FnMut(&K, &V),
) {
    map.iter().for_each(|entry| look(entry.key(), entry.value()));
}

/// The shards of some keys. Nobody else sees these keys until it is dropped.
pub(crate) struct LockedKeys<'a, K, V, S> {
    map: &'a DashMap<K, V, S>,
    /// In the order of their numbers, in which all who lock several of them do so.
    shards: SmallVec<[Shard<'a, K, V>; 4]>,
}

impl<'a, K: Eq + Hash, V, S: BuildHasher + Clone> LockedKeys<'a, K, V, S> {
    /// Locks the shards of these keys.
    pub(crate) fn lock<'k>(map: &'a DashMap<K, V, S>, keys: impl Iterator<Item = &'k K>) -> Self
    where
        K: 'k,
    {
        let mut numbers: SmallVec<[usize; 8]> = keys.map(|key| map.determine_map(key)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let shards = numbers.into_iter().map(|number| (number, map.shards()[number].write())).collect();
        Self { map, shards }
    }

    /// The value of a key, which must be one of those that are locked; a key of another shard has none.
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let hash = self.map.hasher().hash_one(key);
        let (_, value) = self.shard(key)?.get_mut(hash, |(known, _)| known == key)?;
        Some(value.get_mut())
    }

    /// Sets the value of such a key that has none.
    pub(crate) fn insert(&mut self, key: K, value: V) {
        let hasher = self.map.hasher().clone();
        let hash = hasher.hash_one(&key);
        if let Some(shard) = self.shard(&key) {
            shard.insert(hash, (key, SharedValue::new(value)), |(known, _)| hasher.hash_one(known));
        }
    }

    /// Removes such a key.
    pub(crate) fn remove(&mut self, key: &K) {
        let hash = self.map.hasher().hash_one(key);
        if let Some(shard) = self.shard(key) {
            shard.remove_entry(hash, |(known, _)| known == key);
        }
    }

    fn shard(&mut self, key: &K) -> Option<&mut RawTable<(K, SharedValue<V>)>> {
        let number = self.map.determine_map(key);
        let at = self.shards.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.shards.get_mut(at).map(|(_, shard)| &mut **shard)
    }
}
