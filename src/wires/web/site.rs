//! Pages of other sites have no business here: whom a request is for, and what page has sent it.
//!
//! Browsers ask whatever address a name has just now. A page of a site whose name suddenly has the address of
//! this server is, to its browser, a page of this server. So names are checked where nobody has to log in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::{
    extract::Request,
    http::{
        HeaderMap, HeaderValue, StatusCode, Version,
        header::{HOST, ORIGIN, REFERER},
        uri::Authority,
    },
    response::{IntoResponse, Response},
};
use serde_json::json;
use tonic::Status;

use super::{auth::is_grpc, json};

const SITE: &str = "sec-fetch-site";

/// The names under which the server is asked.
#[derive(Debug, Default)]
pub(crate) struct Hosts {
    /// Those beside `localhost` and addresses.
    pub(crate) own: Vec<String>,
    /// Who must use one of them.
    pub(crate) bound: Bound,
}

/// Whose requests must be for one of the server's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Bound {
    /// Nobody's: who gets in has logged in, and a browser keeps passwords apart by names.
    #[default]
    Nobody,
    /// Browsers': all of the net may ask, by whatever name.
    Browsers,
    /// Everybody's.
    Everybody,
}

/// Why a request is not for this server.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stray {
    #[error("say one Host: this server's address, localhost, or its name")]
    NoHost,
    #[error("Host is not as it should be: say an address or a name, and if wanted a port")]
    BadHost,
    #[error("web pages of other sites have no business here")]
    OtherSite,
    #[error(
        "the server does not know the name {0}: ask its address or localhost, or start it with --http-host {0}"
    )]
    OtherName(String),
}

impl Stray {
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
        json(code, &json!({ "success": false, "status": status, "message": message })).into_response()
    }
}

impl Hosts {
    /// Whether a request is for this server, and of nobody else's page.
    pub(super) fn check(&self, request: &Request) -> Result<(), Stray> {
        let said = Said::of(request.headers());
        let written = said.written(request.version())?;
        let named = request.uri().authority().map(Authority::as_str);
        let names = [host(written)?, host(named)?];
        if self.is_of_another_site(&said, written.or(named)) {
            return Err(Stray::OtherSite);
        }
        let is_bound = match self.bound {
            Bound::Nobody => false,
            Bound::Browsers => said.is_of_a_browser(),
            Bound::Everybody => true,
        };
        let is_foreign = |name: &&str| !is_address(name) && !self.is_own(name);
        let foreign = names.into_iter().flatten().find(is_foreign).filter(|_| is_bound);
        foreign.map_or(Ok(()), |name| Err(Stray::OtherName(name.to_owned())))
    }

    /// Browsers say for whom they ask. A page must not take locks of whoever looks at it.
    fn is_of_another_site(&self, said: &Said<'_>, host: Option<&str>) -> bool {
        if said.sites().any(|site| ["cross-site", "same-site"].contains(&site)) {
            return true;
        }
        let is_cleared = said.has_site && said.sites().all(|site| ["same-origin", "none"].contains(&site));
        // They do not by plain HTTP to another machine. There they say at least who posts, and
        // where the page is, unless it asks them not to.
        let is_foreign = |page: &HeaderValue| !page.to_str().is_ok_and(|page| self.is_own_page(page, host));
        !is_cleared && said.pages().any(is_foreign)
    }

    /// Whether a page came from where the request goes, or from where others find this server.
    fn is_own_page(&self, page: &str, asked: Option<&str>) -> bool {
        let Some((_, rest)) = page.split_once("://") else { return false };
        let origin = rest.split('/').next().unwrap_or(rest);
        let is_asked = asked.is_some_and(|asked| origin.eq_ignore_ascii_case(asked));
        is_asked || split(origin).is_some_and(|name| self.own.iter().any(|own| is_same(own, name)))
    }

    fn is_own(&self, name: &str) -> bool {
        is_same("localhost", name) || self.own.iter().any(|own| is_same(own, name))
    }
}

/// What headers say of whom a request is for, and of the page that sends it. Read in one pass: a look for each would
/// hash its name, for every request of programs that say none of this.
struct Said<'a> {
    headers: &'a HeaderMap,
    host: Option<&'a HeaderValue>,
    hosts: usize,
    has_site: bool,
    /// Whether there is an `Origin` or a `Referer`.
    has_page: bool,
    has_fetch: bool,
}

impl<'a> Said<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut said =
            Self { headers, host: None, hosts: 0, has_site: false, has_page: false, has_fetch: false };
        for (name, value) in headers {
            if *name == HOST {
                said.host = Some(value);
                said.hosts += 1;
            } else if *name == ORIGIN || *name == REFERER {
                said.has_page = true;
            } else if name.as_str().starts_with("sec-fetch-") {
                said.has_fetch = true;
                said.has_site |= name == SITE;
            }
        }
        said
    }

    /// What stands in `Host`: once, but for those that need not say it.
    fn written(&self, version: Version) -> Result<Option<&'a str>, Stray> {
        if self.hosts > 1 || self.hosts == 0 && version == Version::HTTP_11 {
            return Err(Stray::NoHost);
        }
        self.host.map(|text| text.to_str().map_err(|_| Stray::BadHost)).transpose()
    }

    /// What its browser says of the site of its page: one word, unless something on the way has added more.
    fn sites(&self) -> impl Iterator<Item = &'a str> {
        let headers = self.headers;
        let values = [SITE].into_iter().filter(|_| self.has_site).flat_map(|name| headers.get_all(name));
        values.flat_map(|value| value.to_str().unwrap_or_default().split(',').map(str::trim))
    }

    /// The pages that it may come from.
    fn pages(&self) -> impl Iterator<Item = &'a HeaderValue> {
        let headers = self.headers;
        [ORIGIN, REFERER].into_iter().filter(|_| self.has_page).flat_map(|name| headers.get_all(name))
    }

    /// Programs say none of this unless they are told to.
    fn is_of_a_browser(&self) -> bool {
        self.has_page || self.has_fetch
    }
}

