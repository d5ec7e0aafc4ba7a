//! Protection against web pages of other sites: which host a request is for, and which page has sent it.
//!
//! A page of another site must not take locks through the browser of its reader (cross-site request forgery). Nor may it
//! do so by DNS rebinding: once the name of its site resolves to the address of this server, the browser takes the page
//! for one of this server. So host names are checked where nobody has to log in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::{
    extract::Request,
    http::{
        HeaderMap, HeaderValue, StatusCode, Version,
        header::{HOST, ORIGIN, REFERER},
        uri::Authority,
    },
    response::Response,
};
use tonic::Status;

use super::{
    grpc_service::is_grpc,
    json::{StatusJson, json},
};

const SITE: &str = "sec-fetch-site";

/// The host names that requests may use.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    /// The names besides `localhost` and addresses.
    pub(crate) own: Vec<String>,
    /// Which clients must use one of these names.
    pub(crate) policy: HostPolicy,
}

/// Which clients must use one of the server's host names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum HostPolicy {
    /// None: users log in, and browsers keep the passwords of different host names apart.
    #[default]
    Nobody,
    /// Browsers: other programs may use any name.
    Browsers,
    /// All clients.
    Everybody,
}

/// Why a request is refused before it reaches a handler.
#[derive(Debug, thiserror::Error)]
pub(super) enum HostError {
    #[error("send exactly one Host header, with this server's address, localhost, or its name")]
    NoHost,
    #[error("the Host header is malformed: expected an address or a name, and optionally a port")]
    BadHost,
    #[error("cross-site browser requests are refused")]
    OtherSite,
    #[error(
        "the host name {0} is not one of this server: use its address or localhost, or start it with --http-host {0}"
    )]
    OtherName(String),
}

impl HostError {
    pub(super) fn into_response(self, headers: &HeaderMap) -> Response {
        let (code, status) = match self {
            Self::NoHost | Self::BadHost => (StatusCode::BAD_REQUEST, "BadRequest"),
            Self::OtherSite | Self::OtherName(_) => (StatusCode::FORBIDDEN, "Forbidden"),
        };
        let message = self.to_string();
        if is_grpc(headers) {
            let is_bad = code == StatusCode::BAD_REQUEST;
            let status: fn(String) -> Status =
                if is_bad { Status::invalid_argument } else { Status::permission_denied };
            return status(message).into_http::<axum::body::Body>();
        }
        json(code, &StatusJson { success: false, status, message: &message })
    }
}

impl Hosts {
    /// Checks that a request is for this server, and not from a page of another site.
    pub(super) fn check(&self, request: &Request) -> Result<(), HostError> {
        let headers = HostHeaders::read(request)?;
        let (host, authority) = (headers.host, request.uri().authority().map(Authority::as_str));
        let name = |text| split(text).ok_or(HostError::BadHost);
        let names = [host.map(name).transpose()?, authority.map(name).transpose()?];
        // Only browsers send these headers.
        if (headers.has_site || headers.has_page) && self.is_of_another_site(&headers, host.or(authority)) {
            return Err(HostError::OtherSite);
        }
        let is_bound = match self.policy {
            HostPolicy::Nobody => false,
            HostPolicy::Browsers => headers.has_page || headers.has_fetch,
            HostPolicy::Everybody => true,
        };
        let is_foreign = |name: &&str| is_bound && !is_address(name) && !self.is_own(name);
        let foreign = names.into_iter().flatten().find(is_foreign);
        foreign.map_or(Ok(()), |name| Err(HostError::OtherName(name.to_owned())))
    }

    /// Whether the browser says that a page of another site sends the request.
    fn is_of_another_site(&self, headers: &HostHeaders<'_>, host: Option<&str>) -> bool {
        if headers.sites().any(|site| ["cross-site", "same-site"].contains(&site)) {
            return true;
        }
        let is_cleared =
            headers.has_site && headers.sites().all(|site| ["same-origin", "none"].contains(&site));
        // Over plain HTTP to another machine browsers do not send that header. There they send at least the origin of a
        // POST, and the page as the referrer, unless the page asks them not to.
        let is_foreign = |page: &HeaderValue| !page.to_str().is_ok_and(|page| self.is_own_page(page, host));
        !is_cleared && headers.pages().any(is_foreign)
    }

