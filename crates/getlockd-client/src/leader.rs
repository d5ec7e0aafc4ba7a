//! Leader election: one of many clients leads, and another one takes over when it ends.

use std::{convert::Infallible, sync::Arc};

use getlockd_proto::timeout::Timeout;
use tokio::time::Instant;

use crate::{Client, Error, Guard, Mode, pool::Backoff};

impl Client {
    /// Leads as long as this client holds the lock `name`, and waits for it otherwise. Each time it leads, `lead` runs.
    /// When the lock is lost, that run is dropped where it stands. When a run ends by itself, the lock is released. In both
    /// cases the client queues again, behind the others. While there is no server it keeps trying.
    ///
    /// It ends with an error that a new try does not mend, or when it is dropped: that releases the lock.
    ///
    /// ```no_run
    /// # async fn schedule(_term: u64) {}
    /// # async fn start(client: getlockd_client::Client) -> Result<(), getlockd_client::Error> {
    /// client.leader_election("scheduler", |leader| schedule(leader.fencing_token())).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The fencing token is the number of the term: it is higher in each. Send it along with what you write, as a former
    /// leader that cannot be stopped may write too.
    ///
    /// Cancel-safe if `lead` is.
    ///
    /// # Errors
    /// [`Error::Refused`], such as `DENIED`, or `KILLED` and `INTERRUPTED` if an operator ended its wait;
    /// [`Error::BadName`].
    pub async fn leader_election<F: Future>(
        &self,
        name: &str,
        mut lead: impl FnMut(Arc<Guard>) -> F,
    ) -> Result<Infallible, Error> {
        loop {
            // Shared with the run: a future that borrows the guard from here could not be spawned.
            let leader = Arc::new(self.until_leader(name).await?);
            if leader.run(lead(leader.clone())).await.is_err() {
                continue;
            }
            // None if something that the run has started has it still.
            let Some(leader) = Arc::into_inner(leader) else { continue };
            match leader.release().await {
                // A loss that was noticed only now.
                Err(Error::Lost(_) | Error::NotHeld) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for the lock, however long there is no server.
    ///
    /// Cancel-safe: dropped, it leaves the queue, and releases what it may have got.
    pub(crate) async fn until_leader(&self, name: &str) -> Result<Guard, Error> {
        let mut backoff = Backoff::forever();
        loop {
            let began = Instant::now();
            match self.take(Mode::Exclusive, &name.into(), Timeout::Forever).await {
                Err(error) if error.is_transient() => backoff.wait(began, error).await?,
                taken => return taken,
            }
        }
    }
}
