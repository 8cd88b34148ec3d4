use clap::Parser;

use super::*;

const CONFIG: &str = r#"
    [listen.main]
    address = "127.0.0.1:8080"
    public_url = "http://127.0.0.1:8080"
    [identity.corp]
    kind = "oidc"
    issuer = "https://idp.example.com"
    client_id = "claviger"
    [identity.partner]
    kind = "oidc"
    issuer = "https://partner.example.com"
    client_id = "claviger"
    [identity.services]
    kind = "bearer"
    issuer = "https://services.example.com"
    audiences = ["api"]
    subject_claim = "client_id"
    groups_claim = "realm.roles"
    claims = { tier = "gold" }
    [route.api]
    host = "api.localhost"
    upstream = ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    allow = { groups = ["batch"] }
    [credentials.aws]
    kind = "web_identity"
    region = "eu-west-1"
    [route.reports]
    host = "reports.localhost"
    path = "/app"
    strip_prefix = "/app"
    upstream = "https://reports.s3.eu-west-1.amazonaws.com"
    identity = ["corp"]
    allow = { groups = ["finance"], methods = ["GET"] }
    role = "arn:aws:iam::123456789012:role/reports-{claims.department}"
    duration = "1h"
    inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }
    [route.archive]
    host = "archive.localhost"
    upstream = "https://archive.s3.eu-west-1.amazonaws.com"
    identity = ["corp"]
    allow = "signed-in"
    through = ["arn:aws:iam::123456789012:role/hub"]
    role = "arn:aws:iam::210987654321:role/archive"
    external_id = "agreed"
    tags = { department = "{claims.department}" }
    policy = '{ "Statement": [] }'
    inject = { kind = "sigv4", service = "s3", region = "eu-west-1" }
    [route.console]
    host = "console.localhost"
    upstream = "https://api.example.com"
    allow = "signed-in"
    inject = { kind = "sigv4", service = "execute-api", region = "eu-west-1" }
    [[route.console.roles]]
    name = "reader"
    role = "arn:aws:iam::123456789012:role/reader-{claims.department}"
    [[route.console.roles]]
    name = "writer"
    role = "arn:aws:iam::123456789012:role/writer"
    allow = { groups = ["finance"] }
    [[route.console.roles]]
    name = "admin"
    role = "arn:aws:iam::123456789012:role/admin"
    allow = { groups = ["admins"] }
"#;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    explain: Explain,
}

/// What is told of these arguments, for someone with these claims.
fn told(claims: Option<Value>, arguments: &[&str]) -> Result<(String, bool), String> {
    told_by(CONFIG, claims, arguments)
}

/// The same by this config.
fn told_by(config: &str, claims: Option<Value>, arguments: &[&str]) -> Result<(String, bool), String> {
    let folder = tempfile::tempdir().unwrap();
    let (file, who) = (folder.path().join("claviger.toml"), folder.path().join("claims.json"));
    std::fs::write(&file, config).unwrap();
    let mut line = vec!["explain".into(), file.display().to_string(), "--at=2026-03-02T09:30:00Z".into()];
    if let Some(claims) = claims {
        std::fs::write(&who, claims.to_string()).unwrap();
        line.push(format!("--as={}", who.display()));
    }
    line.extend(arguments.iter().map(ToString::to_string));
    let (config, generation) = look_at(&file, &Environment::default()).unwrap();
    Line::try_parse_from(line).unwrap().explain.explain(&config, &generation)
}

fn alice() -> Option<Value> {
    Some(json!({"sub": "1", "groups": ["finance"], "department": "north", "preferred_username": "alice"}))
}

const URL: &str = "--url=http://reports.localhost/app/q3?x=1";

