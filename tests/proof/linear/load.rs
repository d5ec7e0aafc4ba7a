//! Clients that do what comes into their heads, on all wires, and write it down.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    lock::{NAMELESS, Op},
    record::{Diary, Tape, When},
};
use crate::{
    caller::{Caller, Mode, NO, Said, Wire, Wish, Wishes, YES},
    common::{Addrs, Client, dice::Dice},
    lease::{Lease, Lender, NoLease},
    tally::Tally,
};

/// What all clients of a round share.
pub(crate) struct Round {
    pub addrs: Addrs,
    pub names: Vec<String>,
    pub tape: Tape,
    pub tally: Tally,
}

/// What a session does next.
#[derive(Clone, Debug)]
enum Act {
    Get { name: usize, mode: Mode, wait_ms: i64 },
    GetSeveral { names: Vec<usize>, mode: Mode, wait_ms: i64 },
    Release(usize),
    ReleaseSeveral(Vec<usize>),
    ReleaseAll,
    IsFree(usize),
    IsUsed(usize),
}

impl Round {
    fn any_name(&self, dice: &mut Dice) -> usize {
        usize::try_from(dice.below(self.names.len() as u64)).unwrap()
    }

    fn wish(&self, name: usize, mode: Mode, wait_ms: i64) -> Wish<'_> {
        Wish { name: &self.names[name], mode, wait_ms }
    }

    fn texts(&self, names: &[usize]) -> Vec<&str> {
        names.iter().map(|name| self.names[*name].as_str()).collect()
    }

    fn when(&self, from: u64) -> When {
        When { from, until: self.tape.now() }
    }
}

/// The lock that is not shared: there are permits of it, on the line wire, mostly with one limit.
const OF_PERMITS: usize = 2;

fn any_mode(name: usize, wire: Option<Wire>, dice: &mut Dice) -> Mode {
    match (name, wire) {
        (OF_PERMITS, Some(Wire::Line)) => {
            let (two, three) = (Mode::Permit(2), Mode::Permit(3));
            dice.pick(&[two, two, two, two, three, Mode::Shared, Mode::Exclusive, Mode::Exclusive])
        }
        (OF_PERMITS, _) => Mode::Exclusive,
        _ => dice.pick(&[Mode::Shared, Mode::Exclusive, Mode::Exclusive]),
    }
}

/// Two or three of the locks, in any order.
fn any_names(round: &Round, dice: &mut Dice) -> Vec<usize> {
    let mut names: Vec<_> = (0..round.names.len()).collect();
    names.rotate_left(round.any_name(dice));
    if dice.one_in(2) {
        names.reverse();
    }
    names.truncate(dice.pick(&[2, 2, 3]));
    names
}

fn any_wait(dice: &mut Dice) -> i64 {
    let short = i64::try_from(1 + dice.below(15)).unwrap();
    dice.pick(&[0, 0, short, short, short, -1])
}

/// Sessions on one wire, one after the other.
pub(crate) async fn sessions(round: &Round, wire: Wire, acts: u64, mut dice: Dice) {
    let mut left = acts;
    while left > 0 {
        let (mut caller, id) = Caller::open(round.addrs, wire).await;
        let mut diary = round.tape.diary(id);
        let introduced = caller.introduce(&diary.session.to_string()).await.is_some();
        let mut cut = !introduced;
        let acts = left.min(5 + dice.below(30));
        left -= acts;
        for _ in 0..acts {
            // Some lose patience, be it in the middle of an answer.
            let patience = if dice.one_in(40) { dice.below(4_000) } else { 60_000_000 };
            let act = any_act(round, wire, &diary, &mut dice);
            let did =
                timeout(Duration::from_micros(patience), run(round, &mut caller, &mut diary, act.clone()));
            let from = round.tape.now();
            match did.await {
                Ok(Some(())) => continue,
                Ok(None) => cut = true,
                Err(_) => {}
            }
            open(round, &mut diary, act, from);
            break;
        }
        end(round, caller, diary, cut, &mut dice).await;
    }
}

