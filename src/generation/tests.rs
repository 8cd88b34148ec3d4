use std::time::{Duration, SystemTime};

use async_trait::async_trait;

use super::*;
use crate::built_in::Surroundings;
use crate::clock::ManualClock;
use crate::config::Reading;
use crate::identity::{
    Claims, Evidence, EvidenceError, EvidenceSource, Holder, HolderId, IssuedKeys, Presented, SignedIn, Subject, Tokens,
};
use crate::jose::{Signer, SigningKeys};
use crate::session::{SessionSettings, Sessions};
use crate::telemetry::Metrics;
use crate::upstream::Upstreams;
use crate::web::Connection;

mod egress;
mod loading;

/// A config that has nothing wrong with it.
const GOOD: &str = r#"
    [listen.main]
    address = "127.0.0.1:8080"
    public_url = "http://127.0.0.1:8080"
    [route.wiki]
    host = "wiki.localhost"
    upstream = "http://127.0.0.1:3000"
    allow = "anyone"
    inject = { kind = "headers" }
"#;

fn parts() -> Parts {
    let trust = Trust::system();
    Parts {
        clock: Arc::new(ManualClock::at(1_000)),
        fetch: Arc::new(Fetch::new(&trust)),
        trust,
        upstreams: Arc::new(Upstreams::unchecked()),
        mint: None,
        metrics: Metrics::new(),
        identity_issuer: None,
        keys: IssuedKeys::passing(),
    }
}

fn config(text: &str) -> Config {
    let surroundings = Surroundings::new("/nowhere", Environment::default());
    Config::parse(text, surroundings).and_then(Reading::sound).unwrap()
}