#[test]
fn what_passes_comes_with_all_that_sts_is_told() {
    let (text, allowed) = told(alice(), &[URL, "--source=corp"]).unwrap();
    assert!(allowed, "{text}");
    has_lines(
        &text,
        &[
            "as corp/1, from 127.0.0.1, at 2026-03-02T09:30:00Z",
            "Allowed by `allow` of `route.reports`.",
            "goes to https://reports.s3.eu-west-1.amazonaws.com/q3?x=1",
            "role arn:aws:iam::123456789012:role/reports-north as a parameter of the call",
            "duration 3600 s as a parameter of the call",
        ],
    );
}

#[test]
fn a_chain_is_told_from_its_beginning() {
    let arguments = ["--url=http://archive.localhost/x", "--source=corp"];
    let (text, allowed) = told(alice(), &arguments).unwrap();
    assert!(allowed, "{text}");
    has_lines(
        &text,
        &[
            "credentials aws (web_identity) by AssumeRoleWithWebIdentity",
            "role arn:aws:iam::123456789012:role/hub as a parameter of the call",
            "then by the keys of that role by AssumeRole",
            "role arn:aws:iam::210987654321:role/archive as a parameter of the call",
            "tag department north as a parameter of the call",
            "external id agreed as a parameter of the call",
            "session policy {\"Statement\":[]} as a parameter of the call",
        ],
    );
    let (text, _) = told(alice(), &[&arguments[..], &["--json"]].concat()).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let grant = &value["policy"]["grant"];
    assert_eq!((&grant["call"], &grant["after"]["call"]), (&json!("AssumeRole"), &json!("AssumeRoleWithWebIdentity")));
    assert_eq!(grant["after"]["role"], "arn:aws:iam::123456789012:role/hub");
}

fn has_lines(text: &str, lines: &[&str]) {
    let squeezed = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
    for line in lines {
        assert!(squeezed.iter().any(|told| told == line), "{line}\n{text}");
    }
}

/// The same person and role by every kind of credentials: another call, and other ways for the same values.
#[test]
fn each_kind_of_credentials_comes_with_its_call_and_the_ways_of_its_values() {
    const ROUTE: &str = "role = \"arn:aws:iam::123456789012:role/reports-{claims.department}\"";
    let named =
        format!("{ROUTE}\ntags = {{ team = \"{{claims.department}}\" }}\nsource_identity = \"u-{{subject.id}}\"");
    for (kind, call, way) in [
        ("minted", "AssumeRoleWithWebIdentity", "as a claim in the minted token"),
        ("assume_role", "AssumeRole", "as a parameter of the call"),
    ] {
        let config = CONFIG.replace("\"web_identity\"", &format!("\"{kind}\"")).replace(ROUTE, &named);
        let (text, allowed) = told_by(&config, alice(), &[URL, "--source=corp"]).unwrap();
        assert!(allowed, "{text}");
        has_lines(
            &text,
            &[
                &format!("credentials aws ({kind}) by {call}"),
                "role arn:aws:iam::123456789012:role/reports-north as a parameter of the call",
                &format!("tag team north {way}"),
                &format!("source identity u-1 {way}"),
                "duration 3600 s as a parameter of the call",
            ],
        );
        let (text, _) = told_by(&config, alice(), &[URL, "--source=corp", "--json"]).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&value["credentials_kind"], &value["policy"]["grant"]["call"]), (&json!(kind), &json!(call)));
    }
}

