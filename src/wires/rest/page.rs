//! The live page: three files, and what a browser may do with them.

use axum::{
    Router,
    http::{
        HeaderMap,
        header::{
            ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse, Response},
    routing::get,
};

/// Anybody who may lock chooses names. Should one ever get into the page as markup, it can load and send nothing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let css = || async { file("text/css; charset=utf-8", include_str!("page.css")) };
    let js = || async { file("text/javascript; charset=utf-8", include_str!("page.js")) };
    Router::new().route("/page.css", get(css)).route("/page.js", get(js))
}

/// Answers the page to browsers, and `hello` to all others.
pub(super) fn page_or(headers: &HeaderMap, hello: &'static str) -> Response {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|accepted| accepted.to_str().ok());
    let wants_page =
        accepted.flat_map(|accepted| accepted.split(',')).any(|kind| kind.trim().starts_with("text/html"));
    let answer = if wants_page {
        file("text/html; charset=utf-8", include_str!("page.html"))
    } else {
        hello.into_response()
    };
    ([(VARY, "accept")], answer).into_response()
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, text).into_response()
}