fn errors(more: &str) -> Vec<String> {
    let errors = Generation::build(&config(&format!("{GOOD}\n{more}")), &parts()).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_sound_is_built() {
    let generation = Generation::build(&config(GOOD), &parts()).unwrap();
    let route = generation.routes.iter().next().unwrap();
    assert_eq!((&*route.name, route.preserve_host, route.injectors.len()), ("wiki", true, 1));
    // A1: what one route vouches for, no client sends on any route
    assert!(generation.vouched.has(&"x_forwarded_user".parse().unwrap()));
}

#[test]
fn contradictions_have_their_key_path() {
    const ROUTE: &str = "host = 'x.localhost'\nupstream = 'http://127.0.0.1:1'";
    const SIGV4: &str = "inject = { kind = 'sigv4', service = 's3', region = 'eu-west-1' }";
    for (more, expected) in [
        (format!("[route.x]\n{ROUTE}\nallow = 'signed-in'"), "route.x.allow: needs a login, but there is no section"),
        (
            format!("[route.x]\n{ROUTE}\nallow = 'anyone'\n{SIGV4}"),
            "route.x.inject: needs credentials; expected a `role`",
        ),
        (
            format!("[route.x]\n{ROUTE}\nallow = {{ subjects = ['corp/1'] }}"),
            "route.x.allow.subjects[0]: there is no [identity.corp]",
        ),
        (
            "[route.x]\nhost = 'x.localhost'\nallow = 'anyone'\nupstream = { url = 'https://127.0.0.1', ca = 'no.pem' }"
                .into(),
            "route.x.upstream.ca: ",
        ),
        (
            format!("[route.x]\n{ROUTE}\nallow = 'anyone'\nduration = '1h'"),
            "route.x.duration: is of no use without `role`",
        ),
        (
            "[route.x]\nhost = 'WIKI.localhost'\nupstream = 'http://127.0.0.1:1'\nallow = 'anyone'".into(),
            "route.x.host: ",
        ),
        ("[identity.corp]\nkind = 'oidcc'".into(), "identity.corp.kind: unknown kind `oidcc`; it may be one of: oidc"),
        (
            "[identity.devices]\nkind = 'mtls'".into(),
            "identity.devices: looks at client certificates, but no listener asks",
        ),
        (
            "[identity.devices]\nkind = 'mtls'\nsubject = 'name'".into(),
            "identity.devices.subject: unknown variant `name`",
        ),
        (
            "[identity.api]\nkind = 'bearer'\nissuer = 'https://idp'\naudiences = []".into(),
            "identity.api.audiences: must be one or more texts",
        ),
        ("[credentials.aws]\nregion = 'x'".into(), "credentials.aws.kind: is missing; it may be one of: "),
        (
            "[listen.two]\naddress = '127.0.0.1:1'\ntls = { certificate = 'no.crt', key = 'no.key' }".into(),
            "listen.two.tls: ",
        ),
    ] {
        let found = errors(&more);
        assert!(found.iter().any(|error| error.starts_with(expected)), "{expected}\n{found:#?}");
    }
}

#[test]
fn what_breaks_a_signature_has_its_key_path() {
    const SIGV4: &str = "{ kind = 'sigv4', service = 's3', region = 'eu-west-1' }";
    const HEADERS: &str = "{ kind = 'headers' }";
    const TOKEN: &str = "{ kind = 'headers', set = { Authorization = 'Bearer {claims.token}' } }";
    let paths = |inject: &[&str], more: &str| {
        let text = format!(
            "{GOOD}\n[credentials.aws]\nkind = 'web_identity'\nregion = 'eu-west-1'\n[identity.corp]\nkind = 'oidc'\n\
             issuer = 'https://idp.example.com'\nclient_id = 'c'\n[route.x]\nhost = 'x.localhost'\n\
             upstream = 'http://127.0.0.1:1'\nallow = 'signed-in'\nrole = 'arn:aws:iam::123456789012:role/x'\n\
             inject = [{}]\n{more}",
            inject.join(", ")
        );
        let built = Generation::build(&config(&text), &parts());
        built.err().map_or_else(Vec::new, |errors| errors.iter().map(|error| error.path.clone()).collect())
    };
    for (inject, more, expected) in [
        (&[HEADERS, SIGV4][..], "", &[][..]),
        (&[SIGV4], "preserve_host = true", &["route.x.preserve_host"]),
        (&[SIGV4], "pass_authorization = true", &["route.x.pass_authorization"]),
        (&[SIGV4, SIGV4], "", &["route.x.inject[0]"]),
        (&[SIGV4, HEADERS], "", &["route.x.inject[0]"]),
        (&[TOKEN, SIGV4], "", &["route.x.inject[0]"]),
    ] {
        assert_eq!(paths(inject, more), expected, "{inject:?} {more}");
    }
}

#[test]
fn who_has_no_token_counts_where_none_is_needed() {
    const SIGNED: &str = "credentials = 'aws'\nrole = 'arn:aws:iam::123456789012:role/x'\n\
                          inject = { kind = 'sigv4', service = 's3', region = 'eu-west-1' }";
    let paths = |more: &str| {
        let text = format!(
            "{GOOD}\n[credentials.aws]\nkind = 'web_identity'\nregion = 'eu-west-1'\n[identity.corp]\nkind = 'oidc'\n\
             issuer = 'https://idp.example.com'\nclient_id = 'c'\n[identity.devices]\nkind = 'mtls'\n[route.x]\n\
             host = 'x.localhost'\nupstream = 'http://127.0.0.1:1'\nallow = 'signed-in'\n{more}",
        );
        let errors = Generation::build(&config(&text), &parts()).unwrap_err();
        let of_route = errors.iter().filter(|error| error.path.starts_with("route.x"));
        of_route.map(|error| error.path.clone()).collect::<Vec<_>>()
    };
    for (more, expected) in [
        (SIGNED, &["route.x.credentials"][..]),
        (&format!("identity = ['devices']\n{SIGNED}"), &["route.x.credentials"]),
        (&format!("identity = ['corp']\n{SIGNED}"), &[]),
        ("inject = { kind = 'headers' }", &[]),
        ("inject = { kind = 'bearer' }", &["route.x.inject"]),
        ("identity = ['corp']\ninject = { kind = 'bearer' }", &[]),
    ] {
        assert_eq!(paths(more), expected, "{more}");
    }
}

#[test]
fn an_upstream_sees_one_host() {
    const TWO: &str = "['http://127.0.0.1:1', 'http://127.0.0.1:2']";
    const SIGNED: &str = "role = 'arn:aws:iam::123456789012:role/x'\n\
                          inject = { kind = 'sigv4', service = 's3', region = 'eu-west-1' }";
    let path = |upstream: &str, more: &str| {
        let text = format!(
            "{GOOD}\n[credentials.aws]\nkind = 'web_identity'\nregion = 'eu-west-1'\n[identity.corp]\nkind = 'oidc'\n\
             issuer = 'https://idp.example.com'\nclient_id = 'c'\n[route.x]\nhost = 'x.localhost'\n\
             allow = 'signed-in'\nupstream = {upstream}\n{more}",
        );
        let built = Generation::build(&config(&text), &parts());
        let route = |generation: Generation| {
            let route = generation.routes.iter().find(|route| &*route.name == "x").cloned().unwrap();
            let authority = {
                let crate::route::Behind::One(upstream) = &route.behind else { panic!("one") };
                upstream.authority().to_str().unwrap().to_owned()
            };
            if route.preserve_host { "the client's".to_owned() } else { authority }
        };
        built.map_or_else(|errors| errors.iter().map(|error| error.path.clone()).collect(), route)
    };
    let named = |url: &str| format!("{{ url = {url}, host = 'app.test:8080' }}");
    for (upstream, more, expected) in [
        (TWO, "", "the client's"),
        (TWO, "preserve_host = false", "route.x.upstream.host"),
        (TWO, SIGNED, "route.x.upstream.host"),
        (&named(TWO), "", "app.test:8080"),
        (&named(TWO), SIGNED, "app.test:8080"),
        (&named(TWO), "preserve_host = false", "app.test:8080"),
        (&named(TWO), "preserve_host = true", "route.x.upstream.host"),
        ("'http://127.0.0.1:1'", SIGNED, "127.0.0.1:1"),
        ("'unix:/run/x'", "preserve_host = false", "localhost"),
        ("'unix:/run/x'", SIGNED, "route.x.upstream.host"),
        (&named("'unix:/run/x'"), SIGNED, "app.test:8080"),
    ] {
        assert_eq!(path(upstream, more), expected, "{upstream} {more}");
    }
}

#[test]
fn what_is_put_twice_has_its_key_path() {
    const SIGV4: &str = "{ kind = 'sigv4', service = 's3', region = 'eu-west-1' }";
    const BEARER: &str = "{ kind = 'bearer' }";
    const JWT: &str = "{ kind = 'identity_jwt' }";
    const OWN: &str = "{ kind = 'identity_jwt', header = 'Authorization' }";
    const HEADERS: &str = "{ kind = 'headers', set = { X_Claviger_Identity = '{subject.id}' } }";
    let issuer = IdentityIssuer::new("http://127.0.0.1:8080", SigningKeys::new(Signer::generate().unwrap().0, vec![]));
    let parts = Parts { identity_issuer: Some(issuer), ..parts() };
    let paths = |inject: &[&str], more: &str| {
        let text = format!(
            "{GOOD}\n[credentials.aws]\nkind = 'web_identity'\nregion = 'eu-west-1'\n[identity.corp]\nkind = 'oidc'\n\
             issuer = 'https://idp.example.com'\nclient_id = 'c'\n[route.x]\nhost = 'x.localhost'\n\
             upstream = 'http://127.0.0.1:1'\nallow = 'signed-in'\ninject = [{}]\n{more}",
            inject.join(", ")
        );
        let built = Generation::build(&config(&text), &parts);
        built.err().map_or_else(Vec::new, |errors| errors.iter().map(|error| error.path.clone()).collect())
    };
    const ROLE: &str = "role = 'arn:aws:iam::123456789012:role/x'";
    for (inject, more, expected) in [
        (&[JWT, BEARER][..], "", &[][..]),
        (&[JWT, SIGV4], ROLE, &[]),
        (&[BEARER, SIGV4], ROLE, &["route.x.inject[0]"]),
        (&[OWN, SIGV4], ROLE, &["route.x.inject[0]"]),
        (&[BEARER, OWN], "", &["route.x.inject[1]"]),
        (&[JWT, HEADERS], "", &["route.x.inject[1]"]),
        (&[BEARER], "pass_authorization = true", &["route.x.pass_authorization"]),
        (&[JWT], "pass_authorization = true", &[]),
        (
            &[SIGV4],
            "[[route.x.roles]]\nname = 'a'\nrole = 'arn:aws:iam::123456789012:role/x'\nallow = { subjects = ['nobody/1'] }",
            &["route.x.roles[0].allow.subjects[0]"],
        ),
        (&[JWT], "[[route.x.roles]]\nname = 'a'\nrole = 'arn:aws:iam::123456789012:role/x'", &["route.x.roles"]),
    ] {
        assert_eq!(paths(inject, more), expected, "{inject:?} {more}");
    }
}

#[test]
fn tokens_go_where_nobody_reads_along_and_say_whom_they_are_for() {
    let issuer = IdentityIssuer::new("http://127.0.0.1:8080", SigningKeys::new(Signer::generate().unwrap().0, vec![]));
    let parts = Parts { identity_issuer: Some(issuer), ..parts() };
    for (upstream, bearer, jwt) in [
        ("'https://api.internal'", None, None),
        ("'http://api.internal'", Some("route.x.inject.kind"), None),
        ("'http://192.0.2.7:80'", Some("route.x.inject.kind"), None),
        ("'http://127.0.0.1:3000'", None, None),
        ("'http://[::1]:3000'", None, None),
        ("'http://app.localhost'", None, None),
        ("'unix:/run/app.sock'", None, None),
        ("['http://127.0.0.1:1', 'http://127.0.0.1:2']", None, Some("route.x.inject.audience")),
        ("['http://127.0.0.1:1', 'http://192.0.2.7']", Some("route.x.inject.kind"), Some("route.x.inject.audience")),
        ("{ url = ['https://a.internal', 'https://b.internal'], host = 'api.internal' }", None, None),
    ] {
        for (kind, expected) in [("bearer", bearer), ("identity_jwt", jwt)] {
            let text = format!(
                "{GOOD}\n[identity.corp]\nkind = 'oidc'\nissuer = 'https://idp.example.com'\nclient_id = 'c'\n[route.x]\n\
                 host = 'x.localhost'\nupstream = {upstream}\nallow = 'signed-in'\ninject = {{ kind = '{kind}' }}"
            );
            let built = Generation::build(&config(&text), &parts);
            let paths: Vec<_> =
                built.err().iter().flat_map(|errors| errors.iter()).map(|error| error.path.clone()).collect();
            assert_eq!(paths, Vec::from_iter(expected), "{kind} {upstream}");
        }
    }
}

/// What an upstream is given must be good at no STS.
#[test]
fn a_key_of_two_issuers_is_refused() {
    let (_, pem) = Signer::generate().unwrap();
    let signer = || Signer::from_pem(&pem).unwrap();
    let mint = Mint::new("http://127.0.0.1:8080/.claviger/issuer".parse().unwrap(), signer(), Vec::new());
    let keys = SigningKeys::new(Signer::generate().unwrap().0, vec![signer()]);
    let issuer = IdentityIssuer::new("http://127.0.0.1:8080", keys);
    let parts = Parts { mint: Some(mint), identity_issuer: Some(issuer), ..parts() };
    let errors = Generation::build(&config(GOOD), &parts).unwrap_err();
    assert_eq!(errors.iter().map(|error| error.path.as_str()).collect::<Vec<_>>(), ["keys.identity"]);
}

/// A9: a ticket of a host that is not this machine would cross the network in clear text.
#[test]
fn a9_people_log_in_by_plain_http_on_loopback_alone() {
    let paths = |host: &str, allow: &str, url: &str| {
        let text = GOOD.replace("wiki.localhost", host).replace("http://127.0.0.1:8080", url);
        let text = text.replace("\"anyone\"", &format!("\"{allow}\""));
        let text = format!("{text}\n[identity.corp]\nkind = 'oidc'\nissuer = 'https://idp'\nclient_id = 'c'");
        let built = Generation::build(&config(&text), &parts());
        built.err().map_or_else(Vec::new, |errors| errors.iter().map(|error| error.path.clone()).collect())
    };
    let (http, https) = ("http://127.0.0.1:8080", "https://apps.example.com");
    for (host, allow, url, expected) in [
        ("reports.example.com", "signed-in", http, Some("route.wiki.host")),
        ("*.example.com", "signed-in", http, Some("route.wiki.host")),
        ("reports.example.com", "anyone", http, None),
        ("reports.example.com", "signed-in", https, None),
        ("*.localhost", "signed-in", http, None),
        ("127.0.0.1", "signed-in", http, None),
        ("*", "signed-in", http, None),
    ] {
        assert_eq!(paths(host, allow, url), Vec::from_iter(expected), "{host} {allow} {url}");
    }
}

/// Where nobody can log in there are no tickets to keep safe.
#[test]
fn services_may_come_by_plain_http_from_behind_a_balancer() {
    let paths = |identity: &str| {
        let text = GOOD.replace("wiki.localhost", "api.example.com").replace("\"anyone\"", "\"signed-in\"");
        let text = format!(
            "{}\n[identity.corp]\nkind = 'oidc'\nissuer = 'https://idp'\nclient_id = 'c'\n\
             [identity.services]\nkind = 'bearer'\nissuer = 'https://idp'\naudiences = ['api']",
            text.replace("inject =", &format!("{identity}\ninject ="))
        );
        let built = Generation::build(&config(&text), &parts());
        built.err().map_or_else(Vec::new, |errors| errors.iter().map(|error| error.path.clone()).collect())
    };
    assert_eq!(paths("identity = ['services']"), Vec::<String>::new());
    assert_eq!(paths("identity = ['corp', 'services']"), ["route.wiki.host"]);
    assert_eq!(paths(""), ["route.wiki.host"]);
}

#[test]
fn every_section_is_looked_at() {
    let text = format!("{GOOD}\n[identity.a]\nkind = 'x'\n[identity.b]\nkind = 'y'\n[credentials.c]\nkind = 'z'");
    let errors = Generation::build(&config(&text), &parts()).unwrap_err();
    let paths: Vec<_> = errors.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(paths, ["identity.a.kind", "identity.b.kind", "credentials.c.kind"]);
}

/// Vouches for `alice` to those who show its name in `Authorization`, and rejects them where it is told to.
#[derive(Debug)]
struct Shown {
    name: SourceName,
    rejects: bool,
}

#[async_trait]
impl IdentitySource for Shown {
    async fn recognize(&self, caller: &Caller<'_>) -> Recognition {
        let shown = caller.head.headers.get_all("authorization").iter().any(|value| value == &*self.name);
        match (shown, self.rejects) {
            (false, _) => Recognition::NotPresented,
            (true, true) => Recognition::Rejected(Presented::Bearer.rejected("forged")),
            (true, false) => Recognition::Verified(alice(&self.name)),
        }
    }
}

#[derive(Debug)]
struct NoEvidence;

#[async_trait]
impl EvidenceSource for NoEvidence {
    async fn evidence(&self, _valid_for: Duration) -> Result<Evidence, EvidenceError> {
        Err(EvidenceError::Expired)
    }
}

fn alice(source: &SourceName) -> Identity {
    let ends = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000);
    Identity {
        subject: Arc::new(Subject { source: Arc::clone(source), id: "alice".into() }),
        claims: Claims::default(),
        ends_at: ends,
        holder: Holder { id: HolderId::random(), ends, evidence: Arc::new(NoEvidence) },
    }
}

