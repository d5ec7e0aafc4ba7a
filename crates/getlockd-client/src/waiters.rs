//! Who waits for the locks of a guard.

use std::{pin::pin, sync::Arc};

use tokio::sync::watch;

use crate::{
    Error, Lost, WaiterEvent, WaiterRow,
    events::{Event, Interest, Subscription},
    handle::{DriverHandle, about_lock, when_lost},
};

/// The sessions that wait for the locks of a guard, from [`Guard::on_waiter`](crate::Guard::on_waiter).
///
/// It does not keep the lock.
#[derive(Debug)]
pub struct WaiterEvents {
    /// How it learns of the end of the connection without keeping it.
    lost: watch::Receiver<Option<Lost>>,
    subscription: Arc<Subscription>,
}

impl WaiterEvents {
    /// For the locks of these names, which are in lower case.
    ///
    /// Cancel-safe.
    pub(crate) async fn start(driver: DriverHandle, names: Vec<String>) -> Result<Self, Error> {
        let subscription = Subscription::new(Interest::Waiters(names.clone()));
        driver.subscriptions().add(&subscription);
        driver.expect_one("EVENTS ON\n".to_owned()).await?;
        // Those that were there before, without those of which the server has told meanwhile. A user may hold a lock whose
        // queue they may not see.
        for name in names {
            let waiting = match driver.list::<WaiterRow>(about_lock("WAITERS", &name)?).await {
                Err(Error::Refused(_)) => continue,
                waiting => waiting?,
            };
            let waiters = waiting.total as u64;
            let told: Vec<_> = subscription.unread().iter().filter_map(|event| event.waiter(&name)).collect();
            for WaiterRow { session, mode, .. } in waiting.rows {
                if !told.contains(&session) {
                    let name = name.clone();
                    subscription.offer(&Event::Waiting(WaiterEvent { name, session, mode, waiters }));
                }
            }
        }
        Ok(Self { lost: driver.lost_receiver(), subscription })
    }

    /// The next session that waits for a lock of the guard. Those that waited before are told too, each of them once.
    ///
    /// Cancel-safe. The future outlives the guard, and does not keep the lock.
    ///
    /// # Errors
    /// [`Lost`] when the connection of the guard has ended.
    pub fn recv(&mut self) -> impl Future<Output = Result<WaiterEvent, Lost>> + Send + use<> {
        let (subscription, lost) = (self.subscription.clone(), self.lost.clone());
        async move {
            let mut lost = pin!(when_lost(lost));
            loop {
                if let Event::Waiting(waiter) = subscription.next(&mut lost).await? {
                    return Ok(waiter);
                }
            }
        }
    }
}
