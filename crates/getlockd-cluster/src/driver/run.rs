//! The loop of the driver: events of the engine, of the server and of time go to the machine, and what it says is done.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{error, info, warn};

use super::{
    ClusterReport, NotWritten, Role,
    hand_over::nonce,
    leadership::{Leadership, Supply},
    nodes::KnownNodes,
    report::cause_of_change,
    tenure::DriverOrder,
};
use crate::{
    engine::{Beat, Change, Engine, EngineError, Leases, Resign, Take, Versioned, Written},
    moment::Moment,
    record::{BeatRecord, Floors, HandOverRequest, Leader, Resigned, SeatRecord},
    seat::{Action, Event, Now, Seat, SeatConfig},
    term::Term,
};

/// How often the machine looks at the clocks, if T is not so short that it must be more often.
const TICK: Duration = Duration::from_millis(50);

/// Which share of T a try may take. An engine has a limit of T/8 of its own, after which it turns to its next endpoint; this
/// one is for an engine that hangs.
const TRY: f64 = 0.15;

/// How often the report is made again.
const REPORT: Duration = Duration::from_secs(1);

/// Where moments come from: tests have their own time.
pub(super) type Clock = Box<dyn Fn() -> Moment + Send>;

/// What the driver tells the server.
pub(super) struct Outputs {
    pub(super) role: watch::Sender<Role>,
    pub(super) report: watch::Sender<Arc<ClusterReport>>,
    pub(super) ended: CancellationToken,
    /// The writes that its terms refuse.
    pub(super) refused: Arc<AtomicU64>,
}

