//! The live page: its files, and what a browser may do with them.

use axum::{
    Router,
    http::{
        HeaderMap, StatusCode,
        header::{
            CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY, WWW_AUTHENTICATE,
            X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse, Response},
    routing::get,
};

use crate::wires::web::{CHALLENGE, LOGOUT, accepts_html};

/// Anybody who may lock chooses names. Should one ever get into the page as markup, it can load and send nothing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// What the page asks for, with its type.
const FILES: [(&str, &str, &str); 12] = [
    ("/page/page.css", CSS, include_str!("page/page.css")),
    ("/page/cluster.js", JS, include_str!("page/cluster.js")),
    ("/page/elements.js", JS, include_str!("page/elements.js")),
    ("/page/end.js", JS, include_str!("page/end.js")),
    ("/page/locks.js", JS, include_str!("page/locks.js")),
    ("/page/login.js", JS, include_str!("page/login.js")),
    ("/page/page.js", JS, include_str!("page/page.js")),
    ("/page/sessions.js", JS, include_str!("page/sessions.js")),
    ("/page/state.js", JS, include_str!("page/state.js")),
    ("/page/stream.js", JS, include_str!("page/stream.js")),
    ("/page/waits.js", JS, include_str!("page/waits.js")),
    ("/page/words.js", JS, include_str!("page/words.js")),
];

pub(super) fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let files = Router::new().route(LOGOUT, get(log_out));
    FILES
        .into_iter()
        .fold(files, |router, (path, kind, text)| router.route(path, get(async move || file(kind, text))))
}

/// Refuses whatever password a browser sends: then it forgets the one that it has kept.
///
/// Cancel-safe: nothing is done.
async fn log_out() -> Response {
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, CHALLENGE)], "logged out\n").into_response()
}

/// Answers the page to browsers, and `hello` to all others.
pub(super) fn page_or(headers: &HeaderMap, hello: &'static str) -> Response {
    let answer = if accepts_html(headers) {
        file("text/html; charset=utf-8", include_str!("page/index.html"))
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
