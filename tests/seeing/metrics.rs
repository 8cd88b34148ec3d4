//! The table of metrics beside what a claviger shows that has been through most of what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use http::{HeaderMap, Method};

use super::plan;
use crate::support::client;
use crate::support::place::Place;
use crate::support::side::Side;
use crate::support::upstream::Upstream;
use crate::support::world::until;

/// A name and its labels.
type Table = BTreeMap<String, BTreeSet<String>>;

const MORE: &str = r#"
[identity.services]
kind = "bearer"
issuer = "https://idp.invalid"
audiences = ["claviger"]

[identity.workload]
kind = "token_file"
path = "workload.jwt"

[endpoint.app]
kind = "container"
address = "127.0.0.1:0"
token_file = "token"
identity = "workload"
credentials = "direct"
role = "arn:aws:iam::123456789012:role/direct"

[telemetry]
otlp = "http://{collector}"
"#;

#[tokio::test]
async fn the_table_of_metrics_is_what_is_shown() {
    let table = table();
    let described = described(Path::new("src"));
    let named: BTreeSet<String> = table.keys().cloned().collect();
    assert_eq!(named, described, "src/manual/metrics.rs beside what the rooms describe");
    for name in names(&fs::read_to_string("README.md").unwrap()) {
        assert!(named.contains(&name), "the README names {name}, which the table does not");
    }

    let collector = Side::new("collector", Place::reserve(), Arc::new(Upstream::default()));
    collector.start();
    let world = plan(&MORE.replace("{collector}", &collector.at().to_string())).secure().start().await;
    let bob = world.ticket("bob").await;
    for (path, status) in [("/", 200), ("/", 200), ("/finance", 403), ("/open", 200)] {
        assert_eq!(world.get(path, &bob).await.status, status, "{path}");
    }
    client::raw(world.secure_at().await, "no handshake").await;
    client::send(world.claviger.address("endpoint.app").await, Method::GET, "/", &HeaderMap::new(), "").await;
    let mut alice = world.browser_of("alice").await;
    let page = alice.open(&world.url("/.claviger/logout")).await;
    alice.submit(&page, &[]).await;
    world.claviger.hang_up();

    let shown = until(async || shown(&world).await, |shown| shown.len() + ELSEWHERE.len() == table.len()).await;
    for (name, labels) in &shown {
        assert_eq!(table.get(name), Some(labels), "{name} has other labels than the table says");
    }
    for name in named.iter().filter(|name| !ELSEWHERE.contains(&name.as_str())) {
        assert!(shown.contains_key(name), "{name} is in the table and not shown");
    }
}

/// Only there where something is configured that is not here.
const ELSEWHERE: [&str; 5] = [
    "claviger_authority_calls_total",
    "claviger_endpoint_expiry_timestamp_seconds",
    "claviger_redis_failures_total",
    "claviger_redis_seconds",
    "claviger_redis_up",
];

/// What `/metrics` shows, each with what it means.
async fn shown(world: &crate::support::world::World) -> Table {
    let admin = world.claviger.address("admin").await;
    let metrics = client::send(admin, Method::GET, "/metrics", &HeaderMap::new(), "").await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    let mut shown = Table::new();
    for line in metrics.text().lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (sample, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(metrics.text().contains(&format!("# HELP {name} ")), "{name} does not say what it means");
        // a label's value may hold anything, but `="` only follows a name
        let labels = labels.split("=\"").map(|part| part.rsplit([',', '{']).next().unwrap());
        let known = shown.entry(name.to_owned()).or_default();
        known.extend(
            labels
                .filter(|label| label.bytes().all(|b| b.is_ascii_lowercase()) && !label.is_empty())
                .map(str::to_owned),
        );
        known.remove("le");
    }
    shown
}

/// The rows of `src/manual/metrics.rs`.
fn table() -> Table {
    let text = fs::read_to_string("src/manual/metrics.rs").unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | `claviger_"));
    let row = |row: &str| {
        let mut cells = row.split('|');
        let name = format!("claviger_{}", cells.next().unwrap().trim().trim_end_matches('`'));
        let labels = cells.next().unwrap().split('`').filter(|label| !label.trim().is_empty()).map(str::to_owned);
        (name, labels.collect())
    };
    rows.map(row).collect()
}

/// The names that are given to `describe` in the sources.
fn described(folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut described(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            if text.contains(".describe(") && !path.ends_with("telemetry.rs") {
                let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
                found.append(&mut names(code));
            }
        }
    }
    found
}

/// Words of the form of our metrics' names.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    words.filter(|word| word.starts_with("claviger_") && word.len() > 9).map(str::to_owned).collect()
}