/// What a call of the engine came to.
enum EngineAnswer {
    /// A try of the machine, how long it took, and an error if there was none.
    Tried { verb: &'static str, time: Duration, error: Option<String>, event: Event },
    /// The leases of this term.
    Leases(u64, Result<Leases, EngineError>),
    /// Something that nobody waits for.
    Done(&'static str, Result<(), EngineError>),
    /// This node's announcement is removed, or that took too long.
    SaidGoodbye,
}

/// The beat whose answer is waited for.
struct SentBeat {
    value: Vec<u8>,
    floors: Floors,
    with_leases: bool,
}

/// What was said already, and is still so.
#[derive(Default)]
struct Warned {
    /// The seat cannot be read.
    unreadable: bool,
    /// The leader has this node's name.
    namesake: bool,
}

pub(super) struct NodeDriver {
    engine: Arc<dyn Engine>,
    own: Leader,
    clock: Clock,
    seat: Seat,
    leadership: Option<Leadership>,
    outputs: Outputs,
    report: ClusterReport,
    reported: Option<Moment>,
    nodes: KnownNodes,
    answers: (mpsc::UnboundedSender<EngineAnswer>, mpsc::UnboundedReceiver<EngineAnswer>),
    orders: (mpsc::UnboundedSender<DriverOrder>, mpsc::UnboundedReceiver<DriverOrder>),
    stop: CancellationToken,
    last_step: Option<Moment>,
    sent_beat: Option<SentBeat>,
    /// The floors of the beat that is being acknowledged.
    acknowledged: Option<Floors>,
    /// The process ends: once the seat is resigned, all is over.
    exits: bool,
    /// A leader was seen before.
    knew_one: bool,
    warned: Warned,
    /// The last request for a hand-over, and the revision of the last one that was looked at.
    request: Option<Versioned>,
    looked_at: u64,
}

impl NodeDriver {
    pub(super) fn new(
        engine: Arc<dyn Engine>,
        config: SeatConfig,
        clock: Clock,
        outputs: Outputs,
        orders: (mpsc::UnboundedSender<DriverOrder>, mpsc::UnboundedReceiver<DriverOrder>),
        stop: CancellationToken,
    ) -> Self {
        Self {
            engine,
            own: config.leader.clone(),
            clock,
            nodes: KnownNodes::new(&config.leader),
            seat: Seat::new(config, Box::new(nonce)),
            leadership: None,
            outputs,
            report: ClusterReport::default(),
            reported: None,
            answers: mpsc::unbounded_channel(),
            orders,
            stop,
            last_step: None,
            sent_beat: None,
            acknowledged: None,
            exits: false,
            knew_one: false,
            warned: Warned::default(),
            request: None,
            looked_at: 0,
        }
    }

    /// Runs until it is stopped, or until the node has ended.
    ///
    /// Cancel-safe: dropped, the term is shut, and the seat stays as a crash leaves it.
    pub(super) async fn run(mut self) {
        let (changes, mut seen) = mpsc::unbounded_channel();
        let engine = Arc::clone(&self.engine);
        let _watch = AbortOnDropHandle::new(tokio::spawn(async move {
            while !changes.is_closed() {
                engine.watch(changes.clone()).await;
                sleep(TICK).await;
            }
        }));
        let mut ticks = interval(TICK.min(self.own.ttl / 20));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stop = self.stop.clone();
        while !self.outputs.ended.is_cancelled() {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.tick(),
                Some(answer) = self.answers.1.recv() => self.answered(answer),
                Some(order) = self.orders.1.recv() => self.ordered(order),
                Some(change) = seen.recv() => self.changed(change),
            }
        }
    }

    fn now(&self) -> Moment {
        (self.clock)()
    }

    fn step(&mut self, event: Event) {
        let moment = self.now();
        self.note_pause(moment);
        if let Some(leadership) = &self.leadership {
            leadership.term.tick(moment);
        }
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall_micros = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
        for action in self.seat.step(Now { moment, wall_micros }, event) {
            self.act(action, moment);
        }
    }

    fn note_pause(&mut self, now: Moment) {
        let Some(last) = self.last_step.replace(now) else { return };
        let time = last.elapsed_at_most(now);
        if time > self.own.ttl / 5 {
            self.report.paused(time);
            warn!(seconds = time.as_secs_f64(), "was paused");
        }
    }

    fn tick(&mut self) {
        self.step(Event::Tick);
        let now = self.now();
        self.look_after_leadership();
        if let Some(record) = self.nodes.announcement(now) {
            let engine = Arc::clone(&self.engine);
            self.call("announce", async move { engine.announce(&record.node, record.encode()).await });
        }
        if self.reported.is_none_or(|reported| reported.elapsed_at_most(now) >= REPORT) {
            self.publish_report(now);
        }
    }

    fn look_after_leadership(&mut self) {
        let Some(leadership) = self.leadership.as_mut().filter(|leadership| !leadership.term.is_shut())
        else {
            return;
        };
        let holders = leadership.holders();
        let supply = leadership.check_supply();
        self.seat.set_holders(holders);
        if supply != Supply::Enough {
            self.step(Event::NumbersRunOut);
        }
    }

    fn publish_report(&mut self, now: Moment) {
        self.reported = Some(now);
        if self.leadership.is_some() {
            for node in self.nodes.forgotten(now) {
                let engine = Arc::clone(&self.engine);
                self.call("forget", async move { engine.forget(Some(&node)).await });
            }
        }
        self.report.nodes = self.nodes.list(now);
        self.report.at = now;
        self.outputs.report.send_replace(Arc::new(self.report.clone()));
    }

    // What was seen.

    fn changed(&mut self, change: Change) {
        match change {
            Change::Seat(seat) => {
                self.step(Event::SeatSeen(seat));
                self.warn_of_unreadable();
            }
            Change::Beat(beat) => {
                self.step(Event::BeatSeen(beat));
                self.warn_of_namesake();
            }
            Change::Node(node, key) => {
                let now = self.now();
                self.nodes.saw(node, key, now);
            }
            Change::HandOver(request) => {
                self.request = request;
                self.look_at_request();
            }
        }
    }

    fn warn_of_unreadable(&mut self) {
        let unreadable = self.seat.seen() == Some(&SeatRecord::Unreadable);
        if unreadable && !self.warned.unreadable {
            warn!("cannot read the seat, which a later version may have written; takes no part until it can");
        }
        self.warned.unreadable = unreadable;
    }

    fn warn_of_namesake(&mut self) {
        let is_namesake = self.seat.has_namesake();
        if is_namesake && !self.warned.namesake {
            warn!(
                node = self.own.node,
                address = self.own.address,
                "the leader has this node's name or address; set --node-name and --advertise so that no two are the same"
            );
        }
        self.warned.namesake = is_namesake;
        self.report.namesake = is_namesake;
    }

    /// A request is for the term in which it was made: it is taken once, and an old one means nothing.
    fn look_at_request(&mut self) {
        let Some(leadership) = self.leadership.as_ref().filter(|leadership| leadership.is_serving()) else {
            return;
        };
        let Some(request) = self.request.take() else { return };
        let is_old = request.revision <= leadership.term.number().max(self.looked_at);
        self.looked_at = self.looked_at.max(request.revision);
        let Some(request) = HandOverRequest::decode(&request.value).filter(|_| !is_old) else {
            return self.forget_request();
        };
        if request.refused.is_some() {
            // This node's own answer: the operator's program removes it.
            return;
        }
        let successor = request.successor.clone();
        match self.drain(false, successor) {
            Ok(()) => self.forget_request(),
            Err(why) => {
                let refused = HandOverRequest { refused: Some(why.into()), ..request };
                let engine = Arc::clone(&self.engine);
                self.call("refuse", async move { engine.ask_hand_over(refused.encode()).await });
            }
        }
    }

    fn forget_request(&self) {
        let engine = Arc::clone(&self.engine);
        self.call("forget", async move { engine.forget(None).await });
    }

    /// Begins the drain. An error says why this node does not hand over.
    fn drain(&mut self, exits: bool, successor: Option<String>) -> Result<(), &'static str> {
        let now = self.now();
        let is_known = |node: &String| self.nodes.is_successor(node, now);
        let refused = match &successor {
            Some(node) if !exits && !is_known(node) => Some("no such node was heard of lately"),
            None if !exits && self.nodes.successor(now).is_none() => {
                Some("no other node was heard of lately")
            }
            _ => None,
        };
        if let Some(why) = refused {
            warn!(why, successor, "does not hand over");
            return Err(why);
        }
        let successor = successor.or_else(|| self.nodes.successor(now));
        self.exits |= exits;
        if let Some(leadership) = self.leadership.as_ref().filter(|leadership| !leadership.term.is_shut()) {
            let term = leadership.term.number();
            info!(
                term,
                "hands over to {}",
                successor.as_deref().unwrap_or("nobody: no other node was heard of lately")
            );
        }
        self.step(Event::Drain { exits, successor });
        Ok(())
    }