fn any_act(round: &Round, wire: Wire, diary: &Diary, dice: &mut Dice) -> Act {
    let name = round.any_name(dice);
    let held = diary.held.keys().copied().max();
    // Not all wires can do all.
    let sides = if wire == Wire::Line { 15 } else { 12 };
    match (dice.below(sides), held) {
        (0..5, Some(held)) => Act::Release(held),
        (5, Some(_)) => Act::ReleaseAll,
        (6, _) if wire != Wire::Hold => Act::IsFree(name),
        (7, _) if wire != Wire::Hold => Act::IsUsed(name),
        (8, _) => Act::Release(name),
        (12, _) => {
            let mut names: Vec<_> = diary.held.keys().copied().collect();
            names.sort_unstable();
            Act::ReleaseSeveral(if names.is_empty() { vec![name] } else { names })
        }
        (13.., _) => {
            let names = any_names(round, dice);
            let is_shared = !names.contains(&OF_PERMITS) && dice.one_in(2);
            let mode = if is_shared { Mode::Shared } else { Mode::Exclusive };
            Act::GetSeveral { names, mode, wait_ms: any_wait(dice) }
        }
        _ => Act::Get { name, mode: any_mode(name, Some(wire), dice), wait_ms: any_wait(dice) },
    }
}

/// None if the session was ended. Dropped, it has written nothing down.
async fn run(round: &Round, caller: &mut Caller, diary: &mut Diary, act: Act) -> Option<()> {
    let from = round.tape.now();
    match act {
        Act::Get { name, mode, wait_ms } => {
            let wish = round.wish(name, mode, wait_ms);
            let got = caller.get(wish).await?;
            round.tally.count(answer(got.0));
            diary.got(name, wish, round.when(from), got);
        }
        Act::GetSeveral { names, mode, wait_ms } => {
            let texts = round.texts(&names);
            let told = caller.get_several(Wishes { names: &texts, mode, wait_ms }).await?;
            round.tally.count(if told.said == YES { "several granted" } else { "several not granted" });
            let missing =
                told.in_the_way.as_ref().and_then(|name| texts.iter().position(|text| text == name));
            assert_eq!(missing.is_some(), told.said == NO, "{:?}", told.in_the_way);
            diary.got_several(&names, (mode, wait_ms), round.when(from), (&told, missing));
        }
        Act::ReleaseSeveral(names) => {
            let said = caller.release_several(&round.texts(&names)).await?;
            let held: Vec<_> = names.into_iter().filter(|name| diary.held.contains_key(name)).collect();
            diary.released_several(&held, round.when(from), said);
        }
        Act::Release(name) => {
            let said = caller.release(&round.names[name]).await?;
            diary.released(name, round.when(from), said);
        }
        Act::ReleaseAll => {
            let said = caller.release_all().await?;
            diary.released_all(round.when(from), said);
        }
        Act::IsFree(name) => {
            let said = caller.call("IS_FREE_LOCK", Some(&round.names[name])).await?;
            diary.seen(name, round.when(from), Op::IsFree(said));
        }
        Act::IsUsed(name) => {
            let said = caller.call("IS_USED_LOCK", Some(&round.names[name])).await?;
            let id = if let Said::Number(id) = said { Some(id.try_into().unwrap()) } else { None };
            diary.seen(name, round.when(from), Op::IsUsed(id));
        }
    }
    Some(())
}

fn answer(said: Said) -> &'static str {
    match said {
        Said::Number(1) => "granted",
        Said::Number(_) => "timed out",
        Said::Deadlock => "deadlock",
        Said::Interrupted => "wait killed",
        Said::LimitDiffers => "limit differs",
        Said::Null => "null",
    }
}

/// What was begun and not answered.
fn open(round: &Round, diary: &mut Diary, act: Act, from: u64) {
    round.tally.count("left open");
    match act {
        Act::Get { name, mode, wait_ms } => diary.open_get(name, round.wish(name, mode, wait_ms), from),
        Act::GetSeveral { names, mode, .. } => diary.open_get_several(&names, mode, from),
        Act::Release(name) => diary.open_release(name, from),
        Act::ReleaseSeveral(names) => names.iter().for_each(|name| diary.open_release(*name, from)),
        Act::ReleaseAll => diary.open_release_all(from),
        Act::IsFree(_) | Act::IsUsed(_) => {}
    }
}

/// By QUIT, or by closing the connection; or it was ended before.
async fn end(round: &Round, caller: Caller, mut diary: Diary, cut: bool, dice: &mut Dice) {
    let from = round.tape.now();
    if cut {
        diary.is_cut();
    } else if dice.one_in(2) && caller.quit().await {
        diary.ends(round.when(from));
    } else {
        diary.is_dropped(from);
    }
    round.tape.keep(diary);
}

