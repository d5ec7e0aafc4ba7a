//! Where etcd is: `etcd://host:port,host:port/prefix`.

use std::{fmt, str::FromStr};

/// The port on which etcd serves clients.
const PORT: u16 = 2379;

/// The members of an etcd cluster, and the prefix of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdUrl {
    /// Whether it speaks TLS.
    pub tls: bool,
    /// `host:port` of each member that is spoken with.
    pub members: Vec<String>,
    /// What its keys start with: `/getlockd`.
    pub prefix: String,
}

/// What is wrong with a URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EtcdUrlError {
    /// It is of something else.
    #[error("not a URL of etcd; write etcd://HOST:2379,HOST:2379/PREFIX, or etcds:// for TLS")]
    Scheme,
    /// It names a user.
    #[error(
        "a URL of etcd names no user, since others could read it; use --cluster-user and --cluster-password-file"
    )]
    User,
    /// It names no prefix.
    #[error("no prefix; clusters are told apart by it: write for example {0}/getlockd")]
    NoPrefix(String),
    /// Its prefix is none.
    #[error("{0:?} is no prefix; use letters, digits and - _ . in words with single slashes between them")]
    Prefix(String),
    /// One of its members is none.
    #[error("{0:?} is no member of etcd; write HOST:PORT, with a comma between two")]
    Member(String),
}

impl FromStr for EtcdUrl {
    type Err = EtcdUrlError;

    fn from_str(url: &str) -> Result<Self, EtcdUrlError> {
        let (scheme, rest) = url.split_once("://").ok_or(EtcdUrlError::Scheme)?;
        let tls = match scheme {
            "etcd" => false,
            "etcds" => true,
            _ => return Err(EtcdUrlError::Scheme),
        };
        let (members, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if members.contains('@') {
            return Err(EtcdUrlError::User);
        }
        let members = members.split(',').map(member).collect::<Result<_, _>>()?;
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if prefix.is_empty() {
            return Err(EtcdUrlError::NoPrefix(url.trim_end_matches('/').to_owned()));
        }
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if prefix.split('/').any(|word| word.is_empty() || !word.chars().all(is_plain)) {
            return Err(EtcdUrlError::Prefix(prefix.to_owned()));
        }
        Ok(Self { tls, members, prefix: format!("/{prefix}") })
    }
}

impl fmt::Display for EtcdUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "etcds" } else { "etcd" };
        write!(f, "{scheme}://{}{}", self.members.join(","), self.prefix)
    }
}

fn member(member: &str) -> Result<String, EtcdUrlError> {
    let wrong = || EtcdUrlError::Member(member.to_owned());
    // An IPv6 address stands in brackets: its colons are not the one before the port.
    let (host, port) = match member.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (member, PORT),
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)),
    };
    if is_host && port > 0 { Ok(format!("{host}:{port}")) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<EtcdUrl, EtcdUrlError> {
        text.parse()
    }

    #[test]
    fn url_names_members_and_prefix() {
        let made = url("etcd://h1:2379,10.0.0.2,[::1]:4001/locks/team-a").unwrap();
        assert_eq!(made.members, ["h1:2379", "10.0.0.2:2379", "[::1]:4001"]);
        assert_eq!(made.prefix, "/locks/team-a");
        assert!(!made.tls);
        assert!(url("etcds://h1/getlockd/").unwrap().tls);
    }

    #[test]
    fn url_is_shown_as_it_is_read() {
        for text in ["etcd://h1:2379,[::1]:2379/getlockd", "etcds://h:1/a/b"] {
            assert_eq!(url(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn wrong_url_is_refused_with_what_to_write() {
        for text in ["h1:2379/getlockd", "http://h1:2379/getlockd", ""] {
            assert_eq!(url(text), Err(EtcdUrlError::Scheme), "{text}");
        }
        for text in ["etcd://h1", "etcd://h1/", "etcd://h1:2379//"] {
            assert!(url(text).unwrap_err().to_string().contains("/getlockd"), "{text}");
        }
        for text in ["etcd:///getlockd", "etcd://h1,/x", "etcd://h1:port/x", "etcd://h1:0/x", "etcd://[h1]/x"]
        {
            assert!(matches!(url(text), Err(EtcdUrlError::Member(_))), "{text}");
        }
        for text in ["etcd://h1/a//b", "etcd://h1/a?b", "etcd://h1/\u{e9}"] {
            assert!(matches!(url(text), Err(EtcdUrlError::Prefix(_))), "{text}");
        }
        assert_eq!(url("etcd://root:secret@h1/x"), Err(EtcdUrlError::User));
    }
}