    // What the server says.

    fn ordered(&mut self, order: DriverOrder) {
        match order {
            // If it does not hand over, that is in the log.
            DriverOrder::Drain { exits, successor } => drop(self.drain(exits, successor)),
            DriverOrder::Stand(stands) => self.seat.set_stands(stands),
            DriverOrder::Restored(term) => self.step_in(term, Event::Restored),
            DriverOrder::RestoreFailed(term) => self.step_in(term, Event::RestoreFailed),
            DriverOrder::Drained(term) => self.step_in(term, Event::Drained),
            DriverOrder::AllTold(term) => self.step_in(term, Event::AllTold),
            DriverOrder::Write(term, write) => {
                // Dropped, it is answered: the term is over.
                let leadership =
                    self.leadership.as_mut().filter(|leadership| leadership.term.number() == term);
                if let Some(leadership) = leadership {
                    leadership.writes.push(write);
                }
            }
        }
        // All that waits already goes with the same beat.
        if self.orders.1.is_empty() {
            self.tell_of_writes();
        }
    }

    fn tell_of_writes(&mut self) {
        if self.leadership.as_ref().is_some_and(|leadership| !leadership.writes.is_empty()) {
            self.step(Event::WritesWaiting);
        }
    }

    fn step_in(&mut self, term: u64, event: Event) {
        if self.leadership.as_ref().is_some_and(|leadership| leadership.term.number() == term) {
            self.step(event);
        }
    }

