//! Forms and queries at the STS and the OpenID provider: whatever is asked, nobody is given anything, and nothing breaks.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use claviger::authority::{Account, Authority, PolicyText};
use claviger::clock::SystemClock;
use claviger::fetch::Fetch;
use claviger::provider::{Client, Lifetimes, OpenIdProvider, Setup};
use claviger::secret::Secret;
use claviger::server::Handler;
use claviger::telemetry::Metrics;
use claviger::tls::Trust;
use claviger::users::Users;
use claviger::web::{Body, Connection};
use http::{Method, Request, StatusCode};

/// `<a byte> target LF body`, to a handler: the status, and what it said.
fn ask(handler: &dyn Handler, data: &[u8], targets: &[&str]) -> Option<(StatusCode, String)> {
    thread_local!(static RUNTIME: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"));
    let (choice, rest) = data.split_first()?;
    let text = String::from_utf8_lossy(rest);
    let (query, body) = text.split_once('\n').unwrap_or(("", &text));
    let target = targets[usize::from(*choice) / 2 % targets.len()];
    let target = if query.is_empty() { target.to_owned() } else { format!("{target}?{query}") };
    let method = if choice % 2 == 0 { Method::POST } else { Method::GET };
    let request = Request::builder().method(method).uri(target).header("host", "127.0.0.1:1");
    let request = request
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::full(body.as_bytes().to_vec()))
        .ok()?;
    let peer = "127.0.0.1:2".parse().expect("an address");
    let connection = Connection::new("fuzz".into(), peer, false);
    RUNTIME.with(|runtime| {
        runtime.block_on(async {
            let (head, body) = handler.handle(&connection, request).await.into_parts();
            let said = body.collect(1 << 20).await.expect("an answer is whole");
            Some((head.status, String::from_utf8_lossy(&said).into_owned()))
        })
    })
}

/// No form gives credentials, and what is answered is one XML document.
pub fn authority(data: &[u8]) {
    static AUTHORITY: LazyLock<Arc<Authority>> = LazyLock::new(|| {
        let mut account =
            Account::new("123456789012".parse().expect("an account"), "eu-west-1".parse().expect("a region"));
        let trust = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}}"#;
        // whoever is somebody may have it; nobody is
        let _ = account.add_role("open", PolicyText::Json(trust.to_owned()), Duration::from_secs(3600));
        account.add_user("ci", "AKIAIOSFODNN7EXAMPLE", Secret::new("a secret key")).expect("a user");
        account.set_verdict_token(Secret::new("verdict-token"));
        let fetch = Arc::new(Fetch::new(&Trust::system()));
        Authority::new(account, &fetch, Arc::new(SystemClock), &Metrics::new())
    });
    let Some((status, said)) = ask(&**AUTHORITY, data, &["/", "/verdict", "/x"]) else { return };
    assert!(status.is_client_error(), "{status}: {said}");
    assert!(!said.contains("SecretAccessKey") && !said.contains("SessionToken>"), "{said}");
    if said.starts_with("<?xml") {
        let body = said.split_once("?>").map_or("", |(_, body)| body);
        // XML 1.0 §2.2
        let control = |c: char| c < ' ' && !matches!(c, '\n' | '\t') || matches!(c, '\u{fffe}' | '\u{ffff}');
        assert!(!body.contains(control) && !body.contains("<!") && !body.contains("<?"), "{said:?}");
        assert_eq!(body.matches('<').count(), body.matches('>').count(), "{said:?}");
    }
}

pub fn authority_seeds() -> Vec<Vec<u8>> {
    super::texts(&[
        "\0Action=AssumeRole&Version=2011-06-15\nRoleArn=arn:aws:iam::123456789012:role/open&RoleSessionName=ab",
        "\0\nAction=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn:aws:iam::123456789012:role/open&RoleSessionName=ab&WebIdentityToken=a.b.c",
        "\0\nAction=GetCallerIdentity&Version=2011-06-15",
        "\0\nAction=%3Cscript%3E&Action=x&Version=%00&Tags.member.1.Key=a",
        "\u{2}\n{\"access_key_id\":\"AKIAIOSFODNN7EXAMPLE\",\"scope\":\"x\"}",
    ])
}

/// No form logs anybody in, no page repeats markup, and nothing is our fault.
pub fn provider(data: &[u8]) {
    static PROVIDER: LazyLock<Arc<OpenIdProvider>> = LazyLock::new(|| {
        let clock = Arc::new(SystemClock);
        let client = Client {
            redirect_uris: vec!["https://apps.test/.claviger/callback".parse().expect("a redirect")],
            ..Client::new("claviger")
        };
        let setup = Setup {
            issuer: "http://127.0.0.1:1".parse().expect("a URL"),
            users: Arc::new(Users::new(Vec::new(), Arc::clone(&clock) as _).expect("a directory")),
            clients: vec![client],
            lifetimes: Lifetimes::default(),
            signing_key: None,
        };
        OpenIdProvider::new(setup, clock).expect("a provider")
    });
    // `/sign-in` hashes a password, which takes its time on purpose
    let targets =
        ["/authorize", "/token", "/revoke", "/userinfo", "/sign-out", "/device-authorization", "/device", "/keys"];
    let Some((status, said)) = ask(&**PROVIDER, data, &targets) else { return };
    assert!(!status.is_server_error(), "{status}: {said}");
    assert!(!said.contains("\"access_token\"") && !said.contains("\"id_token\""), "{said}");
    assert!(!said.contains("<script") && !said.contains("onerror="), "{said}");
}

pub fn provider_seeds() -> Vec<Vec<u8>> {
    super::texts(&[
        "\u{1}client_id=claviger&redirect_uri=https%3A%2F%2Fapps.test%2F.claviger%2Fcallback&response_type=code&scope=openid&state=s&nonce=n&code_challenge=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA&code_challenge_method=S256\n",
        "\u{1}client_id=claviger&client_id=x&redirect_uri=https://evil.test&state=%3Cscript%3E\n",
        "\u{2}\ngrant_type=authorization_code&code=x&code_verifier=y&client_id=claviger&redirect_uri=z",
        "\u{2}\ngrant_type=refresh_token&refresh_token=x&client_id=claviger",
        "\u{8}\nid_token_hint=a.b.c&post_logout_redirect_uri=javascript:x&state=%0d%0a",
        "\u{a}\nclient_id=claviger&scope=openid",
        "\u{c}\nuser_code=AAAA-BBBB",
    ])
}
