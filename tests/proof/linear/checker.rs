//! Whether a history is linearizable: whether there is an order of its steps, each within its interval,
//! in which a sequential model does what was seen.
//!
//! The search is Wing and Gong's with Lowe's memory: depth first, no position (how far each session has
//! come, and the model's state) looked at twice. What only looks is taken as soon as it fits, since taking
//! it later would show no more. It knows nothing of locks.

use std::{
    collections::HashSet,
    fmt::{Debug, Write},
    hash::Hash,
};

/// What is done in a sequence.
pub(crate) trait Model: Clone + Eq + Hash + Debug {
    type Op: Debug;

    /// The state after this step; none if it is not possible here. A step that changes nothing here, and is
    /// the next of its session, would change nothing later, unless it is optional.
    fn after(&self, session: u32, op: &Self::Op) -> Option<Self>;
}

/// Something that took effect at one moment of an interval.
#[derive(Clone, Debug)]
pub(crate) struct Step<Op> {
    pub op: Op,
    pub from: u64,
    pub until: u64,
    /// Whether it may as well not have happened.
    pub optional: bool,
    /// When it most likely was: where the search begins. No result depends on it.
    pub likely: u64,
}

/// What one session did, in its order.
#[derive(Clone, Debug)]
pub(crate) struct Track<Op> {
    pub session: u32,
    pub steps: Vec<Step<Op>>,
}

/// Why no order was found.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// There is none; how far the longest came, for people.
    NoOrder(String),
    /// There may be one: it looked at as many positions as it may.
    GaveUp,
}

/// Some hundred times what most histories take. More is a matter of gigabytes.
const MOST_POSITIONS: usize = 200_000;

/// How far each session has come, the state there, and how this position was reached.
struct Position<M> {
    done: Vec<u16>,
    state: M,
    before: Option<(usize, Next)>,
}

/// A step that may be taken: which track's, and which of its steps.
#[derive(Clone, Copy, Debug)]
struct Next {
    track: usize,
    place: usize,
}

/// Returns how many positions were looked at.
pub(crate) fn check<M: Model>(start: M, tracks: &[Track<M::Op>]) -> Result<usize, Wrong> {
    let first = Position { done: vec![0; tracks.len()], state: start, before: None };
    let mut seen = HashSet::from([(first.done.clone(), first.state.clone())]);
    let (mut positions, mut open) = (vec![first], vec![0]);
    while let Some(at) = open.pop() {
        let Some(mut nexts) = nexts(&positions[at].done, tracks) else { return Ok(positions.len()) };
        if let Some(look) = nexts.iter().position(|next| is_look(&positions[at], *next, tracks)) {
            nexts = vec![nexts[look]];
        }
        for next in nexts {
            let Some(position) = take(&positions, at, next, tracks) else { continue };
            if seen.insert((position.done.clone(), position.state.clone())) {
                open.push(positions.len());
                positions.push(position);
            }
        }
        if positions.len() > MOST_POSITIONS {
            return Err(Wrong::GaveUp);
        }
    }
    Err(Wrong::NoOrder(story(&positions, tracks)))
}

/// Whether a step changes nothing.
fn is_look<M: Model>(position: &Position<M>, next: Next, tracks: &[Track<M::Op>]) -> bool {
    let (step, session) = (&tracks[next.track].steps[next.place], tracks[next.track].session);
    let is_next = next.place == usize::from(position.done[next.track]) && !step.optional;
    is_next && position.state.after(session, &step.op).is_some_and(|state| state == position.state)
}

fn take<M: Model>(
    positions: &[Position<M>],
    at: usize,
    next: Next,
    tracks: &[Track<M::Op>],
) -> Option<Position<M>> {
    let (position, track) = (&positions[at], &tracks[next.track]);
    let state = position.state.after(track.session, &track.steps[next.place].op)?;
    let mut done = position.done.clone();
    done[next.track] = u16::try_from(next.place + 1).unwrap();
    Some(Position { done, state, before: Some((at, next)) })
}

/// The steps that may come next, the likeliest last; none if there is nothing left that must come.
fn nexts<Op>(done: &[u16], tracks: &[Track<Op>]) -> Option<Vec<Next>> {
    let must = |track: usize| tracks[track].steps[done[track].into()..].iter().find(|step| !step.optional);
    // Whatever begins after this moment comes after a step that has not been taken yet.
    let horizon = (0..tracks.len()).filter_map(must).map(|step| step.until).min()?;
    let mut nexts = Vec::new();
    for (track, steps) in tracks.iter().map(|track| &track.steps).enumerate() {
        for (place, step) in steps.iter().enumerate().skip(done[track].into()) {
            if step.from <= horizon {
                nexts.push(Next { track, place });
            }
            if !step.optional {
                break;
            }
        }
    }
    nexts.sort_by_key(|next| std::cmp::Reverse(tracks[next.track].steps[next.place].likely));
    Some(nexts)
}

/// The longest order that was found, its last steps, and what did not come behind it.
fn story<M: Model>(positions: &[Position<M>], tracks: &[Track<M::Op>]) -> String {
    let longest = positions
        .iter()
        .max_by_key(|position| position.done.iter().map(|done| usize::from(*done)).sum::<usize>())
        .unwrap();
    let mut path = Vec::new();
    let mut at = longest;
    while let Some((before, next)) = at.before {
        path.push(next);
        at = &positions[before];
    }
    let mut story = format!("after {} steps, the last of which are\n", path.len());
    for next in path.iter().take(25).rev() {
        line(&mut story, tracks, *next);
    }
    let _ = writeln!(story, "the state is {:?}; next of each session:", longest.state);
    for (track, place) in longest.done.iter().map(|done| usize::from(*done)).enumerate() {
        if place < tracks[track].steps.len() {
            line(&mut story, tracks, Next { track, place });
        }
    }
    story
}

fn line<Op: Debug>(story: &mut String, tracks: &[Track<Op>], Next { track, place }: Next) {
    let Track { session, steps } = &tracks[track];
    let Step { op, from, until, optional, .. } = &steps[place];
    let maybe = if *optional { " (perhaps)" } else { "" };
    let _ = writeln!(story, "  {from:>12} to {until:>12}  session {session}: {op:?}{maybe}");
}
