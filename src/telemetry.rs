//! Names of log targets, fields and metrics; where logs go, and the metrics of one running claviger.
//!
//! Logs are a readable sentence with dotted fields (`route.name`, `subject.source`, `duration_ms`), one JSON object or one
//! text a line. `warn` means we carried on, `error` means a person must look. No token, assertion, cookie, body or query
//! string ever gets there.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder as _, SharedString, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

mod access;
mod lines;
mod text;

pub use access::Access;
pub use lines::{Line, Lines};

/// The target of audit lines: who logged in or out, which credentials were issued to whom, what was refused.
pub const AUDIT: &str = "claviger::audit";

/// From which level on this process's events are logged. It may change while it runs.
#[derive(Clone, Debug)]
pub struct LogLevel(reload::Handle<Targets, Registry>);

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// An object.
    #[default]
    Json,
    /// For people's eyes.
    Text,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(format!("`{text}` is no format; it may be one of: json, text")),
        }
    }
}

/// Sends this process's events to `lines`: ours from `level` on, other crates' from `warn` on.
///
/// Other crates stay at `warn` whatever is asked for: at `trace` some write whole requests, keys included (A36).
pub fn log_to(lines: &Lines, level: LevelFilter, format: Format) -> LogLevel {
    let layer = tracing_subscriber::fmt::layer().with_writer(lines.clone());
    let format = match format {
        Format::Json => layer.json().flatten_event(true).boxed(),
        Format::Text => layer.event_format(text::Text).boxed(),
    };
    let (filter, handle) = reload::Layer::new(targets(level));
    // a second call, as in tests that start claviger twice in one process, keeps the first
    let _ = tracing_subscriber::registry().with(filter).with(format).try_init();
    LogLevel(handle)
}

impl LogLevel {
    /// From this level on from now on.
    pub fn set(&self, level: LevelFilter) {
        // refused only where nothing is logged by it
        let _ = self.0.reload(targets(level));
    }
}

fn targets(level: LevelFilter) -> Targets {
    Targets::new().with_target("claviger", level).with_default(level.min(LevelFilter::WARN))
}

/// The metrics of one running claviger: a value that is handed around, not a global, so that two can run in one process.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    recorder: PrometheusRecorder,
    /// What is known elsewhere, and asked for only when somebody looks.
    looks: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
}

impl Metrics {
    /// None counted yet.
    #[expect(clippy::new_without_default, reason = "a Metrics by default would be one that nobody reads")]
    pub fn new() -> Self {
        // refused only where it is empty
        let builder = PrometheusBuilder::new();
        let builder = builder.set_buckets(&BUCKETS).unwrap_or_else(|_| PrometheusBuilder::new());
        Self(Arc::new(Inner { recorder: builder.build_recorder(), looks: Mutex::default() }))
    }

    /// A counter. Keep it where it is counted often: looking it up costs more than counting.
    pub fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.0.recorder.register_counter(&key(name, labels), &METADATA)
    }

    /// A gauge.
    pub fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        self.0.recorder.register_gauge(&key(name, labels), &METADATA)
    }

    /// A histogram, in seconds.
    pub fn histogram(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Histogram {
        self.0.recorder.register_histogram(&key(name, labels), &METADATA)
    }

    /// Says what a metric means, for the `# HELP` line.
    pub fn describe(&self, name: &'static str, unit: Option<Unit>, text: &'static str) {
        let (name, text) = (KeyName::from_const_str(name), SharedString::const_str(text));
        if name.as_str().ends_with("_total") {
            self.0.recorder.describe_counter(name, unit, text);
        } else if name.as_str().ends_with("_seconds") && !name.as_str().ends_with("_timestamp_seconds") {
            self.0.recorder.describe_histogram(name, unit, text);
        } else {
            self.0.recorder.describe_gauge(name, unit, text);
        }
    }

    /// Calls `look` before they are rendered, to set gauges of what is known elsewhere.
    pub fn on_look(&self, look: impl Fn() + Send + Sync + 'static) {
        self.0.looks.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(look));
    }

    /// All of them in Prometheus's text form.
    pub fn render(&self) -> String {
        self.0.looks.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|look| look());
        let handle = self.0.recorder.handle();
        handle.run_upkeep();
        handle.render()
    }

    /// Puts the samples of histograms into their buckets, so that they don't pile up between two scrapes.
    pub fn gather(&self) {
        self.0.recorder.handle().run_upkeep();
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels: Vec<Label> = labels.iter().map(|(k, v)| Label::new(*k, (*v).to_owned())).collect();
    Key::from_parts(name, labels)
}

/// In seconds: from a cache hit to a slow upload.
const BUCKETS: [f64; 12] = [0.000_25, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

const METADATA: Metadata<'static> = Metadata::new("claviger", Level::INFO, None);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_rendered() {
        let metrics = Metrics::new();
        metrics.counter("claviger_requests_total", &[("route", "wiki")]).increment(2);
        assert!(metrics.render().contains("claviger_requests_total{route=\"wiki\"} 2"));
    }
}
