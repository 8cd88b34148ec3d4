//! Idle connections: one pool a thread, so that taking one is a look into memory of our own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::Either;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::SendRequest;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use super::body::Outgoing;

/// A connection in use. It goes back by [`Lease::put_back`]; dropped otherwise, it is closed, with whatever is still
/// on its way: the rest of an answer that nobody reads, or of a request that was answered early.
pub(super) struct Lease {
    connection: Option<Connection>,
    /// The upstream whose pool it goes back to, if any.
    home: Option<u64>,
}

struct Connection {
    sender: SendRequest<Outgoing>,
    task: AbortHandle,
}

impl Lease {
    /// A fresh connection, driven by `task`.
    pub(super) fn new(sender: SendRequest<Outgoing>, task: AbortHandle, home: Option<u64>) -> Self {
        Self { connection: Some(Connection { sender, task }), home }
    }

    /// Sends a request; the answer's body must have ended before the next.
    pub(super) fn send(
        &mut self,
        request: http::Request<Outgoing>,
    ) -> impl Future<Output = Result<http::Response<Incoming>, TrySendError<http::Request<Outgoing>>>> + use<> {
        // the connection leaves with the lease itself, so it is here
        match self.connection.as_mut() {
            Some(connection) => Either::Left(connection.sender.try_send_request(request)),
            None => Either::Right(std::future::pending()),
        }
    }

    /// Gives the connection back, if it can take another request. One that is still sending its request, or was told to
    /// close, can't.
    pub(super) fn put_back(mut self) {
        if let (Some(id), Some(connection)) = (self.home, self.connection.take()) {
            if connection.sender.is_ready() {
                put(id, connection);
            } else {
                connection.task.abort();
            }
        }
    }

    /// Lets the connection's task end by itself: an upgrade has taken its stream.
    pub(super) fn release(mut self) {
        self.connection = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = &self.connection {
            connection.task.abort();
        }
    }
}

/// A connection to this upstream that is ready, the last used first: it is the likeliest to be still open.
pub(super) fn take(id: u64) -> Option<Lease> {
    let now = Instant::now();
    let taken = POOL.try_with(|pool| pool.borrow_mut().take(id, now)).ok().flatten()?;
    Some(Lease { connection: Some(taken), home: Some(id) })
}

fn put(id: u64, connection: Connection) {
    let now = Instant::now();
    let start_sweeping = POOL.try_with(|pool| pool.borrow_mut().put(id, connection, now)).unwrap_or_default();
    if start_sweeping {
        tokio::spawn(sweep(Sweeping));
    }
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

#[derive(Default)]
struct Pool {
    idle: HashMap<u64, Vec<Idle>>,
    /// Whether a task is there that closes what is idle for too long.
    swept: bool,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    fn take(&mut self, id: u64, now: Instant) -> Option<Connection> {
        let idle = self.idle.get_mut(&id)?;
        while let Some(last) = idle.pop() {
            if now.duration_since(last.since) > AGE {
                idle.clear(); // the others are older
            } else if last.connection.sender.is_ready() {
                return Some(last.connection);
            }
        }
        None
    }

    /// Whether a sweeper has to be started.
    fn put(&mut self, id: u64, connection: Connection, now: Instant) -> bool {
        let idle = self.idle.entry(id).or_default();
        if idle.len() < MOST {
            idle.push(Idle { connection, since: now });
        }
        !std::mem::replace(&mut self.swept, true)
    }

    /// Whether anything is left.
    fn sweep(&mut self, now: Instant) -> bool {
        self.idle.retain(|_, idle| {
            idle.retain(|one| now.duration_since(one.since) <= AGE && !one.connection.sender.is_closed());
            !idle.is_empty()
        });
        !self.idle.is_empty()
    }
}

/// Closes what is idle for too long, also of upstreams that a reload has removed. It ends with the last connection.
async fn sweep(sweeping: Sweeping) {
    let _sweeping = sweeping;
    while POOL.try_with(|pool| pool.borrow_mut().sweep(Instant::now())).unwrap_or_default() {
        sleep(AGE / 2).await;
    }
}

/// Says that a sweeper is there, until it ends in whatever way.
struct Sweeping;

impl Drop for Sweeping {
    fn drop(&mut self) {
        let _: Result<(), _> = POOL.try_with(|pool| pool.borrow_mut().swept = false); // or the thread is ending
    }
}

/// Idle connections to one upstream on one worker; nginx's usual `keepalive` is between 32 and 256.
const MOST: usize = 256;
/// Shorter than the 60 s after which most servers and load balancers close, so that we mostly close first.
const AGE: Duration = Duration::from_secs(50);
