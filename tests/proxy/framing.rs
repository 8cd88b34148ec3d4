//! What two readers could read differently ends at the door (A3).

use crate::support::client::raw;
use crate::support::wire::Wire;
use crate::support::world::{Plan, World};

const ROUTES: &str = r#"
[route.public]
host = ["a.test", "b.test"]
upstream = "{upstream}"
allow = "anyone"
"#;

/// Each hides a second request for another path: were it ever read, the upstream would see `/hidden`.
#[tokio::test]
async fn a3_ambiguous_requests_are_refused_and_end_the_connection() {
    let world = Plan::with_routes(ROUTES).start().await;
    let host = "Host: a.test\r\n";
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a.test\r\n\r\n";
    let length = hidden.len();
    let cases = [
        // whose host is it
        format!("GET / HTTP/1.1\r\n\r\n{hidden}"),
        format!("GET / HTTP/1.0\r\n\r\n{hidden}"),
        format!("GET / HTTP/1.1\r\n{host}{host}\r\n{hidden}"),
        format!("GET / HTTP/1.1\r\n{host}Host: b.test\r\n\r\n{hidden}"),
        format!("GET / HTTP/1.1\r\nHost:\r\n\r\n{hidden}"),
        format!("GET / HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n{hidden}"),
        format!("GET / HTTP/1.1\r\nHost: b.test@a.test\r\n\r\n{hidden}"),
        format!("GET / HTTP/1.1\r\nHost: a.test/../\r\n\r\n{hidden}"),
        format!("GET / HTTP/1.1\r\nHost: a.test\0b.test\r\n\r\n{hidden}"),
        format!("GET http://b.test/ HTTP/1.1\r\n{host}\r\n{hidden}"),
        format!("GET http://a.test:80/ HTTP/1.1\r\n{host}\r\n{hidden}"),
        format!("GET http://x@a.test/ HTTP/1.1\r\n{host}\r\n{hidden}"),
        format!("GET http://a.test/ HTTP/1.1\r\n\r\n{hidden}"),
        format!("GET ftp://a.test/ HTTP/1.1\r\n{host}\r\n{hidden}"),
        // what is it for
        format!("get / HTTP/1.1\r\n{host}\r\n{hidden}"),
        format!("Get / HTTP/1.1\r\n{host}\r\n{hidden}"),
        format!("GET * HTTP/1.1\r\n{host}\r\n{hidden}"),
        format!("GET a.test HTTP/1.1\r\n{host}\r\n{hidden}"),
        format!("GET  / HTTP/1.1\r\n{host}\r\n{hidden}"),
        format!("GET / HTTP/1.1 \r\n{host}\r\n{hidden}"),
        format!("GET / HTTP/1.2\r\n{host}\r\n{hidden}"),
        format!("GET / HTTP/9.1\r\n{host}\r\n{hidden}"),
        format!("GET /\r\n{host}\r\n{hidden}"),
        format!("GET /#/../ HTTP/1.1\r\n{host}\r\n{hidden}"), // CVE-2026-41059
        format!(" GET / HTTP/1.1\r\n{host}\r\n{hidden}"),
        // where does it end
        format!("POST / HTTP/1.1\r\n{host}Content-Length: +{length}\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: -1\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 0x10\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 1 0\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: {length}, 0\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: {length}\r\nContent-Length: 0\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 18446744073709551616\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length : {length}\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.0\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 0\r\nContent-Length: 0\r\n\r\n{hidden}"),
        format!(
            "POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
        ),
        // what belongs to what
        format!("GET / HTTP/1.1\n{host}\r\n{hidden}"),
        format!("GET / HTTP/1.1\r\n{host}X: y\n\r\n{hidden}"),
        format!("GET / HTTP/1.1\r\n{host}\n{hidden}"),
        format!("GET / HTTP/1.1\r\n{host}X: a\r\n b: c\r\n\r\n{hidden}"),
        format!("GET / HTTP/1.1\r\n Host: a.test\r\n\r\n{hidden}"),
        format!("GET / HTTP/1.1\r\n{host}X: a\0b\r\n\r\n{hidden}"),
        format!("GET / HTTP/1.1\r\n{host}X: a\rb: c\r\n\r\n{hidden}"),
        format!("GET / HTTP/1.1\r\n{host}X\r\n\r\n{hidden}"),
        format!("GET / HTTP/1.1\r\n{host}: x\r\n\r\n{hidden}"),
        format!("GET / HTTP/1.1\r\n{host}X\x7f: x\r\n\r\n{hidden}"),
    ];
    for case in &cases {
        let answer = raw(world.at, case).await;
        // hyper answers in the version it was asked in
        assert!(answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.0 400"), "{case:?}: {answer}");
        assert_eq!(answers(&answer), 1, "{case:?}: {answer}");
        assert_eq!(targets(&world), [""; 0], "{case:?}");
    }
}

/// A body that turns out not to be one breaks off; what follows it is no request.
#[tokio::test]
async fn a3_chunks_that_cannot_be_are_not_passed_on_as_a_whole_body() {
    let world = Plan::with_routes(ROUTES).start().await;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a.test\r\n\r\n";
    for chunks in [
        "fffffffffffffffff\r\nx",
        "-1\r\nx\r\n0\r\n\r\n",
        "+1\r\nx\r\n0\r\n\r\n",
        "0x1\r\nx\r\n0\r\n\r\n",
        "1\r\nxx\r\n0\r\n\r\n",
        "1\r\nx0\r\n\r\n",
        "\r\n0\r\n\r\n",
        ";a=b\r\n0\r\n\r\n",
        "1_0\r\nx\r\n0\r\n\r\n",
        "1\rx\r\n0\r\n\r\n",
        "1\nx\r\n0\r\n\r\n",
    ] {
        let request = format!("POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{hidden}");
        let answer = raw(world.at, request).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{chunks:?}: {answer}");
        assert_eq!(answers(&answer), 1, "{chunks:?}: {answer}");
        // the upstream may have seen a request begin, but none that is whole, and none that was hidden
        assert_eq!(world.upstream.seen().iter().filter(|seen| seen.target != "/" || !seen.broken).count(), 0);
    }
}

/// What has one reading passes, is framed anew, and leaves the connection in step.
#[tokio::test]
async fn a3_one_reading_passes_and_the_count_is_right() {
    let world = Plan::with_routes(ROUTES).start().await;
    let mut wire = Wire::to(world.at).await;
    for (n, (request, target, body)) in [
        ("GET /1 HTTP/1.1\r\nHost: a.test\r\n\r\n", "/1", ""),
        ("\r\nGET /2 HTTP/1.1\r\nhost:a.test\r\n\r\n", "/2", ""),
        ("GET http://a.test/3?q HTTP/1.1\r\nHost: A.test\r\n\r\n", "/3?q", ""),
        ("POST /4 HTTP/1.1\r\nHost: b.test\r\nContent-Length: 4\r\n\r\nGET ", "/4", "GET "),
        (
            "POST /5 HTTP/1.1\r\nHost: b.test\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nGET \r\n0\r\n\r\n",
            "/5",
            "GET ",
        ),
        ("GET /6 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nhi", "/6", "hi"),
    ]
    .into_iter()
    .enumerate()
    {
        wire.send(request).await;
        let head = wire.head().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{request:?}: {head}");
        let length = head.to_lowercase().split("content-length: ").nth(1).unwrap().split('\r').next().unwrap().parse();
        wire.bytes(length.unwrap()).await;
        let seen = world.upstream.seen();
        assert_eq!(seen.len(), n + 1, "{request:?}");
        assert_eq!((&*seen[n].target, &*seen[n].body), (target, body.as_bytes()));
        assert!(seen[n].all("transfer-encoding").len() + seen[n].all("content-length").len() <= 1, "{:?}", seen[n]);
    }
}

/// How many answers there are on the connection.
fn answers(text: &str) -> usize {
    text.matches("HTTP/1.").count()
}

fn targets(world: &World) -> Vec<String> {
    world.upstream.seen().into_iter().map(|seen| seen.target).collect()
}