    // What the engine answers.

    fn answered(&mut self, answer: EngineAnswer) {
        match answer {
            EngineAnswer::Tried { verb, time, error, event } => {
                self.note_engine(verb, error.as_deref());
                if verb == "beat" {
                    self.report.beat_took(time);
                }
                match event {
                    Event::BeatEnded(written) => self.beat_ended(written),
                    event => self.step(event),
                }
            }
            EngineAnswer::Leases(term, leases) => self.leases_read(term, leases),
            EngineAnswer::Done(verb, result) => {
                let error = result.err().map(|error| error.to_string());
                self.note_engine(verb, error.as_deref());
            }
            EngineAnswer::SaidGoodbye => self.outputs.ended.cancel(),
        }
    }

    fn note_engine(&mut self, verb: &'static str, error: Option<&str>) {
        let now = self.now();
        let was_down = self.report.engine_down_since.is_some();
        match error {
            Some(error) => {
                self.report.engine_failed(verb, now);
                if !was_down {
                    warn!(verb, error, "the engine does not answer as it should");
                    self.publish_report(now);
                }
            }
            None if was_down => {
                self.report.engine_answered();
                info!(verb, "the engine answers again");
                self.publish_report(now);
            }
            None => {}
        }
    }

    fn beat_ended(&mut self, written: Written) {
        match (self.sent_beat.take(), written) {
            (Some(sent), Written::Done(revision)) => self.beat_made(sent, revision),
            (Some(SentBeat { with_leases: true, .. }), Written::Refused(why)) => {
                warn!(error = why, "the engine refuses leases; fewer of them are tried at once");
                if let Some(leadership) = &mut self.leadership {
                    leadership.writes.refused(&why);
                }
                self.step(Event::BeatEnded(Written::Refused(why)));
            }
            (_, written) => self.step(Event::BeatEnded(written)),
        }
    }

    fn beat_made(&mut self, sent: SentBeat, revision: u64) {
        // A watch may be late to tell; what stands there is known.
        self.step(Event::BeatSeen(Some(Versioned { revision, value: sent.value })));
        let mut told = None;
        if let Some(leadership) = &mut self.leadership {
            leadership.revision = leadership.revision.max(revision);
            told = sent.with_leases.then(|| leadership.writes.written());
        }
        self.tell_of_writes();
        self.acknowledged = Some(sent.floors);
        self.step(Event::BeatEnded(Written::Done(revision)));
        self.acknowledged = None;
        // The engine may have gone back to an earlier state: then nothing is known to be written.
        let leads = self.leadership.as_ref().is_some_and(|leadership| !leadership.term.is_shut());
        let result = if leads { Ok(()) } else { Err(NotWritten::Over) };
        told.unwrap_or_default().tell(&result);
    }

    fn leases_read(&mut self, term: u64, leases: Result<Leases, EngineError>) {
        let now = self.now();
        let is_awaited =
            |leadership: &&mut Leadership| leadership.term.number() == term && !leadership.term.is_shut();
        let Some(leadership) = self.leadership.as_mut().filter(is_awaited) else { return };
        match leases {
            Ok(leases) => {
                let tenure = leadership.publish(leases, self.orders.0.clone());
                self.outputs.role.send_replace(Role::Leads(tenure));
            }
            // Only this term writes leases, so they are the same at any revision since its take.
            Err(error @ (EngineError::Unavailable(_) | EngineError::Compacted(_)))
                if leadership.began.elapsed_at_most(now) < self.own.ttl * 3 =>
            {
                let revision = leadership.revision;
                self.note_engine("leases", Some(&error.to_string()));
                self.read_leases(term, revision, self.own.ttl / 20);
            }
            Err(error) => {
                error!(term, %error, "cannot read the leases; gives the term up");
                self.note_engine("leases", Some(&error.to_string()));
                self.step(Event::RestoreFailed);
            }
        }
    }

