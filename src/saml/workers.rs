//! Where messages are verified: threads that may block, few of them, and with a short queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::reason::{Reason, Refused};

/// Runs what may block for a message, so many at a time. However many strangers post, they take no more threads than
/// these, and the async workers none of their time.
#[derive(Clone, Debug)]
pub struct Workers {
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
}

impl Workers {
    /// So many at a time.
    pub fn new(at_a_time: usize) -> Self {
        let at_a_time = at_a_time.max(1);
        let admitted = at_a_time.saturating_mul(WAITING_PER_WORKER + 1).min(Semaphore::MAX_PERMITS);
        Self { running: Arc::new(Semaphore::new(at_a_time)), admitted: Arc::new(Semaphore::new(admitted)) }
    }

    /// What `work` says. A panic in it costs this message. Work whose asker has gone still holds its place until it ends.
    ///
    /// # Errors
    /// [`Reason::Busy`] where too many wait, [`Reason::Panicked`], and those of `work`.
    pub async fn run<T, W>(&self, work: W) -> Result<T, Refused>
    where
        T: Send + 'static,
        W: FnOnce() -> Result<T, Refused> + Send + 'static,
    {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| Reason::Busy)?;
        let running = Arc::clone(&self.running).acquire_owned().await.map_err(|_| Reason::Busy)?;
        let guarded = move || {
            let answer = catch_unwind(AssertUnwindSafe(work)).map_err(|_| Reason::Panicked);
            drop((running, admitted));
            answer
        };
        tokio::task::spawn_blocking(guarded).await.map_err(|_| Reason::Panicked)??
    }
}

/// At half a millisecond each, the last in the queue waits some 30 ms.
const WAITING_PER_WORKER: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_costs_one_message() {
        let workers = Workers::new(1);
        let lost: Result<(), _> = workers.run(|| panic!("short ciphertext")).await;
        assert_eq!(lost.unwrap_err().reason(), &Reason::Panicked);
        assert_eq!(workers.run(|| Ok(1)).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn there_is_an_end_to_waiting() {
        let workers = Workers::new(1);
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let first = workers.run(move || Ok(gone.recv().map_err(|_| Reason::Busy)?));
        let rest = futures_util::future::join_all((0..WAITING_PER_WORKER + 5).map(|_| workers.run(|| Ok(()))));
        let (first, rest) = tokio::join!(first, async {
            let rest = rest;
            tokio::pin!(rest);
            // those that are turned away are so at once; the others wait for the first
            assert!(futures_util::poll!(&mut rest).is_pending());
            go.send(()).unwrap();
            rest.await
        });
        assert!(first.is_ok());
        let busy = rest.iter().filter(|r| r.as_ref().is_err_and(|e| e.reason() == &Reason::Busy)).count();
        assert_eq!(busy, 5);
    }
}
