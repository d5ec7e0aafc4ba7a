//! The connection phase: the greeting, the login, and switching the authentication method (MySQL internals, "Connection
//! Phase"). Pure.

use bytes::{BufMut, BytesMut};

use super::{attributes::Attributes, charset::Charset, error::SqlError, packet::Fields};
use crate::core::lock::SessionId;

/// Capabilities of clients and of this server (MySQL internals, "Capabilities Flags").
pub(super) mod capability {
    pub(in crate::wires::mysql) const CONNECT_WITH_DB: u32 = 1 << 3;
    pub(in crate::wires::mysql) const PROTOCOL_41: u32 = 1 << 9;
    pub(in crate::wires::mysql) const SSL: u32 = 1 << 11;
    pub(in crate::wires::mysql) const SECURE_CONNECTION: u32 = 1 << 15;
    pub(in crate::wires::mysql) const MULTI_STATEMENTS: u32 = 1 << 16;
    pub(in crate::wires::mysql) const PLUGIN_AUTH: u32 = 1 << 19;
    pub(in crate::wires::mysql) const CONNECT_ATTRS: u32 = 1 << 20;
    pub(in crate::wires::mysql) const PLUGIN_AUTH_LENGTH: u32 = 1 << 21;
    pub(in crate::wires::mysql) const DEPRECATE_EOF: u32 = 1 << 24;
    /// Long passwords and flags, found rows, a database, ignored blanks, transactions, multiple statements and results,
    /// plugins and attributes. TLS if it is configured. No compression, no session tracking.
    pub(in crate::wires::mysql) const OURS: u32 = DEPRECATE_EOF
        | PLUGIN_AUTH
        | CONNECT_ATTRS
        | PLUGIN_AUTH_LENGTH
        | PROTOCOL_41
        | SECURE_CONNECTION
        | CONNECT_WITH_DB
        | MULTI_STATEMENTS
        | 1 << 17
        | 1 << 18
        | 1 << 13
        | 1 << 10
        | 1 << 8
        | 1 << 2
        | 1 << 1
        | 1;
}

pub(super) const CACHING_SHA2: &str = "caching_sha2_password";
pub(super) const NATIVE: &str = "mysql_native_password";

/// `SERVER_STATUS_AUTOCOMMIT`
const STATUS: u16 = 2;

/// 20 random bytes, new for each use.
pub(super) type Nonce = [u8; 20];

/// Makes a nonce without NUL, which would end it, and without `$`, which has a meaning in stored passwords.
pub(super) fn nonce() -> Result<Nonce, SqlError> {
    let mut nonce = [0; 20];
    getrandom::fill(&mut nonce).map_err(|_| SqlError::BadHandshake)?;
    // 7 bits, of which a few are other characters.
    Ok(nonce.map(|byte| match byte & 0x7F {
        0 => b'a',
        b'$' => b'b',
        other => other,
    }))
}

/// The first packet of a connection.
pub(super) fn put_greeting(output: &mut BytesMut, id: SessionId, nonce: &Nonce, tls: bool) {
    let ours = capability::OURS | if tls { capability::SSL } else { 0 };
    let [low, high] = [ours & 0xFFFF, ours >> 16];
    output.put_u8(10);
    output.put_slice(super::VERSION.as_bytes());
    output.put_u8(0);
    output.put_u32_le(id.0);
    output.put_slice(&nonce[..8]);
    output.put_u8(0);
    output.put_uint_le(low.into(), 2);
    output.put_uint_le(Charset::default().number().into(), 1);
    output.put_u16_le(STATUS);
    output.put_uint_le(high.into(), 2);
    output.put_u8(21);
    output.put_bytes(0, 10);
    output.put_slice(&nonce[8..]);
    output.put_u8(0);
    output.put_slice(CACHING_SHA2.as_bytes());
    output.put_u8(0);
}

/// Whether a client asks for TLS before it logs in (`SSLRequest`, the start of a login).
pub(super) fn asks_for_tls(payload: &[u8]) -> bool {
    payload.len() == 32 && Fields(payload).u32().is_ok_and(|asked| asked & capability::SSL != 0)
}

/// The login of a client.
#[derive(Debug, PartialEq)]
pub(super) struct Login {
    pub capabilities: u32,
    pub charset: Charset,
    pub user: String,
    pub database: Option<String>,
    /// The proof of its password; empty without a password.
    pub proof: Vec<u8>,
    /// The method of the proof; `None` for a client that knows only one.
    pub plugin: Option<String>,
    pub attributes: Attributes,
}

impl Login {
    /// `secured`: the connection uses TLS.
    pub(super) fn parse(payload: &[u8], secured: bool) -> Result<Self, SqlError> {
        use capability as c;
        let mut fields = Fields(payload);
        let capabilities = fields.u32()?;
        let has = |capability| capabilities & capability != 0;
        if !has(c::PROTOCOL_41) || has(c::SSL) && !secured {
            return Err(SqlError::BadHandshake);
        }
        let (_max_packet, charset) = (fields.u32()?, Charset::numbered(fields.u8()?.into())?);
        fields.take(23)?;
        let user = charset.text(fields.until_nul());
        let proof = if has(c::PLUGIN_AUTH_LENGTH) {
            fields.text()?
        } else if has(c::SECURE_CONNECTION) {
            let length = fields.u8()?;
            fields.take(length.into())?
        } else {
            fields.until_nul()
        };
        let database = has(c::CONNECT_WITH_DB).then(|| charset.text(fields.until_nul()));
        let plugin = has(c::PLUGIN_AUTH).then(|| charset.text(fields.until_nul()));
        let attributes = if has(c::CONNECT_ATTRS) {
            Attributes::parse(&mut fields, charset)
        } else {
            Attributes::default()
        };
        Ok(Self {
            capabilities: capabilities & c::OURS,
            charset,
            user,
            database: database.filter(|name| !name.is_empty()),
            proof: proof.to_vec(),
            plugin,
            attributes,
        })
    }

