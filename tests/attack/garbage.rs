//! Bytes that mean nothing, at every port: never more than a closed connection.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::bystander::beside;
use crate::report::Report;
use crate::site::Site;

/// Every port that the binary can have, all in one process.
const OTHER_SIDE: &str = r#"
[provider]
address = "127.0.0.1:0"
issuer = "http://127.0.0.1:9400"
users = "users.toml"

[authority]
address = "127.0.0.1:0"
account = "123456789012"
region = "eu-west-1"
"#;

pub async fn check(report: Report) {
    let site = Site::with(OTHER_SIDE, |plan| plan).await;
    let mut random = fastrand::Rng::with_seed(SEED);
    for listener in ["main", "secure", "admin", "provider", "authority"] {
        let at = site.world.claviger.address(listener).await;
        let (closed, held, served) = beside(&report, "-", &format!("garbage at {listener}"), &site, async {
            let (mut closed, mut held, mut served) = (0, 0, 0);
            for n in 0..TIMES {
                match throw(at, &garbage(&mut random, n)).await {
                    Some(answer) if answer.windows(12).any(|text| text == b"HTTP/1.1 200") => served += 1,
                    Some(_) => closed += 1,
                    None => held += 1,
                }
            }
            (closed, held, served)
        })
        .await;
        let seen = format!("{closed} closed, {held} held open, {served} taken for requests (seed {SEED})");
        report.row("-", format!("garbage at {listener}"), format!("{TIMES} closed"), seen, held == 0 && served == 0);
    }
    let alive = std::path::Path::new(&format!("/proc/{}/exe", site.world.claviger.id())).exists();
    report.equal("-", "the process lives", true, alive);
    let panics = site.world.claviger.log().iter().filter(|line| line.contains("panicked")).count();
    report.equal("-", "panics in its log", 0, panics);
}

/// Writes, says that it has said all, and reads to the end. `None` where that does not come.
async fn throw(at: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(at).await.ok()?;
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    timeout(PATIENCE, async { while matches!(stream.read_buf(&mut answer).await, Ok(1..)) {} }).await.ok()?;
    Some(answer)
}

/// Noise, with something in front of every other piece that a parser would follow for a while.
fn garbage(random: &mut fastrand::Rng, n: usize) -> Vec<u8> {
    let length = if n.is_multiple_of(10) { 200_000 } else { random.usize(0..3000) };
    let noise = std::iter::repeat_with(|| random.u8(..)).take(length);
    STARTS[n % STARTS.len()].iter().copied().chain(noise).collect()
}

const STARTS: &[&[u8]] = &[
    b"",
    b"GET / HTTP/1.1\r\nHost: a.test\r\nX: ",
    b"",
    b"GET /",
    b"",
    b"POST /public HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"\r\n\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x16\x03\x03\x40\x00",
    b"\x15\x03\x03\x00\x02",
    b"\x80\x2e\x01\x00\x02", // SSLv2
    b"PROXY TCP4 203.0.113.7 127.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: a.test\r\nX: ",
    b"\r\n\r\n\0\r\nQUIT\n",
    b"\x05\x01\x00",
    b"SSH-2.0-x\r\n",
];

const TIMES: usize = 200;
const SEED: u64 = 4;
/// What is shut is closed at once; only what hangs runs into it.
const PATIENCE: Duration = Duration::from_secs(20);
