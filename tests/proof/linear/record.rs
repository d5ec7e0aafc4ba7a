//! Writes down what sessions do, when, and makes of it one history for each name.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    checker::{Step, Track},
    lock::{Fate, NAMELESS, Op},
};
use crate::caller::{Mode, NO, Said, Several, Wish, YES};

/// When something can have happened, in nanoseconds of one clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct When {
    pub from: u64,
    pub until: u64,
}

/// In all likelihood a session ends that soon after its client has gone.
const SOON: u64 = 1_000_000;

/// Everything that happens in one round.
pub(crate) struct Tape {
    start: Instant,
    nameless: AtomicU32,
    begun: Mutex<HashSet<u32>>,
    diaries: Mutex<Vec<Diary>>,
    /// Of sessions that were ended by KILL: between the request and its answer.
    kills: Mutex<HashMap<u32, When>>,
}

/// What one session does, as its client sees it.
pub(crate) struct Diary {
    pub session: u32,
    /// The place of a name, and what was done to the lock.
    steps: Vec<(usize, Step<Op>)>,
    /// What it holds, how often; of locks whose answer did not come nothing.
    pub held: HashMap<usize, u64>,
    /// It was found ended by the server.
    cut: bool,
}

impl Tape {
    pub(crate) fn new() -> Self {
        let (begun, diaries, kills) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { start: Instant::now(), nameless: AtomicU32::new(NAMELESS), begun, diaries, kills }
    }

    pub(crate) fn now(&self) -> u64 {
        nanos(self.start.elapsed())
    }

    /// For a session with this number, or with none that its client knows.
    pub(crate) fn diary(&self, id: Option<u32>) -> Diary {
        let session = id.unwrap_or_else(|| self.nameless.fetch_add(1, Ordering::Relaxed));
        self.begun.lock().unwrap().insert(session);
        Diary { session, steps: Vec::new(), held: HashMap::new(), cut: false }
    }

    pub(crate) fn keep(&self, diary: Diary) {
        self.diaries.lock().unwrap().push(diary);
    }

    /// Whether a session's client knows who it is.
    pub(crate) fn has_begun(&self, session: u32) -> bool {
        self.begun.lock().unwrap().contains(&session)
    }

    pub(crate) fn killed(&self, session: u32, when: When) {
        self.kills.lock().unwrap().insert(session, when);
    }

    /// The history of each name. By now all locks are free, and were seen to be.
    pub(crate) fn histories(self, names: usize) -> Vec<Vec<Track<Op>>> {
        let (end, kills) = (self.now(), self.kills.into_inner().unwrap());
        let mut diaries = self.diaries.into_inner().unwrap();
        for diary in &mut diaries {
            diary.settle_end(kills.get(&diary.session), end);
        }
        let known: HashSet<_> = diaries.iter().map(|diary| diary.session).collect();
        let of_name = |name| diaries.iter().filter_map(|diary| diary.track(name, &known)).collect();
        (0..names).map(of_name).map(by_tokens).collect()
    }
}

/// Who was granted a lower token most likely came first.
fn by_tokens(mut tracks: Vec<Track<Op>>) -> Vec<Track<Op>> {
    let steps = tracks.iter_mut().flat_map(|track| &mut track.steps);
    let mut granted: Vec<_> = steps.filter_map(|step| Some((step.op.token()?, &mut step.likely))).collect();
    granted.sort_by_key(|(token, _)| std::cmp::Reverse(*token));
    let mut next = u64::MAX;
    for (_, likely) in granted {
        *likely = next.min(*likely);
        next = likely.saturating_sub(1);
    }
    tracks
}

/// When a wait can be over.
fn time_out(when: When, wait_ms: i64) -> u64 {
    when.from + 1_000_000 * u64::try_from(wait_ms).expect("a wait that ends")
}

pub(crate) fn nanos(time: Duration) -> u64 {
    time.as_nanos().try_into().unwrap()
}

impl Diary {
    fn step(&mut self, name: usize, when: When, likely: u64, op: Op) {
        self.steps.push((name, Step { op, from: when.from, until: when.until, optional: false, likely }));
    }

    fn perhaps(&mut self, name: usize, from: u64, op: Op) {
        let step = Step { op, from, until: u64::MAX, optional: true, likely: from + SOON };
        self.steps.push((name, step));
    }

