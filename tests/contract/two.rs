//! Two instances on one Redis: one login for both, and one of them may die under load.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{COOKIE, HOST};
use http::{Method, Request};
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

use crate::agent::{Agent, Answer};
use crate::keycloak::{ALICE, CLIENT_ID, CLIENT_SECRET, Keycloak, SHARED_REALM, sign_in};
use crate::process::{Running, free_port};
use crate::redis::{PASSWORD, Redis};
use crate::report::Report;

/// The instances, by their ports; people know both by the first's.
struct Pair {
    public: u16,
    ports: [u16; 2],
    instances: [Option<Running>; 2],
    configs: [PathBuf; 2],
    logs: PathBuf,
}

/// Everything about sessions that two instances share.
pub(crate) async fn check(keycloak: &Keycloak, kept: &Path, report: &mut Report) {
    let folder = kept.join("two");
    let mut redis = Redis::start(folder.join("redis")).await;
    let app = app().await;
    let mut pair = Pair::new(keycloak, &redis, app, &folder);
    keycloak.make_shared_realm(&pair.url()).await;
    for number in [0, 1] {
        pair.start(number).await;
    }

    let mut people = Vec::new();
    for _ in 0..PEOPLE {
        people.push(pair.log_in().await.expect("Keycloak and claviger let Alice in"));
    }
    let one = people.first().expect("somebody").clone();
    report.equal("after a login on one instance, the other answers", 200, pair.get(1, "/", &one).await);

    die_under_load(&mut pair, keycloak, &people, report).await;
    pair.start(0).await;
    cut(&pair, report).await;
    outage(&pair, &mut redis, &one, report).await;
}

/// A dozen clients, each going on to the other instance when one does not answer, as a balancer does.
async fn die_under_load(pair: &mut Pair, keycloak: &Keycloak, people: &[Agent], report: &mut Report) {
    let (killed, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let [refused, cut_off, wrong] = std::array::from_fn(|_| Arc::new(AtomicU32::new(0)));
    let sent = Arc::new(watch::Sender::new(0_u32));
    let mut clients = Vec::new();
    for (number, person) in people.iter().take(CLIENTS).cloned().enumerate() {
        let (killed, done) = (Arc::clone(&killed), Arc::clone(&done));
        let (sent, refused) = (Arc::clone(&sent), Arc::clone(&refused));
        let (cut_off, wrong) = (Arc::clone(&cut_off), Arc::clone(&wrong));
        let (ports, public) = (pair.ports, pair.public);
        clients.push(tokio::spawn(async move {
            let mut turn = number;
            while !done.load(Ordering::Relaxed) {
                turn += 1;
                let port = if killed.load(Ordering::Relaxed) { ports[1] } else { ports[turn % 2] };
                sent.send_modify(|sent| *sent += 1);
                match ask(port, public, "/", &person).await {
                    Ok(200) => {}
                    Ok(status) => {
                        println!("     a request under load was answered {status}");
                        wrong.fetch_add(1, Ordering::Relaxed);
                    }
                    // nobody was there to take it: a balancer sends it to the other
                    Err(Missed::Refused) => drop(refused.fetch_add(1, Ordering::Relaxed)),
                    Err(Missed::CutOff) if port == ports[0] => drop(cut_off.fetch_add(1, Ordering::Relaxed)),
                    Err(Missed::CutOff) => drop(wrong.fetch_add(1, Ordering::Relaxed)),
                }
            }
        }));
    }
    let renewed = async |pair: &Pair, times: usize| {
        let enough =
            |sent: &u32| sent.is_multiple_of(100) && pair.told("a session's tokens were renewed") >= times * CLIENTS;
        let mut asked = sent.subscribe();
        let in_time = tokio::time::timeout(PATIENCE, asked.wait_for(enough)).await;
        drop(in_time.expect("tokens are renewed under load").expect("the clients ask on"));
    };
    renewed(pair, 1).await;
    pair.kill(0);
    killed.store(true, Ordering::Relaxed);
    renewed(pair, 3).await;
    done.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("a client ends");
    }
    let count = |number: &AtomicU32| number.load(Ordering::Relaxed);
    report.row(
        "requests under load, one instance killed half way",
        "at least 1,000",
        *sent.borrow(),
        *sent.borrow() >= 1_000,
    );
    report.equal("of them answered wrongly, or not by the one that lives", 0, count(&wrong));
    let clients = u32::try_from(CLIENTS).unwrap_or(u32::MAX);
    report.row(
        "of them cut off in flight on the killed one",
        format!("at most {CLIENTS}, one a client"),
        format!("{} (and {} found nobody there)", count(&cut_off), count(&refused)),
        count(&cut_off) <= clients,
    );
    let mut lost = 0;
    for person in people {
        lost += u32::from(pair.get(1, "/", person).await != 200);
    }
    report.equal("sessions lost, of those of all who logged in", 0, lost);
    // the realm revokes a refresh token that comes twice, and the login with it
    let reused = keycloak.log().matches("REFRESH_TOKEN_ERROR").count();
    report.equal("refresh tokens used twice, at tokens of 15 s", 0, reused);
}

