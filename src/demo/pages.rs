//! The demo's pages: who called, and what is in a bucket.

use askama::Template;
use http::StatusCode;
use serde_json::{Value, json};

use super::Way;
use super::store::Summary;
use super::verdict::Caller;
use crate::web::{self, Response};

#[derive(Template)]
#[template(path = "demo/who.html", config = ".askama.toml")]
struct Who<'a> {
    caller: &'a Caller,
    ways: &'a [Way],
    buckets: Vec<BucketLine>,
}

struct BucketLine {
    name: String,
    objects: usize,
    size: String,
}

#[derive(Template)]
#[template(path = "demo/objects.html", config = ".askama.toml")]
struct Objects<'a> {
    bucket: &'a str,
    objects: Vec<ObjectLine>,
}

/// One line of the object list.
pub(super) struct ObjectLine {
    pub(super) key: String,
    /// Percent-encoded.
    pub(super) path: String,
    pub(super) size: usize,
    pub(super) modified: String,
}

/// Who called, as a page.
pub(super) fn who(caller: &Caller, ways: &[Way], buckets: Vec<Summary>) -> Response {
    let line =
        |bucket: Summary| BucketLine { name: bucket.name, objects: bucket.objects, size: readable(bucket.bytes) };
    rendered(&Who { caller, ways, buckets: buckets.into_iter().map(line).collect() })
}

/// Who called, as JSON.
pub(super) fn who_json(caller: &Caller) -> Value {
    json!({
        "signature": "verified",
        "user": caller.name(),
        "login": caller.login(),
        "call": caller.call(),
        "arn": caller.arn,
        "role": caller.role,
        "session_name": caller.session_name,
        "tags": caller.tags,
        "source_identity": caller.source_identity,
        "subject": caller.subject,
        "provider": caller.provider,
        "access_key_id": caller.access_key_id,
        "expires": caller.expires,
    })
}

/// What is in a bucket, as a page.
pub(super) fn objects(bucket: &str, objects: Vec<ObjectLine>) -> Response {
    rendered(&Objects { bucket, objects })
}

fn rendered<T: Template>(template: &T) -> Response {
    match template.render() {
        Ok(html) => web::page(StatusCode::OK, html),
        Err(problem) => {
            tracing::error!(%problem, "a page can't be rendered");
            web::answer(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "This page can't be shown.")
        }
    }
}

impl ObjectLine {
    fn readable_size(&self) -> String {
        readable(self.size)
    }
}

fn readable(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (16 << 20, "16.0 MiB")] {
            assert_eq!(readable(bytes), text);
        }
    }

    #[tokio::test]
    async fn names_of_others_are_escaped() {
        // A11: a subject or tag may be anything that a provider lets people call themselves
        let polyglot = "\"><svg onload=alert(1)>";
        let caller: Caller = serde_json::from_value(json!({
            "arn": polyglot, "access_key_id": "ASIA", "subject": polyglot, "tags": {polyglot: polyglot},
        }))
        .unwrap();
        let page = who(&caller, &[], Vec::new()).into_body().collect(1 << 20).await.unwrap();
        assert!(!String::from_utf8_lossy(&page).contains("<svg"));
        let line = ObjectLine { key: polyglot.into(), path: "x".into(), size: 1, modified: String::new() };
        let page = objects("notes", vec![line]).into_body().collect(1 << 20).await.unwrap();
        assert!(!String::from_utf8_lossy(&page).contains("<svg"));
    }
}
