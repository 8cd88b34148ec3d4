//! Sending spans to a collector: OTLP over HTTP as JSON (OpenTelemetry protocol 1.x), over our own way out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_TYPE;
use metrics::Counter;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use url::Url;

use super::Span;
use super::context::Hex128;
use crate::fetch::{Fetch, Reach};
use crate::telemetry::Metrics;
use crate::web::chain;

/// Where spans go, and which.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The collector's base URL; spans go to `v1/traces` below it.
    pub collector: Url,
    /// What this process is called there.
    pub service_name: String,
    /// The part of traces that is recorded, from 0 to 1.
    pub sample: f64,
}

/// The way to the collector. Spans wait for it in a queue that is bounded: what does not fit is lost and counted, and
/// no request waits.
#[derive(Clone)]
pub struct Exporter {
    queue: mpsc::Sender<Message>,
    /// Traces whose lower half is below are recorded, by every service that samples the same part.
    threshold: u64,
    counts: Arc<Counts>,
}

enum Message {
    Spans(u128, Vec<Span>),
    /// Send what waits, and say so.
    Flush(oneshot::Sender<()>),
}

struct Counts {
    sent: Counter,
    failed: Counter,
    dropped: Counter,
}

impl Exporter {
    /// Starts the task that sends, on this runtime.
    pub fn start(setup: Setup, fetch: Arc<Fetch>, metrics: &Metrics) -> Self {
        metrics.describe("claviger_spans_total", None, "Spans of recorded traces, by what became of them.");
        let count = |outcome| metrics.counter("claviger_spans_total", &[("outcome", outcome)]);
        let counts = Arc::new(Counts { sent: count("sent"), failed: count("failed"), dropped: count("dropped") });
        let (queue, waiting) = mpsc::channel(QUEUE);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of the whole range")]
        #[expect(clippy::cast_precision_loss, reason = "a part need not be exact to the last bit")]
        let threshold = (setup.sample.clamp(0.0, 1.0) * u64::MAX as f64) as u64;
        tokio::spawn(run(setup, fetch, waiting, Arc::clone(&counts)));
        Self { queue, threshold, counts }
    }

    /// Whether this trace is recorded.
    pub(super) fn samples(&self, trace: u128) -> bool {
        self.threshold != 0 && (trace & u128::from(u64::MAX)) <= u128::from(self.threshold)
    }

    pub(super) fn offer(&self, trace: u128, spans: Vec<Span>) {
        let count = spans.len() as u64;
        if self.queue.try_send(Message::Spans(trace, spans)).is_err() {
            self.counts.dropped.increment(count);
        }
    }

    /// Waits until what was recorded so far has been sent, or could not be.
    pub async fn flush(&self) {
        let (done, sent) = oneshot::channel();
        if self.queue.send(Message::Flush(done)).await.is_ok() {
            let _: Result<(), _> = sent.await; // the task is gone with its runtime
        }
    }
}

/// Gathers and sends, for as long as there is anybody who records.
async fn run(setup: Setup, fetch: Arc<Fetch>, mut waiting: mpsc::Receiver<Message>, counts: Arc<Counts>) {
    let mut spans: Vec<Value> = Vec::new();
    let mut is_well = true;
    while let Some(first) = waiting.recv().await {
        let mut flushed = Vec::new();
        let mut take = |message, spans: &mut Vec<Value>| match message {
            Message::Spans(trace, recorded) => spans.extend(recorded.iter().map(|span| as_json(trace, span))),
            Message::Flush(done) => flushed.push(done),
        };
        let is_urgent = matches!(first, Message::Flush(_));
        take(first, &mut spans);
        let deadline = tokio::time::Instant::now() + if is_urgent { Duration::ZERO } else { GATHER };
        while spans.len() < BATCH {
            match tokio::time::timeout_at(deadline, waiting.recv()).await {
                Ok(Some(message)) => {
                    let is_urgent = matches!(message, Message::Flush(_));
                    take(message, &mut spans);
                    if is_urgent {
                        break;
                    }
                }
                Ok(None) | Err(_) => break,
            }
        }
        let count = spans.len() as u64;
        if count > 0 {
            match send(&setup, &fetch, std::mem::take(&mut spans)).await {
                Ok(()) => {
                    counts.sent.increment(count);
                    is_well = true;
                }
                Err(reason) => {
                    counts.failed.increment(count);
                    // once until it is well again, as it may be away for long
                    if std::mem::replace(&mut is_well, false) {
                        tracing::warn!(collector = %setup.collector, reason, "spans can't be sent, and are lost");
                    }
                }
            }
        }
        for done in flushed {
            let _: Result<(), _> = done.send(()); // who asked may have gone
        }
    }
}

async fn send(setup: &Setup, fetch: &Fetch, spans: Vec<Value>) -> Result<(), String> {
    let attributes = [
        attribute("service.name", &setup.service_name.as_str().into()),
        attribute("service.version", &env!("CARGO_PKG_VERSION").into()),
    ];
    let scope = json!({ "name": "claviger", "version": env!("CARGO_PKG_VERSION") });
    let document = json!({ "resourceSpans": [{
        "resource": { "attributes": attributes },
        "scopeSpans": [{ "scope": scope, "spans": spans }],
    }] });
    let url = format!("{}/v1/traces", setup.collector.as_str().trim_end_matches('/'));
    let request = Request::post(url).header(CONTENT_TYPE, "application/json").body(Bytes::from(document.to_string()));
    let request = request.map_err(|error| error.to_string())?;
    let answer = fetch.send(request, &Reach::Configured).await.map_err(|error| chain(&error))?;
    if answer.status().is_success() { Ok(()) } else { Err(format!("it answered {}", answer.status())) }
}

/// As OTLP's JSON has it: ids in hexadecimal digits, 64-bit numbers as texts.
fn as_json(trace: u128, span: &Span) -> Value {
    let attributes: Vec<_> = span.attributes.iter().map(|(key, value)| attribute(key, value)).collect();
    json!({
        "traceId": Hex128(trace).to_string(),
        "spanId": format!("{:016x}", span.id),
        "parentSpanId": span.parent.map_or_else(String::new, |parent| format!("{parent:016x}")),
        "name": span.name,
        "kind": span.kind as u8,
        "startTimeUnixNano": span.begin.to_string(),
        "endTimeUnixNano": span.end.to_string(),
        "attributes": attributes,
        "status": if span.failed { json!({ "code": 2 }) } else { json!({}) },
    })
}

fn attribute(key: &str, value: &Value) -> Value {
    let value = match value {
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        Value::Bool(truth) => json!({ "boolValue": truth }),
        Value::String(text) => json!({ "stringValue": text }),
        other => json!({ "stringValue": other.to_string() }),
    };
    json!({ "key": key, "value": value })
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}

/// Requests whose spans wait: a few MiB at the most.
const QUEUE: usize = 4096;
/// Spans that go at once; a collector takes some MiB.
const BATCH: usize = 2048;
/// How late spans may come.
const GATHER: Duration = Duration::from_secs(1);
