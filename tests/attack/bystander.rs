//! A client that has nothing to do with the attack, and how it fares meanwhile.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::memory::{Peak, resident_mib};
use crate::report::Report;
use crate::site::Site;

/// Asks for a small page again and again, on a thread of its own: what the attackers' side costs does not count.
pub struct Bystander {
    stop: Sender<()>,
    thread: JoinHandle<Fared>,
}

/// How it fared.
#[derive(Clone, Debug, Default)]
pub struct Fared {
    took: Vec<Duration>,
    failed: usize,
}

impl Bystander {
    /// One that asks until its end.
    pub fn at(address: SocketAddr) -> Self {
        Self::asking(usize::MAX, address)
    }

    fn asking(times: usize, address: SocketAddr) -> Self {
        let (stop, stopped) = channel();
        Self { stop, thread: std::thread::spawn(move || ask_on(times, address, &stopped)) }
    }

    pub fn end(self) -> Fared {
        drop(self.stop);
        self.thread.join().unwrap()
    }

    /// How one fares with so many requests.
    pub async fn with(times: usize, address: SocketAddr) -> Fared {
        let Self { stop, thread } = Self::asking(times, address);
        let fared = tokio::task::spawn_blocking(move || thread.join().unwrap()).await.unwrap();
        drop(stop);
        fared
    }
}

impl Fared {
    pub fn served(&self) -> usize {
        self.took.len()
    }

    pub fn failed(&self) -> usize {
        self.failed
    }

    pub fn p99(&self) -> Duration {
        let mut took = self.took.clone();
        took.sort();
        took.get(took.len().saturating_sub(1) * 99 / 100).copied().unwrap_or(Duration::MAX)
    }
}

/// Runs an attack, and adds how a bystander and the process's memory fared meanwhile.
pub async fn beside<T>(
    report: &Report,
    number: &'static str,
    name: &str,
    site: &Site,
    attack: impl Future<Output = T>,
) -> T {
    beside_within(MOST_MIB, report, number, name, site, attack).await
}

/// The same where the attack may cost so many MiB.
pub async fn beside_within<T>(
    most_mib: f64,
    report: &Report,
    number: &'static str,
    name: &str,
    site: &Site,
    attack: impl Future<Output = T>,
) -> T {
    let (pid, at) = (site.world.claviger.id(), site.world.at);
    let before = Bystander::with(CALM, at).await;
    let (held, peak, bystander) = (resident_mib(pid), Peak::watch(pid), Bystander::at(at));
    let outcome = attack.await;
    let (during, grown) = (bystander.end(), peak.end() - held);
    let most = before.p99() * 2 + FLOOR;
    let (now, then) = (ms(during.p99()), ms(before.p99()));
    let fared = format!("{now} (before {then}), {} served, {} failed", during.served(), during.failed());
    let well = during.served() > 0 && during.failed() == 0 && during.p99() <= most;
    report.row(number, format!("{name}: another's p99"), format!("at most {}, none failed", ms(most)), fared, well);
    let grew = format!("{grown:.1} MiB (from {held:.1})");
    let name = format!("{name}: memory grows by");
    report.row(number, name, format!("less than {most_mib} MiB"), grew, grown < most_mib);
    outcome
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// Request after request, with a little time between them.
fn ask_on(times: usize, address: SocketAddr, stopped: &Receiver<()>) -> Fared {
    let (mut fared, mut connection) = (Fared::default(), None);
    for _ in 0..times {
        if stopped.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout) {
            break;
        }
        let begun = Instant::now();
        match ask(&mut connection, address) {
            Some(()) => fared.took.push(begun.elapsed()),
            None => (fared.failed, connection) = (fared.failed + 1, None),
        }
    }
    fared
}

/// One request; `None` where it is not answered with 200.
fn ask(connection: &mut Option<TcpStream>, address: SocketAddr) -> Option<()> {
    if connection.is_none() {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        *connection = Some(stream);
    }
    let stream = connection.as_mut()?;
    stream.write_all(format!("GET /public/bystander HTTP/1.1\r\nHost: {address}\r\n\r\n").as_bytes()).ok()?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    while !answer.ends_with(b"\r\n\r\nok") {
        match stream.read(&mut piece).ok()? {
            0 => return None,
            length => answer.extend_from_slice(piece.get(..length)?),
        }
    }
    answer.starts_with(b"HTTP/1.1 200").then_some(())
}

const PAUSE: Duration = Duration::from_millis(2);
/// Requests that tell how one fares in peace.
const CALM: usize = 300;
const PATIENCE: Duration = Duration::from_secs(10);
/// Other programs share the machine.
const FLOOR: Duration = Duration::from_millis(250);
const MOST_MIB: f64 = 20.0;
