//! Whether a wait closes a cycle: a search in pieces, which keeps nobody out from one step to the next.
//!
//! A wait is entered first, and then it is asked whether it closes a cycle. Only waits that are older are
//! followed: of the waits of a cycle the youngest finds it, as all others were entered before, and no other
//! does. While a session waits it neither takes nor frees a lock. So what the search may follow only becomes
//! less while it goes on: a cycle that it finds, step by step, stood as a whole when the wait was entered,
//! and a cycle that it misses has been undone meanwhile.
//!
//! A cycle through an open wait, whose own search is not over, is not told, as that wait may be refused. It is
//! looked for again when that is known. No two searches wait for each other: the one is older. The same is true of a
//! shared wait that only an open one ahead of it keeps from being granted beside the holders.
//!
//! A search that is not over after a first look goes on when it is its turn: of those that are long one is under way
//! at a time. So thousands of them have no more memory than one, nor more of the time of others.

use smallvec::SmallVec;

use super::{
    Cycle, Link, MAX_CYCLE_LINKS, SessionId, Table, Token,
    entry::{Hold, Lock},
    graph::Edge,
    queue::Place,
};
use crate::{
    name::Name,
    sync::{HashSet, oneshot, plant},
};

/// How many holders are looked at under one guard.
pub(super) const MAX_LOOKS: usize = 64;

/// Where a search stands after a piece of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is not over.
    Nothing,
    /// There is no cycle.
    NoCycle,
    /// The wait closes this one.
    Cycle(Cycle),
}

/// Some holders of a lock.
type Holding = SmallVec<[(SessionId, Token); 4]>;

/// Breadth first, each lock once: the cost is that of the chains that lead away from the asker, and the cycle
/// that it finds is a shortest one.
#[derive(Debug)]
pub(super) struct Search {
    asker: SessionId,
    place: Place,
    reached: Vec<Reached>,
    seen: HashSet<Name>,
    /// The lock whose holders are looked at, of those that were reached.
    at: usize,
    /// The last of its holders that was.
    after: Option<Token>,
    /// It goes on when this resolves.
    pause: Option<oneshot::Receiver<()>>,
    /// How many holders it has looked at, and the most under one guard.
    #[cfg(test)]
    looks: usize,
    #[cfg(test)]
    most_looks: usize,
}

/// A lock for which somebody waits, and how the search came there.
#[derive(Debug)]
struct Reached {
    name: Name,
    /// Who waits for it, and which lock they hold; none for the asker.
    waiter: Option<(SessionId, usize)>,
    /// The place of that wait.
    place: Place,
    /// An open wait on the way there.
    open: Option<(SessionId, Place)>,
}

/// What keeps a wait from being granted.
#[derive(Debug)]
pub(super) enum Stands {
    /// The holders, or a wait ahead of it that closes no cycle.
    Firm,
    /// This wait ahead of it, which may yet be refused.
    Behind(SessionId, Place),
    /// Nothing that is as old as the search.
    Free,
}

/// A holder who waits for what the asker holds.
struct Last {
    waiter: SessionId,
    name: Name,
    open: Option<(SessionId, Place)>,
}

impl Search {
    /// Begins at the wait for `name` that the asker has entered.
    pub(super) fn new(asker: SessionId, place: Place, name: Name) -> Self {
        let seen = HashSet::from_iter([name.clone()]);
        let first = Reached { name, waiter: None, place, open: None };
        Self {
            asker,
            place,
            reached: vec![first],
            seen,
            at: 0,
            after: None,
            pause: None,
            #[cfg(test)]
            looks: 0,
            #[cfg(test)]
            most_looks: 0,
        }
    }

    /// The wait whose search it is.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Goes on, and looks at about so many holders. `is_mine` says what the asker holds.
    pub(super) fn go_on(&mut self, table: &Table, steps: usize, is_mine: impl Fn(&Name) -> bool) -> Found {
        let mut left = steps;
        while left > 0 {
            let Some(lock) = self.reached.get(self.at) else { return Found::NoCycle };
            let most = left.min(MAX_LOOKS);
            let (holders, open) = self.holders(table, lock, most);
            if let Some(lock) = self.reached.get_mut(self.at) {
                lock.open = lock.open.or(open);
            }
            left = left.saturating_sub(holders.len().max(1));
            #[cfg(test)]
            self.count(holders.len());
            match self.look_at(table, &holders, &is_mine) {
                Some(Last { waiter, name, open: None }) => return Found::Cycle(self.trace(waiter, name)),
                Some(Last { open: Some((session, place)), .. }) => {
                    self.start_again();
                    self.pause = table.graph().settling(session, place);
                    return Found::Nothing;
                }
                None => {}
            }
            match holders.last() {
                Some((_, token)) if holders.len() == most => self.after = Some(*token),
                _ => (self.at, self.after) = (self.at + 1, None),
            }
        }
        Found::Nothing
    }