    // What the machine says.

    fn act(&mut self, action: Action, now: Moment) {
        match action {
            Action::Look => self.look(),
            Action::Take { expected, seat, beat } => {
                let seat = SeatRecord::Leads(seat).encode();
                let take = Take { expected, seat, beat: beat.encode() };
                let engine = Arc::clone(&self.engine);
                self.try_to("take", Event::TakeEnded, async move { engine.take(take).await });
            }
            Action::Beat { term, seat, n, with_leases } => self.beat(term, seat, n, with_leases),
            Action::Resign { term, seat, n, successor } => self.resign(term, seat, n, successor),
            Action::Begin { term, seat, first, ceiling, deadline } => {
                let guard = Term::held(term, deadline).counting(Arc::clone(&self.outputs.refused));
                self.leadership = Some(Leadership::new(guard, seat, (first, ceiling), now));
                // The node that led before leads no more.
                self.outputs.role.send_replace(Role::Nobody);
                self.read_leases(term, term, Duration::ZERO);
            }
            Action::Follow(term, leader) => self.follow(term, leader, now),
            Action::Nobody => {
                self.leadership = None;
                self.outputs.role.send_replace(Role::Nobody);
            }
            Action::Resigned if self.exits => self.say_goodbye(),
            Action::Resigned => {}
            Action::ClockIgnored { wall_micros, floor } => warn!(
                wall_micros,
                floor,
                "the time of day is more than a year ahead of the fencing tokens and is not used for them; set the clock"
            ),
            action => self.act_in_term(&action, now),
        }
    }

    fn act_in_term(&mut self, action: &Action, now: Moment) {
        let Some(leadership) = &mut self.leadership else { return };
        let term = leadership.term.number();
        match *action {
            Action::Serve => {
                leadership.serve();
                let took = leadership.began.elapsed_at_most(now);
                let cause = cause_of_change(self.seat.seen_before(), self.knew_one);
                info!(term, leases = leadership.restored_leases, took_ms = took.as_millis(), cause, "leads");
                self.led(Some(self.own.node.clone()), term, cause, now);
                self.look_at_request();
            }
            Action::Extend(deadline) => leadership.extend(deadline, self.acknowledged),
            Action::Hold => leadership.pause(true),
            Action::Release => leadership.pause(false),
            Action::Drain => leadership.state.draining.cancel(),
            Action::StepDown(cause) => {
                // The cause of the end says the same.
                let _ = leadership.state.cause.set(cause);
                leadership.term.close_sockets();
                info!(term, cause, "steps down");
            }
            Action::End(cause) => {
                if leadership.state.cause.get().is_none() {
                    info!(term, cause, "steps down");
                }
                leadership.end(cause);
                self.led(None, term, cause, now);
            }
            _ => {}
        }
    }

    fn led(&mut self, leader: Option<String>, term: u64, cause: &'static str, now: Moment) {
        self.knew_one = true;
        self.report.changed(leader, term, cause);
        self.publish_report(now);
    }

    fn follow(&mut self, term: u64, leader: Leader, now: Moment) {
        self.leadership = None;
        info!(term, "follows {}", leader.node);
        let cause = cause_of_change(self.seat.seen_before(), self.knew_one);
        self.led(Some(leader.node.clone()), term, cause, now);
        self.outputs.role.send_replace(Role::Follows(term, Arc::new(leader)));
    }

    // Calls of the engine, each with its time limit.

    fn time_limit(&self) -> Duration {
        self.own.ttl.mul_f64(TRY)
    }

    fn look(&self) {
        let engine = Arc::clone(&self.engine);
        let answers = self.answers.0.clone();
        let limit = self.time_limit();
        tokio::spawn(async move {
            let looked = timeout(limit, engine.look()).await;
            let (look, error) = match looked {
                Ok(Ok(look)) => (Some(look), None),
                Ok(Err(error)) => (None, Some(error.to_string())),
                Err(_) => (None, Some(late(limit))),
            };
            let event = Event::Looked(look);
            let _ = answers.send(EngineAnswer::Tried { verb: "look", time: Duration::ZERO, error, event });
        });
    }

