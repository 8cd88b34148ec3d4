//! A37: where sessions are kept in files: a disk that is full, and a kill while they are written.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::Method;

use crate::report::Report;
use crate::site::Site;
use crate::support::browser::Browser;
use crate::support::client::{self, headers};
use crate::support::wire::Wire;
use crate::support::world::{PASSWORD, World};

pub async fn check(report: Report) {
    full(&report).await;
    killed(&report).await;
}

/// A disk of its own, which only claviger sees: logins fill it.
async fn full(report: &Report) {
    let can =
        Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).stderr(Stdio::null()).status();
    if !can.is_ok_and(|status| status.success()) {
        return report.skipped("A37", "a full disk", "no disk can be mounted in a namespace here");
    }
    let mount = "mkdir -m 0700 {state} && mount -t tmpfs -o size=128k,mode=0700 none {state} && exec \"$0\" \"$@\"";
    let site = Site::with(STORE, |plan| plan.under(&["unshare", "-rm", "sh", "-c", mount])).await;
    let world = &site.world;
    let known = known_at_provider(world).await;
    let mut people = Vec::new();
    let refused = loop {
        let mut browser = known.clone();
        let answer = browser.open(&world.url("/")).await;
        if world.ticket_in(&browser, world.host()).is_none() || people.len() == MOST_LOGINS {
            break answer;
        }
        people.push(browser);
    };
    let name = format!("the disk is full after {} logins: the next is told", people.len());
    report.equal("A37", name, 503, refused.status.as_u16());
    let mut cookies: Vec<String> = people.iter().map(|browser| world.cookie(browser)).collect();
    report.equal("A37", "and who is in stays in", people.len(), let_in(world, &cookies).await);
    let left = kept(&site);
    report.equal("A37", "and as many sessions are in its folder", people.len(), left.len());

    // a person who leaves makes room for one
    let (mut leaver, gone) = (people.pop().unwrap(), cookies.pop().unwrap());
    let page = leaver.open("/.claviger/logout").await;
    leaver.step_form(&page, &[]).await; // not to the provider, where all are one person
    report.equal("A37", "and who logs out is out", 0, let_in(world, &[gone]).await);
    let mut next = known.clone();
    next.open(&world.url("/")).await;
    cookies.push(world.ticket_in(&next, world.host()).map_or_else(String::new, |_| world.cookie(&next)));
    report.equal("A37", "and there is room for one again", cookies.len(), let_in(world, &cookies).await);
}

/// SIGKILL at each of some moments while many log in and out at once. What was answered has happened, and is so after the
/// next start.
async fn killed(report: &Report) {
    let mut site = Site::with(STORE, |plan| plan).await;
    let known = known_at_provider(&site.world).await;
    let (mut here, mut away): (BTreeSet<String>, BTreeSet<String>) = (BTreeSet::new(), BTreeSet::new());
    let (mut lost, mut back, mut unanswered) = (0, 0, 0);
    for round in 0..ROUNDS {
        let mut requests: Vec<(Option<String>, String)> = Vec::new();
        for _ in 0..AT_ONCE {
            requests.push((None, callback(&site.world, known.clone()).await));
        }
        let leaving: Vec<String> = here.iter().take(AT_ONCE / 4).cloned().collect();
        requests.extend(leaving.into_iter().map(|cookie| (Some(cookie.clone()), logout(&site.world, &cookie))));
        let mut answers = FuturesUnordered::new();
        for (leaver, request) in requests {
            let mut wire = Wire::to(site.world.at).await;
            wire.send(request).await;
            answers.push(async move { (leaver, wire.head().await) });
        }
        let mut answered = 0;
        while let Some((leaver, head)) = answers.next().await {
            answered += usize::from(!head.is_empty());
            if answered == 1 + round * AT_ONCE / ROUNDS {
                site.world.claviger.kill();
            }
            match (leaver, ticket(&site.world, &head)) {
                (None, Some(cookie)) => drop(here.insert(cookie)),
                (Some(cookie), _) => {
                    here.remove(&cookie);
                    // who got no answer may be in or out
                    if head.starts_with("HTTP/1.1 303") {
                        away.insert(cookie);
                    }
                }
                (None, None) => {}
            }
            unanswered += usize::from(head.is_empty());
        }
        site.world.restart().await;
        for (cookies, is_in) in [(&here, true), (&away, false)] {
            let cookies: Vec<String> = cookies.iter().cloned().collect();
            let let_in = let_in(&site.world, &cookies).await;
            if is_in { lost += cookies.len() - let_in } else { back += let_in }
        }
    }
    let told = "kept sessions can't be read";
    let unread = site.world.claviger.log().iter().filter(|line| line.contains(told)).count();
    let name = format!("{ROUNDS} kills among {AT_ONCE} logins each, {unanswered} requests unanswered");
    report.row("A37", &name, "some", format!("{} logins, {} logouts", here.len(), away.len()), unanswered > 0);
    report.equal("A37", "logins that were answered and are lost", 0, lost);
    report.equal("A37", "logouts that were answered and are undone", 0, back);
    report.equal("A37", "starts that could not read a session", 0, unread);
}