    /// Whether it waits for the end of an older one.
    pub(super) fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Resolves when that has ended, for one that waits for it. Cancel-safe.
    pub(super) async fn pause(&mut self) {
        if let Some(pause) = &mut self.pause {
            // It is told by the end of the sender.
            drop(pause.await);
        }
        self.pause = None;
    }

    /// The next holders of a lock, for whom the one waits who has led there; and the open wait by which that is so.
    fn holders(
        &self,
        table: &Table,
        reached: &Reached,
        most: usize,
    ) -> (Holding, Option<(SessionId, Place)>) {
        let next = |lock: &Lock| {
            let open = match lock.stands(reached.place, self.place.ticket, |waiter| table.is_open(waiter)) {
                Stands::Firm => None,
                Stands::Behind(session, place) => Some((session, place)),
                Stands::Free => return (Holding::new(), None),
            };
            let id = |hold: &Hold| (hold.session, hold.token);
            (lock.holders().after(self.after).take(most).map(id).collect(), open)
        };
        table.look(&reached.name, next).unwrap_or_default()
    }

    /// Goes to what the holders wait for; one of them who waits for the asker closes a cycle.
    fn look_at(
        &mut self,
        table: &Table,
        holders: &[(SessionId, Token)],
        is_mine: impl Fn(&Name) -> bool,
    ) -> Option<Last> {
        let came = self.reached.get(self.at).and_then(|lock| lock.open);
        let graph = table.graph();
        for &(holder, _) in holders {
            let Some(edge) = graph.wait_of(holder).filter(|edge| self.heeds(holder, edge)) else { continue };
            let open = came.or_else(|| edge.open.as_ref().map(|_| (holder, edge.place)));
            plant!(TellsOpen => if is_mine(&edge.name) {
                return Some(Last { waiter: holder, name: edge.name.clone(), open: None });
            });
            if is_mine(&edge.name) {
                return Some(Last { waiter: holder, name: edge.name.clone(), open });
            }
            if self.seen.insert(edge.name.clone()) {
                let waiter = Some((holder, self.at));
                self.reached.push(Reached { name: edge.name.clone(), waiter, place: edge.place, open });
            }
        }
        None
    }

    /// Whether it follows this wait.
    fn heeds(&self, holder: SessionId, edge: &Edge) -> bool {
        plant!(HeedsYounger => return holder != self.asker);
        holder != self.asker && edge.place.ticket < self.place.ticket
    }

