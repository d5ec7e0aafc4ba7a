//! Who comes in by one listener: counted, and up to the places that all listeners share.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::sync::plain::{AtomicU64, Ordering};

/// One listener's side of the places for connections.
#[derive(Debug)]
pub struct Door {
    wire: &'static str,
    places: Arc<Semaphore>,
    accepted: AtomicU64,
    left: AtomicU64,
    refused: AtomicU64,
}

/// What has come in by a door so far.
#[derive(Clone, Copy, Debug)]
pub struct Passages {
    /// Connections that are open.
    pub open: u64,
    /// Connections that were accepted.
    pub accepted: u64,
    /// Connections for which there was no place.
    pub refused: u64,
}

impl Door {
    /// A door of a wire, to places shared with others.
    pub fn new(wire: &'static str, places: Arc<Semaphore>) -> Arc<Self> {
        let (accepted, left, refused) = Default::default();
        Arc::new(Self { wire, places, accepted, left, refused })
    }

    /// The wire of those who come in here.
    pub fn wire(&self) -> &'static str {
        self.wire
    }

    /// What has come in so far.
    pub fn passages(&self) -> Passages {
        // In this order, so that none is seen to leave that has not been seen to come.
        let left = self.left.load(Ordering::Acquire);
        let accepted = self.accepted.load(Ordering::Relaxed);
        let refused = self.refused.load(Ordering::Relaxed);
        Passages { open: accepted.saturating_sub(left), accepted, refused }
    }

    /// A place, if there is one.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        let Ok(place) = self.places.try_acquire() else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        place.forget();
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Some(Place(self.clone()))
    }
}

/// A connection's place, until it is dropped. One word: a semaphore's own permit has two.
#[derive(Debug)]
pub(super) struct Place(Arc<Door>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.left.fetch_add(1, Ordering::Release);
        self.0.places.add_permits(1);
    }
}
