//! Authentication: the credentials of a client, and the methods of presenting them.

use tokio::time::timeout;

use super::{
    connection::{CloseReason, Connection},
    error::SqlError,
    login::{self, CACHING_SHA2, Login, NATIVE, Next, Nonce},
    names::{MAX_IDENTIFIER_CHARS, MAX_USER_CHARS, check_database, is_longer},
};
use crate::core::{
    command::Error,
    users::{Denied, Proof},
};

impl Connection {
    /// Authenticates a client by the login that it has sent in reply to a greeting with this nonce.
    ///
    /// Cancel-safe: dropped, it is not logged in.
    pub(super) async fn authenticate(&mut self, login: &Login, nonce: &Nonce) -> Result<(), CloseReason> {
        let Login { user, proof, .. } = login;
        match login.next() {
            // By the method of old, or nothing at all, which is good for no method.
            Next::Welcome => self.check(user, &Proof::Native { nonce, proof }).await,
            Next::FastProof => self.check_sha2(user, nonce, proof).await,
            Next::Switch => self.ask_proof(user).await,
        }
    }

    /// Asks for a proof by the method that is known best, or by the other one for users without the first, and for some
    /// unknown names.
    ///
    /// Cancel-safe: dropped, it is not logged in.
    pub(super) async fn ask_proof(&mut self, user: &str) -> Result<(), CloseReason> {
        if self.session.users().is_none_or(|users| users.asks_natively(user)) {
            let (nonce, proof) = self.switch(NATIVE).await?;
            return self.check(user, &Proof::Native { nonce: &nonce, proof: &proof }).await;
        }
        let (nonce, proof) = self.switch(CACHING_SHA2).await?;
        self.check_sha2(user, &nonce, &proof).await
    }

    /// With this method the client waits for a packet that accepts its proof.
    async fn check_sha2(&mut self, user: &str, nonce: &Nonce, proof: &[u8]) -> Result<(), CloseReason> {
        self.check(user, &Proof::Sha2 { nonce, proof }).await?;
        self.packets.put(&mut self.io.output, login::put_fast_proof);
        Ok(())
    }

    /// Names are as long as MySQL's. If the server has users, only their names can log in, and those may be longer.
    pub(super) fn check_names(&self, user: &str, database: Option<&str>) -> Result<(), CloseReason> {
        if self.session.users().is_none() && is_longer(user, MAX_USER_CHARS) {
            return Err(self.denied(user, false, false));
        }
        database.map_or(Ok(()), |database| Ok(check_database(database)?))
    }

    async fn switch(&mut self, plugin: &str) -> Result<(Nonce, Vec<u8>), CloseReason> {
        let nonce = login::nonce()?;
        self.packets.put(&mut self.io.output, |output| login::put_switch(output, plugin, &nonce));
        let answer = timeout(self.io.timeouts().login, self.packet()).await;
        let proof = answer.unwrap_or(Err(CloseReason::TooSlow))?;
        Ok((nonce, proof.to_vec()))
    }

    /// Logs in with this proof. A wrong one is answered with a growing delay, if the client is still connected and its
    /// session has not ended before.
    ///
    /// Cancel-safe: dropped, it is not logged in, and the failure counts.
    pub(super) async fn check(&mut self, user: &str, proof: &Proof<'_>) -> Result<(), CloseReason> {
        let handle = self.session.handle_arc();
        let answer = tokio::select! {
            biased;
            answer = self.session.log_in(user, proof) => answer,
            ending = handle.ended() => return Err(ending.into()),
            () = self.io.closed() => return Err(CloseReason::Left),
        };
        let Err(error) = answer else { return Ok(()) };
        if let Error::QuotaExceeded(quota_exceeded) = error {
            return Err(CloseReason::Fatal(quota_exceeded.into()));
        }
        let with_password = !matches!(proof, Proof::Sha2 { proof: [], .. } | Proof::Native { proof: [], .. });
        let too_many = error == Error::BadLogin(Denied::TooMany);
        Err(self.denied(user, with_password, too_many))
    }

    fn denied(&self, user: &str, with_password: bool, too_many: bool) -> CloseReason {
        let (user, host) = (user.chars().take(MAX_IDENTIFIER_CHARS).collect(), self.state.host.clone());
        CloseReason::Fatal(SqlError::AccessDenied { user, host, with_password, too_many })
    }
}
