//! A14: a thousand clients that hold on to a connection without doing anything with it, in every way there is.

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval};
use tokio_rustls::TlsConnector;

use crate::bystander::{Bystander, beside_within};
use crate::http2::frames::{END_HEADERS, HEADERS, frame, get, head, opening};
use crate::memory::{resident_mib, settled_mib};
use crate::report::Report;
use crate::site::Site;

/// Holds on until it is cut.
type Held = Pin<Box<dyn Future<Output = ()>>>;

/// A way to be slow, on a listener of its own, so that its connections can be counted.
struct Way {
    listener: &'static str,
    tls: bool,
    /// How many at once.
    count: usize,
    /// When they are all to be gone.
    limit: Duration,
    hold: fn(TcpStream, TlsConnector) -> Held,
}

const WAYS: &[Way] = &[
    Way {
        listener: "nothing-said",
        tls: false,
        count: MANY,
        limit: FIRST_BYTE,
        hold: |stream, _| Box::pin(wait(stream, "", None)),
    },
    Way {
        listener: "slow-head",
        tls: false,
        count: MANY,
        limit: HEAD,
        hold: |stream, _| Box::pin(wait(stream, "GET /public HTTP/1.1\r\nHost: a.test\r\nX: ", Some("y"))),
    },
    Way {
        listener: "slow-request-line",
        tls: false,
        count: MANY,
        limit: HEAD,
        hold: |stream, _| Box::pin(wait(stream, "GET /public/", Some("y"))),
    },
    Way {
        listener: "slow-body",
        tls: false,
        count: MANY,
        limit: BODY,
        hold: |stream, _| {
            Box::pin(wait(stream, "POST /public HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n", Some("y")))
        },
    },
    Way {
        listener: "slow-chunks",
        tls: false,
        count: MANY,
        limit: BODY,
        hold: |stream, _| {
            Box::pin(wait(
                stream,
                "POST /public HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n",
                Some("1\r\ny\r\n"),
            ))
        },
    },
    Way {
        listener: "slow-read",
        tls: false,
        count: FEWER,
        limit: BODY,
        hold: |stream, _| Box::pin(ask_and_sit(stream, "GET /public?bytes=8388608 HTTP/1.1\r\nHost: a.test\r\n\r\n")),
    },
    Way {
        listener: "h2-nothing-said",
        tls: true,
        count: FEW,
        limit: IDLE,
        hold: |stream, connector| Box::pin(h2(stream, connector, Vec::new())),
    },
    Way {
        listener: "h2-no-request",
        tls: true,
        count: FEW,
        limit: IDLE,
        hold: |stream, connector| Box::pin(h2(stream, connector, opening(&[]))),
    },
    Way {
        listener: "h2-half-a-head",
        tls: true,
        count: FEW,
        limit: IDLE,
        hold: |stream, connector| {
            Box::pin(h2(stream, connector, [opening(&[]), frame(HEADERS, 0, 1, &head("GET", "/public"))].concat()))
        },
    },
    Way {
        listener: "h2-no-body",
        tls: true,
        count: FEW,
        limit: BODY_AND_IDLE,
        hold: |stream, connector| {
            Box::pin(h2(
                stream,
                connector,
                [opening(&[]), frame(HEADERS, END_HEADERS, 1, &head("POST", "/public"))].concat(),
            ))
        },
    },
    // CVE-2019-9517, CVE-2019-9511
    Way {
        listener: "h2-no-window",
        tls: true,
        count: FEW,
        limit: BODY,
        hold: |stream, connector| {
            let gets: Vec<u8> = (0..5).flat_map(|n| get(2 * n + 1, "/public?bytes=1048576")).collect();
            Box::pin(h2(stream, connector, [opening(&[(4, 0)]), gets].concat()))
        },
    },
];

/// By themselves, and first: while thousands of others come these would leave before the last of them is there.
const HELLOS: &[Way] = &[
    Way {
        listener: "stalled-hello",
        tls: true,
        count: MANY,
        limit: HANDSHAKE,
        hold: |stream, _| Box::pin(wait(stream, "\x16\x03\x01\x02\x00\x01", None)),
    },
    Way {
        listener: "slow-hello",
        tls: true,
        count: MANY,
        limit: HANDSHAKE,
        hold: |stream, _| Box::pin(wait(stream, "\x16\x03\x01\x02\x00\x01", Some("\x01"))),
    },
];

pub async fn check(report: Report) {
    let listeners: String = HELLOS
        .iter()
        .chain(WAYS)
        .map(|way| {
            let tls = if way.tls { "tls = { certificate = \"tls.crt\", key = \"tls.key\" }\n" } else { "" };
            format!("[listen.{}]\naddress = \"127.0.0.1:0\"\n{tls}", way.listener)
        })
        .collect();
    let site = Site::with(&format!("{LIMITS}\n{listeners}"), |plan| plan).await;
    readers(&report).await;
    let local = tokio::task::LocalSet::new();
    let seen = local
        .run_until(beside_within(MOST_MIB, &report, "A14", "slow clients", &site, async {
            let hellos = hold_all(&site, HELLOS).await;
            [hellos, hold_all(&site, WAYS).await].concat()
        }))
        .await;
    for (way, seen) in HELLOS.iter().chain(WAYS).zip(seen) {
        let all = format!("all of {} gone within {:?}", way.count, way.limit + MARGIN);
        let met = seen.most >= way.count * 9 / 10 && seen.gone.is_some_and(|gone| gone <= way.limit + MARGIN);
        let gone = seen
            .gone
            .map_or_else(|| "are still there".to_owned(), |gone| format!("gone after {:.1} s", gone.as_secs_f64()));
        report.row("A14", way.listener, all, format!("{} at once, {gone}", seen.most), met);
    }
}

