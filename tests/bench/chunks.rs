//! Uploads whose chunks are signed anew: what a gigabyte costs, and what stays in memory.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::claviger::Claviger;
use crate::load::{cpu_seconds, peak_memory_mib};
use crate::table::{Goal, Row, Table};

/// 5 GiB in chunks of 64 KiB, as an SDK over plain http sends them, to a route that signs for S3.
pub(crate) async fn rows(claviger: &Claviger, table: &mut Table) {
    let header = claviger.cookie(&claviger.log_in().await, false);
    let group = claviger.process.pid();
    println!("5 GiB in signed chunks");
    let before = cpu_seconds(group);
    upload(claviger.url.trim_start_matches("http://"), &header);
    let cpu = cpu_seconds(group) - before;
    table.add(Row::told("signed chunks, GB per cpu-s", CHUNKS as f64 * CHUNK as f64 / 1e9 / cpu));
    table.add(Row::alone("5 GiB in chunks, peak MiB", peak_memory_mib(group), Goal { must: 64.0, aim: 32.0 }));
}

/// The signatures in it are nobody's: without a check of the client's, claviger takes them out and makes its own.
fn upload(authority: &str, header: &str) {
    let signature = "0".repeat(64);
    let line = |length: usize| format!("{length:x};chunk-signature={signature}\r\n");
    let mut chunk = line(CHUNK).into_bytes();
    chunk.resize(chunk.len() + CHUNK, b'x');
    chunk.extend_from_slice(b"\r\n");
    let last = format!("{}\r\n", line(0));
    let (framed, plain) = (CHUNKS * chunk.len() + last.len(), CHUNKS * CHUNK);
    let head = format!(
        "PUT /upload/chunks HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {framed}\r\nContent-Encoding: aws-chunked\r\n\
         X-Amz-Content-Sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD\r\nX-Amz-Decoded-Content-Length: {plain}\r\n{header}\r\n\
         Connection: close\r\n\r\n"
    );
    let mut stream = TcpStream::connect(authority).expect("the proxy listens");
    stream.write_all(head.as_bytes()).expect("the proxy takes the head");
    for _ in 0..CHUNKS {
        stream.write_all(&chunk).expect("the proxy takes the body");
    }
    stream.write_all(last.as_bytes()).expect("the proxy takes the body");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the proxy answers");
    // the sink says how many bytes came: the content, and frames of ours around it
    let came: usize = answer.rsplit("\r\n").next().and_then(|count| count.trim().parse().ok()).unwrap_or_default();
    assert!(answer.starts_with("HTTP/1.1 200") && came > plain, "the upload ended: {answer}");
}

/// The row's name, by which `--only` finds it.
pub(crate) const SIGNED_CHUNKS: &str = "signed chunks";
const CHUNK: usize = 64 * 1024;
/// 5 GiB of them.
const CHUNKS: usize = 80 * 1024;
