//! Where the browser comes back to at the end of a login: a port of this machine that is open for that alone (RFC 8252 §7.3).

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use askama::Template;
use http::{Method, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use url::Url;

use crate::identity::Returned;
use crate::web::{self, Response};

/// The port.
#[derive(Debug)]
pub(super) struct Loopback {
    listener: TcpListener,
    address: SocketAddr,
}

/// Nobody came.
#[derive(Debug)]
pub(super) struct Nobody;

/// What the browser is told in the end.
#[derive(Debug)]
pub(super) enum Said {
    Welcome { name: String },
    Refused { reason: String },
}

#[derive(Template)]
#[template(path = "agent/done.html", config = ".askama.toml")]
struct Page<'a> {
    said: &'a Said,
}

/// A browser that has come back, and waits.
type Visit = (Returned, oneshot::Sender<Said>);

impl Loopback {
    pub(super) async fn open() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// Where it is. A provider that follows RFC 8252 has it registered once, for any port.
    pub(super) fn callback(&self) -> Url {
        let mut url = Url::parse("http://127.0.0.1/").unwrap_or_else(|_| unreachable!("it is a URL"));
        let _ = url.set_port(Some(self.address.port()));
        url.set_path(CALLBACK);
        url
    }

    /// Waits for the browser with this state, and tells it what `finish` makes of that. Who comes with another state is
    /// sent away and ends nothing.
    pub(super) async fn answer(self, state: &str, finish: impl AsyncFnOnce(Returned) -> Said) -> Result<(), Nobody> {
        let (visits, mut visited) = mpsc::channel::<Visit>(1);
        let site = Arc::new(Site { at: self.address, state: state.to_owned(), visits: Mutex::new(Some(visits)) });
        let mut connections = JoinSet::new();
        let accept = async {
            loop {
                let Ok((stream, _)) = self.listener.accept().await else { continue };
                let site = Arc::clone(&site);
                let service = service_fn(move |request| {
                    let site = Arc::clone(&site);
                    async move { Ok::<_, Infallible>(site.answer(request).await) }
                });
                connections.spawn(async move {
                    let mut builder = http1::Builder::new();
                    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).keep_alive(false);
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        };
        let visit = async {
            let came = tokio::time::timeout(PATIENCE, visited.recv()).await;
            let Ok(Some((returned, waiting))) = came else { return Err(Nobody) };
            let _ = waiting.send(finish(returned).await);
            Ok(())
        };
        let outcome = {
            let (accept, visit) = (pin!(accept), pin!(visit));
            tokio::select! {
                outcome = visit => outcome,
                () = accept => Err(Nobody),
            }
        };
        // the page is on its way
        let _ = tokio::time::timeout(HEAD, async { while connections.join_next().await.is_some() {} }).await;
        outcome
    }
}

struct Site {
    at: SocketAddr,
    state: String,
    visits: Mutex<Option<mpsc::Sender<Visit>>>,
}

impl Site {
    async fn answer(&self, request: http::Request<Incoming>) -> Response {
        // DNS rebinding (A22)
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        if host != Some(&*self.at.to_string()) {
            return text(StatusCode::FORBIDDEN, "");
        }
        if request.uri().path() != CALLBACK || request.method() != Method::GET {
            return text(StatusCode::NOT_FOUND, "There is nothing here.\n");
        }
        let query = request.uri().query().unwrap_or_default();
        let returned = Returned(form_urlencoded::parse(query.as_bytes()).into_owned().collect());
        // another page of this browser, or another program, ends no login of ours (A8)
        if returned.only("state") != Some(&*self.state) {
            return text(StatusCode::BAD_REQUEST, "No login with this state was begun here.\n");
        }
        let visits = self.visits.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (waiting, said) = oneshot::channel();
        let Some(visits) = visits else { return text(StatusCode::BAD_REQUEST, "This login has come back before.\n") };
        if visits.send((returned, waiting)).await.is_err() {
            return text(StatusCode::GONE, "Nobody waits for this login any more.\n");
        }
        let said = said.await.unwrap_or_else(|_| Said::Refused { reason: "the login was lost".to_owned() });
        let status = match &said {
            Said::Welcome { .. } => StatusCode::OK,
            Said::Refused { .. } => StatusCode::FORBIDDEN,
        };
        match (Page { said: &said }).render() {
            Ok(html) => web::page(status, html),
            Err(_) => text(status, "The login has come to its end.\n"),
        }
    }
}

fn text(status: StatusCode, text: &'static str) -> Response {
    web::answer(status, "text/plain; charset=utf-8", text)
}

const CALLBACK: &str = "/callback";
/// As long as a server's logins may take.
const PATIENCE: Duration = Duration::from_secs(600);
const HEAD: Duration = Duration::from_secs(5);