/// Leases, one after the other: released, left to expire, or given up while they are asked for.
pub(crate) async fn leases(round: &Round, mut lender: Lender, count: u64, mut dice: Dice) {
    for _ in 0..count {
        let mut diary = round.tape.diary(None);
        let (name, gives_up) = (round.any_name(&mut dice), dice.one_in(12));
        let wish = round.wish(name, any_mode(name, None, &mut dice), any_wait(&mut dice));
        let expires = gives_up || dice.one_in(4);
        let ttl_ms = if expires { 10 + dice.below(30) } else { 2_000 };
        let patience = Duration::from_micros(if gives_up { dice.below(4_000) } else { 60_000_000 });
        let owner = diary.session.to_string();
        let from = round.tape.now();
        let lent = timeout(patience, lender.lend(wish, ttl_ms, &owner)).await;
        let when = round.when(from);
        match lent {
            Ok(Ok(lease)) => {
                round.tally.count("lease granted");
                diary.got(name, wish, when, (YES, Some(lease.fencing_token)));
                keep(round, lease, (name, from, ttl_ms), expires, &mut diary, &mut dice).await;
            }
            Ok(Err(NoLease::Busy)) => {
                round.tally.count("lease busy");
                diary.got(name, wish, when, (Said::Number(0), None));
            }
            Ok(Err(NoLease::Killed)) => {
                round.tally.count("lease killed");
                diary.open_get(name, wish, from);
                diary.ends(when);
            }
            Err(_) => {
                round.tally.count("left open");
                diary.open_get(name, wish, from);
                diary.is_dropped(from);
            }
        }
        round.tape.keep(diary);
    }
}

/// Heartbeats, then the release; or no more of them. It cannot have ended before its time to live is over,
/// counted from before the last heartbeat that was taken.
async fn keep(
    round: &Round,
    mut lease: Lease,
    (name, mut heard, ttl_ms): (usize, u64, u64),
    expires: bool,
    diary: &mut Diary,
    dice: &mut Dice,
) {
    for _ in 0..dice.below(4) {
        let from = round.tape.now();
        let said = lease.renew().await;
        let when = round.when(from);
        if said != YES {
            return ended(round, diary, name, heard + ttl_ms * 1_000_000, when, Op::Beat(said));
        }
        diary.seen(name, when, Op::Beat(said));
        heard = from;
        tokio::time::sleep(Duration::from_micros(dice.below(8_000))).await;
    }
    let ends = heard + ttl_ms * 1_000_000;
    if expires && dice.one_in(2) {
        round.tally.count("lease left to expire");
        return diary.ends(When { from: ends, until: u64::MAX });
    }
    let from = round.tape.now();
    let said = lease.release().await;
    let when = round.when(from);
    let op = Op::Release(said);
    if said == YES { diary.seen(name, when, op) } else { ended(round, diary, name, ends, when, op) }
}

/// It had ended before this was answered.
fn ended(round: &Round, diary: &mut Diary, name: usize, ends: u64, when: When, op: Op) {
    round.tally.count("lease found ended");
    diary.ends(When { from: ends, until: when.until });
    diary.seen(name, when, op);
}

/// Ends sessions, and waits, until it is dropped.
pub(crate) async fn reaper(round: &Round, mut dice: Dice) {
    let mut line = Client::connect(round.addrs.line).await;
    loop {
        tokio::time::sleep(Duration::from_micros(dice.below(20_000))).await;
        let rows = line.list("SESSIONS").await;
        let victims: Vec<_> = rows
            .iter()
            .filter_map(|row| victim(row))
            .filter(|(_, session)| round.tape.has_begun(*session))
            .collect();
        if victims.is_empty() {
            continue;
        }
        let (id, session) = dice.pick(&victims);
        if dice.one_in(2) {
            line.ask(&format!("KILL QUERY {id}")).await;
            continue;
        }
        let from = round.tape.now();
        // Noted before the answer, which this may not live to see.
        round.tape.killed(session, When { from, until: u64::MAX });
        if line.ask(&format!("KILL {id}")).await == "1" {
            round.tally.count("killed");
            round.tape.killed(session, round.when(from));
        }
    }
}

/// Its number, and that under which it is written down.
fn victim(row: &str) -> Option<(u32, u32)> {
    let field = |key: &str| row.split(' ').find_map(|field| field.strip_prefix(key));
    let id = field("session=")?.parse().ok()?;
    let nameless = field("client=").and_then(|user| user.parse().ok()).filter(|number| *number >= NAMELESS);
    match field("wire=")? {
        "line" | "mysql" => Some((id, id)),
        _ => nameless.map(|session| (id, session)),
    }
}