    /// A request, which may pass others if its session holds something else.
    fn asked(&self, name: usize, op: Op) -> Op {
        if self.held.keys().any(|held| *held != name) { Op::Beside(Box::new(op)) } else { op }
    }

    /// Something that was answered.
    pub(crate) fn seen(&mut self, name: usize, when: When, op: Op) {
        self.step(name, when, when.until, op);
    }

    pub(crate) fn got(
        &mut self,
        name: usize,
        wish: Wish<'_>,
        when: When,
        (said, token): (Said, Option<u64>),
    ) {
        let mode = wish.mode;
        let token = || token.expect("a token with a grant");
        let granted = || Fate::Granted(token());
        let asked = |op| self.asked(name, op);
        match (said, wish.wait_ms) {
            (Said::Deadlock, 0) => panic!("{wish:?} is answered {said:?}"),
            (Said::LimitDiffers, _) => self.seen(name, when, Op::Refused(mode)),
            (YES, 0) => self.seen(name, when, asked(Op::Try(mode, granted()))),
            (NO, 0) => self.seen(name, when, Op::Try(mode, Fate::Never)),
            (YES, _) => {
                self.step(name, when, when.from, asked(Op::Ask(mode, granted())));
                self.may_pass(name, when);
            }
            // What closes a cycle is in the queue until that is seen. Whether there was one is not for one lock to say.
            (NO | Said::Interrupted | Said::Deadlock, _) => self.left(name, wish, when, said == NO),
            _ => panic!("{wish:?} is answered {said:?}"),
        }
        if said == YES {
            self.seen(name, when, Op::Told(mode, token()));
            *self.held.entry(name).or_default() += 1;
        }
    }

    /// A request that is granted a lock may have passed requests of several.
    fn may_pass(&mut self, name: usize, When { from, until }: When) {
        self.steps.push((name, Step { op: Op::Pass, from, until, optional: true, likely: until }));
    }

    /// The answer to a request of all these, in their order; `missing` is the place there of the one that was in the way.
    pub(crate) fn got_several(
        &mut self,
        names: &[usize],
        (mode, wait_ms): (Mode, i64),
        when: When,
        (told, missing): (&Several, Option<usize>),
    ) {
        for (place, (name, token)) in names.iter().copied().zip(&told.tokens).enumerate() {
            // Those in front of the missing one were to be had, those behind it may have been.
            let is_missing = missing.filter(|missing| place <= *missing).map(|missing| place == missing);
            let token = || token.expect("a token with a grant");
            let granted = || Fate::Granted(token());
            match (told.said, wait_ms) {
                (YES, 0) => self.seen(name, when, self.asked(name, Op::Try(mode, granted()))),
                (YES, _) => {
                    self.step(name, when, when.from, self.asked(name, Op::Place(mode, granted())));
                    self.seen(name, when, Op::Take(mode, granted()));
                }
                (NO, 0) => match is_missing {
                    Some(true) => self.seen(name, when, Op::Try(mode, Fate::Never)),
                    Some(false) => self.seen(name, when, self.asked(name, Op::Could(mode))),
                    None => {}
                },
                (NO | Said::Interrupted | Said::Deadlock, _) => {
                    self.step(name, when, when.from, self.asked(name, Op::Place(mode, Fate::Never)));
                    let from = if told.said == NO { time_out(when, wait_ms) } else { when.from };
                    self.seen(name, When { from, until: when.until }, Op::GiveUp(mode, is_missing));
                }
                _ => panic!("{names:?} is answered {:?}", told.said),
            }
            if told.said == YES {
                self.seen(name, when, Op::Told(mode, token()));
            }
        }
        if told.said == YES {
            for name in names {
                *self.held.entry(*name).or_default() += 1;
            }
        }
    }

    /// In the queue, and out of it without a grant; if by its time-out, then not before that.
    fn left(&mut self, name: usize, wish: Wish<'_>, when: When, by_timeout: bool) {
        self.step(name, when, when.from, self.asked(name, Op::Ask(wish.mode, Fate::Never)));
        let from = if by_timeout { time_out(when, wish.wait_ms) } else { when.from };
        self.seen(name, When { from, until: when.until }, Op::Leave);
    }