async fn cut(pair: &Pair, report: &mut Report) {
    let mut alice = pair.log_in().await.expect("Alice comes in again");
    let mut stream = TcpStream::connect(("127.0.0.1", pair.ports[1])).await.expect("the instance listens");
    let cookies = alice.cookies("127.0.0.1").join("; ");
    let request = format!("GET /stream HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nCookie: {cookies}\r\n\r\n", pair.public);
    stream.write_all(request.as_bytes()).await.expect("the request is sent");
    let mut buffer = [0; 4096];
    let begun = stream.read(&mut buffer).await.unwrap_or_default();
    let has_begun = String::from_utf8_lossy(&buffer[..begun]).starts_with("HTTP/1.1 200");
    let page = alice.open(&pair.page("/.claviger/logout")).await.expect("the logout page");
    let left = Instant::now();
    let form = page.form().expect("the logout has a form");
    alice.submit(&form, |_| true).await.expect("the logout is taken");
    let until_cut = async { while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {} };
    let was_cut = tokio::time::timeout(Duration::from_secs(30), until_cut).await.is_ok();
    let took = left.elapsed();
    let met = has_begun && was_cut && took < Duration::from_secs(5);
    report.row("a logout on one cuts a stream on the other after", "less than 5 s", format!("{took:.2?}"), met);
}

async fn outage(pair: &Pair, redis: &mut Redis, known: &Agent, report: &mut Report) {
    for number in [0, 1] {
        pair.get(number, "/", known).await;
    }
    redis.stop();
    // until both have noticed, and once more
    let (mut worst, begun) = (200, Instant::now());
    let mut noticed = false;
    while !noticed && begun.elapsed() < PATIENCE {
        noticed = pair.told("out of step with redis") == 2;
        worst = worst.max(pair.get(0, "/", known).await).max(pair.get(1, "/", known).await);
    }
    report.equal("both notice that Redis is gone", true, noticed);
    report.equal("without Redis, a session at hand gets on both", 200, worst);
    let login = pair.log_in().await.err().unwrap_or(200);
    report.equal("without Redis, a login gets", 503, login);
    redis.start_again().await;
    let back = Instant::now();
    let mut login = pair.log_in().await.err();
    while login.is_some() && back.elapsed() < Duration::from_secs(30) {
        login = pair.log_in().await.err();
    }
    report.equal("with Redis back, a login gets", 200, login.unwrap_or(200));
    report.equal("and a session of before gets", 200, pair.get(1, "/", known).await);
}

impl Pair {
    fn new(keycloak: &Keycloak, redis: &Redis, app: SocketAddr, folder: &Path) -> Self {
        let ports = [free_port(), free_port()];
        let public = ports[0];
        let issuer = keycloak.issuer(SHARED_REALM);
        let configs = ports.map(|port| {
            let file = folder.join(format!("{port}.toml"));
            let text = format!(
                r#"
state_dir = "{state}"

[log]
level = "debug"

[listen.main]
address = "127.0.0.1:{port}"
public_url = "http://127.0.0.1:{public}"

[identity.shared]
kind = "oidc"
issuer = "{issuer}"
client_id = "{CLIENT_ID}"
client_secret = {{ env = "OIDC_SECRET" }}

[keys]
session = [{{ env = "SESSION_KEY" }}]
cookie = [{{ env = "COOKIE_KEY" }}]
{session}
[route.app]
host = "127.0.0.1"
upstream = "http://{app}"
allow = "signed-in"
inject = {{ kind = "headers" }}
"#,
                state = folder.join(format!("state-{port}")).display(),
                session = redis.section(),
            );
            fs::write(&file, text).expect("the folder is writable");
            file
        });
        Self { public, ports, instances: [None, None], configs, logs: folder.to_owned() }
    }

