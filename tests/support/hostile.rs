//! What attackers send, for tests that assert on it and for attacks that report on it.

/// A7: where a login must not lead, at a claviger on this port of 127.0.0.1.
pub fn login_targets(port: u16) -> Vec<String> {
    let of_port = [format!("http://127.0.0.1:{port}@evil.example/"), format!("http://127.0.0.1:{port}1/")];
    TARGETS.iter().map(|target| (*target).to_owned()).chain(of_port).collect()
}

const TARGETS: &[&str] = &[
    "//evil.example",
    "///evil.example",
    "////evil.example/%2e%2e",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r\n/evil.example",
    "/%09/evil.example",
    "/%0d%0aSet-Cookie:%20a=b",
    "/%2f%2fevil.example",
    "/%5cevil.example",
    "/.//evil.example",
    "/a/..//evil.example",
    "https:evil.example",
    "http:/evil.example",
    "http:///evil.example",
    "http://evil.example",
    "HTTP://EVIL.EXAMPLE",
    "https://evil.example/?http://127.0.0.1",
    "http://127.0.0.1.evil.example/",
    "http://127.0.0.1@evil.example/",
    "http://evil127.0.0.1/",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "?//evil.example",
    "\u{ff0f}\u{ff0f}evil.example",
    "",
    "evil.example",
];

/// A28: what an upstream must not set where claviger is on this port.
pub fn cookies_like_ours(port: u16) -> Vec<String> {
    vec![
        format!("claviger-{port}=stolen; Path=/"),
        format!("claviger-{port}-login-0a=x"),
        format!(" claviger-{port} =stolen"),
        format!("=claviger-{port}=stolen"),
        "claviger-1=stolen".to_owned(),
        "__Host-claviger=stolen; Path=/; Secure".to_owned(),
        "__Host-claviger-login-0a=x".to_owned(),
        "claviger-provider-1=stolen".to_owned(),
    ]
}

