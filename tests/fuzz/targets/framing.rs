//! A3: where the scan of raw heads puts a request's end, hyper puts it too.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use claviger::server::framing::{Followed, Framing, Place};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;

pub fn run(data: &[u8]) {
    let (passed, scanned) = scan(data);
    let read = hyper_reads(&passed);
    assert!(read.len() <= scanned.len(), "hyper reads {} requests, the scan {}", read.len(), scanned.len());
    for (n, (hyper, scan)) in read.iter().zip(&scanned).enumerate() {
        if let Some(body) = hyper {
            assert_eq!(Some(body), scan.as_ref(), "the body of request {n}");
        }
    }
}

/// What is passed on, and the bodies in it: `None` for one that does not end.
fn scan(data: &[u8]) -> (Vec<u8>, Vec<Option<Vec<u8>>>) {
    let (mut framing, mut passed, mut bodies) = (Framing::default(), Vec::new(), Vec::new());
    let (mut body, mut heads) = (Vec::new(), 0);
    for byte in data {
        framing.decide(); // as an answer without an upgrade does
        match framing.place() {
            Place::Body(_) => body.push(*byte),
            Place::Chunk(left) if left > 2 => body.push(*byte),
            _ => {}
        }
        if let Followed::Refused(_) = framing.follow(&[*byte]) {
            passed.push(0); // as the stream does it
            break;
        }
        passed.push(*byte);
        let ended = matches!(framing.place(), Place::Between | Place::Undecided);
        if ended && framing.heads() > heads {
            heads = framing.heads();
            bodies.push(Some(std::mem::take(&mut body)));
        }
    }
    if framing.heads() > heads {
        bodies.push(None);
    }
    (passed, bodies)
}

/// The bodies of the requests that hyper hands out: `None` for one that breaks off.
fn hyper_reads(bytes: &[u8]) -> Vec<Option<Vec<u8>>> {
    thread_local!(static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime"));
    let seen: Rc<RefCell<Vec<Option<Vec<u8>>>>> = Rc::default();
    let service = service_fn(|request: Request<Incoming>| {
        let seen = Rc::clone(&seen);
        async move {
            let is_connect = request.method() == Method::CONNECT;
            let body = request.into_body().collect().await.ok().map(|body| body.to_bytes().to_vec());
            seen.borrow_mut().push(body);
            let mut response = Response::new(Empty::<Bytes>::new());
            if is_connect {
                *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            }
            Ok::<_, Infallible>(response)
        }
    });
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(1 << 20);
            client.write_all(bytes.get(..1 << 20).unwrap_or(bytes)).await.expect("it has room");
            client.shutdown().await.expect("it is open");
            let mut builder = http1::Builder::new();
            builder.header_read_timeout(None).half_close(true);
            let _ = builder.serve_connection(TokioIo::new(server), service).await;
        });
    });
    seen.take()
}

pub fn seeds() -> Vec<Vec<u8>> {
    super::texts(&[
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        "PUT / HTTP/1.0\r\ncontent-length: 3\r\nConnection: keep-alive\r\n\r\nabcGET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nX: y\r\n z\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\na",
        "CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\naGET / HTTP/1.1\r\n\r\n",
        "GET /a#b HTTP/1.1\nHost: a\r\n\r\n",
        "HEAD / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    ])
}
