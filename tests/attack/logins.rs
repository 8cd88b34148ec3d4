//! A7, A9, A10, A12: where a login leads, what a ticket is worth, and who may use it.

use http::Method;
use url::Url;

use crate::report::Report;
use crate::site::{SIGNED, Site};
use crate::support::browser::Browser;
use crate::support::client::{self, headers};
use crate::support::hostile::login_targets;
use crate::support::world::PASSWORD;

pub async fn check(report: Report) {
    let site = Site::with(SIGNED, |plan| plan).await;
    targets(&report, &site).await;
    tickets(&report, &site).await;
    login_cookies(&report, &site).await;
    fixation(&report, &site).await;
    other_sites(&report, &site).await;
}

/// CVE-2021-21291 and its kin: a login ends at a path here.
async fn targets(report: &Report, site: &Site) {
    let world = &site.world;
    let mut known = Browser::default();
    let page = known.open(&world.url("/")).await;
    known.step_form(&page, &[("username", "alice"), ("password", PASSWORD)]).await;
    known.cookies.retain(|(_, name), _| name.starts_with("claviger-provider"));
    let hostile = login_targets(world.at.port());
    let hostile = hostile.iter().map(|to| (to.as_str(), "/"));
    let own = world.url("/own");
    let good = [
        ("/a/b?c=d&e=%2F%2Fx", "/a/b?c=d&e=%2F%2Fx"),
        ("/a?next=http://evil.example", "/a?next=http://evil.example"),
        (&own, "/own"),
    ];
    for (to, path) in hostile.chain(good) {
        let begin = Url::parse_with_params(&world.url("/.claviger/login"), [("to", to)]).unwrap();
        let mut browser = known.clone();
        let mut next = begin;
        for _ in 0..10 {
            let origin = next.origin().ascii_serialization();
            if origin != world.origin && origin != format!("http://{}", world.provider_at) {
                break;
            }
            let answer = browser.step(next.as_str()).await;
            if !answer.status.is_redirection() {
                break;
            }
            next = next.join(answer.location()).unwrap();
        }
        report.equal("A7", format!("a login that is to lead to {to}"), world.url(path), next.to_string());
    }
}

/// Each byte changed, each place cut (CVE-2026-27840, CVE-2026-25748).
async fn tickets(report: &Report, site: &Site) {
    let world = &site.world;
    let (alice, bob) = (world.browser_of("alice").await, world.browser_of("bob").await);
    let [alice, bob] = [alice, bob].map(|browser| world.ticket_in(&browser, world.host()).unwrap());
    let half = alice.len() / 2;
    let mut changed: Vec<String> = Vec::new();
    for at in 0..alice.len() {
        let others = ["A", "B", "-", "~", "%"].into_iter().filter(|other| alice[at..=at] != **other);
        changed.extend(others.map(|other| format!("{}{other}{}", &alice[..at], &alice[at + 1..])));
        changed.push(alice[..at].to_owned());
        changed.push(alice[at + 1..].to_owned());
    }
    let flips = changed.len();
    changed.extend([
        format!("{alice}="),
        format!("{alice}A"),
        format!("A{alice}"),
        format!("\"{alice}"),
        format!("{alice}\u{a0}"),
    ]);
    changed.extend([format!("{}{}", &alice[..half], &bob[half..]), alice.to_ascii_uppercase(), "a".repeat(8_000)]);
    changed.extend(["../../etc/passwd", "' OR 1=1 --", "%00", "null", "0", "[]", "{}"].map(str::to_owned));
    site.recorder.clear();
    let mut opened = Vec::new();
    for value in &changed {
        let answer = world.get("/", &format!("{}={value}", world.ticket_name())).await;
        if answer.status != 401 || answer.json()["error"] != "login_required" {
            opened.push(format!("{}: {value}", answer.status));
        }
    }
    let seen = format!("{}, {} upstream {opened:?}", changed.len() - opened.len(), site.recorder.count());
    let all = changed.len();
    report.equal(
        "A9",
        format!("tickets changed in {flips} single places and {} others: 401", all - flips),
        format!("{all}, 0 upstream []"),
        seen,
    );
    let still = world.get("/", &format!("{}={alice}", world.ticket_name())).await.status;
    report.equal("A9", "and the ticket itself", 200, still.as_u16());

    let mut browser = world.browser_of("alice").await;
    let cookie = world.cookie(&browser);
    let page = browser.open("/.claviger/logout").await;
    browser.submit(&page, &[]).await;
    report.equal(
        "A9",
        "a ticket after its logout (CVE-2026-34454)",
        401,
        world.get("/", &cookie).await.status.as_u16(),
    );
}

