//! Asking addresses whether they are well: one task an address for the whole process, apart from all requests.

use std::sync::{Arc, Weak};

use http::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use http::{Method, Request};
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::body::Outgoing;
use super::connect::Use;
use super::destination::Health;
use super::target::{Endpoint, Target};
use crate::web::{self, Body, BoxError};

/// Watches a target's addresses for as long as anybody refers to it.
pub(super) fn watch(target: &Arc<Target>, on: &Handle) {
    let Some(health) = &target.destination.health else { return };
    for endpoint in target.endpoints() {
        on.spawn(check(Arc::downgrade(target), Arc::clone(endpoint), health.clone()));
    }
}

async fn check(target: Weak<Target>, endpoint: Arc<Endpoint>, health: Health) {
    let mut turns = interval(health.interval);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut row = Row::default();
    loop {
        turns.tick().await;
        let Some(target) = target.upgrade() else { return };
        let answer = timeout(health.timeout, ask(&target, &endpoint, &health));
        let answer = answer.await.unwrap_or_else(|_| Err(format!("no answer in {:?}", health.timeout).into()));
        if let Some(well) = row.verdict(answer.is_ok(), &health)
            && endpoint.standing.checked(well)
        {
            tell(&target, &endpoint, answer);
        }
    }
}

/// So many answers of one kind in a row.
#[derive(Default)]
struct Row {
    good: bool,
    length: u32,
}

impl Row {
    /// What is to be thought now, if anything changes. The first answer decides at once: nothing was known before.
    fn verdict(&mut self, good: bool, health: &Health) -> Option<bool> {
        let first = self.length == 0;
        self.length = if first || self.good != good { 1 } else { self.length.saturating_add(1) };
        self.good = good;
        let enough = if good { health.healthy_after } else { health.unhealthy_after };
        (first || self.length >= enough).then_some(good)
    }
}

/// One question, on a connection of its own.
async fn ask(target: &Target, endpoint: &Arc<Endpoint>, health: &Health) -> Result<(), BoxError> {
    let lease = target.open(endpoint, Use::Once).await?;
    let mut request = Request::new(Body::Empty);
    *request.method_mut() = Method::GET;
    *request.uri_mut() = health.path.clone().into();
    request.headers_mut().insert(HOST, target.authority.clone());
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static("claviger-health"));
    if !lease.is_http2() {
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let (_lease, answer) = lease.send(Outgoing::of(request, None).0, None).await?;
    let status = answer.map_err(hyper::client::conn::TrySendError::into_error)?.status();
    if status.is_success() || status.is_redirection() { Ok(()) } else { Err(format!("it answers {status}").into()) }
}

fn tell(target: &Target, endpoint: &Endpoint, answer: Result<(), BoxError>) {
    let (upstream, address) = (target.name(), &*endpoint.name);
    match answer {
        Ok(()) => tracing::info!(upstream.name = upstream, upstream.address = address, "an upstream's address is up"),
        Err(error) => {
            let reason = web::chain(&*error);
            tracing::warn!(
                upstream.name = upstream,
                upstream.address = address,
                reason,
                "an upstream's address is down"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_verdict_wants_several_answers_but_for_the_first() {
        let wait = Duration::from_secs(1);
        let path = http::uri::PathAndQuery::from_static("/");
        let health = Health { path, interval: wait, timeout: wait, unhealthy_after: 2, healthy_after: 3 };
        let mut row = Row::default();
        for (good, verdict) in [
            (false, Some(false)),
            (true, None),
            (true, None),
            (true, Some(true)),
            (false, None),
            (true, None),
            (false, None),
            (false, Some(false)),
        ] {
            assert_eq!(row.verdict(good, &health), verdict);
        }
    }
}
