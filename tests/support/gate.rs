//! Where requests wait until they are let through, so that a test knows what is under way.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use super::watched::until;

/// Shared by all who wait at it.
#[derive(Clone)]
pub struct Gate {
    passes: Arc<Semaphore>,
    crowd: Arc<watch::Sender<Crowd>>,
}

/// Who is at the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Crowd {
    pub waiting: usize,
    /// Who went through so far.
    pub through: usize,
}

impl Gate {
    pub fn closed() -> Self {
        Self { passes: Arc::new(Semaphore::new(0)), crowd: Arc::default() }
    }

    /// So many may go through, of those who wait and those who come.
    pub fn let_through(&self, many: usize) {
        self.passes.add_permits(many);
    }

    pub fn open(&self) {
        self.let_through(Semaphore::MAX_PERMITS / 2);
    }

    /// Waits until the crowd is this one.
    pub async fn until(&self, crowd: Crowd) {
        until(&self.crowd, |now| *now == crowd).await;
    }

    pub async fn pass(&self) {
        self.crowd.send_modify(|crowd| crowd.waiting += 1);
        self.passes.acquire().await.unwrap().forget();
        self.crowd.send_modify(|crowd| *crowd = Crowd { waiting: crowd.waiting - 1, through: crowd.through + 1 });
    }
}
