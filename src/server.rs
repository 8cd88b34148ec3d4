//! Accepting connections: workers, TLS, limits, HTTP framing, draining.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::telemetry::Metrics;
use crate::tls::Handshakes;
use crate::web::{Connection, Request, Response};

mod accept;
mod admission;
mod connection;
mod crowd;
mod descriptors;
mod drain;
mod drive;
pub mod frames;
pub mod framing;
mod guard;
mod holder;
mod joined;
mod limits;
mod listener;
mod memory;
mod refusals;
mod served;
mod socket_file;
mod watch;

pub use crowd::{Crowd, Most};
pub use descriptors::{descriptors, raise_descriptors};
pub use framing::{Followed, Framing, Place};
pub use holder::holder_of;
pub use limits::Limits;
pub use listener::Listener;
pub use memory::{memory_limit, mind_memory};
pub use refusals::{Reason, Refusal};

use accept::Acceptor;
use connection::Site;
use drain::Drain;

/// Answers requests.
///
/// Whatever version the request came in, it has exactly one `Host` header (in HTTP/2 made of `:authority`) and a target
/// in origin form, or `*` for OPTIONS. Its extensions hold hyper's `OnUpgrade` where an upgrade is possible. CONNECT never
/// gets here.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// The answer to what came on a connection. It runs on a worker's own single-threaded runtime and must not block it. A panic costs this request
    /// only: it is answered with 500.
    async fn handle(&self, connection: &Connection, request: Request) -> Response;

    /// Is told of a request that was answered before it could get here. Of a flood of them it is told of a few.
    fn refused(&self, _refusal: &Refusal<'_>) {}
}

/// How a listener speaks.
#[derive(Clone, Debug)]
pub struct Manner {
    /// The listener's name, for logs, metrics and [`Connection`].
    pub name: Arc<str>,
    /// TLS, or plain HTTP. HTTP/2 is spoken where ALPN chose it, so never without TLS.
    pub tls: Option<Handshakes>,
    /// What a connection may take. What is put there counts for the connections that are accepted from then on.
    pub limits: Arc<ArcSwap<Limits>>,
    /// Who else is there.
    pub crowd: Arc<Crowd>,
    /// Where connections are counted.
    pub metrics: Metrics,
}

/// A listener that is served.
#[derive(Clone, Debug)]
pub struct Open(Arc<Drain>);

/// The threads that serve: one single-threaded runtime each.
pub struct Workers {
    workers: Vec<Worker>,
    /// Of each listener that is open.
    drains: Mutex<Vec<Arc<Drain>>>,
    tasks: TaskTracker,
    next: AtomicUsize,
}

impl Manner {
    /// Plain HTTP, within the usual limits, alone.
    pub fn plain(name: &str, metrics: &Metrics) -> Self {
        Self { name: name.into(), tls: None, limits: Arc::default(), crowd: Arc::default(), metrics: metrics.clone() }
    }
}

impl Open {
    /// Stops accepting, and soon the port is free. Requests under way finish in their own time, and each connection ends
    /// with its last.
    pub fn close(&self) {
        self.0.begin();
    }
}

impl Workers {
    /// Starts `count` threads, at least one.
    ///
    /// # Errors
    /// The system gives no thread or no event queue.
    pub fn start(count: usize) -> io::Result<Self> {
        Ok(Self {
            workers: (0..count.max(1)).map(Worker::start).collect::<io::Result<_>>()?,
            drains: Mutex::default(),
            tasks: TaskTracker::new(),
            next: AtomicUsize::new(0),
        })
    }

    /// Serves a listener on every worker, until it is closed or all are drained.
    ///
    /// One worker accepts, and hands each connection to the worker with the fewest: with several acceptors on one
    /// socket the first to wake takes a whole burst, and a connection stays where it landed.
    pub fn serve(&self, listener: Listener, manner: Manner, handler: Arc<dyn Handler>) -> Open {
        let seats = self.workers.iter().map(|worker| worker.seat.clone()).collect();
        let drain: Arc<Drain> = Arc::default();
        let mut drains = self.drains.lock().unwrap_or_else(PoisonError::into_inner);
        drains.retain(|drain| !drain.has_begun());
        drains.push(Arc::clone(&drain));
        let site = Arc::new(Site::new(manner, handler, Arc::clone(&drain)));
        let acceptor = Acceptor { listener, site, seats, tasks: self.tasks.clone() };
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.workers.len().max(1);
        if let Some(worker) = self.workers.get(turn) {
            worker.seat.runtime.spawn(self.tasks.track_future(acceptor.run()));
        }
        Open(drain)
    }

    /// Stops accepting, lets requests under way finish for up to `grace`, then cuts.
    pub async fn drain(self, grace: Duration) {
        self.drains.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|drain| drain.begin());
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "the grace is over, cutting the connections that are left");
        }
        for worker in self.workers {
            drop(worker.stop);
            let _: Result<(), _> = worker.ended.await; // it is dropped, never sent
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("count", &self.workers.len()).finish_non_exhaustive()
    }
}

/// One thread. It ends when `stop` is dropped, and everything on it with it.
struct Worker {
    seat: Seat,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

/// Where a connection can be put.
#[derive(Clone)]
struct Seat {
    runtime: Handle,
    /// How many connections sit there.
    load: Arc<AtomicUsize>,
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let seat = Seat { runtime: runtime.handle().clone(), load: Arc::default() };
        let (stop, stopped) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            let _: Result<(), _> = runtime.block_on(stopped); // it is dropped, never sent
            runtime.shutdown_background();
            drop(end);
        })?;
        Ok(Self { seat, stop, ended })
    }
}

#[cfg(test)]
mod tests;
