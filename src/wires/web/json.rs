//! JSON responses, of the layers in front of the handlers too.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// The body of a response that only reports an outcome, on every path with JSON.
#[derive(Serialize)]
pub(crate) struct StatusJson<'a> {
    pub(crate) success: bool,
    pub(crate) status: &'a str,
    pub(crate) message: &'a str,
}

pub(crate) fn json(code: StatusCode, value: &impl Serialize) -> Response {
    (code, Json(value)).into_response()
}
