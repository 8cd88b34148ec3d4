//! What a service is told and answers, overheard; and its answers held up or changed on the way.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use claviger::clock::{Clock as _, SystemClock, rfc3339};
use claviger::server::Handler;
use claviger::web::{Body, Connection, Request, Response};
use tokio::sync::watch;

use super::watched::until;

/// A service with somebody on the line.
pub struct Tap {
    service: Arc<dyn Handler>,
    asked: watch::Sender<usize>,
    said: watch::Sender<Vec<Said>>,
    held: watch::Sender<bool>,
    lives: Mutex<Option<Duration>>,
}

/// One question and its answer.
#[derive(Clone, Debug)]
pub struct Said {
    pub target: String,
    pub asked: String,
    pub answered: String,
}

impl Tap {
    /// On this service's line.
    pub fn on(service: Arc<dyn Handler>) -> Arc<Self> {
        let (asked, said, held) = (watch::Sender::new(0), watch::Sender::default(), watch::Sender::new(false));
        Arc::new(Self { service, asked, said, held, lives: Mutex::default() })
    }

    /// All that was said so far.
    pub fn said(&self) -> Vec<Said> {
        self.said.borrow().clone()
    }

    /// Waits until so many questions have come, whether they are held up or not.
    pub async fn until_asked(&self, count: usize) {
        until(&self.asked, |asked| *asked >= count).await;
    }

    /// Waits until so many have been answered.
    pub async fn until_said(&self, count: usize) {
        until(&self.said, |said| said.len() >= count).await;
    }

    /// Lets nothing through until [`Tap::release`].
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// Lets through what was held, and all that comes.
    pub fn release(&self) {
        self.held.send_replace(false);
    }

    /// From now on credentials are said to end after so long; STS itself gives none for less than 15 minutes.
    pub fn credentials_live(&self, lives: Duration) {
        *self.lives.lock().unwrap() = Some(lives);
    }

    fn changed(&self, answer: String) -> String {
        let Some(lives) = *self.lives.lock().unwrap() else { return answer };
        let Some((before, rest)) = answer.split_once("<Expiration>") else { return answer };
        let (_, after) = rest.split_once("</Expiration>").unwrap();
        // in whole seconds, as real ones are, and never less than asked for
        let ends = rfc3339(SystemClock.now() + lives + Duration::from_secs(1));
        format!("{before}<Expiration>{ends}</Expiration>{after}")
    }
}

#[async_trait]
impl Handler for Tap {
    async fn handle(&self, connection: &Connection, request: Request) -> Response {
        let (head, body) = request.into_parts();
        let asked = body.collect(MOST).await.unwrap();
        let target = head.uri.to_string();
        let question = String::from_utf8_lossy(&asked).into_owned();
        self.asked.send_modify(|asked| *asked += 1);
        self.held.subscribe().wait_for(|held| !held).await.unwrap();
        let response = self.service.handle(connection, Request::from_parts(head, Body::full(asked))).await;
        let (mut head, body) = response.into_parts();
        let answered = self.changed(String::from_utf8_lossy(&body.collect(MOST).await.unwrap()).into_owned());
        head.headers.remove("content-length");
        let said = Said { target, asked: question, answered: answered.clone() };
        self.said.send_modify(|all| all.push(said));
        Response::from_parts(head, Body::from(answered))
    }
}

const MOST: usize = 16 << 20;
