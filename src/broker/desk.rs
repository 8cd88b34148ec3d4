//! What all requests to one provider share: places, counts, and the audit line.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use metrics::{Counter, Histogram};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::clock::rfc3339;
use crate::credentials::{Credentials, IssueError};
use crate::identity::Holder;
use crate::policy::Grant;
use crate::telemetry::{AUDIT, Metrics};
use crate::web::chain;

/// The desks, by provider.
#[derive(Debug)]
pub(super) struct Desks {
    metrics: Metrics,
    desks: Mutex<HashMap<Arc<str>, Arc<Desk>>>,
}

/// One provider's.
pub(super) struct Desk {
    metrics: Metrics,
    provider: Box<str>,
    places: Semaphore,
    issued: Counter,
    refused: Counter,
    expired: Counter,
    unavailable: Counter,
    renewed: Counter,
    not_renewed: Counter,
    seconds: Histogram,
}

/// Why the provider is asked.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verdict {
    Miss,
    Renewal,
}

impl Desks {
    pub(super) fn new(metrics: Metrics) -> Self {
        metrics.describe("claviger_credentials_issued_total", None, "Requests to credential providers, by outcome.");
        metrics.describe("claviger_credentials_renewals_total", None, "Those of them that nobody waited for.");
        metrics.describe(
            "claviger_credentials_refusals_total",
            None,
            "Refusals of credential providers, by their code.",
        );
        metrics.describe("claviger_credentials_issue_seconds", None, "How long a provider took for a request.");
        Self { metrics, desks: Mutex::default() }
    }

    pub(super) fn of(&self, provider: &Arc<str>) -> Arc<Desk> {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        let desk = desks.entry(Arc::clone(provider)).or_insert_with(|| Arc::new(Desk::open(&self.metrics, provider)));
        Arc::clone(desk)
    }
}

impl Desk {
    fn open(metrics: &Metrics, provider: &str) -> Self {
        let count = |outcome| {
            metrics.counter("claviger_credentials_issued_total", &[("provider", provider), ("outcome", outcome)])
        };
        let renewals = |outcome| {
            metrics.counter("claviger_credentials_renewals_total", &[("provider", provider), ("outcome", outcome)])
        };
        Self {
            metrics: metrics.clone(),
            provider: provider.into(),
            places: Semaphore::new(PLACES),
            issued: count("issued"),
            refused: count("refused"),
            expired: count("evidence_expired"),
            unavailable: count("unavailable"),
            renewed: renewals("renewed"),
            not_renewed: renewals("failed"),
            seconds: metrics.histogram("claviger_credentials_issue_seconds", &[("provider", provider)]),
        }
    }

    /// A place among those who are served at once: after an outage ten thousand come at a time (A35).
    pub(super) async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.acquire().await.ok()
    }

    /// Counts an outcome and writes the line that joins session, subject, role session and the keys' public half.
    pub(super) fn note(
        &self,
        grant: &Grant,
        holder: &Holder,
        verdict: Verdict,
        outcome: &Result<Credentials, IssueError>,
        took: Duration,
    ) {
        self.seconds.record(took.as_secs_f64());
        if let Verdict::Renewal = verdict {
            if outcome.is_ok() { &self.renewed } else { &self.not_renewed }.increment(1);
        }
        let (provider, subject) = (&*grant.provider, &grant.subject);
        match outcome {
            Ok(credentials) => {
                self.issued.increment(1);
                let said = &*credentials.role_session;
                let role_session =
                    if said.is_empty() { grant.role.session(&grant.session_name) } else { said.to_owned() };
                tracing::event!(
                    target: AUDIT,
                    tracing::Level::INFO,
                    subject.source = &*subject.source,
                    subject.id = &*subject.id,
                    session.id = %holder.id,
                    credentials.provider = provider,
                    role.session = role_session,
                    sts.request_id = &*credentials.request_id,
                    access_key.id = &*credentials.access_key_id,
                    expires = rfc3339(credentials.expires),
                    cache = %verdict,
                    duration_ms = millis(took),
                    "credentials were issued"
                );
            }
            Err(error @ IssueError::Refused { code, .. }) => {
                self.refused.increment(1);
                let labels = [("provider", &*self.provider), ("code", label(code))];
                self.metrics.counter("claviger_credentials_refusals_total", &labels).increment(1);
                tracing::event!(
                    target: AUDIT,
                    tracing::Level::WARN,
                    subject.source = &*subject.source,
                    subject.id = &*subject.id,
                    session.id = %holder.id,
                    credentials.provider = provider,
                    role.arn = grant.role.as_str(),
                    role.session_name = grant.session_name.as_str(),
                    sts.code = code,
                    cache = %verdict,
                    error = chain(error),
                    "credentials were refused"
                );
            }
            Err(error @ IssueError::Unavailable { .. }) => {
                self.unavailable.increment(1);
                tracing::warn!(
                    credentials.provider = provider,
                    session.id = %holder.id,
                    cache = %verdict,
                    duration_ms = millis(took),
                    error = chain(error),
                    "credentials can't be issued now"
                );
            }
            Err(IssueError::EvidenceExpired) => {
                self.expired.increment(1);
                tracing::info!(
                    credentials.provider = provider,
                    session.id = %holder.id,
                    cache = %verdict,
                    "no credentials were issued, as the login's proof has expired"
                );
            }
        }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("places", &self.places).finish_non_exhaustive()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Miss => "miss",
            Self::Renewal => "renewal",
        })
    }
}

/// A code of AWS's error list, as a label. It is another's word, and a label that could be anything would be a metric
/// for each.
fn label(code: &str) -> &str {
    let is_one = code.len() <= 40 && code.bytes().all(|b| b.is_ascii_alphabetic());
    if is_one { code } else { "other" }
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

/// Requests to one provider at a time. At 20 ms each that is 3,000 logins a second, and STS throttles far below.
const PLACES: usize = 64;