/// With a response of the provider's, roles and names are the provider's word: A20.
#[cfg(feature = "saml")]
#[test]
fn what_a_response_would_tell_sts_is_told_and_no_other_role_is_given() {
    const OIDC: &str = "kind = \"oidc\"\n    issuer = \"https://idp.example.com\"\n    client_id = \"claviger\"";
    const SAML: &str = "kind = \"saml\"\nissuer = \"https://idp.example.com\"\nentity_id = \"https://apps.example.com\"\n\
                        metadata_url = \"https://idp.example.com/metadata\"\naws = {}";
    let config = CONFIG.replace(OIDC, SAML).replace("\"web_identity\"", "\"saml\"");
    // of the roles to choose among it is the policy that says whose they are, which another test is about
    let (config, _) = config.split_once("    [route.console]").unwrap();
    let mut claims = alice();
    let attribute = |name: &str| format!("https://aws.amazon.com/SAML/Attributes/{name}");
    let pair = "arn:aws:iam::123456789012:role/reports-north,arn:aws:iam::123456789012:saml-provider/corp";
    claims.as_mut().unwrap()[attribute("Role")] = json!([pair]);
    claims.as_mut().unwrap()[attribute("RoleSessionName")] = json!("alice@corp");
    let (text, allowed) = told_by(config, claims.clone(), &[URL, "--source=corp"]).unwrap();
    assert!(allowed, "{text}");
    has_lines(
        &text,
        &[
            "credentials aws (saml) by AssumeRoleWithSAML",
            "role arn:aws:iam::123456789012:role/reports-north as a parameter of the call",
            "session name alice@corp by the identity provider, in its SAML response",
            "duration 3600 s as a parameter of the call",
        ],
    );
    claims.as_mut().unwrap()["department"] = json!("south");
    let (text, allowed) = told_by(config, claims, &[URL, "--source=corp"]).unwrap();
    assert!(!allowed && text.contains("role/reports-south") && text.contains("Attributes/Role"), "{text}");
}

#[test]
fn what_does_not_pass_comes_with_the_reason() {
    let with = |key: &str, value: Value| {
        let mut claims = alice();
        claims.as_mut().unwrap()[key] = value;
        claims
    };
    for (claims, arguments, reason) in [
        (None, vec![URL], "nobody is logged in"),
        (with("groups", json!(["sales"])), vec![URL, "--source=corp"], "allow  needs the group finance"),
        (alice(), vec![URL, "--source=corp", "--method=PUT"], "allow  needs the method GET"),
        // A20
        (
            with("department", json!("x/../admin")),
            vec![URL, "--source=corp"],
            "the claim `department` holds characters",
        ),
        (alice(), vec![URL, "--source=partner"], "identity.partner does not count on this route"),
        (alice(), vec!["--url=http://other.localhost/", "--source=corp"], "no route is for the host `other.localhost`"),
        (
            alice(),
            vec!["--url=http://reports.localhost/x", "--source=corp"],
            "no route of the host `reports.localhost`",
        ),
        // A5
        (alice(), vec!["--url=http://reports.localhost/app/../x", "--source=corp"], "the path has a dot segment"),
        (alice(), vec!["--url=http://reports.localhost/app//x", "--source=corp"], "the path has an empty segment"),
        (alice(), vec!["--url=http://reports.localhost/.claviger/me", "--source=corp"], "claviger's own"),
    ] {
        let (text, allowed) = told(claims, &arguments).unwrap();
        assert!(!allowed && text.contains(reason), "{reason}\n{text}");
    }
}

/// Claims are read as their source reads them.
#[test]
fn what_a_source_makes_of_claims_is_what_counts() {
    let service = |tier: &str| Some(json!({"client_id": "c-1", "tier": tier, "realm": {"roles": ["batch"]}}));
    let arguments = ["--url=http://api.localhost/x", "--source=services"];
    let (text, allowed) = told(service("gold"), &arguments).unwrap();
    assert!(allowed && text.contains("as services/c-1"), "{text}");
    assert!(text.contains("http://127.0.0.1:1/x, http://127.0.0.1:2/x\n"), "{text}");
    let refused = told(service("tin"), &arguments).unwrap_err();
    assert!(refused.contains("identity.services would vouch for: the claim `tier`"), "{refused}");
}

