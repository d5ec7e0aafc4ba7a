//! How an operator has another node lead.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{sleep, timeout};

use crate::{
    engine::{Engine, EngineError},
    record::{HandOver, Leader, SeatRecord},
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
    /// The leader did not hand over.
    #[error(
        "{0} still leads; its log says why: another node must run, and the one that is named must be one of them"
    )]
    InVain(String),
}

/// Asks the leader to hand over, to this node if one is named, and waits until somebody else leads: its term, and who it is.
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
    engine.ask_hand_over(HandOver { successor, asked_ms, nonce: nonce() }.encode()).await?;
    timeout(limit, next_leader(engine, term)).await.unwrap_or(Err(HandOverError::InVain(leader.node)))
}

async fn next_leader(engine: &dyn Engine, than: u64) -> Result<(u64, Leader), HandOverError> {
    loop {
        sleep(LOOK).await;
        // An engine that does not answer for a while is asked again: the request stands there.
        if let Ok(Some((term, leader))) = leader(engine).await
            && term != than
        {
            return Ok((term, leader));
        }
    }
}

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