    /// What is sent before the client is logged in.
    pub(super) fn next(&self) -> Next {
        match self.plugin.as_deref() {
            None => Next::Welcome,
            Some(CACHING_SHA2) if self.proof.is_empty() => Next::Welcome,
            // It waits for a packet that says that its proof is good.
            Some(CACHING_SHA2) if self.capabilities & capability::CONNECT_ATTRS != 0 => Next::FastProof,
            // sqlx to 0.8 and MyXQL hash the nonce first, and lose step when the server says that it is good: with MySQL
            // that never happens, it asks them for the password. What tells them is that they send no attributes.
            Some(_) => Next::Switch,
        }
    }
}

/// What follows a login.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Welcome,
    FastProof,
    /// A switch to another method than the announced one, with a new nonce; the client answers once.
    Switch,
}

/// `AuthSwitchRequest`
pub(super) fn put_switch(output: &mut BytesMut, plugin: &str, nonce: &Nonce) {
    output.put_u8(0xFE);
    output.put_slice(plugin.as_bytes());
    output.put_u8(0);
    output.put_slice(nonce);
    output.put_u8(0);
}

/// `fast_auth_success`
pub(super) fn put_fast_proof(output: &mut BytesMut) {
    output.put_slice(&[1, 3]);
}

/// COM_CHANGE_USER: the new user of the session.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub user: String,
    /// The proof by the old method, with the nonce of the greeting.
    pub proof: &'a [u8],
    pub database: Option<String>,
    pub charset: Charset,
    pub attributes: Attributes,
}

impl<'a> Change<'a> {
    /// `capabilities`: those of the client's login.
    pub(super) fn parse(payload: &'a [u8], capabilities: u32) -> Result<Self, SqlError> {
        use capability as c;
        let has = |capability| capabilities & capability != 0;
        let mut fields = Fields(payload);
        let user = fields.until_nul();
        let proof = if has(c::SECURE_CONNECTION) {
            let length = fields.u8()?;
            fields.take(length.into())?
        } else {
            fields.until_nul()
        };
        let database = fields.until_nul();
        let charset = fields.u16().map_or_else(|_| Ok(Charset::default()), Charset::numbered)?;
        if has(c::PLUGIN_AUTH) {
            fields.until_nul();
        }
        let attributes = if has(c::CONNECT_ATTRS) {
            Attributes::parse(&mut fields, charset)
        } else {
            Attributes::default()
        };
        let database = Some(charset.text(database)).filter(|name| !name.is_empty());
        Ok(Self { user: charset.text(user), proof, database, charset, attributes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greeting_has_its_fields() {
        let nonce = nonce().unwrap();
        assert!(nonce.iter().all(|byte| *byte != 0 && *byte != b'$' && byte.is_ascii()));
        let mut output = BytesMut::new();
        put_greeting(&mut output, SessionId(7), &nonce, false);
        let mut fields = Fields(&output);
        assert_eq!(fields.u8(), Ok(10));
        assert!(fields.until_nul().starts_with(b"8.4."));
        assert_eq!(fields.u32(), Ok(7));
        assert_eq!(fields.take(8).unwrap(), &nonce[..8]);
        assert_eq!(fields.take(1 + 2 + 1 + 2).unwrap()[3], 255);
        let high = fields.u16().unwrap();
        assert!(u32::from(high) << 16 & capability::DEPRECATE_EOF != 0);
        assert_eq!(fields.u8(), Ok(21));
        fields.take(10).unwrap();
        assert_eq!(fields.until_nul(), &nonce[8..]);
        assert_eq!(fields.until_nul(), CACHING_SHA2.as_bytes());
        assert!(fields.0.is_empty());
    }

    fn login(capabilities: u32, rest: &[u8]) -> Result<Login, SqlError> {
        let mut payload = (capabilities | capability::PROTOCOL_41).to_le_bytes().to_vec();
        payload.extend([0, 0, 0, 1, 8]);
        payload.extend([0; 23]);
        payload.extend(rest);
        Login::parse(&payload, false)
    }

    #[test]
    fn login_is_read_in_every_form() {
        use capability as c;
        let old = login(0, b"me\0secret\0").unwrap();
        assert_eq!(
            (old.user.as_str(), old.charset, old.next()),
            ("me", Charset::named("latin1").unwrap(), Next::Welcome)
        );
        let native = c::SECURE_CONNECTION | c::CONNECT_WITH_DB | c::PLUGIN_AUTH;
        let native = login(native, b"me\0\x02xytest\0mysql_native_password\0").unwrap();
        assert_eq!((native.database.as_deref(), native.next()), (Some("test"), Next::Switch));
        let sha2 = c::PLUGIN_AUTH_LENGTH | c::PLUGIN_AUTH;
        assert_eq!(login(sha2, b"\0\x01xcaching_sha2_password").unwrap().next(), Next::Switch);
        let sha2 = sha2 | c::CONNECT_ATTRS;
        assert_eq!(login(sha2, b"\0\x00caching_sha2_password\0").unwrap().next(), Next::Welcome);
        assert_eq!(login(sha2, b"\0\x01xcaching_sha2_password").unwrap().next(), Next::FastProof);
        assert_eq!(login(c::SSL, b""), Err(SqlError::BadHandshake));
        assert_eq!(login(sha2, b"me\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff"), Err(SqlError::Malformed));
    }
}