#[test]
fn roles_to_choose_among_are_told_with_whose_they_are() {
    const CONSOLE: &str = "--url=http://console.localhost/";
    for (role, allowed) in [(None, false), (Some("--role=writer"), true), (Some("--role=admin"), false)] {
        let arguments: Vec<_> = [CONSOLE, "--source=corp"].into_iter().chain(role).collect();
        let (text, passes) = told(alice(), &arguments).unwrap();
        assert_eq!(passes, allowed, "{text}");
        for line in [
            "offers reader  arn:aws:iam::123456789012:role/reader-north",
            "offers writer  arn:aws:iam::123456789012:role/writer",
            "offers admin   not theirs: needs the group admins",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
    let (text, _) = told(alice(), &[CONSOLE, "--source=corp"]).unwrap();
    assert!(text.contains("several roles are theirs, and none was chosen: reader, writer"), "{text}");
}

#[test]
fn programs_get_the_same_as_json() {
    let (text, allowed) = told(alice(), &[URL, "--source=corp", "--json"]).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    assert!(allowed);
    assert_eq!((&value["allowed"], &value["route"]), (&json!(true), &json!("reports")));
    assert_eq!(value["policy"]["grant"]["role"], "arn:aws:iam::123456789012:role/reports-north");
    assert_eq!(value["policy"]["grant"]["session_name"]["told"], "parameter");
}

#[test]
fn questions_that_make_no_sense_say_so() {
    for (claims, arguments, problem) in [
        (alice(), vec![URL], "say with --source who vouches"),
        (alice(), vec![URL, "--source=nobody"], "there is no [identity.nobody]"),
        (
            Some(json!({"groups": []})),
            vec![URL, "--source=corp"],
            "identity.corp would vouch for: the claim `sub` is not",
        ),
        (Some(json!([])), vec![URL, "--source=corp"], "is not a JSON object"),
        (None, vec!["--url=/app"], "--url must be a whole URL"),
    ] {
        let error = told(claims, &arguments).unwrap_err();
        assert!(error.contains(problem), "{problem}\n{error}");
    }
}

#[test]
fn an_endpoint_is_asked_by_its_workload() {
    let endpoint = r#"
    [identity.workload]
    kind = "token_file"
    path = "none.jwt"
    [endpoint.app]
    kind = "container"
    socket = "app.sock"
    identity = "workload"
    credentials = "aws"
    session_name = "app-{claims.pod}"
    roles = [
        { name = "reader", role = "arn:aws:iam::123456789012:role/reader-{claims.namespace}" },
        { name = "writer", role = "arn:aws:iam::123456789012:role/writer" },
    ]
    "#;
    let config = [CONFIG, endpoint].concat();
    let pod = || Some(json!({"sub": "system:serviceaccount:a:b", "namespace": "a", "pod": "b-1"}));
    let told = |arguments: &[&str]| told_by(&config, pod(), arguments);
    let (text, allowed) = told(&["--endpoint=app", "--role=reader"]).unwrap();
    assert!(allowed, "{text}");
    let role = "role arn:aws:iam::123456789012:role/reader-a as a parameter of the call";
    has_lines(
        &text,
        &[
            "as workload/system:serviceaccount:a:b, at 2026-03-02T09:30:00Z",
            "credentials aws (web_identity) by AssumeRoleWithWebIdentity",
            role,
            "session name app-b-1 as a parameter of the call",
            "offers writer arn:aws:iam::123456789012:role/writer",
        ],
    );
    let (text, allowed) = told(&["--endpoint=app"]).unwrap();
    assert!(!allowed && text.contains("none was chosen: reader, writer"), "{text}");
    let (text, _) = told(&["--endpoint=app", "--role=writer", "--json"]).unwrap();
    let answer: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(answer["policy"]["grant"]["role"], "arn:aws:iam::123456789012:role/writer");
    // without claims its own token says who it is, and here there is none
    let problem = told_by(&config, None, &["--endpoint=app"]).unwrap_err();
    assert!(problem.contains("identity.workload") && problem.contains("none.jwt"), "{problem}");
    assert!(told(&["--endpoint=other"]).unwrap_err().contains("it may be one of: app"));
}
