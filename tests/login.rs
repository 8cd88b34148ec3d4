//! Logging in and out, and what a session is worth meanwhile, over real sockets.

use http::StatusCode;
use url::Url;

use crate::support::browser::Browser;
use crate::support::client::Answer;
use crate::support::world::{PASSWORD, World};

mod callback;
mod callers;
mod cookies;
mod hosts;
mod main_way;
mod outages;
mod renewal;
mod sources;
mod targets;
mod text;

/// Where the provider sends a browser back to after a login at `begin`; nothing there has been opened yet.
pub async fn callback(browser: &mut Browser, begin: &str, name: &str) -> Url {
    let begun = browser.step(begin).await;
    assert_eq!(begun.status, StatusCode::SEE_OTHER, "{}", begun.text());
    let mut answer = browser.step(begun.location()).await;
    if !answer.status.is_redirection() {
        answer = browser.step_form(&answer, &[("username", name), ("password", PASSWORD)]).await;
    }
    let back = Url::parse(answer.location()).unwrap();
    assert_eq!(back.path(), "/.claviger/callback");
    back
}

/// `url` with its query parameters changed.
pub fn with_query(url: &Url, change: impl FnOnce(&mut Vec<(String, String)>)) -> Url {
    let mut pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    change(&mut pairs);
    let mut url = url.clone();
    url.query_pairs_mut().clear().extend_pairs(pairs);
    url
}

/// The answer is a page that refuses, names the request, and gives no ticket; the log has one audit line for it.
async fn refused(world: &World, answer: &Answer) {
    let id = answer.header("x-request-id").to_owned();
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text());
    assert!(answer.header("content-type").starts_with("text/html"), "{:?}", answer.headers);
    assert!(!id.is_empty() && answer.text().contains(&id), "the page names the request: {}", answer.text());
    let set = answer.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
    let ticket = format!("{}=", world.ticket_name());
    assert!(
        set.filter(|line| line.starts_with(&ticket)).all(|line| line.contains("Max-Age=0")),
        "{:?}",
        answer.headers
    );
    let lines: Vec<_> = world.audit().await.into_iter().filter(|line| line["request.id"] == *id).collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert_eq!(lines[0]["message"], "a login was refused");
}
