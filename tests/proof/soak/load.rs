//! Clients that come, lock, wait, share, upgrade, give up, and go, on all wires, until their time is over.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::{sleep, timeout};

use super::claims::{Claim, Claims};
use crate::{
    caller::{Caller, Mode, Said, Wire, Wish, Wishes, YES},
    common::{Addrs, Client, dice::Dice},
    lease::{Lease, Lender, NoLease},
    tally::Tally,
};

const NAMES: u64 = 8;

/// What all clients share.
pub(crate) struct World {
    pub addrs: Addrs,
    pub claims: Claims,
    pub tally: Tally,
    pub until: Instant,
}

impl World {
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
}

fn any_name(dice: &mut Dice) -> usize {
    usize::try_from(dice.below(NAMES)).unwrap()
}

fn text(name: usize) -> String {
    format!("soak-{name}")
}

/// The lock that is not shared: there are permits of it, on the line wire.
const OF_PERMITS: usize = 7;

fn any_mode(name: usize, wire: Option<Wire>, dice: &mut Dice) -> Mode {
    match (name, wire) {
        (OF_PERMITS, Some(Wire::Line)) => dice.pick(&[Mode::Permit(3), Mode::Permit(3), Mode::Exclusive]),
        (OF_PERMITS, _) => Mode::Exclusive,
        _ => dice.pick(&[Mode::Shared, Mode::Exclusive, Mode::Exclusive]),
    }
}

fn any_wait(dice: &mut Dice) -> i64 {
    let short = i64::try_from(1 + dice.below(30)).unwrap();
    dice.pick(&[0, short, short, -1])
}

async fn a_moment(dice: &mut Dice) {
    sleep(Duration::from_micros(dice.below(3_000))).await;
}

/// Most wait for what they asked for. Some leave in the middle.
fn patience(dice: &mut Dice) -> Duration {
    Duration::from_micros(if dice.one_in(30) { dice.below(6_000) } else { 600_000_000 })
}

/// A session and what it holds.
struct Visitor<'a> {
    world: &'a World,
    caller: Caller,
    wire: Wire,
    owner: u32,
    held: Vec<Held>,
}

struct Held {
    name: usize,
    mode: Mode,
    token: u64,
    count: u64,
}

/// Why a session is over before its client wants it.
enum Over {
    Cut,
    GaveUp,
}

impl Visitor<'_> {
    /// One lock, and more of them behind it: so cycles arise.
    async fn act(&mut self, dice: &mut Dice) -> Result<(), Over> {
        if dice.below(5) < 2
            && let Some(held) = self.held.pop()
        {
            return self.release(held).await;
        }
        if dice.one_in(15) {
            return self.release_all().await;
        }
        if self.wire == Wire::Line && dice.one_in(3) {
            return self.get_several(dice).await;
        }
        let name = any_name(dice);
        let mode = any_mode(name, Some(self.wire), dice);
        let wish = Wish { name: &text(name), mode, wait_ms: any_wait(dice) };
        let got = timeout(patience(dice), self.caller.get(wish)).await.map_err(|_| Over::GaveUp)?;
        let (said, token) = got.ok_or(Over::Cut)?;
        self.world.tally.count(kind(said));
        if said == YES {
            self.granted(name, mode, token.expect("a token with a grant"));
            if matches!(mode, Mode::Permit(_)) {
                self.world.tally.count("permit granted");
            }
        }
        Ok(())
    }

    /// All of some locks that are next to each other.
    async fn get_several(&mut self, dice: &mut Dice) -> Result<(), Over> {
        let (first, count) = (dice.below(NAMES), 2 + dice.below(3));
        let names: Vec<_> =
            (first..first + count).map(|name| usize::try_from(name % NAMES).unwrap()).collect();
        let is_shared = !names.contains(&OF_PERMITS) && dice.one_in(3);
        let mode = if is_shared { Mode::Shared } else { Mode::Exclusive };
        let texts: Vec<_> = names.iter().map(|name| text(*name)).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        let wishes = Wishes { names: &texts, mode, wait_ms: any_wait(dice) };
        let got = timeout(patience(dice), self.caller.get_several(wishes)).await;
        let told = got.map_err(|_| Over::GaveUp)?.ok_or(Over::Cut)?;
        self.world.tally.count(kind(told.said));
        if told.said == YES {
            for (name, token) in names.into_iter().zip(told.tokens) {
                self.granted(name, mode, token.expect("a token with a grant"));
            }
            self.world.tally.count("several granted");
        } else if let Some(in_the_way) = told.in_the_way {
            assert!(texts.contains(&in_the_way.as_str()), "{in_the_way} of {texts:?}");
            self.world.tally.count("several timed out");
        }
        Ok(())
    }

    fn granted(&mut self, name: usize, mode: Mode, token: u64) {
        let owner = self.owner;
        let enter = |mode| self.world.claims.enter(name, Claim { owner, mode, token, until: None });
        match self.held.iter_mut().find(|held| held.name == name) {
            Some(held) if held.mode.covers(mode) => {
                assert_eq!(held.token, token, "a lock that is taken again keeps its token");
                held.count += 1;
            }
            Some(held) => {
                enter(mode);
                *held = Held { name, mode, token, count: held.count + 1 };
                self.world.tally.count("upgraded");
            }
            None => {
                enter(mode);
                self.held.push(Held { name, mode, token, count: 1 });
            }
        }
    }

    async fn release(&mut self, mut held: Held) -> Result<(), Over> {
        held.count -= 1;
        if held.count == 0 {
            self.world.claims.leave(held.name, self.owner);
        }
        let said = self.caller.release(&text(held.name)).await.ok_or(Over::Cut)?;
        assert_eq!(said, YES, "it holds the lock");
        if held.count > 0 {
            self.held.push(held);
        }
        self.world.tally.count("released");
        Ok(())
    }

    async fn release_all(&mut self) -> Result<(), Over> {
        let counts = self.held.drain(..).map(|held| {
            self.world.claims.leave(held.name, self.owner);
            held.count
        });
        let counts = counts.sum();
        let said = self.caller.release_all().await.ok_or(Over::Cut)?;
        assert_eq!(said, Said::Number(counts), "it holds so many");
        self.world.tally.count("released all");
        Ok(())
    }
}

