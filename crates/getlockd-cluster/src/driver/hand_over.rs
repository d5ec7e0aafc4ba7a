//! How an operator has another node lead.

use std::{
    future::pending,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{sync::mpsc, time::sleep};

use crate::{
    engine::{Change, Engine, EngineError},
    record::{HandOverRequest, Leader, SeatRecord},
};

/// How often the seat is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(100);

/// Why nobody else leads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandOverError {
    /// The engine does not answer, or refuses.
    #[error("{0}")]
    Engine(#[from] EngineError),
    /// Nobody could hand over.
    #[error("nobody leads; start a node, or wait until one has taken the seat")]
    NobodyLeads,
    /// It leads already.
    #[error("{0} leads already")]
    LeadsAlready(String),
    /// The leader does not hand over: to whom it could not, or why not.
    #[error("{0} does not hand over: {1}; start another node, or name one that runs")]
    Refused(String, String),
    /// The leader did not hand over in time.
    #[error("{0} still leads; its log says what it waits for")]
    InVain(String),
}

/// Asks the leader to hand over, to this node if one is named, and waits until another node leads: its term, and its record.
///
/// Not cancel-safe: dropped, the leader may hand over or not.
///
/// # Errors
/// [`HandOverError`]: among others if the same leader leads after `limit`, which must leave time for its drain.
pub async fn hand_over(
    engine: &dyn Engine,
    successor: Option<String>,
    limit: Duration,
) -> Result<(u64, Leader), HandOverError> {
    let (term, leader) = leader(engine).await?.ok_or(HandOverError::NobodyLeads)?;
    if successor.as_ref() == Some(&leader.node) {
        return Err(HandOverError::LeadsAlready(leader.node));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let asked_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let request = HandOverRequest { successor, asked_ms, nonce: nonce(), refused: None };
    engine.ask_hand_over(request.encode()).await?;
    tokio::select! {
        next = next_leader(engine, term) => Ok(next),
        why = refusal(engine, &request.nonce) => {
            // If that fails, the next request takes its place.
            let _ = engine.forget(None).await;
            Err(HandOverError::Refused(leader.node, why))
        }
        () = sleep(limit) => Err(HandOverError::InVain(leader.node)),
    }
}

/// Resolves when another term has begun. Cancel-safe.
async fn next_leader(engine: &dyn Engine, than: u64) -> (u64, Leader) {
    loop {
        sleep(LOOK).await;
        // An engine that does not answer for a while is asked again: the request stands there.
        if let Ok(Some((term, leader))) = leader(engine).await
            && term != than
        {
            return (term, leader);
        }
    }
}

/// Resolves when the leader refuses the request with this nonce: why. Cancel-safe.
async fn refusal(engine: &dyn Engine, nonce: &str) -> String {
    let (changes, mut seen) = mpsc::unbounded_channel();
    let refused = async {
        while let Some(change) = seen.recv().await {
            let Change::HandOver(Some(answer)) = change else { continue };
            let answer = HandOverRequest::decode(&answer.value).filter(|answer| answer.nonce == nonce);
            if let Some(why) = answer.and_then(|answer| answer.refused) {
                return why;
            }
        }
        pending().await
    };
    tokio::select! {
        why = refused => why,
        () = engine.watch(changes) => pending().await,
    }
}

/// Who leads, and in which term. Cancel-safe.
async fn leader(engine: &dyn Engine) -> Result<Option<(u64, Leader)>, EngineError> {
    let seat = engine.look().await?.seat;
    Ok(seat.and_then(|seat| match SeatRecord::decode(&seat.value) {
        SeatRecord::Leads(leader) => Some((seat.revision, leader)),
        _ => None,
    }))
}

/// A name that nobody else makes.
pub(super) fn nonce() -> String {
    let mut bytes = [0; 16];
    // Without random numbers, the time tells tries apart all the same.
    if getrandom::fill(&mut bytes).is_err() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        bytes = now.as_nanos().to_be_bytes();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