/// A browser whose next logins take no password.
async fn known_at_provider(world: &World) -> Browser {
    let mut known = Browser::default();
    let page = known.open(&world.url("/")).await;
    known.step_form(&page, &[("username", "alice"), ("password", PASSWORD)]).await;
    known.cookies.retain(|(_, name), _| name.starts_with("claviger-provider"));
    known
}

/// The request with which a login ends.
async fn callback(world: &World, mut browser: Browser) -> String {
    let begun = browser.step(&world.url("/")).await;
    let back = browser.step(begun.location()).await;
    let back = url::Url::parse(back.location()).unwrap();
    let (name, value) = browser.cookie(world.host(), &format!("{}-login-", world.ticket_name())).unwrap();
    let target = format!("{}?{}", back.path(), back.query().unwrap());
    format!("GET {target} HTTP/1.1\r\nHost: {}\r\nCookie: {name}={value}\r\n\r\n", world.at)
}

fn logout(world: &World, cookie: &str) -> String {
    let (at, origin) = (world.at, &world.origin);
    let lines = format!("Host: {at}\r\nCookie: {cookie}\r\nOrigin: {origin}\r\nSec-Fetch-Site: same-origin\r\n");
    format!("POST /.claviger/logout HTTP/1.1\r\n{lines}Content-Length: 0\r\n\r\n")
}

/// The `Cookie` header of who has just logged in.
fn ticket(world: &World, head: &str) -> Option<String> {
    let start = format!("{}=", world.ticket_name());
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let mut set = lines.filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")).map(|(_, cookie)| cookie);
    let cookie = set.find(|cookie| cookie.starts_with(&start) && !cookie.contains("Max-Age=0"))?;
    cookie.split(';').next().map(str::to_owned)
}

/// How many of these are let in.
async fn let_in(world: &World, cookies: &[String]) -> usize {
    let mut count = 0;
    for cookie in cookies {
        let answer = client::send(world.at, Method::GET, "/", &headers(&[("cookie", cookie)]), "").await;
        count += usize::from(answer.status == 200);
    }
    count
}

/// The files of sessions, as claviger sees them.
fn kept(site: &Site) -> Vec<PathBuf> {
    let root = PathBuf::from(format!("/proc/{}/root", site.world.claviger.id()));
    let folder = site.world.file("state").join("sessions");
    let entries = std::fs::read_dir(root.join(folder.strip_prefix("/").unwrap())).unwrap();
    entries.map(|entry| entry.unwrap().path()).filter(|path| !path.ends_with(".lock")).collect()
}

const STORE: &str = "[session]\nkind = \"file\"\n[limits.rate]\nlogin = \"off\"\n";
/// More than fit on the disk.
const MOST_LOGINS: usize = 200;
const ROUNDS: usize = 6;
const AT_ONCE: usize = 24;
