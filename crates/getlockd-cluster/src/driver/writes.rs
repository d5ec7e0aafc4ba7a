//! Changes of leases that wait to be written with a beat.

use std::collections::{HashMap, VecDeque};

use tokio::sync::oneshot;

/// How many operations one transaction has at most. etcd takes 128, and the beat and its compares need some.
const MOST: usize = 120;

/// How many bytes of keys and values one transaction has at most. etcd takes 1.5 MiB.
const MOST_BYTES: usize = 512 << 10;

/// One change: a lease by its key without the prefix; none deletes.
pub(super) type KeyChange = (String, Option<Vec<u8>>);

/// Changes that are written, and who waits for that.
#[derive(Debug)]
pub(super) struct LeaseWrite {
    /// In order: of one key the last counts.
    pub(super) changes: Vec<KeyChange>,
    /// Answered when all of them are written.
    pub(super) done: oneshot::Sender<Result<(), NotWritten>>,
}

/// Why leases were not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotWritten {
    /// The term is over.
    #[error("this server does not lead any more")]
    Over,
    /// The engine refuses it.
    #[error("{0}")]
    Refused(String),
}

/// All that wait, in order.
#[derive(Debug)]
pub(super) struct Writes {
    queue: VecDeque<QueuedChange>,
    waiters: HashMap<u64, WriteWaiter>,
    next: u64,
    /// How many operations the next batch has at most: halved when the engine refuses one, doubled when it takes one.
    most: usize,
    /// How many of the queue are in the try that is under way, or was not answered.
    trying: usize,
    /// One change alone was refused once. It may be its fault or not: the beat alone is to succeed in between.
    suspect: bool,
    closed: bool,
}

#[derive(Debug)]
struct QueuedChange {
    write: u64,
    change: KeyChange,
}

#[derive(Debug)]
struct WriteWaiter {
    left: usize,
    done: oneshot::Sender<Result<(), NotWritten>>,
}

/// Those who wait for changes that came to an end, before they are told.
#[derive(Debug, Default)]
#[must_use]
pub(super) struct WriteWaiters(Vec<oneshot::Sender<Result<(), NotWritten>>>);

impl WriteWaiters {
    pub(super) fn tell(self, result: &Result<(), NotWritten>) {
        // A waiter that has left hears nothing.
        self.0.into_iter().for_each(|done| drop(done.send(result.clone())));
    }
}

impl Default for Writes {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            waiters: HashMap::new(),
            next: 0,
            most: MOST,
            trying: 0,
            suspect: false,
            closed: false,
        }
    }
}