/// Who asks, with `sources` and whether they reject, on a route that names `named`, showing `shown`.
async fn identified(
    sources: &[(&str, bool)],
    named: Option<&[&str]>,
    shown: &[&str],
    session: Option<&str>,
) -> Result<Option<Identity>, Unidentified> {
    let mut generation = Generation::build(&config(GOOD), &parts()).unwrap();
    for (name, rejects) in sources {
        let source = Shown { name: (*name).into(), rejects: *rejects };
        generation.sources.insert((*name).into(), Arc::new(source));
    }
    let routes = Generation::build(&config(GOOD), &parts()).unwrap().routes;
    let mut route = Arc::into_inner({
        let route = Arc::clone(routes.iter().next().unwrap());
        drop(routes);
        route
    })
    .unwrap();
    route.sources = named.map(|names| names.iter().map(|name| SourceName::from(*name)).collect());
    let mut request = http::Request::new(());
    for name in shown {
        request.headers_mut().append("authorization", name.parse().unwrap());
    }
    let (head, ()) = request.into_parts();
    let connection = Connection::new("main".into(), "127.0.0.1:1".parse().unwrap(), false);
    let session = match session {
        Some(source) => Some(session_at(source).await),
        None => None,
    };
    generation.identify(&Caller { head: &head, connection: &connection }, &route, session.as_ref()).await
}

