//! The keys of one cluster of getlockd.

/// The keys under a prefix.
#[derive(Debug)]
pub(super) struct Keys {
    prefix: String,
    pub(super) seat: Vec<u8>,
    pub(super) beat: Vec<u8>,
    pub(super) hand_over: Vec<u8>,
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        let key = |name: &str| format!("{prefix}/{name}").into_bytes();
        Self { prefix: prefix.to_owned(), seat: key("seat"), beat: key("beat"), hand_over: key("hand-over") }
    }

    pub(super) fn node(&self, node: &str) -> Vec<u8> {
        self.key(&format!("node/{node}"))
    }

    /// The first key of those that start with `node/`, and the first one after them.
    pub(super) fn nodes(&self) -> (Vec<u8>, Vec<u8>) {
        self.folder("node")
    }

    /// The same of `lease/`.
    pub(super) fn leases(&self) -> (Vec<u8>, Vec<u8>) {
        self.folder("lease")
    }

    /// The same of any folder.
    pub(super) fn folder(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        // The character after the slash is the zero.
        (self.key(&format!("{name}/")), self.key(&format!("{name}0")))
    }

    /// A key by its name without the prefix.
    pub(super) fn key(&self, name: &str) -> Vec<u8> {
        format!("{}/{name}", self.prefix).into_bytes()
    }

    /// The name of a key that stands under the prefix.
    pub(super) fn without_prefix(&self, key: &[u8]) -> String {
        String::from_utf8_lossy(key.get(self.prefix.len() + 1..).unwrap_or_default()).into_owned()
    }
}
