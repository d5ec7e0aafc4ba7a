//! Replies that several wires of HTTP give.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use axum::{
    Json,
    body::{Body, Bytes, HttpBody},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use http_body::{Frame, SizeHint};
use serde::Serialize;
use time::OffsetDateTime;

use crate::lease::Grant;

pub(crate) fn json(code: StatusCode, value: &impl Serialize) -> Response {
    (code, Json(value)).into_response()
}

/// The response that hands out a grant: if the connection does not take it, the lock is free again.
pub(crate) fn delivering(grant: Grant, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, Body::new(Delivery { body, grant }))
}

struct Delivery {
    body: Body,
    grant: Grant,
}

impl HttpBody for Delivery {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.grant.delivered();
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A moment as JSON has it: `2026-11-20T09:30:00.123Z`.
pub(crate) fn moment(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let (date, (hour, minute, second, millis)) = (time.date(), time.time().as_hms_milli());
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