    /// How many locks it has reached.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.reached.len()
    }

    #[cfg(test)]
    fn count(&mut self, looks: usize) {
        self.looks += looks;
        self.most_looks = self.most_looks.max(looks);
    }

    /// Forgets how far it has come.
    #[cold]
    pub(super) fn start_again(&mut self) {
        self.reached.truncate(1);
        self.reached.shrink_to_fit();
        self.reached.iter_mut().for_each(|first| first.open = None);
        self.seen = self.reached.iter().map(|lock| lock.name.clone()).collect();
        (self.at, self.after) = (0, None);
    }

    /// The cycle that closes since `waiter`, who holds the lock that is looked at, waits for `last`, which the
    /// asker holds.
    fn trace(&self, waiter: SessionId, last: Name) -> Cycle {
        let way = || std::iter::successors(Some((waiter, self.at)), |(_, at)| self.reached[*at].waiter);
        let ways = way().count();
        let link = |(holder, at): (SessionId, usize)| {
            let lock = &self.reached[at];
            let waiter = lock.waiter.map_or(self.asker, |(waiter, _)| waiter);
            Link { waiter, name: lock.name.clone(), holder }
        };
        let mut links: Vec<_> = way().skip(ways.saturating_sub(MAX_CYCLE_LINKS)).map(link).collect();
        links.reverse();
        if ways < MAX_CYCLE_LINKS {
            links.push(Link { waiter, name: last, holder: self.asker });
        }
        Cycle { links, length: ways + 1 }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::lock::{Mode, Owner, PIECE, Patience, Taken, Verdict, Wait, entry::Request, table::Answer};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    /// An owner that holds a lock of its own, `own<id>`.
    fn owner(id: u32, table: &Arc<Table>) -> Owner {
        let mut owner = Owner::new(SessionId(id), table.clone());
        assert!(matches!(owner.take(own(id), Mode::Exclusive, Patience::Try), Taken::Granted));
        owner
    }

    fn own(id: u32) -> Name {
        name(&format!("own{id}"))
    }

    /// Waits, for as long as the test lives.
    fn waits(owner: Owner, name: &Name) {
        let owner = Box::leak(Box::new(owner));
        let taken = owner.take(name.clone(), Mode::Exclusive, Patience::Queue);
        let Taken::Queued(wait) = taken else { panic!("{taken:?}") };
        std::mem::forget(wait);
    }

    /// Asks, and looks to the end: how many holders were looked at in each piece, and what was found.
    fn searched(asker: &mut Owner, wanted: &Name) -> (Vec<usize>, Found) {
        let request = Request { session: asker.id(), mode: Mode::Exclusive, upgrade: false };
        let table = asker.table().clone();
        let answer = table.take(wanted, request, Patience::Queue, false);
        let Answer::Queued(place, _verdict) = answer else { panic!("{answer:?}") };
        let mut pieces = Vec::new();
        let Some(mut search) = asker.search(wanted, place) else { return (pieces, Found::NoCycle) };
        let found = loop {
            let before = search.looks;
            let found = search.go_on(&table, PIECE, |name| asker.has(name));
            pieces.push(search.looks - before);
            if found != Found::Nothing {
                break found;
            }
        };
        assert!(search.most_looks <= MAX_LOOKS, "{} under one guard", search.most_looks);
        table.leave(wanted, request);
        (pieces, found)
    }

    fn assert_pieces(pieces: &[usize], looks: usize) {
        assert!(pieces.iter().all(|piece| *piece <= PIECE), "{pieces:?}");
        assert_eq!(pieces.iter().sum::<usize>(), looks);
    }

    /// A lock that so many share, each of whom waits for nothing.
    fn shared_by(count: u32, table: &Arc<Table>) -> (Name, Vec<Owner>) {
        let big = name("big");
        let share = |id| {
            let mut owner = Owner::new(SessionId(id), table.clone());
            assert!(matches!(owner.take(big.clone(), Mode::Shared, Patience::Try), Taken::Granted));
            owner
        };
        (big.clone(), (1..=count).map(share).collect())
    }

    #[test]
    fn who_is_waited_for_by_nobody_looks_at_no_holder() {
        let table = Arc::default();
        let (big, _holders) = shared_by(50_000, &table);
        let (pieces, found) = searched(&mut owner(60_000, &table), &big);
        assert_eq!((pieces.len(), found), (0, Found::NoCycle));
        let mut nobody = Owner::new(SessionId(60_001), table.clone());
        assert!(matches!(nobody.take(big, Mode::Exclusive, Patience::Queue), Taken::Queued(_)));
    }

    #[test]
    fn many_holders_are_looked_at_in_pieces() {
        let table = Arc::default();
        let (big, _holders) = shared_by(50_000, &table);
        let mut asker = owner(60_000, &table);
        waits(owner(60_001, &table), &own(60_000));
        let (pieces, found) = searched(&mut asker, &big);
        assert_pieces(&pieces, 50_000);
        assert_eq!(found, Found::NoCycle);
    }

    /// Each of so many waits for the one before it, and nobody for the last.
    fn chain(length: u32, table: &Arc<Table>) -> Owner {
        let first = owner(1, table);
        (2..=length).for_each(|id| waits(owner(id, table), &own(id - 1)));
        first
    }

    #[test]
    fn a_long_chain_is_followed_in_pieces() {
        const LENGTH: u32 = 10_000;
        let table = Arc::default();
        let mut first = chain(LENGTH, &table);
        let (pieces, found) = searched(&mut owner(LENGTH + 1, &table), &own(LENGTH));
        assert_eq!((pieces.len(), found), (0, Found::NoCycle), "nobody waits for it");
        // The first would close a cycle of them all.
        let (pieces, found) = searched(&mut first, &own(LENGTH));
        assert_pieces(&pieces, LENGTH as usize - 1);
        let Found::Cycle(Cycle { links, length }) = found else { panic!("{found:?}") };
        assert_eq!((links.len(), length), (MAX_CYCLE_LINKS, LENGTH as usize));
        let ids = |link: &Link| (link.waiter.0, link.name.clone(), link.holder.0);
        assert_eq!(ids(&links[0]), (1, own(LENGTH), LENGTH));
        assert_eq!(ids(&links[1]), (LENGTH, own(LENGTH - 1), LENGTH - 1));
    }

    fn queued<'a>(taken: Taken<'a>, why: &str) -> Wait<'a> {
        let Taken::Queued(wait) = taken else { panic!("{why}: {taken:?}") };
        wait
    }

    /// Of three one shares a lock and waits for the last. The others are to wait: `c` for `b`, and `b` for the lock.
    fn three_around_a_lock(table: &Arc<Table>) -> (Owner, Owner) {
        let (mut h, b, c) = (owner(2_001, table), owner(2_002, table), owner(2_003, table));
        assert!(matches!(h.take(name("big"), Mode::Shared, Patience::Try), Taken::Granted));
        waits(h, &own(2_003));
        (b, c)
    }

    #[tokio::test]
    async fn a_wait_behind_one_that_is_refused_closes_no_cycle() {
        let table = Arc::default();
        // The first of a long chain would close a cycle of them all; that is not found at a first look.
        let mut first = chain(300, &table);
        let big = name("big");
        let (mut b, c) = three_around_a_lock(&table);
        let mut last = Owner::new(SessionId(1_001), table.clone());
        assert!(matches!(last.take(big.clone(), Mode::Shared, Patience::Try), Taken::Granted));
        waits(last, &own(300));
        let mut alone =
            queued(first.take(big.clone(), Mode::Exclusive, Patience::Queue), "its search is open");
        waits(c, &own(2_002));
        let mut shared = queued(b.take(big.clone(), Mode::Shared, Patience::Queue), "it is not known yet");
        let (verdict, granted) = tokio::join!(alone.verdict(), async {
            let verdict = shared.verdict().await;
            matches!(verdict, Verdict::Granted(_))
        });
        assert!(matches!(verdict, Verdict::Deadlock(_)), "{verdict:?}");
        // It is granted as soon as nobody stands ahead of it: nothing that it waited for was there to stay.
        assert!(granted);
    }

    #[tokio::test]
    async fn a_wait_behind_one_that_stays_closes_a_cycle() {
        let table = Arc::<Table>::default();
        let big = name("big");
        let mut nobody = Owner::new(SessionId(1), table.clone());
        let (mut b, c) = three_around_a_lock(&table);
        let _alone = queued(nobody.take(big.clone(), Mode::Exclusive, Patience::Queue), "it closes no cycle");
        waits(c, &own(2_002));
        let taken = b.take(big, Mode::Shared, Patience::Queue);
        let Taken::Deadlock(cycle) = taken else { panic!("{taken:?}") };
        assert_eq!(cycle.length, 3);
    }

    #[tokio::test]
    async fn one_long_search_is_under_way_at_a_time_and_keeps_nothing_else() {
        let table = Arc::default();
        let mut first = chain(2_000, &table);
        let turn = table.search_turn().await;
        let mut wait = queued(first.take(own(2_000), Mode::Exclusive, Patience::Queue), "it is long");
        let still = tokio::time::timeout(std::time::Duration::from_millis(1), wait.verdict()).await;
        assert!(still.is_err(), "it waits for its turn");
        assert_eq!(wait.search_size(), 1);
        drop(turn);
        assert!(matches!(wait.verdict().await, Verdict::Deadlock(_)));
        assert!(table.search_turn().await.is_some(), "and gives it back");
    }

    #[tokio::test]
    async fn a_cycle_that_takes_long_to_find_is_told_by_the_wait() {
        let table = Arc::default();
        let mut first = chain(1_000, &table);
        let taken = first.take(own(1_000), Mode::Exclusive, Patience::Queue);
        let Taken::Queued(mut wait) = taken else { panic!("{taken:?}") };
        let verdict = wait.verdict().await;
        drop(wait);
        let Verdict::Deadlock(cycle) = verdict else { panic!("{verdict:?}") };
        assert_eq!((cycle.links.len(), cycle.length), (MAX_CYCLE_LINKS, 1_000));
        assert_eq!((table.queue_of(&own(1_000)).0, table.counters().deadlocks), (0, 1));
    }
}
