//! Like dashmap: shards, each behind a lock whose steps shuttle sees.

use std::{
    hash::{BuildHasher, Hash},
    ops::{Deref, DerefMut},
};

use shuttle::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::HashMap;

/// So few that two locks sometimes share a shard, as they do in a table of a million.
const SHARDS: usize = 4;

#[derive(Debug)]
pub(crate) struct DashMap<K, V, S> {
    shards: [RwLock<HashMap<K, V>>; SHARDS],
    hasher: S,
}

impl<K: Eq + Hash + Clone, V, S: BuildHasher> DashMap<K, V, S> {
    pub(crate) fn with_hasher_and_shard_amount(hasher: S, _: usize) -> Self {
        Self { shards: std::array::from_fn(|_| RwLock::default()), hasher }
    }

    pub(crate) fn entry(&self, key: K) -> Entry<'_, K, V> {
        let guard = self.write(&key);
        let slot = RefMut { guard, key };
        if slot.guard.contains_key(&slot.key) {
            Entry::Occupied(Occupied(slot))
        } else {
            Entry::Vacant(Vacant(slot))
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<Ref<'_, K, V>> {
        let guard = self.shards[self.shard_of(key)].read().unwrap();
        guard.contains_key(key).then(|| Ref { guard, key: key.clone() })
    }

    pub(crate) fn get_mut(&self, key: &K) -> Option<RefMut<'_, K, V>> {
        let guard = self.write(key);
        guard.contains_key(key).then(|| RefMut { guard, key: key.clone() })
    }

    pub(crate) fn remove_if_mut(&self, key: &K, f: impl FnOnce(&K, &mut V) -> bool) -> Option<(K, V)> {
        let mut guard = self.write(key);
        let is_removed = guard.get_mut(key).is_some_and(|value| f(key, value));
        if is_removed { guard.remove_entry(key) } else { None }
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unwrap().len()).sum()
    }

    fn write(&self, key: &K) -> RwLockWriteGuard<'_, HashMap<K, V>> {
        self.shards[self.shard_of(key)].write().unwrap()
    }

    fn shard_of(&self, key: &K) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "less than SHARDS")]
        {
            (self.hasher.hash_one(key) % SHARDS as u64) as usize
        }
    }
}

/// Looks at all that is in a map, a shard at a time.
pub(crate) fn each<K: Eq + Hash, V, S>(map: &DashMap<K, V, S>, mut look: impl FnMut(&K, &V)) {
    for shard in &map.shards {
        shard.read().unwrap().iter().for_each(|(key, value)| look(key, value));
    }
}

/// A value that others may read too.
pub(crate) struct Ref<'a, K, V> {
    guard: RwLockReadGuard<'a, HashMap<K, V>>,
    key: K,
}

/// A value that nobody else sees.
pub(crate) struct RefMut<'a, K, V> {
    guard: RwLockWriteGuard<'a, HashMap<K, V>>,
    key: K,
}

impl<K: Eq + Hash, V> Deref for Ref<'_, K, V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.guard[&self.key]
    }
}

impl<K: Eq + Hash, V> Deref for RefMut<'_, K, V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.guard[&self.key]
    }
}

impl<K: Eq + Hash, V> DerefMut for RefMut<'_, K, V> {
    fn deref_mut(&mut self) -> &mut V {
        self.guard.get_mut(&self.key).unwrap()
    }
}

/// The place of a key.
pub(crate) enum Entry<'a, K, V> {
    Occupied(Occupied<'a, K, V>),
    Vacant(Vacant<'a, K, V>),
}

pub(crate) struct Occupied<'a, K, V>(RefMut<'a, K, V>);

pub(crate) struct Vacant<'a, K, V>(RefMut<'a, K, V>);

impl<'a, K, V> Occupied<'a, K, V> {
    pub(crate) fn into_ref(self) -> RefMut<'a, K, V> {
        self.0
    }
}

impl<'a, K: Eq + Hash + Clone, V> Vacant<'a, K, V> {
    pub(crate) fn insert(self, value: V) -> RefMut<'a, K, V> {
        let mut slot = self.0;
        slot.guard.insert(slot.key.clone(), value);
        slot
    }
}

/// The shards of some keys, locked in the order of their numbers.
pub(crate) struct LockedKeys<'a, K, V, S> {
    map: &'a DashMap<K, V, S>,
    shards: [Option<RwLockWriteGuard<'a, HashMap<K, V>>>; SHARDS],
}

impl<'a, K: Eq + Hash + Clone, V, S: BuildHasher> LockedKeys<'a, K, V, S> {
    pub(crate) fn lock<'k>(map: &'a DashMap<K, V, S>, keys: impl Iterator<Item = &'k K>) -> Self
    where
        K: 'k,
    {
        let mut wanted = [false; SHARDS];
        keys.for_each(|key| wanted[map.shard_of(key)] = true);
        let lock = |at: usize| wanted[at].then(|| map.shards[at].write().unwrap());
        Self { map, shards: std::array::from_fn(lock) }
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.shard(key)?.get_mut(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if let Some(shard) = self.shard(&key) {
            shard.insert(key, value);
        }
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(shard) = self.shard(key) {
            shard.remove(key);
        }
    }

    fn shard(&mut self, key: &K) -> Option<&mut HashMap<K, V>> {
        self.shards[self.map.shard_of(key)].as_deref_mut()
    }
}
