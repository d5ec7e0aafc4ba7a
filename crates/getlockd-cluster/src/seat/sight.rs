//! What a node saw of the engine, and since when it has not changed.

use std::time::Duration;

use crate::{
    engine::{Look, Versioned},
    moment::Moment,
    record::{BeatRecord, Floors, Leader, Resigned, SeatRecord},
};

/// How long a node holds back from a seat that was resigned in favour of another.
const COURTESY: Duration = Duration::from_secs(1);

/// What was seen of seat and beat. It is kept over reconnects: what was seen before counts.
#[derive(Debug, Default)]
pub(super) struct Sight {
    /// None until it was looked for.
    seat: Option<Option<SeenSeat>>,
    /// None until it was looked for.
    beat: Option<Option<SeenBeat>>,
    /// What stood in the seat before.
    before: Option<SeatRecord>,
    /// When the last change of either was received: at or after it was made.
    changed: Moment,
    highest: Option<Highest>,
    /// How often the beat changed since the seat did.
    beats: u32,
    floors: Option<Floors>,
    request_key: Option<String>,
}

#[derive(Debug)]
struct SeenSeat {
    key: Versioned,
    record: SeatRecord,
}

#[derive(Debug)]
struct SeenBeat {
    key: Versioned,
    /// None if it cannot be read.
    record: Option<BeatRecord>,
}

/// The highest term that was seen.
#[derive(Clone, Copy, Debug)]
struct Highest {
    term: u64,
    /// How long its successor waits.
    wait: Duration,
    /// When it was seen to change last.
    seen: Moment,
}

impl Sight {
    /// The seat is this. Nothing if that is known already.
    pub(super) fn saw_seat(&mut self, key: Option<Versioned>, now: Moment) {
        if self.seat.as_ref().is_some_and(|seen| seen.as_ref().map(|seat| &seat.key) == key.as_ref()) {
            return;
        }
        self.changed = now;
        self.beats = 0;
        let seen = key.map(|key| SeenSeat { record: SeatRecord::decode(&key.value), key });
        match &seen {
            Some(SeenSeat { key, record: SeatRecord::Leads(leader) }) => {
                self.request_key = Some(leader.request_key.clone());
                if self.highest.is_none_or(|highest| key.revision >= highest.term) {
                    self.highest = Some(Highest { term: key.revision, wait: leader.wait(), seen: now });
                }
            }
            Some(SeenSeat { record: SeatRecord::Resigned(resigned), .. }) => {
                self.request_key = Some(resigned.request_key.clone());
            }
            _ => {}
        }
        self.before = self.seat.replace(seen).flatten().map(|seat| seat.record);
    }

    /// The beat is this. Nothing if that is known already.
    pub(super) fn saw_beat(&mut self, key: Option<Versioned>, now: Moment) {
        if self.beat.as_ref().is_some_and(|seen| seen.as_ref().map(|beat| &beat.key) == key.as_ref()) {
            return;
        }
        let seen = key.map(|key| SeenBeat { record: BeatRecord::decode(&key.value), key });
        if let Some(SeenBeat { record: Some(BeatRecord { floors, .. }), .. }) = &seen {
            let token = self.floors.map_or(0, |seen| seen.token).max(floors.token);
            self.floors = Some(Floors { token, session: floors.session });
        }
        self.beat = Some(seen);
        self.beats += 1;
        self.touch(now);
    }

    /// Both are this: a linearizable answer.
    pub(super) fn saw(&mut self, look: Look, now: Moment) {
        self.saw_seat(look.seat, now);
        self.saw_beat(look.beat, now);
    }

    /// Seat or beat changed just now.
    pub(super) fn touch(&mut self, now: Moment) {
        self.changed = now;
        let standing = self.standing().map(|(term, leader)| Highest { term, wait: leader.wait(), seen: now });
        // A lower term than the highest is that of an engine that was restored from a backup, or of a member that lags
        // behind. It counts once it beats although the highest one must have ended. The first beat is only what a watch
        // found when it connected.
        let lives = |highest: Highest| self.beats > 1 && highest.seen.elapsed_at_least(now) >= highest.wait;
        if let (Some(standing), Some(highest)) = (standing, self.highest)
            && (standing.term == highest.term || lives(highest))
        {
            self.highest = Some(standing);
        }
    }