    /// Whether a page has the origin that the request goes to, or one of the server's host names.
    fn is_own_page(&self, page: &str, host: Option<&str>) -> bool {
        let Some((_, rest)) = page.split_once("://") else { return false };
        let origin = rest.split('/').next().unwrap_or(rest);
        let is_host = host.is_some_and(|host| origin.eq_ignore_ascii_case(host));
        is_host || split(origin).is_some_and(|name| self.own.iter().any(|own| is_same(own, name)))
    }

    fn is_own(&self, name: &str) -> bool {
        is_same("localhost", name) || self.own.iter().any(|own| is_same(own, name))
    }
}

/// The headers that say which host a request is for and which page sends it. They are found in one pass: looking up
/// each would hash its name, for every request of programs that send none of them.
struct HostHeaders<'a> {
    all: &'a HeaderMap,
    host: Option<&'a str>,
    has_site: bool,
    /// Whether there is an `Origin` or a `Referer`.
    has_page: bool,
    has_fetch: bool,
}

impl<'a> HostHeaders<'a> {
    fn read(request: &'a Request) -> Result<Self, HostError> {
        let all = request.headers();
        let mut found = Self { all, host: None, has_site: false, has_page: false, has_fetch: false };
        let (mut host, mut hosts) = (None, 0);
        for (name, value) in all {
            if *name == HOST {
                host = Some(value);
                hosts += 1;
            } else if *name == ORIGIN || *name == REFERER {
                found.has_page = true;
            } else if name.as_str().starts_with("sec-fetch-") {
                found.has_fetch = true;
                found.has_site |= name == SITE;
            }
        }
        // HTTP/1.1 requires it, 1.0 has none, and 2 has the authority in its place.
        if hosts > 1 || hosts == 0 && request.version() == Version::HTTP_11 {
            return Err(HostError::NoHost);
        }
        found.host = host.map(HeaderValue::to_str).transpose().map_err(|_| HostError::BadHost)?;
        Ok(found)
    }

    /// The values of `Sec-Fetch-Site`: one, unless a proxy has added more.
    fn sites(&self) -> impl Iterator<Item = &'a str> {
        let values = self.all.get_all(SITE).into_iter();
        values.flat_map(|value| value.to_str().unwrap_or_default().split(',').map(str::trim))
    }

    /// The pages that the request may come from.
    fn pages(&self) -> impl Iterator<Item = &'a HeaderValue> {
        let all = self.all;
        [ORIGIN, REFERER].into_iter().flat_map(|name| all.get_all(name))
    }
}