/// The sealed state of a login under way.
async fn login_cookies(report: &Report, site: &Site) {
    let world = &site.world;
    let mut browser = Browser::default();
    let begun = browser.step(&world.url("/after")).await;
    let page = browser.step(begun.location()).await;
    let back = browser.step_form(&page, &[("username", "alice"), ("password", PASSWORD)]).await.location().to_owned();
    let prefix = format!("{}-login-", world.ticket_name());
    let (name, value) = browser.cookie(world.host(), &prefix).unwrap();
    let flipped =
        |at: usize| format!("{}{}{}", &value[..at], if &value[at..=at] == "A" { "B" } else { "A" }, &value[at + 1..]);
    let mut changed: Vec<String> = (0..value.len()).map(flipped).collect();
    changed.extend([&value[..value.len() - 1], &value[1..], &value[..value.len() / 2], "", "x"].map(str::to_owned));
    changed.extend([format!("{value}A"), format!("A{value}"), format!("{value}{value}")]);
    let mut accepted = Vec::new();
    for other in &changed {
        let mut browser = browser.clone();
        browser.cookies.insert((world.host().into(), name.clone()), (other.clone(), "/".into()));
        let answer = browser.step(&back).await;
        if answer.status != 400 || world.ticket_in(&browser, world.host()).is_some() {
            accepted.push(format!("{}: {other}", answer.status));
        }
    }
    let (all, seen) = (changed.len(), format!("{} {accepted:?}", changed.len() - accepted.len()));
    report.equal("A9", "login cookies with each byte changed: 400 and no ticket", format!("{all} []"), seen);
    let answer = browser.step(&back).await;
    report.equal("A9", "and the cookie itself leads to", world.url("/after"), answer.location().to_owned());
    let again = browser.step(&back).await;
    report.equal("A9", "and the same answer of the provider a second time", 400, again.status.as_u16());
}

/// Somebody gave the browser a cookie before the login.
async fn fixation(report: &Report, site: &Site) {
    let world = &site.world;
    let mallorys = world.ticket_in(&world.browser_of("mallory").await, world.host()).unwrap();
    for (what, given) in [("a made-up ticket", "A".repeat(43)), ("another person's ticket", mallorys)] {
        let mut alice = Browser::default();
        alice.cookies.insert((world.host().into(), world.ticket_name()), (given.clone(), "/".into()));
        world.log_in(&mut alice, &world.url("/.claviger/login?to=/"), "alice").await;
        let user =
            site.recorder.requests().last().map_or_else(String::new, |seen| seen.all("x-forwarded-user").join(" | "));
        report.equal("A10", format!("after a login over {what}, the upstream sees"), "sub-alice".to_owned(), user);
        let anew = world.ticket_in(&alice, world.host()).is_some_and(|ticket| ticket != given);
        report.equal("A10", format!("and the ticket over {what} is a new one"), true, anew);
        let status = world.get("/", &format!("{}={given}", world.ticket_name())).await.status.as_u16();
        report.equal("A10", format!("and {what} opens"), 401, status);
    }
    let (name, ours) = (world.ticket_name(), world.ticket("alice").await);
    for cookie in [
        format!("{name}=foreign; {ours}"),
        format!("{ours}; {name}=foreign"),
        format!("{name}=; {name}; ={name}; {ours}"),
    ] {
        let status = world.get("/", &cookie).await.status.as_u16();
        let shown = cookie.replace(&ours, "<alice's>").replace(&name, "ticket");
        report.equal("A10", format!("a cookie of our name from elsewhere: {shown}"), 200, status);
    }
}

/// What another site has a person's browser send.
async fn other_sites(report: &Report, site: &Site) {
    let world = &site.world;
    let ticket = world.ticket("alice").await;
    for from in ["cross-site", "same-site"] {
        for (method, mode, path) in [
            (Method::POST, "navigate", "/store/x"),
            (Method::POST, "cors", "/store/x"),
            (Method::PUT, "cors", "/store/x"),
            (Method::DELETE, "no-cors", "/store/x"),
            (Method::GET, "no-cors", "/store/x"),
            (Method::GET, "websocket", "/store/x"),
            (Method::GET, "navigate", "/store/?Action=TerminateInstances"),
        ] {
            let sent = headers(&[("cookie", &ticket), ("sec-fetch-site", from), ("sec-fetch-mode", mode)]);
            let before = world.upstream.seen().len();
            let answer = client::send(world.at, method.clone(), path, &sent, "").await;
            let seen = format!("{}, {} upstream", answer.status.as_u16(), world.upstream.seen().len() - before);
            report.equal("A12", format!("{from} {mode} {method} {path}"), "403, 0 upstream".to_owned(), seen);
        }
    }
    for origin in ["http://evil.test", "null", "http://127.0.0.1.evil.test", "https://evil.test:443"] {
        let sent = headers(&[("cookie", &ticket), ("origin", origin)]);
        let answer = client::send(world.at, Method::POST, "/store/x", &sent, "").await;
        report.equal("A12", format!("POST with Origin: {origin}"), 403, answer.status.as_u16());
    }
    let sent = headers(&[("cookie", &ticket), ("origin", "http://evil.test"), ("sec-fetch-site", "cross-site")]);
    let answer = client::send(world.at, Method::POST, "/.claviger/logout", &sent, "").await;
    report.equal("A12", "another site's logout", 400, answer.status.as_u16());
    for path in ["/.claviger/logout", "/.claviger/me", "/.claviger/nothing"] {
        let answer = client::send(world.at, Method::GET, path, &headers(&[("cookie", &ticket)]), "").await;
        let kept = answer.header("cache-control").contains("no-store");
        let framed = answer.header("content-type").starts_with("text/html")
            && !answer.header("content-security-policy").contains("frame-ancestors 'none'");
        report.equal(
            "A12",
            format!("{path} is kept by caches, framed"),
            "false, false".to_owned(),
            format!("{}, {framed}", !kept),
        );
    }
}