async fn session_at(source: &str) -> Arc<Session> {
    let sessions = Sessions::new(&SessionSettings::default(), parts().clock, &Metrics::new());
    let corp = "[identity.corp]\nkind = 'oidc'\nissuer = 'https://idp.example.com'\nclient_id = 'c'";
    let generation = Generation::build(&config(&format!("{GOOD}\n{corp}")), &parts()).unwrap();
    let vouches = Arc::clone(&generation.sources["corp"]);
    let signed_in = SignedIn {
        subject: Subject { source: source.into(), id: "alice".into() },
        voucher: Arc::clone(vouches.login().unwrap().voucher()),
        claims: Claims::default(),
        ends_at: None,
        tokens: Tokens::default(),
        at_provider: None,
        once: None,
    };
    sessions.use_sources([(source.into(), vouches)]).await;
    sessions.start(signed_in, "a.test").await.unwrap().0
}

#[tokio::test]
async fn a_session_counts_where_its_source_does() {
    let sources = [("a", false), ("b", false)];
    let found = identified(&sources, None, &[], Some("a")).await.unwrap().unwrap();
    assert_eq!(&*found.subject.source, "a");
    assert!(identified(&sources, Some(&["b"]), &[], Some("a")).await.unwrap().is_none());
    assert!(matches!(identified(&sources, None, &["b"], Some("a")).await, Err(Unidentified::Ambiguous(..))));
    assert!(matches!(identified(&[("b", true)], None, &["b"], Some("a")).await, Err(Unidentified::Rejected { .. })));
}

#[tokio::test]
async fn a_source_that_recognises_its_own_vouches() {
    let found = identified(&[("a", false), ("b", false)], None, &["b"], None).await.unwrap().unwrap();
    assert_eq!(&*found.subject.source, "b");
    assert!(identified(&[("a", false)], None, &["someone-elses"], None).await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_bad_is_not_forgiven_for_what_is_good() {
    let outcome = identified(&[("a", false), ("b", true)], None, &["a", "b"], None).await;
    assert!(matches!(outcome, Err(Unidentified::Rejected { source_name, .. }) if &*source_name == "b"));
}

#[tokio::test]
async fn two_that_vouch_are_one_too_many() {
    let outcome = identified(&[("a", false), ("b", false)], None, &["a", "b"], None).await;
    assert!(matches!(outcome, Err(Unidentified::Ambiguous(..))));
}

#[tokio::test]
async fn sources_that_do_not_count_here_are_not_asked() {
    let sources = [("a", true), ("b", false)];
    let found = identified(&sources, Some(&["b"]), &["a", "b"], None).await.unwrap().unwrap();
    assert_eq!(&*found.subject.source, "b");
    assert!(identified(&sources, Some(&["b"]), &["a"], None).await.unwrap().is_none());
}
