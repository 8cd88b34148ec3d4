//! Waiting for a server's first good answer, to the millisecond.

use std::time::{Duration, Instant};

use url::Url;

use crate::agent::Agent;
use crate::process::Running;

/// Starts a server and asks for `url` until it answers well; how long that took.
pub(crate) async fn until_answered(start: impl FnOnce() -> Running, url: &str) -> (Running, Duration) {
    let url = Url::parse(url).expect("a URL");
    let begun = Instant::now();
    let mut process = start();
    let answers = async || Agent::new().open(&url).await.is_ok_and(|answer| answer.status.is_success());
    process.ready(PATIENCE, answers).await;
    (process, begun.elapsed())
}

const PATIENCE: Duration = Duration::from_secs(30);