/// The address or the name of a `Host`, if there is one.
fn host(text: Option<&str>) -> Result<Option<&str>, Stray> {
    text.map(|text| split(text).ok_or(Stray::BadHost)).transpose()
}

/// The address or the name of a `Host`, without its port. None if it is neither.
fn split(text: &str) -> Option<&str> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (text, ""),
    };
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]%".contains(&byte);
    let is_host = !host.is_empty() && host.bytes().all(is_right);
    Some(host).filter(|_| is_host && port.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Whether it is an address that a machine may have. By those of none, `0.0.0.0` and `[::]`, pages of other sites reach this
/// machine past what their browsers keep apart.
fn is_address(host: &str) -> bool {
    let of_six = || host.strip_prefix('[')?.strip_suffix(']');
    let address = match of_six() {
        Some(host) => host.parse::<Ipv6Addr>().map(|address| address.to_canonical()),
        None => host.parse::<Ipv4Addr>().map(IpAddr::V4),
    };
    address.is_ok_and(|address| !address.is_unspecified())
}

/// A dot at the end says only that nothing follows.
fn is_same(own: &str, name: &str) -> bool {
    own.eq_ignore_ascii_case(name.strip_suffix('.').unwrap_or(name))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn asked(hosts: &Hosts, version: Version, headers: &[(&str, &str)]) -> Result<(), Stray> {
        let request = Request::builder().version(version).uri("/");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        hosts.check(&request.body(Body::empty()).unwrap())
    }

    fn bound(bound: Bound) -> Hosts {
        Hosts { own: vec!["locks.example".to_owned()], bound }
    }

    #[test]
    fn addresses_and_own_names_are_allowed() {
        let hosts = bound(Bound::Everybody);
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
            assert!(asked(&hosts, Version::HTTP_11, &[("host", host)]).is_ok(), "{host}");
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
            let told = asked(&hosts, Version::HTTP_11, &[("host", host)]);
            assert!(matches!(told, Err(Stray::OtherName(_))), "{host}: {told:?}");
        }
        for host in ["", ":80", "a b", "evil@127.0.0.1", "127.0.0.1:x", "a/b", "a,b", "[::1].evil"] {
            let told = asked(&hosts, Version::HTTP_11, &[("host", host)]);
            assert!(matches!(told, Err(Stray::BadHost)), "{host}: {told:?}");
        }
    }

    #[test]
    fn every_host_name_is_checked() {
        let hosts = bound(Bound::Everybody);
        let request = Request::builder().uri("http://evil.example/").header("host", "localhost");
        let told = hosts.check(&request.body(Body::empty()).unwrap());
        assert!(matches!(told, Err(Stray::OtherName(name)) if name == "evil.example"));
    }

    #[test]
    fn host_header_is_required_exactly_once() {
        let hosts = bound(Bound::Nobody);
        let both = [("host", "a"), ("host", "a")];
        for (version, headers, is_right) in [
            (Version::HTTP_11, &both[..0], false),
            (Version::HTTP_11, &both, false),
            (Version::HTTP_11, &both[..1], true),
            (Version::HTTP_10, &both[..0], true),
            (Version::HTTP_10, &both, false),
            (Version::HTTP_2, &both[..0], true),
        ] {
            assert_eq!(asked(&hosts, version, headers).is_ok(), is_right, "{version:?} {headers:?}");
        }
    }

    #[test]
    fn browsers_are_bound_to_allowed_names() {
        let hosts = bound(Bound::Browsers);
        let host = ("host", "here.example");
        assert!(asked(&hosts, Version::HTTP_11, &[host]).is_ok());
        for header in [
            ("origin", "http://here.example"),
            ("referer", "http://here.example/x"),
            ("sec-fetch-site", "none"),
            ("sec-fetch-mode", "navigate"),
        ] {
            let told = asked(&hosts, Version::HTTP_11, &[host, header]);
            assert!(matches!(told, Err(Stray::OtherName(_))), "{header:?}: {told:?}");
        }
    }

    #[test]
    fn cross_site_request_is_recognized() {
        let hosts = bound(Bound::Nobody);
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
                asked(&hosts, Version::HTTP_11, &[host, (header, page)]).is_ok(),
                is_own,
                "{header} {page}"
            );
        }
    }

    #[test]
    fn unknown_fetch_site_value_is_ignored() {
        let hosts = bound(Bound::Nobody);
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
            assert_eq!(asked(&hosts, Version::HTTP_11, &headers).is_ok(), passes, "{sites:?}");
            headers.push(("referer", others));
            assert_eq!(asked(&hosts, Version::HTTP_11, &headers).is_ok(), passes_from_others, "{sites:?}");
        }
    }
}
