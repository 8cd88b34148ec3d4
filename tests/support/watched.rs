//! What changes in this process, waited for by who is told of each change.

use std::time::Duration;

use tokio::sync::watch;

/// Waits until it is as it should be; fails when it never is.
pub async fn until<T>(watched: &watch::Sender<T>, is_as_it_should_be: impl FnMut(&T) -> bool) {
    let mut now = watched.subscribe();
    let come = now.wait_for(is_as_it_should_be);
    drop(tokio::time::timeout(PATIENCE, come).await.expect("it never is as it should be").unwrap());
}

/// Far longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(60);
