//! Who runs this program, as the server's lists show it to people.

use getlockd_client::{Builder, introduction};

use crate::args::{RunArgs, ServerArgs};

/// The command of a connection that runs none.
pub(crate) const OWN: &str = "getlock";

impl ServerArgs {
    /// What the connection says of itself: `ana@web-3[4711] backup.sh`. Arguments are left out: they may be secrets.
    pub(crate) fn introduce(&self, builder: Builder, command: &str) -> Builder {
        match &self.note {
            _ if self.no_introduce => builder.name(""),
            None => builder.name(introduction(command)),
            Some(note) => builder.name(introduction(command)).note(note),
        }
    }
}

impl RunArgs {
    /// The name of the command, without folders and arguments.
    pub(crate) fn command_name(&self) -> String {
        let path = self.words.first().map(std::path::Path::new);
        let name = path.and_then(|path| path.file_name());
        // A line for a shell may begin with a secret, as `TOKEN=...` is.
        name.map_or_else(|| "sh".to_owned(), |name| name.to_string_lossy().into_owned())
    }
}
