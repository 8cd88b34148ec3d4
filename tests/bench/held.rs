//! What a proxy holds on to: memory under a long upload, and under connections that do nothing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::load::{memory_mib, peak_memory_mib};

/// Puts `bytes` through a proxy, as fast as it takes them; the most memory the proxy ever had, in MiB.
pub(crate) fn upload(url: &str, header: &str, group: u32, bytes: u64) -> f64 {
    let (authority, path) = split(url);
    let mut stream = TcpStream::connect(authority).expect("the proxy listens");
    let head = format!(
        "PUT {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {bytes}\r\n{header}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("the proxy takes the head");
    let piece = vec![b'x'; PIECE];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(PIECE as u64);
        let sent = stream.write_all(&piece[..usize::try_from(now).expect("a piece fits")]);
        sent.expect("the proxy takes the body");
        left -= now;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the proxy answers");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(&bytes.to_string()), "the upload ended: {answer}");
    peak_memory_mib(group)
}

/// Opens `count` connections, asks once on each, and lets them be; the proxy's memory when it has settled, in MiB.
pub(crate) fn idle(url: &str, header: &str, group: u32, count: usize) -> f64 {
    let (authority, path) = split(url);
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n{header}\r\n\r\n");
    let mut answer = vec![0; 4096];
    let open = |i: usize| {
        let mut stream = TcpStream::connect(authority).unwrap_or_else(|error| panic!("connection {i}: {error}"));
        stream.write_all(request.as_bytes()).expect("the proxy takes the request");
        let read = stream.read(&mut answer).expect("the proxy answers");
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..read]));
        stream
    };
    let held: Vec<TcpStream> = (0..count).map(open).collect();
    let mut last = held.last().expect("there are some");
    last.set_read_timeout(Some(Duration::from_millis(500))).expect("a socket has a read timeout");
    let mut least = memory_mib(group);
    let begun = Instant::now();
    // what is given back is given back in seconds; the least seen is what it settles at
    while begun.elapsed() < SETTLED {
        assert!(last.read(&mut [0]).is_err(), "connections that are closed are not held");
        least = least.min(memory_mib(group));
    }
    least
}

fn split(url: &str) -> (&str, &str) {
    let rest = url.strip_prefix("http://").expect("a plain URL");
    rest.split_at(rest.find('/').expect("a path"))
}

const PIECE: usize = 256 * 1024;
const SETTLED: Duration = Duration::from_secs(20);
