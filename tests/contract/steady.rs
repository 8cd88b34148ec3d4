//! Steady requests across many renewals: tokens of a minute, a session of hours, nobody is made to log in again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, interval};
use url::Url;

use crate::agent::{Agent, Answer, unescape};
use crate::keycloak::{ALICE, REALM, sign_in};
use crate::proxy::Proxy;
use crate::report::Report;

/// Logs Alice in once and lists her bucket five times a second for five minutes.
pub(crate) async fn check(url: &str, proxy: &Proxy, report: &mut Report) {
    let mut alice = Agent::new();
    let begin = Url::parse(&format!("{url}/.claviger/login")).expect("a URL");
    let chooser = alice.follow(&begin, |_| false).await.expect("claviger shows its chooser");
    let chosen = link(&chooser, &format!("source={REALM}")).unwrap_or_else(|| panic!("no choice: {}", chooser.text()));
    let page = alice.follow(&chosen, |_| false).await.expect("Keycloak shows its login page");
    sign_in(&mut alice, &page, ALICE, |_| false).await;

    let before = proxy.access_keys();
    let list = Url::parse(&format!("{url}/ledger?list-type=2")).expect("a URL");
    let (mut sent, mut failed) = (0_u32, BTreeMap::<String, u32>::new());
    let mut pace = interval(PACE);
    let end = Instant::now() + LENGTH;
    while Instant::now() < end {
        pace.tick().await;
        sent += 1;
        if sent % 300 == 0 {
            println!("     {sent} requests, {} failed", failed.values().sum::<u32>());
        }
        let failure = match alice.open(&list).await {
            Ok(answer) if answer.status == 200 => continue,
            Ok(answer) => format!("{} {}", answer.status, answer.url),
            Err(error) => error,
        };
        *failed.entry(failure).or_default() += 1;
    }
    let rotations = proxy.access_keys().difference(&before).count().saturating_sub(1);
    report.row("steady requests, 5 a second for 5 minutes", "at least 1,200", sent, sent >= 1_200);
    report.row("failed among them", 0, format!("{} {failed:?}", failed.values().sum::<u32>()), failed.is_empty());
    report.row("rotations of the keys meanwhile", "at least 4", rotations, rotations >= 4);
}

/// The link of a page whose target contains `part`.
fn link(page: &Answer, part: &str) -> Option<Url> {
    let text = page.text();
    let targets = text.split(" href=\"").skip(1).filter_map(|rest| rest.split('"').next());
    let found = targets.map(unescape).find(|target| target.contains(part))?;
    page.url.join(&found).ok()
}

const PACE: Duration = Duration::from_millis(200);
const LENGTH: Duration = Duration::from_secs(5 * 60);
