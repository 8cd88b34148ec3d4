//! Every document of the table of attacks, each made for the login that it is posted to, at the real ACS.

use std::collections::BTreeMap;

use http::StatusCode;

use super::{begun, follow, refused};
use crate::support::browser::Browser;
use crate::support::client::Answer;
use crate::support::saml_attacks::{ALICE, Attack, Stage, Verdict, attacks};
use crate::support::saml_idp::{plan, this_second};
use crate::support::world::World;

/// A15, A16, A17 and threats 1.4. Nobody is called meanwhile, and nothing is opened that a document names.
#[tokio::test]
async fn every_attack_is_refused_and_every_control_is_alice() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    // whoever opened the pipe to read would wait here for ever for somebody to write, and the test with it
    let pipe = folder.path().join("canary");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let forbidden = (format!("http://{}/forbidden", listener.local_addr().unwrap()), pipe.to_str().unwrap().to_owned());

    let world = plan("[limits.rate]\nlogin = \"off\"").log("info").start().await;
    let attacks = attacks();
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
