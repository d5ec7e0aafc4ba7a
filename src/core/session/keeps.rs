//! What the client of a session makes the server remember.

use super::{Session, Waiting};
use crate::core::budget::{Budget, Exceeded};

impl Session {
    /// What its client may make the server remember.
    pub fn budget(&self) -> Budget {
        self.handle.budget(self.service.memory())
    }

    /// It is one of several of a connection, which has one budget. To be said before anything is charged.
    pub fn share(&self, budget: &Budget) {
        self.handle.set_budget(budget.clone());
    }

    /// Notes what its client calls itself, and why it takes locks, in place of what it said before.
    ///
    /// # Errors
    /// [`Exceeded`]: nothing is noted.
    pub fn introduce(&self, client: String, note: Option<String>) -> Result<(), Exceeded> {
        let bytes = client.len() + note.as_ref().map_or(0, String::len);
        self.handle.keep(bytes, self.service.memory())?;
        self.handle.note(|client_info| {
            client_info.client = client;
            client_info.note = note.map(String::into_boxed_str);
        });
        Ok(())
    }

    /// Notes whom its client says that it logs in as, which nobody has checked.
    ///
    /// # Errors
    /// [`Exceeded`]: nothing is noted.
    pub fn note_login(&self, name: String) -> Result<(), Exceeded> {
        self.handle.keep(name.len(), self.service.memory())?;
        self.handle.note(|client_info| client_info.login = name);
        Ok(())
    }
}

impl Waiting<'_> {
    /// What its client may make the server remember.
    pub fn budget(&self) -> Budget {
        self.handle.budget(self.service.memory())
    }
}
