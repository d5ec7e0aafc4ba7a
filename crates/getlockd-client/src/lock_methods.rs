//! The methods that take a lock. [`Client`](crate::Client), [`Connection`](crate::Connection) and the leases have the same.

/// Defines them by the `take` of the type, which gives a `$guard`. The other argument documents what becomes of a request that is dropped, and its
/// errors. A trait would do as well, but each program would have to import it, and its futures would say less.
macro_rules! lock_methods {
    ($guard:ident; $(#[$dropped_and_errors:meta])*) => {
        /// Takes a lock, and waits for it at most `timeout`.
        ///
        $(#[$dropped_and_errors])*
        pub async fn acquire(&self, name: &str, timeout: impl Into<Timeout>) -> Result<$guard, Error> {
            self.take(Mode::Exclusive, name, timeout.into()).await?.ok_or(Error::NotGranted)
        }

        /// Takes a shared lock, and waits for it at most `timeout`.
        ///
        /// Cancel-safe, as [`acquire`](Self::acquire).
        ///
        /// # Errors
        /// As [`acquire`](Self::acquire).
        pub async fn acquire_shared(&self, name: &str, timeout: impl Into<Timeout>) -> Result<$guard, Error> {
            self.take(Mode::Shared, name, timeout.into()).await?.ok_or(Error::NotGranted)
        }

        /// Takes a lock if that needs no wait. Otherwise returns `None`.
        ///
        /// Cancel-safe, as [`acquire`](Self::acquire).
        ///
        /// # Errors
        /// As [`acquire`](Self::acquire), without [`Error::NotGranted`].
        pub async fn try_lock(&self, name: &str) -> Result<Option<$guard>, Error> {
            self.take(Mode::Exclusive, name, Timeout::NONE).await
        }

        /// Takes a shared lock if that needs no wait. Otherwise returns `None`.
        ///
        /// Cancel-safe, as [`acquire`](Self::acquire).
        ///
        /// # Errors
        /// As [`try_lock`](Self::try_lock).
        pub async fn try_lock_shared(&self, name: &str) -> Result<Option<$guard>, Error> {
            self.take(Mode::Shared, name, Timeout::NONE).await
        }

        /// Runs some work while a lock is held, releases the lock, and returns what the work returned. When the lock is
        /// lost, the work is dropped where it stands. It never runs without the lock.
        ///
        /// Cancel-safe if the work is; the lock is released in any case.
        ///
        /// # Errors
        /// As [`acquire`](Self::acquire); [`Error::Lost`] also if the lock was lost later; as the `release` of a guard.
        pub async fn lock<T>(
            &self,
            name: &str,
            timeout: impl Into<Timeout>,
            work: impl AsyncFnOnce(&$guard) -> T,
        ) -> Result<T, Error> {
            self.acquire(name, timeout).await?.scope(work).await
        }

        /// Runs some work while a shared lock is held, and is otherwise as [`lock`](Self::lock).
        ///
        /// Cancel-safe, as [`lock`](Self::lock).
        ///
        /// # Errors
        /// As [`lock`](Self::lock).
        pub async fn lock_shared<T>(
            &self,
            name: &str,
            timeout: impl Into<Timeout>,
            work: impl AsyncFnOnce(&$guard) -> T,
        ) -> Result<T, Error> {
            self.acquire_shared(name, timeout).await?.scope(work).await
        }
    };
}

pub(crate) use lock_methods;