    pub(crate) fn released(&mut self, name: usize, when: When, said: Said) {
        self.seen(name, when, Op::Release(said));
        let held = self.held.remove(&name).unwrap_or_default();
        assert_eq!(held > 0, said == YES, "a session knows what it holds");
        if held > 1 {
            self.held.insert(name, held - 1);
        }
    }

    pub(crate) fn released_all(&mut self, when: When, said: Said) {
        assert_eq!(said, Said::Number(self.held.values().sum()), "a session knows what it holds");
        for (name, count) in std::mem::take(&mut self.held) {
            self.seen(name, when, Op::ReleaseAll(count));
        }
    }

    pub(crate) fn released_several(&mut self, names: &[usize], when: When, said: Said) {
        assert_eq!(said, Said::Number(names.len() as u64), "a session knows what it holds");
        for name in names {
            self.released(*name, when, YES);
        }
    }

    /// A wish without an answer. Who waits and is ended leaves the queue first, and frees what it holds then.
    pub(crate) fn open_get(&mut self, name: usize, wish: Wish<'_>, from: u64) {
        let op = if wish.wait_ms == 0 { Op::Try } else { Op::Ask };
        self.perhaps(name, from, self.asked(name, op(wish.mode, Fate::Unknown)));
        if wish.wait_ms != 0 {
            self.perhaps(name, from, Op::Pass);
        }
        self.perhaps(name, from, Op::Vanish);
        self.held.entry(name).or_default();
    }

    pub(crate) fn open_get_several(&mut self, names: &[usize], mode: Mode, from: u64) {
        for name in names.iter().copied() {
            self.perhaps(name, from, self.asked(name, Op::Place(mode, Fate::Unknown)));
            self.perhaps(name, from, Op::Take(mode, Fate::Unknown));
            self.perhaps(name, from, Op::Vanish);
        }
        // Only now: none of them is something else that it holds.
        for name in names {
            self.held.entry(*name).or_default();
        }
    }

    pub(crate) fn open_release(&mut self, name: usize, from: u64) {
        if self.held.contains_key(&name) {
            self.perhaps(name, from, Op::Release(YES));
        }
    }

    pub(crate) fn open_release_all(&mut self, from: u64) {
        for (name, count) in self.held.clone() {
            self.perhaps(name, from, Op::ReleaseAll(count));
        }
    }

    /// The session ends in this time, whatever is known of it later.
    pub(crate) fn ends(&mut self, when: When) {
        for name in self.held.keys().copied().collect::<Vec<_>>() {
            self.step(name, when, when.from.saturating_add(SOON), Op::End);
        }
    }

    /// Its client drops it at this time: the end may come at any time from then on.
    pub(crate) fn is_dropped(&mut self, at: u64) {
        self.ends(When { from: at, until: u64::MAX });
    }

    /// It was found to be ended: by KILL, or something is wrong.
    pub(crate) fn is_cut(&mut self) {
        self.cut = true;
        self.ends(When { from: u64::MAX, until: u64::MAX });
    }

    /// Ends come no later than all locks were seen to be free. A session that was ended by KILL may have
    /// ended from the request on, and has by its answer.
    fn settle_end(&mut self, kill: Option<&When>, end: u64) {
        assert!(kill.is_some() || !self.cut, "session {} was ended and nobody killed it", self.session);
        for (_, step) in self.steps.iter_mut().filter(|(_, step)| step.op == Op::End) {
            step.until = step.until.min(end);
            if let Some(kill) = kill {
                step.from = step.from.min(kill.from);
                step.until = step.until.min(kill.until);
            }
            step.likely = step.from.saturating_add(SOON);
        }
    }

    fn track(&self, name: usize, known: &HashSet<u32>) -> Option<Track<Op>> {
        let steps = self.steps.iter().filter(|(of, _)| *of == name);
        let mut steps: Vec<_> = steps.map(|(_, step)| step.clone()).collect();
        for step in &mut steps {
            if let Op::IsUsed(Some(id)) = &mut step.op
                && !known.contains(id)
            {
                *id = NAMELESS;
            }
        }
        (!steps.is_empty()).then_some(Track { session: self.session, steps })
    }
}
