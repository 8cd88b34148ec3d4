//! A service beside claviger that can be stopped and started again.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use claviger::server::{Handler, Listener, Manner, Workers};
use claviger::telemetry::Metrics;

use super::place::Place;

/// A service at an address of its own. While it is stopped, connections to it are refused.
pub struct Side {
    name: &'static str,
    place: Place,
    handler: Arc<dyn Handler>,
    workers: Mutex<Option<Workers>>,
}

impl Side {
    /// Not started yet.
    pub fn new(name: &'static str, place: Place, handler: Arc<dyn Handler>) -> Self {
        Self { name, place, handler, workers: Mutex::default() }
    }

    /// Where it is, started or not.
    pub fn at(&self) -> SocketAddr {
        self.place.at()
    }

    /// Starts it, with all that it knew before.
    pub fn start(&self) {
        let (workers, listener) = (Workers::start(1).unwrap(), Listener::bind(self.at()).unwrap());
        let manner = Manner::plain(self.name, &Metrics::new());
        workers.serve(listener, manner, Arc::clone(&self.handler));
        *self.workers.lock().unwrap() = Some(workers);
    }

    /// Stops it at once, and cuts what is open.
    pub async fn stop(&self) {
        let workers = self.workers.lock().unwrap().take().expect("it is started");
        workers.drain(Duration::ZERO).await;
    }

    /// Stops it, but finishes what is under way.
    pub async fn drain(&self) {
        let workers = self.workers.lock().unwrap().take().expect("it is started");
        workers.drain(Duration::from_secs(30)).await;
    }
}
