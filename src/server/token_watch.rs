//! Fencing tokens run short where the lease store cannot be written for long: its floor does not move, and after a crash
//! the tokens above it would come again.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use crate::core::{session::LockService, store::StoreWriter};

/// How many tokens are kept back: locks pass on in queues all the same, and much is granted between two looks.
const SPARE_TOKENS: u64 = 1 << 26;

/// How often it is looked how many are left.
const LOOK: Duration = Duration::from_secs(1);

/// Looks each second. Dropped, it looks no more.
#[derive(Debug)]
pub(super) struct TokenWatch(#[expect(dead_code, reason = "its end is heard")] Sender<()>);

impl TokenWatch {
    /// On a thread of its own: with a timer among the tasks, each wait of the server for its clients would ask the clock.
    pub(super) fn start(service: Arc<LockService>, writer: Arc<StoreWriter>) -> std::io::Result<Self> {
        let (sender, receiver) = channel();
        thread::Builder::new().name("tokens".to_owned()).spawn(move || run(&receiver, &service, &writer))?;
        Ok(Self(sender))
    }
}

fn run(end: &Receiver<()>, service: &LockService, writer: &StoreWriter) {
    while end.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
        look(service, writer);
    }
}

/// Moves the floors, and grants nothing new while few tokens are left below the one that the store has. Nothing is asked
/// of those who take locks: sessions are told, as they are told of a stop.
fn look(service: &LockService, writer: &StoreWriter) {
    writer.look();
    let left = writer.token_ceiling().saturating_sub(service.last_numbers().token);
    let is_short = left < SPARE_TOKENS;
    let is_news = service.registry().pause(is_short);
    if is_news && is_short {
        tracing::error!(
            left,
            "fencing tokens are used up; nothing new is granted until the lease store can be written"
        );
    } else if is_news {
        tracing::info!("there are fencing tokens again");
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, future::BoxFuture};
    use getlockd_proto::timeout::Timeout;
    use tokio::{sync::Semaphore, time::timeout};

    use super::*;
    use crate::{
        core::{
            client_info::{Origin, Wire},
            command::{AcquireAnswer, Answer, Error, LockRequest, WaitDetails},
            lock::Mode,
            session::{Acquiring, Limits, Session},
            store::{Batch, CommitError, DurableLease, Floors, Store},
        },
        name::Name,
    };

    /// Above what the clock says.
    const FIRST: u64 = 1 << 52;

    /// A disk that hangs until it may go on.
    #[derive(Debug)]
    struct Hanging(Semaphore);

    impl Store for Hanging {
        fn commit(&self, _: Batch) -> BoxFuture<'_, Result<(), CommitError>> {
            async {
                self.0.acquire().await.unwrap().forget();
                Ok(())
            }
            .boxed()
        }

        fn replace(&self, _: Vec<DurableLease>, _: Floors) -> BoxFuture<'_, Result<(), CommitError>> {
            unreachable!("no commit fails")
        }

        fn close(&self, _: Floors, _: bool) -> BoxFuture<'_, Result<(), CommitError>> {
            unreachable!("nobody closes it")
        }
    }

    fn open(service: &Arc<LockService>) -> Session {
        service.open(Origin { wire: Wire::Line, peer: ([127, 0, 0, 1], 1).into() })
    }

    fn take(session: &mut Session, name: &str, mode: Mode) -> Answer<AcquireAnswer> {
        let request =
            LockRequest { name: Name::new(name).unwrap(), mode, timeout: Timeout::Within(Duration::ZERO) };
        match session.acquire(request) {
            Acquiring::Done(answer) => answer,
            Acquiring::Waiting(_) => unreachable!("it does not wait"),
        }
    }

    const GRANTED: Answer<AcquireAnswer> =
        Ok(AcquireAnswer::Granted(WaitDetails { place: 0, waited: Duration::ZERO }));
    const REFUSED: Answer<AcquireAnswer> = Err(Error::NoTokens);

    #[tokio::test(start_paused = true)]
    async fn grants_pause_while_fencing_tokens_are_short() {
        let floors = Floors { token: FIRST, session: 0 };
        let writer = StoreWriter::new([], Floors { token: FIRST + SPARE_TOKENS + 1, ..floors });
        let service = LockService::with_store(Limits::default(), None, floors, Some(writer.clone()));
        let store = Arc::new(Hanging(Semaphore::new(0)));
        let numbers = service.clone();
        tokio::spawn(writer.clone().run(store.clone(), Arc::new(move || numbers.last_numbers())));
        tokio::task::yield_now().await;

        let [mut holder, mut waiter] = [open(&service), open(&service)];
        for name in ["a", "b"] {
            assert_eq!(take(&mut holder, name, Mode::Exclusive), GRANTED);
        }
        assert_eq!(take(&mut holder, "shared", Mode::Shared), GRANTED);
        let name = Name::new("a").unwrap();
        let request = LockRequest { name: name.clone(), mode: Mode::Exclusive, timeout: Timeout::Forever };
        let Acquiring::Waiting(waits) = waiter.acquire(request) else { unreachable!("it is held") };

        look(&service, &writer);
        assert_eq!(take(&mut holder, "c", Mode::Exclusive), REFUSED);
        assert_eq!(take(&mut open(&service), "c", Mode::Exclusive), REFUSED, "new sessions too");
        assert_eq!(take(&mut holder, "b", Mode::Exclusive), GRANTED, "what is held needs no token");
        assert_eq!(take(&mut holder, "shared", Mode::Exclusive), REFUSED, "an upgrade does");
        holder.release(&name).unwrap();
        let granted = waits.finish().await;
        assert!(matches!(granted, Ok(Ok(AcquireAnswer::Granted(_)))), "queues go on: {granted:?}");
        assert_eq!(holder.end_reason(), None);

        store.0.add_permits(1);
        while writer.token_ceiling() == FIRST + SPARE_TOKENS + 1 {
            tokio::task::yield_now().await;
        }
        look(&service, &writer);
        assert_eq!(take(&mut holder, "c", Mode::Exclusive), GRANTED);
        assert!(timeout(LOOK, writer.failed()).await.is_err(), "the disk hung, and did not fail");
    }
}