/// A28: what is no answer, or two.
pub const NO_ANSWERS: &[(&str, &str)] = &[
    ("another protocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"),
    ("a list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok"),
    ("a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok"),
    ("a signed length", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok"),
    (
        "a length and chunks",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    ("another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    ("an unasked 101", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
    ("a NUL in a header", "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nok"),
    ("a bare CR in a header", "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 2\r\n\r\nok"),
    ("a status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("a status of 099", "HTTP/1.1 099 OK\r\nContent-Length: 2\r\n\r\nok"),
    ("HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
];

/// A5, where `/public` is open to anyone, everything else needs a login, and nobody has one. `Ok` is the target that the
/// upstream sees; `Err(401)` is a path that needs a login, `Err(400)` one that servers read differently, and
/// `Err(404)` one that is claviger's own in another spelling.
pub const PATHS: &[(&str, Result<&str, u16>)] = &[
    ("/public", Ok("/public")),
    ("/public/", Ok("/public/")),
    ("/public/a/b?x=/../admin&y=%2f..", Ok("/public/a/b?x=/../admin&y=%2f..")),
    ("/public/...", Ok("/public/...")),
    ("/public/.well-known", Ok("/public/.well-known")),
    ("/%70ublic/x", Ok("/public/x")),
    ("/publi%63/%61%2Db%7e", Ok("/public/a-b~")),
    ("/public/%C3%A4", Ok("/public/%C3%A4")),
    ("/public/ä", Ok("/public/%C3%A4")),
    ("/public/a%20b%3fc", Ok("/public/a%20b%3Fc")),
    ("/public/a|b\"", Ok("/public/a%7Cb%22")),
    ("/admin", Err(401)),
    ("/admin?/public/", Err(401)),
    ("/admin?x=/public/x", Err(401)), // CVE-2025-54576
    ("/Public/x", Err(401)),
    ("/publicx", Err(401)),
    ("/public.", Err(401)),
    ("/public%20/x", Err(401)),
    ("/x/public/x", Err(401)),
    ("/%61dmin", Err(401)),
    // CVE-2026-33494, CVE-2026-40912, CVE-2023-33189
    ("/public/../admin", Err(400)),
    ("/public/..", Err(400)),
    ("/public/./x", Err(400)),
    ("/public/.", Err(400)),
    ("/public/%2e%2e/admin", Err(400)),
    ("/public/%2E./admin", Err(400)),
    ("/public/.%2e/admin", Err(400)),
    ("/public/..%2fadmin", Err(400)),
    ("/public%2f..%2fadmin", Err(400)),
    ("/public%2fadmin", Err(400)),
    ("/public/%252e%252e/admin", Err(400)),
    ("/public/%25%32%65%25%32%65/admin", Err(400)),
    ("/public/..;/admin", Err(400)),
    ("/public/..;a=b/admin", Err(400)),
    ("/public/;/../admin", Err(400)),
    ("/public/..%3b/admin", Err(400)),
    ("/public/%2e%2e;/admin", Err(400)),
    ("/public;/admin", Err(400)),
    ("/public/;x", Err(400)),
    ("/public/..\\admin", Err(400)),
    ("/public/..%5cadmin", Err(400)),
    ("/public/%5c../admin", Err(400)),
    ("/public\\..\\admin", Err(400)),
    ("//public/x", Err(400)),
    ("//admin", Err(400)),
    ("/public//x", Err(400)),
    ("/public//../admin", Err(400)),
    ("/./public/x", Err(400)),
    ("/admin%23/public", Err(400)), // CVE-2026-41059
    ("/public%00/x", Err(400)),
    ("/public/%0d%0aX:%20y", Err(400)),
    ("/public/%7f", Err(400)),
    ("/public/%", Err(400)),
    ("/public/%2", Err(400)),
    ("/public/%zz", Err(400)),
    ("/public/%u002e%u002e/admin", Err(400)),
    ("/public/%c0%ae%c0%ae/admin", Err(400)),
    ("/public/%e0%80%ae%e0%80%ae/admin", Err(400)),
    ("/public/%ff", Err(400)),
    ("/public/a?x=/../admin&y=%2f..", Ok("/public/a?x=/../admin&y=%2f..")),
    ("/PUBLIC/x", Err(401)),
    ("/public/..%2Fadmin", Err(400)),
    ("/admin#/public", Err(400)),
    ("/public/\u{ff0e}\u{ff0e}/admin", Ok("/public/%EF%BC%8E%EF%BC%8E/admin")),
    ("/.claviger/../admin", Err(404)),
    ("/%2eclaviger/me", Err(404)),
    ("/.CLAVIGER/me", Err(401)),
];

/// A6: everything by which a client could claim to be somewhere else, or to want something else.
pub const FORGED_ORIGIN: &[(&str, &str)] = &[
    ("x-forwarded-for", "203.0.113.7"),
    ("x-real-ip", "203.0.113.7"),
    ("x-client-ip", "203.0.113.7"),
    ("true-client-ip", "203.0.113.7"),
    ("forwarded", "for=203.0.113.7;host=evil.test;proto=https"),
    ("x-forwarded-host", "evil.test"),
    ("x-original-host", "evil.test"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-scheme", "https"),
    ("x-forwarded-port", "443"),
    ("x-forwarded-prefix", "/evil"),
    ("x-forwarded-uri", "/public"),
    ("x-original-uri", "/public"),
    ("x-original-url", "/public"),
    ("x-rewrite-url", "/public"),
    ("x-forwarded-method", "GET"),
    ("x-http-method-override", "GET"),
];

/// A29: a signature of the client's own, in every spelling.
pub const THEIRS: &[(&str, &str)] = &[
    ("authorization", "AWS4-HMAC-SHA256 Credential=THEIRS/20260101/eu-west-1/s3/aws4_request, Signature=00"),
    ("authorization", "Bearer theirs"),
    ("x-amz-date", "20000101T000000Z"),
    ("x_amz_date", "20000101T000000Z"),
    ("x-amz-security-token", "theirs"),
    ("x.amz.security.token", "theirs"),
    ("x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
    ("x_amz_content_sha256", "theirs"),
    ("x-amz-region-set", "*"),
];

/// A29: the same in a query.
pub const PRESIGNED: &str = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=THEIRS&x-amz-date=20000101T000000Z\
                         &X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00&X-Amz-Security-Token=theirs\
                         &X%2DAmz-Content-Sha256=theirs";