    fn beat(&mut self, term: u64, seat: Leader, n: u64, with_leases: bool) {
        let Some(leadership) = &mut self.leadership else { return };
        let floors = leadership.next_floors();
        let leases = if with_leases { leadership.writes.batch() } else { Vec::new() };
        let value = BeatRecord { n, floors }.encode();
        let seat = SeatRecord::Leads(seat).encode();
        self.sent_beat = Some(SentBeat { value: value.clone(), floors, with_leases });
        let engine = Arc::clone(&self.engine);
        let beat = Beat { term, seat, beat: value, leases };
        self.try_to("beat", Event::BeatEnded, async move { engine.beat(beat).await });
    }

    fn resign(&mut self, term: u64, seat: Leader, n: u64, successor: Option<String>) {
        let Some(leadership) = &self.leadership else { return };
        let request_key = seat.request_key.clone();
        let resigned = Resigned { node: seat.node.clone(), term, successor, request_key };
        let resign = Resign {
            term,
            seat: SeatRecord::Leads(seat).encode(),
            resigned: SeatRecord::Resigned(resigned).encode(),
            beat: BeatRecord { n, floors: leadership.next_floors() }.encode(),
        };
        let engine = Arc::clone(&self.engine);
        self.try_to("resign", Event::ResignEnded, async move { engine.resign(resign).await });
    }

    fn try_to(
        &self,
        verb: &'static str,
        event: fn(Written) -> Event,
        call: impl Future<Output = Written> + Send + 'static,
    ) {
        let answers = self.answers.0.clone();
        let limit = self.time_limit();
        tokio::spawn(async move {
            let began = tokio::time::Instant::now();
            let written = timeout(limit, call).await.unwrap_or_else(|_| Written::Unknown(late(limit)));
            let error = match &written {
                Written::Done(_) | Written::Not(_) => None,
                Written::Refused(why) | Written::Unknown(why) => Some(why.clone()),
            };
            let _ = answers.send(EngineAnswer::Tried {
                verb,
                time: began.elapsed(),
                error,
                event: event(written),
            });
        });
    }

    /// A call that nobody waits for.
    fn call(&self, verb: &'static str, call: impl Future<Output = Result<(), EngineError>> + Send + 'static) {
        let answers = self.answers.0.clone();
        let limit = self.time_limit();
        tokio::spawn(async move {
            let late = |_| Err(EngineError::Unavailable(late(limit)));
            let _ = answers.send(EngineAnswer::Done(verb, timeout(limit, call).await.unwrap_or_else(late)));
        });
    }

    fn read_leases(&self, term: u64, revision: u64, after: Duration) {
        let engine = Arc::clone(&self.engine);
        let answers = self.answers.0.clone();
        tokio::spawn(async move {
            sleep(after).await;
            let _ = answers.send(EngineAnswer::Leases(term, engine.leases(revision).await));
        });
    }

    /// The node is announced no more, and then it has ended.
    fn say_goodbye(&mut self) {
        let engine = Arc::clone(&self.engine);
        let answers = self.answers.0.clone();
        let limit = self.time_limit();
        let node = self.own.node.clone();
        tokio::spawn(async move {
            // Without an answer it is lost after three times T.
            let _ = timeout(limit, engine.forget(Some(&node))).await;
            let _ = answers.send(EngineAnswer::SaidGoodbye);
        });
    }
}

impl Drop for NodeDriver {
    /// Also when it panics: nobody waits for it, or relays to nobody.
    fn drop(&mut self) {
        self.outputs.role.send_replace(Role::Nobody);
        self.outputs.ended.cancel();
    }
}

fn late(limit: Duration) -> String {
    format!("no answer within {} ms", limit.as_millis())
}
