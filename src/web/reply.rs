//! Replies that several wires of HTTP give.

use std::{
    pin::Pin,
    sync::Arc,
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

use crate::lease::Delivery;

pub(crate) fn json(code: StatusCode, value: &impl Serialize) -> Response {
    (code, Json(value)).into_response()
}

/// Says that a response hands out a grant, if it does: [`deliver`] takes it from there.
pub(crate) fn handing_out(delivery: Option<Arc<Delivery>>, mut response: Response) -> Response {
    if let Some(delivery) = delivery {
        response.extensions_mut().insert(delivery);
    }
    response
}

/// Sees to it that a lock is free again if the connection does not take the response that grants it.
pub async fn deliver(mut response: Response) -> Response {
    match response.extensions_mut().remove::<Arc<Delivery>>() {
        Some(delivery) => response.map(|body| Body::new(Delivering { body, delivery })),
        None => response,
    }
}

struct Delivering {
    body: Body,
    delivery: Arc<Delivery>,
}

impl HttpBody for Delivering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.delivery.done();
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
