//! Every document of the table of attacks, each made for the login that it is posted to, at the real ACS.

use std::collections::BTreeMap;

use http::StatusCode;

use super::{begun, document, follow, refused};
use crate::support::browser::Browser;
use crate::support::client::Answer;
use crate::support::saml_attacks::{ALICE, Attack, Stage, Verdict, attacks};
use crate::support::saml_idp::{plan, this_second};
use crate::support::traced::Trace;
use crate::support::world::World;

/// A15, A16, A17 and threats 1.4. Meanwhile nobody is called and nothing is opened: by strace, where it may trace; and by
/// a listener that nobody comes to and a pipe that nobody opens, wherever we are.
#[tokio::test]
async fn every_attack_is_refused_and_every_control_is_alice() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // whoever opened the pipe to read would wait here for ever for somebody to write, and the test with it
    let pipe = folder.path().join("canary");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let forbidden = (format!("http://{}/forbidden", listener.local_addr().unwrap()), pipe.to_str().unwrap().to_owned());

    let trace = Trace::possible();
    let program = trace.as_ref().map(Trace::program).unwrap_or_default();
    let program: Vec<&str> = program.iter().map(String::as_str).collect();
    let world = plan("[limits.rate]\nlogin = \"off\"").log("info").under(&program).start().await;
    let attacks = attacks();
    // the first one is verified before: what is loaded once is loaded now
    posted(&world, &document("the subject changed"), &forbidden).await;
    let first = trace.as_ref().map(Trace::so_far);
    let (mut pages, mut ids, mut wrong, mut alices) = (BTreeMap::new(), BTreeMap::new(), Vec::new(), 0);
    for attack in &attacks {
        let (mut browser, answer) = posted(&world, attack, &forbidden).await;
        match attack.verdict {
            Verdict::Alice => {
                let last = follow(&mut browser, answer).await;
                let is_alice =
                    last.status == StatusCode::OK && world.upstream.last().all("x-forwarded-user") == [ALICE];
                if !is_alice {
                    wrong.push(format!("{}: {}", attack.name, last.status));
                }
                alices += 1;
            }
            Verdict::Refused(_) if answer.status == StatusCode::BAD_REQUEST => {
                *pages.entry(refused(&world, &answer)).or_insert(0) += 1;
                ids.insert(answer.header("x-request-id").to_owned(), &attack.name);
            }
            Verdict::Refused(_) => wrong.push(format!("{}: {}", attack.name, answer.status)),
        }
    }
    if let Some((trace, first)) = trace.zip(first) {
        is_quiet(&trace.since(first), &world);
        let all = trace.since(0);
        assert!(all.iter().any(|call| call.starts_with("openat(") && call.contains("claviger.toml")), "{all:#?}");
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), attacks.len(), wrong.join("\n"));
    assert!(ids.len() >= 120, "there are {}", ids.len());
    assert_eq!(pages.len(), 1, "all refusals look the same: {pages:#?}");
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(world.metric("claviger_sessions_started_total").await, f64::from(alices));

    // one audit line each, which says why
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for line in world.audit().await.iter().filter(|line| line["message"] == "a login was refused") {
        assert!(line["reason"].as_str().is_some_and(|reason| reason.len() > 20), "{line}");
        *lines.entry(line["request.id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    for (id, name) in &ids {
        assert_eq!(lines.get(id), Some(&1), "{name}");
    }
}

/// Of all that a process did, nothing was to call anybody but the upstream, or to open anything but what tells it how much
/// memory it has.
fn is_quiet(calls: &[String], world: &World) {
    let upstream = format!("sin_port=htons({}), sin_addr=inet_addr(\"127.0.0.1\")", world.upstream_at.port());
    let is_allowed = |call: &&String| {
        call.starts_with("connect(") && call.contains(&upstream)
            || call.starts_with("socket(AF_INET, SOCK_STREAM|")
            || call.starts_with("openat(AT_FDCWD, \"/proc/self/statm\", O_RDONLY")
            || ["connect", "socket", "openat"].iter().any(|name| call.starts_with(&format!("<... {name} resumed>")))
            || call.starts_with("--- SIG")
    };
    let other: Vec<_> = calls.iter().filter(|call| !is_allowed(call)).collect();
    assert!(other.is_empty(), "while the documents were read: {other:#?}");
    // that it sees what is there: the honest ones led to the upstream
    assert!(calls.iter().any(|call| call.contains(&upstream)), "{calls:#?}");
}

/// The answer to a document that was made and judged within one second, as some are good or bad by one.
async fn posted(world: &World, attack: &Attack, (url, file): &(String, String)) -> (Browser, Answer) {
    loop {
        let mut browser = Browser::default();
        let waiting = begun(world, &mut browser, "/").await;
        let stage = Stage { forbidden_url: url.clone(), forbidden_file: file.clone(), ..waiting.stage() };
        let answer = waiting.post(&mut browser, attack.document(&stage)).await;
        if this_second() == stage.now {
            return (browser, answer);
        }
    }
}
