//! Driving a connection to its end, or to where it may rest.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::HttpService;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::crowd::Pressure;
use super::drain::Drain;
use super::guard::Guarded;
use super::limits::Limits;
use super::served::Served;
use super::watch::{Rung, Stage, Timer, Wait, Watch};
use crate::web::BoxError;

/// What goes with a connection all the way.
pub(super) struct Drive<'a> {
    drain: &'a Drain,
    limits: Arc<Limits>,
    watch: Arc<Watch>,
    timer: Timer,
}

/// How a drive ended.
#[derive(Debug)]
pub(super) enum End {
    /// The connection is closed, or another protocol's.
    Done,
    /// It has had nothing to do for a while: its buffers can be given back.
    Parked,
    /// It waited too long.
    Waited(Wait),
    /// It broke.
    Broke(hyper::Error),
}

impl<'a> Drive<'a> {
    pub(super) fn new(drain: &'a Drain, limits: &Arc<Limits>, watch: &Arc<Watch>) -> Self {
        let timer = Timer::new(Arc::clone(limits));
        Self { drain, limits: Arc::clone(limits), watch: Arc::clone(watch), timer }
    }

    /// Drives a connection. When the drain begins, nothing is asked for too long or it has served its time, it finishes
    /// what is under way; when it waits in vain for anything else, it is cut.
    pub(super) async fn on<C: Graceful>(&mut self, mut connection: Pin<&mut C>) -> End {
        let mut begun = Box::pin(self.drain.begun());
        let (mut watching, mut finishing, mut done) = (false, false, End::Done);
        poll_fn(|cx| {
            // `begun` is polled once to be woken by it, later only when it has come: it takes a lock that all share
            if !finishing && (!watching || self.drain.has_begun()) {
                watching = true;
                if begun.as_mut().poll(cx).is_ready() {
                    finishing = true;
                    connection.as_mut().finish(&self.watch);
                }
            }
            loop {
                if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                    return Poll::Ready(result.map_or_else(End::Broke, |()| std::mem::replace(&mut done, End::Done)));
                }
                if !finishing && is_spent(&self.watch, &self.limits) {
                    finishing = true;
                    connection.as_mut().finish(&self.watch);
                    continue;
                }
                if finishing && self.watch.requests() > self.limits.last_request() {
                    return Poll::Ready(End::Waited(Wait::Close)); // a GOAWAY that is not listened to
                }
                match ready!(self.timer.poll(cx, &self.watch, C::MAY_PARK && !finishing)) {
                    Rung::Park => return Poll::Ready(End::Parked),
                    Rung::Over(wait @ (Wait::FirstByte | Wait::Request)) if !finishing => {
                        (finishing, done) = (true, End::Waited(wait));
                        connection.as_mut().finish(&self.watch);
                    }
                    Rung::Over(wait) => return Poll::Ready(End::Waited(wait)),
                }
            }
        })
        .await
    }

    /// Waits with a parked connection until there is something to read. It is closed when the other side closes it, when
    /// the drain begins, or when it was idle for too long.
    pub(super) async fn park<S>(&mut self, mut stream: Guarded<S>) -> Result<Guarded<S>, End>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut begun = Box::pin(self.drain.begun());
        let end = poll_fn(|cx| {
            if let Poll::Ready(more) = stream.poll_more(cx) {
                return Poll::Ready(if more.is_ok_and(|more| more) { End::Parked } else { End::Done });
            }
            if begun.as_mut().poll(cx).is_ready() {
                return Poll::Ready(End::Done);
            }
            self.timer.poll(cx, &self.watch, false).map(|rung| match rung {
                Rung::Over(wait) => End::Waited(wait),
                Rung::Park => End::Done, // nobody is told so who may not park
            })
        });
        match end.await {
            End::Parked => Ok(stream),
            end => {
                let _: Result<(), _> = stream.shutdown().await; // its other side may be gone
                Err(end)
            }
        }
    }
}

/// Whether a connection has served its time, or is not worth its memory any more.
pub(super) fn is_spent(watch: &Watch, limits: &Limits) -> bool {
    watch.requests() >= limits.requests || (watch.crowd().pressure() != Pressure::None && watch.requests() > 0)
}

/// A connection that can be asked to finish.
pub(super) trait Graceful: Future<Output = hyper::Result<()>> {
    /// Whether it can be taken apart while it has nothing to do.
    const MAY_PARK: bool;

    /// No more requests after those that have begun.
    fn finish(self: Pin<&mut Self>, watch: &Watch);
}

impl<S, H> Graceful for http1::UpgradeableConnection<S, H>
where
    Self: Future<Output = hyper::Result<()>>,
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    H: HttpService<Incoming, ResBody = Served>,
    H::Error: Into<BoxError>,
{
    const MAY_PARK: bool = true;

    fn finish(self: Pin<&mut Self>, _watch: &Watch) {
        self.graceful_shutdown();
    }
}

impl<S, H> Graceful for http2::Connection<S, H, TokioExecutor>
where
    Self: Future<Output = hyper::Result<()>>,
    S: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    H: HttpService<Incoming, ResBody = Served>,
    H::Error: Into<BoxError>,
    TokioExecutor: hyper::rt::bounds::Http2ServerConnExec<H::Future, Served>,
{
    const MAY_PARK: bool = false;

    fn finish(self: Pin<&mut Self>, watch: &Watch) {
        self.graceful_shutdown();
        watch.set_stage(Stage::Closing, 0); // GOAWAY asks; a client that does not answer is not waited for
    }
}
