//! What tests ask sessions of a service, any request by one function and with answers that can be compared.

use getlockd::{
    internal::{
        command::{AcquireAnswer, EndReason, Error, LockRequest, LocksRequest, ReleaseAnswer},
        lock::{Mode, SessionId},
        session::{Acquiring, Killing, Pieces, Releasing, Session, UsedBy},
    },
    name::Name,
};
use getlockd_proto::timeout::Timeout;

#[derive(Clone, Debug)]
pub enum Command {
    GetLock { name: Name, mode: Mode, timeout: Timeout },
    GetLocks { names: Vec<Name>, mode: Mode, timeout: Timeout },
    ReleaseLock(Name),
    ReleaseLocks(Vec<Name>),
    ReleaseAllLocks,
    IsUsedLock(Name),
    FencingToken(Name),
    Kill(SessionId),
    KillQuery(SessionId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Null,
    Int(u64),
    /// 0, and the name that was in the way.
    TimedOutFor(Name),
}

pub type Answer = Result<Reply, Error>;

impl From<Option<u64>> for Reply {
    fn from(number: Option<u64>) -> Self {
        number.map_or(Self::Null, Self::Int)
    }
}

pub enum Progress<'a> {
    Done(Answer),
    Waiting(Waiting<'a>),
    Working(Working<'a>),
}

pub struct Waiting<'a>(getlockd::internal::session::Waiting<'a>);

impl Waiting<'_> {
    pub async fn finish(self) -> Result<Answer, EndReason> {
        Ok(self.0.finish().await?.map(acquired))
    }
}

pub enum Working<'a> {
    Killing(Killing<'a>),
    Releasing(Pieces<'a>),
}

impl Working<'_> {
    pub async fn finish(self) -> Result<Answer, EndReason> {
        match self {
            Self::Killing(killing) => killing.finish().await.map(|killed| killed.map(|()| Reply::Int(1))),
            Self::Releasing(pieces) => pieces.finish().await.map(|counts| Ok(Reply::Int(counts))),
        }
    }
}

fn acquired(answer: AcquireAnswer) -> Reply {
    match answer {
        AcquireAnswer::TimedOut(Some(name)) => Reply::TimedOutFor(*name),
        answer => Reply::Int(answer.number()),
    }
}

/// Runs a command as far as it goes without waiting.
pub fn start(session: &mut Session, command: Command) -> Progress<'_> {
    Progress::Done(match command {
        Command::GetLock { name, mode, timeout } => {
            match session.acquire(LockRequest { name, mode, timeout }) {
                Acquiring::Done(answer) => answer.map(acquired),
                Acquiring::Waiting(waiting) => return Progress::Waiting(Waiting(waiting)),
            }
        }
        Command::GetLocks { names, mode, timeout } => {
            match session.acquire_several(LocksRequest { names, mode, timeout }) {
                Acquiring::Done(answer) => answer.map(acquired),
                Acquiring::Waiting(waiting) => return Progress::Waiting(Waiting(waiting)),
            }
        }
        Command::ReleaseLocks(names) => session.release_several(&names).map(Reply::Int),
        Command::ReleaseLock(name) => session.release(&name).map(|answer| match answer {
            ReleaseAnswer::Released => Reply::Int(1),
            ReleaseAnswer::HeldByOthers => Reply::Int(0),
            ReleaseAnswer::Free => Reply::Null,
        }),
        Command::ReleaseAllLocks => match session.release_all() {
            Ok(Releasing::Done(counts)) => Ok(Reply::Int(counts)),
            Ok(Releasing::Pieces(pieces)) => return Progress::Working(Working::Releasing(pieces)),
            Err(error) => Err(error),
        },
        Command::IsUsedLock(name) => {
            session.query(&UsedBy(&name)).map(|holder| holder.map(|id| id.0.into()).into())
        }
        Command::FencingToken(name) => session.fencing_token(&name).map(Reply::from),
        Command::Kill(id) => match session.kill(id, None) {
            Ok(killing) => return Progress::Working(Working::Killing(killing)),
            Err(error) => Err(error),
        },
        Command::KillQuery(id) => session.cancel_wait(id).map(|waited| Reply::Int(waited.into())),
    })
}

/// Runs a command to its answer.
pub async fn run(session: &mut Session, command: Command) -> Result<Answer, EndReason> {
    let answer = match start(session, command) {
        Progress::Done(answer) => Ok(answer),
        Progress::Waiting(waiting) => waiting.finish().await,
        Progress::Working(working) => working.finish().await,
    };
    // As each wire does: a drain goes by it.
    session.publish_holds();
    answer
}