    /// How often the instances have said so, since each was started last.
    fn told(&self, what: &str) -> usize {
        let logs = [0, 1].map(|number| self.logs.join(format!("claviger-{number}.log"))).into_iter();
        logs.map(|log| fs::read_to_string(log).unwrap_or_default().matches(what).count()).sum()
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.public)
    }

    fn page(&self, path: &str) -> Url {
        Url::parse(&format!("{}{path}", self.url())).expect("a URL")
    }

    async fn start(&mut self, number: usize) {
        let port = self.ports[number];
        let mut process =
            Running::start(&format!("claviger-{number}"), env!("CARGO_BIN_EXE_claviger"), &self.logs, |command| {
                let keys = [
                    ("OIDC_SECRET", CLIENT_SECRET),
                    ("REDIS_PASSWORD", PASSWORD),
                    ("SESSION_KEY", "the contract's key for its sessions"),
                    ("COOKIE_KEY", "the contract's key for its cookies"),
                ];
                command.arg("serve").arg(&self.configs[number]).envs(keys)
            });
        process.ready(START, async || ask(port, self.public, "/.claviger/me", &Agent::new()).await.is_ok()).await;
        self.instances[number] = Some(process);
    }

    /// As by `kill -9`.
    fn kill(&mut self, number: usize) {
        self.instances[number].take().expect("it runs").kill();
    }

    /// Alice logs in at the first instance; if she does not come in, what she got.
    async fn log_in(&self) -> Result<Agent, u16> {
        let mut alice = Agent::new();
        let begin = self.page("/.claviger/login");
        let page = alice.follow(&begin, |_| false).await.map_err(|_| 0_u16)?;
        if page.form().is_none() {
            return Err(page.status.as_u16());
        }
        let answer: Answer = sign_in(&mut alice, &page, ALICE, |_| false).await;
        if answer.status == 200 { Ok(alice) } else { Err(answer.status.as_u16()) }
    }

    async fn get(&self, number: usize, path: &str, person: &Agent) -> u16 {
        ask(self.ports[number], self.public, path, person).await.unwrap_or(0)
    }
}

/// Why there is no answer.
enum Missed {
    Refused,
    CutOff,
}

/// One request of a script with a person's cookies, to the instance at `port`.
async fn ask(port: u16, public: u16, path: &str, person: &Agent) -> Result<u16, Missed> {
    let request = Request::builder().method(Method::GET).uri(format!("http://127.0.0.1:{port}{path}"));
    let request = request.header(HOST, format!("127.0.0.1:{public}")).header("accept", "*/*");
    let request = request.header(COOKIE, person.cookies("127.0.0.1").join("; "));
    let request = request.body(Full::<Bytes>::default()).expect("a request");
    match Agent::new().send(request).await {
        Ok(answer) => Ok(answer.status.as_u16()),
        Err(error) if error.contains("refused") => Err(Missed::Refused),
        Err(_) => Err(Missed::CutOff),
    }
}

/// An app that answers, and at `/stream` never ends.
pub(crate) async fn app() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let at = listener.local_addr().expect("a listener has an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    head.extend_from_slice(&buffer[..read]);
                    if !head.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    let answer: &[u8] = match head.starts_with(b"GET /stream") {
                        true => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
                        false => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                    };
                    head.clear();
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    at
}

/// Each logs in by themselves.
const PEOPLE: usize = 25;
const CLIENTS: usize = 12;
/// For three renewals of tokens of 15 s, and more.
const PATIENCE: Duration = Duration::from_secs(120);
const START: Duration = Duration::from_secs(30);