fn kind(said: Said) -> &'static str {
    match said {
        Said::Number(1) => "granted",
        Said::Number(0) => "timed out",
        Said::Deadlock => "deadlock",
        Said::Interrupted => "wait killed",
        other => panic!("{other:?}"),
    }
}

/// Sessions on one wire, one after the other.
pub(crate) async fn sessions(world: Arc<World>, wire: Wire, mut dice: Dice) {
    while !world.is_over() {
        let (mut caller, id) = Caller::open(world.addrs, wire).await;
        let owner = world.claims.begin(id);
        let introduced = caller.introduce(&owner.to_string()).await;
        let mut visitor = Visitor { world: &world, caller, wire, owner, held: Vec::new() };
        let mut over = introduced.ok_or(Over::Cut);
        for _ in 0..dice.below(40) {
            if over.is_err() || world.is_over() {
                break;
            }
            over = visitor.act(&mut dice).await;
            a_moment(&mut dice).await;
        }
        let is_doomed = world.claims.is_doomed(owner);
        world.claims.end(owner);
        world.tally.count(match over {
            Err(Over::Cut) if is_doomed => "session killed",
            Err(Over::Cut) => panic!("session {owner} was ended and nobody killed it"),
            Err(Over::GaveUp) => "dropped in a call",
            Ok(()) if dice.one_in(2) && visitor.caller.quit().await => "quit",
            Ok(()) => "dropped",
        });
    }
}

/// Leases, one after the other: released, left to expire, or given up while they are asked for.
pub(crate) async fn leases(world: Arc<World>, mut lender: Lender, mut dice: Dice) {
    while !world.is_over() {
        let owner = world.claims.begin(None);
        let (name, wait_ms) = (any_name(&mut dice), any_wait(&mut dice));
        let mode = any_mode(name, None, &mut dice);
        let ttl = Duration::from_millis(if dice.one_in(3) { 10 + dice.below(60) } else { 3_000 });
        let (id, from, ttl_ms) = (owner.to_string(), Instant::now(), ttl.as_millis().try_into().unwrap());
        let name_text = text(name);
        let wish = Wish { name: &name_text, mode, wait_ms };
        match timeout(patience(&mut dice), lender.lend(wish, ttl_ms, &id)).await {
            Ok(Ok(lease)) => {
                let claim = Claim { owner, mode, token: lease.fencing_token, until: Some(from + ttl) };
                world.claims.enter(name, claim);
                world.tally.count("lease granted");
                keep(&world, lease, (name, owner, ttl), &mut dice).await;
            }
            Ok(Err(NoLease::Busy)) => world.tally.count("lease timed out"),
            Ok(Err(NoLease::Killed)) => world.tally.count("lease wait killed"),
            Err(_) => world.tally.count("lease dropped in a call"),
        }
        world.claims.end(owner);
        a_moment(&mut dice).await;
    }
}

/// Heartbeats, then the release; or no more of them.
async fn keep(world: &World, mut lease: Lease, (name, owner, ttl): (usize, u32, Duration), dice: &mut Dice) {
    for _ in 0..dice.below(4) {
        let from = Instant::now();
        if lease.renew().await != YES {
            return world.tally.count("heartbeat too late");
        }
        world.claims.prolong(name, owner, from + ttl);
        world.tally.count("heartbeat");
        a_moment(dice).await;
    }
    world.claims.leave(name, owner);
    if ttl < Duration::from_secs(1) && dice.one_in(2) {
        world.tally.count("lease left to expire");
    } else {
        let said = lease.release().await;
        world.tally.count(if said == YES { "lease released" } else { "lease released too late" });
    }
}

/// Ends sessions, and waits.
pub(crate) async fn killer(world: Arc<World>, mut dice: Dice) {
    let mut line = Client::connect(world.addrs.line).await;
    while !world.is_over() {
        sleep(Duration::from_micros(dice.below(40_000))).await;
        let rows = line.list("SESSIONS").await;
        let victims: Vec<_> = rows.iter().filter_map(|row| victim(row)).collect();
        let Some(&(id, owner)) = victims.get(usize::try_from(dice.below(30)).unwrap()) else { continue };
        if dice.one_in(2) {
            line.ask(&format!("KILL QUERY {id}")).await;
        } else if world.claims.doom(owner) && line.ask(&format!("KILL {id}")).await == "1" {
            world.tally.count("KILL");
        }
    }
}

/// Its number, and that under which it claims.
fn victim(row: &str) -> Option<(u32, u32)> {
    let field = |key: &str| row.split(' ').find_map(|field| field.strip_prefix(key));
    let id = field("session=")?.parse().ok()?;
    let owner =
        if matches!(field("wire=")?, "line" | "mysql") { id } else { field("client=")?.parse().ok()? };
    Some((id, owner))
}
