//! The methods that take locks. [`Client`](crate::Client), [`Connection`](crate::Connection) and the leases have the same.

use crate::Error;

/// Defines them by the `take` of the type, which gives a `$guard`. The other argument documents what becomes of a request that is dropped, and its
/// errors. A trait would do as well, but each program would have to import it, and its futures would say less.
macro_rules! lock_methods {
    ($guard:ident; $(#[$dropped_and_errors:meta])*) => {
        /// Takes a lock, and waits for it at most `timeout`. Of several names (`["a", "b"]`) it takes all locks or none, in
        /// one wait, during which it holds none of them.
        ///
        $(#[$dropped_and_errors])*
        pub async fn acquire(&self, names: impl Into<Names>, timeout: impl Into<Timeout>) -> Result<$guard, Error> {
            self.take(Mode::Exclusive, &names.into(), timeout.into()).await
        }

        /// Takes a shared lock, or several, and waits at most `timeout`.
        ///
        /// Cancel-safe, as [`acquire`](Self::acquire).
        ///
        /// # Errors
        /// As [`acquire`](Self::acquire). With [`Symbol::LimitDiffers`](crate::Symbol::LimitDiffers) if the lock has permits.
        pub async fn acquire_shared(&self, names: impl Into<Names>, timeout: impl Into<Timeout>) -> Result<$guard, Error> {
            self.take(Mode::Shared, &names.into(), timeout.into()).await
        }

        /// Takes one of `limit` permits of a lock, and waits for it at most `timeout`. All who take permits of a lock give the same
        /// limit.
        ///
        /// Cancel-safe, as [`acquire`](Self::acquire).
        ///
        /// # Errors
        /// As [`acquire`](Self::acquire). With [`Symbol::LimitDiffers`](crate::Symbol::LimitDiffers) if others hold or
        /// wait for the lock with another limit, or shared.
        pub async fn acquire_permit(
            &self,
            name: &str,
            limit: u16,
            timeout: impl Into<Timeout>,
        ) -> Result<$guard, Error> {
            self.take(Mode::Permit(limit), &name.into(), timeout.into()).await
        }

        /// Takes a lock, or several, if that needs no wait. Otherwise returns `None`.
        ///
        /// Cancel-safe, as [`acquire`](Self::acquire).
        ///
        /// # Errors
        /// As [`acquire`](Self::acquire), without [`Error::NotGranted`].
        pub async fn try_lock(&self, names: impl Into<Names>) -> Result<Option<$guard>, Error> {
            granted(self.take(Mode::Exclusive, &names.into(), Timeout::NONE).await)
        }

        /// Takes a shared lock, or several, if that needs no wait. Otherwise returns `None`.
        ///
        /// Cancel-safe, as [`acquire`](Self::acquire).
        ///
        /// # Errors
        /// As [`try_lock`](Self::try_lock).
        pub async fn try_lock_shared(&self, names: impl Into<Names>) -> Result<Option<$guard>, Error> {
            granted(self.take(Mode::Shared, &names.into(), Timeout::NONE).await)
        }

        /// Takes a permit if that needs no wait, and is otherwise as [`acquire_permit`](Self::acquire_permit).
        ///
        /// Cancel-safe, as [`acquire`](Self::acquire).
        ///
        /// # Errors
        /// As [`acquire_permit`](Self::acquire_permit), without [`Error::NotGranted`].
        pub async fn try_permit(&self, name: &str, limit: u16) -> Result<Option<$guard>, Error> {
            granted(self.take(Mode::Permit(limit), &name.into(), Timeout::NONE).await)
        }

        /// Runs some work while a lock, or several, are held, releases them, and returns what the work returned. When they are
        /// lost, the work is dropped where it stands. It never runs without the lock.
        ///
        /// Cancel-safe if the work is; the lock is released in any case.
        ///
        /// # Errors
        /// As [`acquire`](Self::acquire); [`Error::Lost`] also if the lock was lost later; as the `release` of a guard.
        pub async fn lock<T>(
            &self,
            names: impl Into<Names>,
            timeout: impl Into<Timeout>,
            work: impl AsyncFnOnce(&$guard) -> T,
        ) -> Result<T, Error> {
            self.acquire(names, timeout).await?.scope(work).await
        }

        /// Runs some work while a shared lock, or several, are held, and is otherwise as [`lock`](Self::lock).
        ///
        /// Cancel-safe, as [`lock`](Self::lock).
        ///
        /// # Errors
        /// As [`lock`](Self::lock).
        pub async fn lock_shared<T>(
            &self,
            names: impl Into<Names>,
            timeout: impl Into<Timeout>,
            work: impl AsyncFnOnce(&$guard) -> T,
        ) -> Result<T, Error> {
            self.acquire_shared(names, timeout).await?.scope(work).await
        }
    };
}

/// None for a lock that others hold.
pub(crate) fn granted<T>(taken: Result<T, Error>) -> Result<Option<T>, Error> {
    match taken {
        Err(Error::NotGranted { .. }) => Ok(None),
        taken => taken.map(Some),
    }
}

pub(crate) use lock_methods;
