//! Who moves an HTTP/1 connection: it reads and writes only when it is polled.

use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};

use tokio::task::AbortHandle;

/// Moves one connection.
pub(super) enum Driver {
    /// Whoever waits for its answer. No other task has to be woken to send a request, to pass its answer's head on, to
    /// be asked for the body and to pass that on, which together is some 5 % of a small request.
    Inline(Inline),
    /// A task of its own, from which an upgrade takes the stream.
    Task(AbortHandle),
}

/// A connection as a future. The lock is never taken: it makes what only one can poll into what many may refer to.
pub(super) struct Inline(Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>);

impl Driver {
    /// Moved by who waits for the answer.
    pub(super) fn inline(connection: impl Future<Output = ()> + Send + 'static) -> Self {
        Self::Inline(Inline(Mutex::new(Some(Box::pin(connection)))))
    }

    /// Moves it as far as it goes; whether there is somebody else to do so.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        let Self::Inline(Inline(connection)) = self else { return true };
        let connection = connection.get_mut().unwrap_or_else(PoisonError::into_inner);
        if connection.as_mut().is_some_and(|connection| connection.as_mut().poll(cx).is_ready()) {
            *connection = None;
        }
        false
    }

    /// Looks whether it has ended meanwhile. Nobody is woken for what comes later: who uses it next will look again.
    pub(super) fn look(&mut self) {
        self.drive(&mut Context::from_waker(Waker::noop()));
    }

    /// Ends it at once.
    pub(super) fn cut(&self) {
        if let Self::Task(task) = self {
            task.abort();
        }
    }
}