/// The address or name in a `Host` header, without its port. `None` if it is malformed.
fn split(text: &str) -> Option<&str> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (text, ""),
    };
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]%".contains(&byte);
    let is_host = !host.is_empty() && host.bytes().all(is_right);
    Some(host).filter(|_| is_host && port.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Whether a host is an address other than `0.0.0.0` and `[::]`: over these, pages of other sites can reach this
/// machine past the protection of browsers.
fn is_address(host: &str) -> bool {
    let ipv6 = || host.strip_prefix('[')?.strip_suffix(']');
    let address = match ipv6() {
        Some(host) => host.parse::<Ipv6Addr>().map(|address| address.to_canonical()),
        None => host.parse::<Ipv4Addr>().map(IpAddr::V4),
    };
    address.is_ok_and(|address| !address.is_unspecified())
}

/// A trailing dot only marks the name as fully qualified.
fn is_same(own: &str, name: &str) -> bool {
    own.eq_ignore_ascii_case(name.strip_suffix('.').unwrap_or(name))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn check(hosts: &Hosts, version: Version, headers: &[(&str, &str)]) -> Result<(), HostError> {
        let request = Request::builder().version(version).uri("/");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        hosts.check(&request.body(Body::empty()).unwrap())
    }

    fn with_policy(policy: HostPolicy) -> Hosts {
        Hosts { own: vec!["locks.example".to_owned()], policy }
    }

    #[test]
    fn addresses_and_own_names_are_allowed() {
        let hosts = with_policy(HostPolicy::Everybody);
        for host in [
            "127.0.0.1",
            "127.0.0.1:3308",
            "10.1.2.3:80",
            "[::1]",
            "[::1]:3308",
            "localhost",
            "LocalHost:3308",
            "localhost.",
            "locks.example:3308",
        ] {
            assert!(check(&hosts, Version::HTTP_11, &[("host", host)]).is_ok(), "{host}");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example:3308",
            "1",
            "0.0.0.0",
            "0.0.0.0:3308",
            "[::]",
            "[::]:3308",
            "[0:0::0]",
            "[::ffff:0.0.0.0]",
        ] {
            let checked = check(&hosts, Version::HTTP_11, &[("host", host)]);
            assert!(matches!(checked, Err(HostError::OtherName(_))), "{host}: {checked:?}");
        }
        for host in ["", ":80", "a b", "evil@127.0.0.1", "127.0.0.1:x", "a/b", "a,b", "[::1].evil"] {
            let checked = check(&hosts, Version::HTTP_11, &[("host", host)]);
            assert!(matches!(checked, Err(HostError::BadHost)), "{host}: {checked:?}");
        }
    }

    #[test]
    fn every_host_name_is_checked() {
        let hosts = with_policy(HostPolicy::Everybody);
        let request = Request::builder().uri("http://evil.example/").header("host", "localhost");
        let checked = hosts.check(&request.body(Body::empty()).unwrap());
        assert!(matches!(checked, Err(HostError::OtherName(name)) if name == "evil.example"));
    }

    #[test]
    fn host_header_is_required_exactly_once() {
        let hosts = with_policy(HostPolicy::Nobody);
        let both = [("host", "a"), ("host", "a")];
        for (version, headers, is_right) in [
            (Version::HTTP_11, &both[..0], false),
            (Version::HTTP_11, &both, false),
            (Version::HTTP_11, &both[..1], true),
            (Version::HTTP_10, &both[..0], true),
            (Version::HTTP_10, &both, false),
            (Version::HTTP_2, &both[..0], true),
        ] {
            assert_eq!(check(&hosts, version, headers).is_ok(), is_right, "{version:?} {headers:?}");
        }
    }

    #[test]
    fn browsers_are_bound_to_allowed_names() {
        let hosts = with_policy(HostPolicy::Browsers);
        let host = ("host", "here.example");
        assert!(check(&hosts, Version::HTTP_11, &[host]).is_ok());
        for header in [
            ("origin", "http://here.example"),
            ("referer", "http://here.example/x"),
            ("sec-fetch-site", "none"),
            ("sec-fetch-mode", "navigate"),
        ] {
            let checked = check(&hosts, Version::HTTP_11, &[host, header]);
            assert!(matches!(checked, Err(HostError::OtherName(_))), "{header:?}: {checked:?}");
        }
    }

    #[test]
    fn cross_site_request_is_recognized() {
        let hosts = with_policy(HostPolicy::Nobody);
        let host = ("host", "here:3308");
        for (header, page, is_own) in [
            ("origin", "http://here:3308", true),
            ("origin", "https://HERE:3308", true),
            ("origin", "http://here", false),
            ("origin", "null", false),
            ("origin", "https://locks.example", true),
            ("referer", "http://here:3308/", true),
            ("referer", "http://here:3308/x?y=http://evil/", true),
            ("referer", "http://evil/http://here:3308/", false),
            ("referer", "http://evil", false),
            ("referer", "", false),
            ("sec-fetch-site", "same-origin", true),
            ("sec-fetch-site", "none", true),
            ("sec-fetch-site", "same-site", false),
            ("sec-fetch-site", "cross-site", false),
        ] {
            assert_eq!(
                check(&hosts, Version::HTTP_11, &[host, (header, page)]).is_ok(),
                is_own,
                "{header} {page}"
            );
        }
    }

    #[test]
    fn unknown_fetch_site_value_is_ignored() {
        let hosts = with_policy(HostPolicy::Nobody);
        let others = "http://evil.example";
        for (sites, passes, passes_from_others) in [
            (&["none"][..], true, true),
            (&["same-origin"], true, true),
            (&["none", "same-origin"], true, true),
            (&["cross-site"], false, false),
            (&["same-site"], false, false),
            (&["none", "cross-site"], false, false),
            (&["same-site", "same-origin"], false, false),
            (&["none, cross-site"], false, false),
            (&[""], true, false),
            (&["NONE"], true, false),
            (&["none "], true, true),
            (&["none;"], true, false),
            (&["same-origin", "anything"], true, false),
            (&["anything"], true, false),
        ] {
            let mut headers = vec![("host", "here")];
            headers.extend(sites.iter().map(|site| (SITE, *site)));
            assert_eq!(check(&hosts, Version::HTTP_11, &headers).is_ok(), passes, "{sites:?}");
            headers.push(("referer", others));
            assert_eq!(check(&hosts, Version::HTTP_11, &headers).is_ok(), passes_from_others, "{sites:?}");
        }
    }
}