impl Writes {
    pub(super) fn push(&mut self, LeaseWrite { changes, done }: LeaseWrite) {
        if self.closed {
            return WriteWaiters(vec![done]).tell(&Err(NotWritten::Over));
        }
        if changes.is_empty() {
            return WriteWaiters(vec![done]).tell(&Ok(()));
        }
        self.next += 1;
        let write = self.next;
        self.waiters.insert(write, WriteWaiter { left: changes.len(), done });
        self.queue.extend(changes.into_iter().map(|change| QueuedChange { write, change }));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The next transaction, from the front of the queue. The last change of a key stands for all: engines refuse a key
    /// that comes twice.
    pub(super) fn batch(&mut self) -> Vec<KeyChange> {
        let mut place: HashMap<&str, usize> = HashMap::new();
        let mut batch: Vec<&KeyChange> = Vec::new();
        let mut bytes = 0;
        self.trying = 0;
        for QueuedChange { change, .. } in &self.queue {
            bytes += change.0.len() + change.1.as_ref().map_or(0, Vec::len);
            let at = place.get(change.0.as_str()).copied();
            let is_full = (at.is_none() && batch.len() >= self.most) || bytes > MOST_BYTES;
            if is_full && !batch.is_empty() {
                break;
            }
            if let Some(at) = at {
                batch[at] = change;
            } else {
                place.insert(&change.0, batch.len());
                batch.push(change);
            }
            self.trying += 1;
        }
        batch.into_iter().cloned().collect()
    }

    /// The batch is written: those who waited for it, and for nothing else.
    pub(super) fn written(&mut self) -> WriteWaiters {
        self.suspect = false;
        self.most = (self.most * 2).min(MOST);
        let mut written = WriteWaiters::default();
        for QueuedChange { write, .. } in self.queue.drain(..self.trying) {
            let Some(waiter) = self.waiters.get_mut(&write) else { continue };
            waiter.left -= 1;
            if waiter.left == 0 {
                written.0.extend(self.waiters.remove(&write).map(|waiter| waiter.done));
            }
        }
        self.trying = 0;
        written
    }

    /// The engine refuses the batch. One change that is refused twice, with a beat acknowledged in between, fails.
    pub(super) fn refused(&mut self, why: &str) {
        if self.trying > 1 {
            self.most = (self.most.min(self.trying) / 2).max(1);
        } else if !self.suspect {
            self.suspect = true;
        } else if let Some(QueuedChange { write, .. }) = self.queue.pop_front() {
            self.suspect = false;
            let waiter = self.waiters.remove(&write);
            WriteWaiters(waiter.map(|waiter| waiter.done).into_iter().collect())
                .tell(&Err(NotWritten::Refused(why.into())));
        }
        self.trying = 0;
    }

    /// Nothing is written any more.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.trying = 0;
        self.queue.clear();
        let waiting = self.waiters.drain().map(|(_, waiter)| waiter.done).collect();
        WriteWaiters(waiting).tell(&Err(NotWritten::Over));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Told = oneshot::Receiver<Result<(), NotWritten>>;

    fn write(writes: &mut Writes, changes: &[(&str, Option<&str>)]) -> Told {
        let (done, told) = oneshot::channel();
        let change = |(key, value): &(&str, Option<&str>)| ((*key).into(), value.map(Into::into));
        writes.push(LeaseWrite { changes: changes.iter().map(change).collect(), done });
        told
    }

    fn keys(batch: &[KeyChange]) -> Vec<&str> {
        batch.iter().map(|(key, _)| key.as_str()).collect()
    }

    #[test]
    fn last_change_of_a_key_stands_for_all() {
        let mut writes = Writes::default();
        let mut put = write(&mut writes, &[("a", Some("1"))]);
        let mut both = write(&mut writes, &[("b", Some("2")), ("a", None)]);
        assert_eq!(writes.batch(), [("a".into(), None), ("b".into(), Some(b"2".to_vec()))]);
        assert!(put.try_recv().is_err(), "not written yet");
        writes.written().tell(&Ok(()));
        assert_eq!((put.try_recv(), both.try_recv()), (Ok(Ok(())), Ok(Ok(()))));
        assert!(writes.is_empty());
    }

    #[test]
    fn batch_has_at_most_120_operations() {
        let mut writes = Writes::default();
        let names: Vec<String> = (0..130).map(|n| n.to_string()).collect();
        let changes: Vec<_> = names.iter().map(|name| (name.as_str(), Some(""))).collect();
        let mut told = write(&mut writes, &changes);
        assert_eq!(writes.batch().len(), 120);
        writes.written().tell(&Ok(()));
        assert!(told.try_recv().is_err(), "ten are left");
        assert_eq!(writes.batch().len(), 10);
        writes.written().tell(&Ok(()));
        assert_eq!(told.try_recv(), Ok(Ok(())));
    }

    #[test]
    fn batch_has_at_most_512_kib_or_a_single_change() {
        let mut writes = Writes::default();
        let long = "x".repeat(300 << 10);
        let longer = "x".repeat(600 << 10);
        let changes = [("a", Some(&*long)), ("b", Some(&*long)), ("c", Some(&*longer)), ("d", None)];
        let _told = write(&mut writes, &changes);
        for expected in [["a"], ["b"], ["c"], ["d"]] {
            assert_eq!(keys(&writes.batch()), expected);
            writes.written().tell(&Ok(()));
        }
    }

    #[test]
    fn refused_batch_is_halved_until_the_culprit_is_alone() {
        let mut writes = Writes::default();
        let told: Vec<Told> = ["a", "b", "c", "d"].map(|key| write(&mut writes, &[(key, None)])).into();
        let mut sizes = Vec::new();
        while !writes.is_empty() {
            let batch = writes.batch();
            sizes.push(batch.len());
            if keys(&batch).contains(&"b") {
                writes.refused("too large");
            } else {
                writes.written().tell(&Ok(()));
            }
        }
        assert_eq!(sizes, [4, 2, 1, 2, 1, 1, 1, 1]);
        let results: Vec<_> = told.into_iter().map(|mut told| told.try_recv()).collect();
        let refused = Err(NotWritten::Refused("too large".into()));
        assert_eq!(results, [Ok(Ok(())), Ok(refused), Ok(Ok(())), Ok(Ok(()))]);
    }

    #[test]
    fn nothing_is_written_after_the_end() {
        let mut writes = Writes::default();
        let mut waits = write(&mut writes, &[("a", None)]);
        writes.batch();
        writes.close();
        writes.written().tell(&Ok(()));
        writes.refused("an answer after the end");
        let mut late = write(&mut writes, &[("a", None)]);
        assert_eq!(
            (waits.try_recv(), late.try_recv()),
            (Ok(Err(NotWritten::Over)), Ok(Err(NotWritten::Over)))
        );
        assert!(writes.is_empty());
    }
}
