//! h2spec, all of it, against the TLS listener.

use std::process::Stdio;

use crate::Tools;
use crate::report::Report;
use crate::site::Site;

/// At least 144 of its cases; those that fail are named.
pub async fn check(report: &Report, tools: &Tools, site: &Site) {
    let mut command = tokio::process::Command::new(tools.cache.join("bin/h2spec"));
    command.args([
        "--tls",
        "--insecure",
        "--strict",
        "--timeout",
        "3",
        "--host",
        "127.0.0.1",
        "--path",
        "/public/h2spec",
    ]);
    command.args(["--port", &site.secure_at.port().to_string()]).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.expect("h2spec is in the cache: `make attack` builds it");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    std::fs::write(tools.kept.join("h2spec.txt"), &text).expect("the target folder is writable");
    let summary = text.lines().rev().find(|line| line.contains(" tests, ")).unwrap_or("no summary");
    let passed = summary.split(", ").find_map(|part| part.strip_suffix(" passed")?.parse::<u32>().ok());
    let failed = text.lines().filter(|line| line.trim_start().starts_with('×')).map(str::trim);
    let failed: std::collections::BTreeSet<&str> = failed.collect();
    let seen = format!("{summary}; failing: {failed:?}");
    report.row("A13", "h2spec", format!("at least {MUST_PASS} pass"), seen, passed.is_some_and(|n| n >= MUST_PASS));
}

const MUST_PASS: u32 = 144;
