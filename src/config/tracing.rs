//! `[telemetry]`: whether and where spans are sent.

use url::Url;

use super::error::ConfigErrors;
use super::file;
use crate::trace::Setup;

/// The section, where it names a collector.
pub(super) fn read(shape: file::Telemetry, errors: &mut ConfigErrors) -> Option<Setup> {
    let sample = shape.sample.unwrap_or(1.0);
    if !(0.0..=1.0).contains(&sample) {
        errors.add("telemetry.sample", format!("is {sample}; expected a part from 0.0 to 1.0"));
    }
    let Some(text) = shape.otlp else {
        if shape.sample.is_some() || shape.service_name.is_some() {
            errors.add_missing("telemetry.otlp", "a collector's URL such as http://127.0.0.1:4318");
        }
        return None;
    };
    let url = text.parse::<Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none());
    if url.as_ref().is_none_or(|url| !url.username().is_empty()) {
        errors.add("telemetry.otlp", "is no collector's URL; expected something like http://127.0.0.1:4318");
    }
    let service_name = shape.service_name.unwrap_or_else(|| "claviger".to_owned());
    Some(Setup { collector: url?, service_name, sample })
}