/// What one client that does not read may cost is what is kept for it, not what it asked for.
async fn readers(report: &Report) {
    let site = Site::start().await;
    let (pid, at) = (site.world.claviger.id(), site.world.at);
    drop(Bystander::with(SOME, at).await);
    let before = resident_mib(pid);
    let mut held = Vec::new();
    for _ in 0..FEWER {
        let mut stream = connect(Ipv4Addr::LOCALHOST, at).await.expect("a connection");
        let request = b"GET /public?bytes=8388608 HTTP/1.1\r\nHost: a.test\r\n\r\n";
        stream.write_all(request).await.expect("it is read");
        held.push(stream);
    }
    let each = (settled_mib(pid).await - before) * 1024.0 / held.len() as f64;
    let name = format!("{FEWER} clients that do not read 8 MiB: memory for each");
    report.row("A14", name, format!("less than {READER_KIB} KiB"), format!("{each:.0} KiB"), each < READER_KIB);
}

/// What a listener's gauge said.
#[derive(Clone, Copy, Default)]
struct Seen {
    most: usize,
    /// When there were the most.
    full: Duration,
    /// How long after that there were none.
    gone: Option<Duration>,
}

/// Opens all at once, and counts what claviger holds until all are gone or should be.
async fn hold_all(site: &Site, ways: &[Way]) -> Vec<Seen> {
    let begun = Instant::now();
    let mut held = JoinSet::new();
    let connector = site.connector(b"h2");
    for (n, way) in ways.iter().enumerate() {
        let at = site.world.claviger.address(way.listener).await;
        for m in 0..way.count {
            // from many addresses, so that no limit by address is what is measured
            let from = Ipv4Addr::new(127, 1, n as u8 + 1, (m % 250) as u8 + 1);
            let (connector, hold) = (connector.clone(), way.hold);
            held.spawn_local(async move {
                if let Ok(stream) = connect(from, at).await {
                    hold(stream, connector).await;
                }
            });
        }
    }
    let mut seen = vec![Seen::default(); ways.len()];
    let last = ways.iter().map(|way| way.limit).max().unwrap() + 2 * MARGIN;
    let mut beat = interval(BEAT);
    while begun.elapsed() < last && seen.iter().any(|seen| seen.gone.is_none()) {
        beat.tick().await;
        let metrics = site.world.admin("/metrics").await;
        for (way, seen) in ways.iter().zip(&mut seen) {
            let name = format!("claviger_connections{{listener=\"{}\"}} ", way.listener);
            let open =
                metrics.text().lines().find_map(|line| line.strip_prefix(&*name)?.parse::<f64>().ok()).unwrap_or(0.0)
                    as usize;
            if open > seen.most {
                (seen.most, seen.full) = (open, begun.elapsed());
            }
            if open == 0 && seen.most > 0 && seen.gone.is_none() {
                seen.gone = Some(begun.elapsed() - seen.full);
            }
        }
    }
    seen
}

pub async fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4096)?;
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(to).await
}

/// Says so much, and then a little each second, until the other side has had enough.
async fn wait(mut stream: impl AsyncRead + AsyncWrite + Unpin, first: &str, drip: Option<&str>) {
    if stream.write_all(first.as_bytes()).await.is_err() {
        return;
    }
    let mut beat = interval(DRIP);
    let mut scrap = [0; 4096];
    loop {
        tokio::select! {
            read = stream.read(&mut scrap) => if !matches!(read, Ok(1..)) { return },
            _ = beat.tick() => if let Some(drip) = drip && stream.write_all(drip.as_bytes()).await.is_err() { return },
        }
    }
}

/// Asks, and never reads what comes.
async fn ask_and_sit(mut stream: TcpStream, request: &str) {
    let _ = stream.write_all(request.as_bytes()).await;
    std::future::pending::<()>().await;
}

/// Over TLS and HTTP/2: says so much, reads what comes and acknowledges nothing.
async fn h2(stream: TcpStream, connector: TlsConnector, first: Vec<u8>) {
    let name = rustls::pki_types::ServerName::try_from("apps.test").unwrap();
    if let Ok(mut stream) = connector.connect(name, stream).await {
        let _ = stream.write_all(&first).await;
        let mut scrap = [0; 4096];
        while matches!(stream.read(&mut scrap).await, Ok(1..)) {}
    }
}

/// Shorter than the defaults, so that all of it takes a minute.
const LIMITS: &str = r#"
[limits]
handshake = "12s"
first_byte = "15s"
head = "10s"
body = "20s"
idle = "30s"
"#;
const HANDSHAKE: Duration = Duration::from_secs(12);
const FIRST_BYTE: Duration = Duration::from_secs(15);
const HEAD: Duration = Duration::from_secs(10);
const BODY: Duration = Duration::from_secs(20);
const IDLE: Duration = Duration::from_secs(30);
/// The request ends first, and then the connection it was on.
const BODY_AND_IDLE: Duration = Duration::from_secs(50);

const MANY: usize = 1_000;
/// Not a thousand: each fills two sockets' buffers with some MiB, of which a system has only so many.
const FEWER: usize = 100;
const FEW: usize = 200;
/// What reaches claviger late on a busy machine counts from then on.
const MARGIN: Duration = Duration::from_secs(30);
const BEAT: Duration = Duration::from_millis(500);
/// Requests after which what is made once has been made.
const SOME: usize = 300;
const DRIP: Duration = Duration::from_secs(1);
/// What is read ahead from the upstream, and what waits to be written.
const READER_KIB: f64 = 384.0;
/// Some 40 KiB for each of the 8,100 connections that are held.
const MOST_MIB: f64 = 320.0;
