//! A request's place in a trace (W3C Trace Context), and what of it is recorded for OpenTelemetry.
//!
//! The context always goes on: the caller's own where it is well formed, else a new one. Spans are recorded only where a
//! collector is configured, and sent to it by a task that no request waits for.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

mod context;
mod export;

pub use export::{Exporter, Setup};

use context::{Parent, TRACEPARENT, TRACESTATE};

/// One request's trace.
#[derive(Debug)]
pub struct Trace {
    id: u128,
    /// What the caller told of its own span.
    parent: Option<Parent>,
    recording: Option<Box<Recording>>,
}

#[derive(Debug)]
struct Recording {
    exporter: Exporter,
    began: SystemTime,
    started: Instant,
    own: u64,
    steps: Mutex<Vec<Span>>,
}

/// A part of the request's way that is recorded; it ends when it is dropped.
#[derive(Debug)]
pub struct Step<'a> {
    recording: &'a Recording,
    /// Boxed, as it is a part of every request's state.
    span: Option<Box<Span>>,
}

/// What took from when to when (OpenTelemetry's data model).
#[derive(Clone, Debug, Default)]
struct Span {
    id: u64,
    parent: Option<u64>,
    name: String,
    kind: Kind,
    /// Nanoseconds since the epoch.
    begin: u64,
    end: u64,
    attributes: Vec<(&'static str, Value)>,
    failed: bool,
}

/// OpenTelemetry's `SpanKind`.
#[derive(Clone, Copy, Debug, Default)]
enum Kind {
    #[default]
    Internal = 1,
    Server = 2,
    Client = 3,
}

impl Trace {
    /// The trace that a request's headers place it in, or a new one. It is recorded where there is an exporter that
    /// samples it; a caller that `is_believed` may ask for that by its own flag, while anybody's could be a flood.
    pub fn of(headers: &HeaderMap, exporter: Option<&Exporter>, is_believed: bool, now: SystemTime) -> Self {
        let (id, parent) = match Parent::read(headers) {
            Some((id, parent)) => (id, Some(parent)),
            None => (fastrand::u128(1..), None),
        };
        let asked = is_believed && parent.is_some_and(|parent| parent.is_sampled());
        let exporter = exporter.filter(|exporter| asked || exporter.samples(id));
        let recording = exporter.map(|exporter| {
            let (exporter, own) = (exporter.clone(), span_id());
            Box::new(Recording { exporter, began: now, started: Instant::now(), own, steps: Mutex::default() })
        });
        Self { id, parent, recording }
    }

    /// Whether anything of it is recorded.
    pub fn is_recorded(&self) -> bool {
        self.recording.is_some()
    }

    /// Its id, as 32 hexadecimal digits.
    pub fn id(&self) -> impl fmt::Display + use<> {
        context::Hex128(self.id)
    }

    /// Tells the next service. A context that goes through unrecorded stays as it came (§4.3); `tracestate` is nobody's
    /// without a `traceparent` (§3.3), and goes where it is malformed.
    pub fn tell(&self, headers: &mut HeaderMap, step: Option<&Step<'_>>) {
        if self.parent.is_none() || !context::is_state(headers) {
            headers.remove(TRACESTATE);
        }
        let told = match (step.and_then(|step| step.span.as_deref()), self.parent) {
            (Some(span), _) => context::write(self.id, span.id, true),
            (None, None) => context::write(self.id, span_id(), false),
            (None, Some(_)) => return,
        };
        if let Ok(told) = HeaderValue::from_maybe_shared(bytes::Bytes::from(told)) {
            headers.insert(TRACEPARENT, told);
        }
    }

    /// A step of the request's way; nothing where nothing is recorded.
    pub fn step(&self, name: &'static str) -> Option<Step<'_>> {
        self.begin(name, Kind::Internal)
    }

    /// A request of ours to another service.
    pub fn call(&self, name: &str) -> Option<Step<'_>> {
        self.begin(name, Kind::Client)
    }

    fn begin(&self, name: &str, kind: Kind) -> Option<Step<'_>> {
        let recording = self.recording.as_deref()?;
        let (parent, name, begin) = (Some(recording.own), name.to_owned(), recording.now());
        let span = Span { id: span_id(), parent, name, kind, begin, ..Span::default() };
        Some(Step { recording, span: Some(Box::new(span)) })
    }

    /// The request has been answered. `describe` is asked for the span's name and attributes where it is recorded.
    pub fn finish(self, failed: bool, describe: impl FnOnce() -> (String, Vec<(&'static str, Value)>)) {
        let Some(recording) = self.recording else { return };
        let (name, attributes) = describe();
        let span = Span {
            id: recording.own,
            parent: self.parent.map(|parent| parent.span),
            name,
            kind: Kind::Server,
            begin: recording.at(Duration::ZERO),
            end: recording.now(),
            attributes,
            failed,
        };
        let mut spans = recording.steps.into_inner().unwrap_or_else(PoisonError::into_inner);
        spans.push(span);
        recording.exporter.offer(self.id, spans);
    }
}

impl Recording {
    fn now(&self) -> u64 {
        self.at(self.started.elapsed())
    }

    fn at(&self, since: Duration) -> u64 {
        let since_epoch = (self.began + since).duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Step<'_> {
    /// Says something of it, under OpenTelemetry's name for that.
    pub fn note(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(span) = &mut self.span {
            span.attributes.push((key, value.into()));
        }
    }

    /// It counts as failed unless it succeeds: whoever goes away at an error need not say so.
    pub fn may_fail(&mut self) {
        if let Some(span) = &mut self.span {
            span.failed = true;
        }
    }

    /// It has done what it should.
    pub fn succeed(&mut self) {
        if let Some(span) = &mut self.span {
            span.failed = false;
        }
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if let Some(mut span) = self.span.take() {
            span.end = self.recording.now();
            self.recording.steps.lock().unwrap_or_else(PoisonError::into_inner).push(*span);
        }
    }
}

/// 64 random bits, not all zero.
fn span_id() -> u64 {
    fastrand::u64(1..)
}

/// The headers, for those who take all that a client says off a request.
pub const HEADERS: [HeaderName; 2] = [TRACEPARENT, TRACESTATE];