    /// This node's own term begins. It is the highest, whatever the engine was restored from.
    pub(super) fn began(&mut self, term: u64, wait: Duration, now: Moment) {
        self.highest = Some(Highest { term, wait, seen: now });
    }

    /// What stands there, to be compared with.
    pub(super) fn expected(&self) -> Look {
        let seat = self.seat.as_ref().and_then(|seen| Some(seen.as_ref()?.key.clone()));
        let beat = self.beat.as_ref().and_then(|seen| Some(seen.as_ref()?.key.clone()));
        Look { revision: 0, seat, beat }
    }

    /// Whether the seat may be taken: it was resigned, or it has not changed for as long as its record says.
    pub(super) fn may_be_taken(&self, own: &Leader, now: Moment) -> bool {
        let (Some(seat), Some(beat)) = (&self.seat, &self.beat) else { return false };
        slip!(WaitFromStart => return true);
        slip!(OwnTtl => return self.changed.elapsed_at_least(now) >= own.wait());
        slip!(MissingIsResigned => if seat.is_none() {
            return true;
        });
        if beat.as_ref().is_some_and(|beat| beat.record.is_none()) {
            return false;
        }
        let wait = match seat {
            Some(SeenSeat { record: SeatRecord::Unreadable, .. }) => return false,
            Some(SeenSeat { key, record: SeatRecord::Resigned(resigned) }) if self.is_free(key, resigned) => {
                courtesy(resigned, own)
            }
            // Another term than this may have been promised more.
            Some(SeenSeat { key, record: SeatRecord::Leads(leader) }) => {
                leader.wait().max(self.wait_beside(key))
            }
            // A key that is missing says nothing of who served a moment ago.
            _ => self.highest.map_or(own.wait(), |highest| highest.wait),
        };
        self.changed.elapsed_at_least(now) >= wait
    }

    /// Whether the end of the last term that was seen is on record: by the very write that is the last one.
    fn is_free(&self, seat: &Versioned, resigned: &Resigned) -> bool {
        let is_whole = self.beat_key().is_some_and(|beat| beat.revision >= seat.revision);
        is_whole && self.highest.is_none_or(|highest| resigned.term >= highest.term)
    }

    fn beat_key(&self) -> Option<&Versioned> {
        Some(&self.beat.as_ref()?.as_ref()?.key)
    }

    fn wait_beside(&self, seat: &Versioned) -> Duration {
        self.highest
            .filter(|highest| highest.term != seat.revision)
            .map_or(Duration::ZERO, |highest| highest.wait)
    }

    /// The leader whose record stands there.
    fn standing(&self) -> Option<(u64, &Leader)> {
        match self.seat.as_ref()?.as_ref()? {
            SeenSeat { key, record: SeatRecord::Leads(leader) } => Some((key.revision, leader)),
            _ => None,
        }
    }

    /// Who leads and can be relayed to: another node than this one, in no lower term than the highest.
    pub(super) fn leader(&self, own: &Leader) -> Option<(u64, &Leader)> {
        self.standing().filter(|(term, leader)| {
            !is_self(leader, own) && self.highest.is_none_or(|highest| *term >= highest.term)
        })
    }

    /// Whether a leader that lives calls itself as this node does. The secret is that of a process: what this one wrote
    /// itself stands there for a while after its term.
    pub(super) fn has_namesake(&self, own: &Leader) -> bool {
        let standing = self.standing().filter(|_| self.beats > 1);
        standing.is_some_and(|(_, leader)| is_self(leader, own) && leader.secret != own.secret)
    }

    pub(super) fn record(&self) -> Option<&SeatRecord> {
        Some(&self.seat.as_ref()?.as_ref()?.record)
    }

    pub(super) fn before(&self) -> Option<&SeatRecord> {
        self.before.as_ref()
    }

    /// Floors above all numbers that were ever given, as far as this node saw.
    pub(super) fn floors(&self) -> Option<Floors> {
        self.floors
    }

    pub(super) fn request_key(&self) -> Option<&str> {
        self.request_key.as_deref()
    }
}

fn is_self(leader: &Leader, own: &Leader) -> bool {
    leader.node == own.node || leader.address == own.address
}

/// How long a node lets others try first: one that resigned, for T.
fn courtesy(resigned: &Resigned, own: &Leader) -> Duration {
    if resigned.node == own.node {
        return own.ttl;
    }
    match &resigned.successor {
        Some(successor) if *successor != own.node => COURTESY,
        _ => Duration::ZERO,
    }
}
