//! AssumeRoleWithSAML: AWS's own client, and hostile responses.

use std::time::{Duration, SystemTime};

use aws_sdk_sts::error::ProvideErrorMetadata as _;
use http::StatusCode;
use serde_json::{Value, json};

use super::code;
use crate::authority::testing::saml::{SamlIssuer, Says, changed};
use crate::authority::testing::{Site, element, role_arn};
use crate::clock::{Clock as _, rfc3339};
use crate::saml::Certificate;

const ACTION: &str = "sts:AssumeRoleWithSAML";
const PRINCIPAL: &str = "arn:aws:iam::123456789012:saml-provider/corp";
const ENTITY: &str = "https://idp.example.com/saml";
const ELSEWHERE: &str = "https://apps.example.com/acs";

/// An STS with two SAML providers; `stale`'s metadata is to expire.
struct Corp {
    site: Site,
    idp: SamlIssuer,
}

impl Corp {
    fn start() -> Self {
        let all = json!([ACTION, "sts:TagSession", "sts:SetSourceIdentity"]);
        let trusting = |actions: &Value, condition: &Value| json!([{"Effect": "Allow", "Principal": {"Federated": PRINCIPAL}, "Action": actions, "Condition": condition}]);
        let equals = |key: &str, value: &str| trusting(&all, &json!({ "StringEquals": { key: value } }));
        let idp = SamlIssuer::fresh(ENTITY);
        let roles = [
            (
                "reports",
                trusting(
                    &all,
                    &json!({"StringEquals": {"SAML:aud": "https://signin.aws.amazon.com/saml",
                "saml:iss": ENTITY, "saml:sub": "alice", "saml:sub_type": "persistent", "saml:doc": "123456789012/corp",
                "saml:namequalifier": "HahBW48oNiXLlr28VT6/xduH27c="}}),
                ),
                7200,
            ),
            ("plain", trusting(&json!(ACTION), &json!({})), 3600),
            ("bobs", equals("saml:sub", "bob"), 3600),
            ("elsewhere", equals("saml:aud", ELSEWHERE), 3600),
            (
                "staff",
                trusting(&all, &json!({"ForAnyValue:StringEquals": {"saml:edupersonaffiliation": "staff"}})),
                3600,
            ),
            ("finance", equals("aws:RequestTag/Department", "finance"), 3600),
            ("others", json!([{"Effect": "Allow", "Principal": {"Federated": "PROVIDER"}, "Action": ACTION}]), 3600),
        ];
        let site = Site::with(&roles, |account| {
            let more = [ELSEWHERE.to_owned()];
            let arn = account.add_saml_provider("corp", idp.metadata(None).as_bytes(), &more, &more).unwrap();
            assert_eq!(arn, PRINCIPAL);
            let stale = idp.metadata(Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1)));
            account.add_saml_provider("stale", stale.as_bytes(), &[], &[]).unwrap();
        });
        Self { site, idp }
    }

    /// A Response that offers a role, with more attributes.
    fn response(&self, role: &str, more: &[(&'static str, Vec<&str>)]) -> String {
        self.idp.response(self.site.clock.now(), &Says { attributes: attributes(&pair(role), more), ..Says::default() })
    }

    async fn assume(&self, role: &str, response: &str, more: &[(&str, &str)]) -> (StatusCode, String) {
        let role = role_arn(role);
        let mut form = vec![
            ("Action", "AssumeRoleWithSAML"),
            ("Version", "2011-06-15"),
            ("RoleArn", &role),
            ("SAMLAssertion", response),
        ];
        if !more.iter().any(|(name, _)| *name == "PrincipalArn") {
            form.push(("PrincipalArn", PRINCIPAL));
        }
        form.extend(more);
        self.site.call(&form).await
    }
}

fn pair(role: &str) -> String {
    format!("{},{PRINCIPAL}", role_arn(role))
}

/// Those that AWS wants, with some set otherwise; without values they are left out.
fn attributes<'a>(pair: &'a str, more: &[(&'static str, Vec<&'a str>)]) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut attributes = vec![("Role", vec![pair]), ("RoleSessionName", vec!["alice@corp"])];
    attributes.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
    attributes.extend(more.iter().filter(|(_, values)| !values.is_empty()).cloned());
    attributes
}

#[tokio::test]
async fn awss_client_exchanges_a_response() {
    let corp = Corp::start();
    let more = [
        ("PrincipalTag:Department", vec!["finance"]),
        ("TransitiveTagKeys", vec!["Department"]),
        ("SourceIdentity", vec!["alice"]),
    ];
    let response = corp.response("reports", &more);
    let call = corp.site.client(None).assume_role_with_saml().role_arn(role_arn("reports")).principal_arn(PRINCIPAL);
    let assumed = call.saml_assertion(response).duration_seconds(900).send().await.unwrap();
    assert_eq!((assumed.subject(), assumed.subject_type()), (Some("alice"), Some("persistent")));
    assert_eq!((assumed.issuer(), assumed.audience()), (Some(ENTITY), Some("https://signin.aws.amazon.com/saml")));
    assert_eq!(assumed.name_qualifier(), Some("HahBW48oNiXLlr28VT6/xduH27c="));
    assert_eq!(assumed.source_identity(), Some("alice"));
    let arn = "arn:aws:sts::123456789012:assumed-role/reports/alice@corp";
    assert_eq!(assumed.assumed_role_user().unwrap().arn(), arn);
    let session = corp.site.authority.seal.open(assumed.credentials().unwrap().session_token()).unwrap();
    let tags: Vec<String> = session.tags.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!((tags, session.tags.transitive().count()), (vec!["Department=finance".to_owned()], 1));
    assert_eq!(session.federated.unwrap().provider, PRINCIPAL);
    assert_eq!(corp.site.authority.calls("AssumeRoleWithSAML"), 1);
}

#[tokio::test]
async fn awss_client_understands_refusals() {
    let corp = Corp::start();
    let call = corp.site.client(None).assume_role_with_saml().role_arn(role_arn("plain")).principal_arn(PRINCIPAL);
    let refused = call.clone().saml_assertion("not a response").send().await.unwrap_err();
    assert!(refused.into_service_error().is_invalid_identity_token_exception());
    let old = corp.idp.response(
        corp.site.clock.now() - Duration::from_secs(300),
        &Says { attributes: attributes(&pair("plain"), &[]), ..Says::default() },
    );
    let refused = call.clone().saml_assertion(old).send().await.unwrap_err().into_service_error();
    assert!(refused.is_expired_token_exception());
    assert_eq!(refused.message(), Some("Token must be redeemed within 5 minutes of issuance"));
    let odd = corp.response("plain", &[("SourceIdentity", vec!["aws:alice"])]);
    let refused = call.clone().saml_assertion(odd).send().await.unwrap_err();
    assert!(refused.into_service_error().is_invalid_identity_token_exception());
    let rejected = corp.response("plain", &[("SessionDuration", vec!["soon"])]);
    let refused = call.clone().saml_assertion(rejected).send().await.unwrap_err();
    assert!(refused.into_service_error().is_idp_rejected_claim_exception());
    let good = corp.response("plain", &[]);
    let refused = call.clone().saml_assertion(&good).policy("{").send().await.unwrap_err();
    assert!(refused.into_service_error().is_malformed_policy_document_exception());
    call.saml_assertion(good).send().await.unwrap();
}

/// A15, A16: whatever is not signed for us, now, by the provider that is named.
#[tokio::test]
async fn hostile_responses_get_nothing() {
    let corp = Corp::start();
    let now = corp.site.clock.now();
    let of = |says: Says<'_>| {
        let pair = pair("plain");
        corp.idp.response(now, &Says { attributes: attributes(&pair, &[]), ..says })
    };
    let good = corp.response("plain", &[]);
    let stranger = SamlIssuer::fresh(ENTITY);
    let theirs = stranger.response(now, &Says { attributes: attributes(&pair("plain"), &[]), ..Says::default() });
    let (invalid, expired, rejected) = ("InvalidIdentityToken", "ExpiredTokenException", "IDPRejectedClaim");
    for (name, response, principal, expected) in [
        ("no base64", "<Response/>".to_owned(), PRINCIPAL, invalid),
        ("no XML", "AAAA".to_owned(), PRINCIPAL, invalid),
        ("a stranger's", theirs, PRINCIPAL, invalid),
        ("unsigned", of(Says { signed: false, ..Says::default() }), PRINCIPAL, invalid),
        ("changed", changed(&good, ">alice<", ">admin<"), PRINCIPAL, invalid),
        ("another role", changed(&good, "role/plain", "role/reports"), PRINCIPAL, invalid),
        (
            "another issuer",
            of(Says { issuer: Some("https://idp.example.com/saml/"), ..Says::default() }),
            PRINCIPAL,
            invalid,
        ),
        ("another recipient", of(Says { recipient: "https://evil.example/", ..Says::default() }), PRINCIPAL, invalid),
        ("another audience", of(Says { audience: "urn:other", ..Says::default() }), PRINCIPAL, invalid),
        ("nobody's provider", good.clone(), "arn:aws:iam::123456789012:saml-provider/nobody", invalid),
        ("an expired provider", good.clone(), "arn:aws:iam::123456789012:saml-provider/stale", invalid),
        ("an OpenID provider", good.clone(), &corp.site.provider_arn, invalid),
        (
            "a failed login",
            of(Says { status: "urn:oasis:names:tc:SAML:2.0:status:Responder", ..Says::default() }),
            PRINCIPAL,
            rejected,
        ),
        (
            "not yet",
            corp.idp.response(
                now + Duration::from_secs(90),
                &Says { attributes: attributes(&pair("plain"), &[]), ..Says::default() },
            ),
            PRINCIPAL,
            expired,
        ),
        (
            "over",
            corp.idp.response(
                now - Duration::from_secs(200),
                &Says {
                    attributes: attributes(&pair("plain"), &[]),
                    lives: Duration::from_secs(60),
                    ..Says::default()
                },
            ),
            PRINCIPAL,
            expired,
        ),
        ("a login that has ended", of(Says { session_ends_at: Some(now), ..Says::default() }), PRINCIPAL, expired),
        ("no session name", corp.response("plain", &[("RoleSessionName", vec![])]), PRINCIPAL, invalid),
        ("two session names", corp.response("plain", &[("RoleSessionName", vec!["alice", "bob"])]), PRINCIPAL, invalid),
        // A20
        (
            "a session name with a slash",
            corp.response("plain", &[("RoleSessionName", vec!["a/b"])]),
            PRINCIPAL,
            invalid,
        ),
        ("a duration that is none", corp.response("plain", &[("SessionDuration", vec!["899"])]), PRINCIPAL, rejected),
        ("a tag with two values", corp.response("plain", &[("PrincipalTag:a", vec!["x", "y"])]), PRINCIPAL, rejected),
        (
            "a transitive tag that is none",
            corp.response("plain", &[("TransitiveTagKeys", vec!["a"])]),
            PRINCIPAL,
            rejected,
        ),
    ] {
        let (status, answer) = corp.assume("plain", &response, &[("PrincipalArn", principal)]).await;
        assert_eq!(code(&answer), expected, "{name}: {answer}");
        let forbidden = expected == rejected;
        assert_eq!(status, if forbidden { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST }, "{name}");
    }
    let (status, answer) = corp.assume("plain", &good, &[]).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
}

#[tokio::test]
async fn the_assertion_and_the_trust_policy_both_have_a_word() {
    let corp = Corp::start();
    let swapped = format!("{PRINCIPAL}, {}", role_arn("plain"));
    let other = format!("{},arn:aws:iam::123456789012:saml-provider/stale", role_arn("plain"));
    let affiliation = "urn:oid:1.3.6.1.4.1.5923.1.1.1.1";
    for (role, more, refused) in [
        ("plain", vec![], None),
        ("plain", vec![("Role", vec![&*swapped])], None),
        ("plain", vec![("Role", vec!["nonsense", &*swapped])], None),
        ("plain", vec![("Role", vec![&*other])], Some(ACTION)),
        ("plain", vec![("Role", vec![&*pair("reports")])], Some(ACTION)),
        ("plain", vec![("Role", vec![])], Some(ACTION)),
        ("plain", vec![("PrincipalTag:a", vec!["b"])], Some("sts:TagSession")),
        ("plain", vec![("SourceIdentity", vec!["alice"])], Some("sts:SetSourceIdentity")),
        ("bobs", vec![], Some(ACTION)),
        ("others", vec![], Some(ACTION)),
        ("nothing", vec![], Some(ACTION)),
        ("elsewhere", vec![], Some(ACTION)),
        ("staff", vec![], Some(ACTION)),
        ("staff", vec![(affiliation, vec!["student", "staff"])], None),
        ("finance", vec![("PrincipalTag:Department", vec!["finance"])], None),
        ("finance", vec![("PrincipalTag:Department", vec!["hr"])], Some(ACTION)),
    ] {
        let response = corp.response(role, &more);
        let (status, answer) = corp.assume(role, &response, &[]).await;
        match refused {
            None => assert_eq!(status, StatusCode::OK, "{role} {more:?}: {answer}"),
            Some(action) => {
                assert_eq!((status, code(&answer)), (StatusCode::FORBIDDEN, "AccessDenied"), "{role} {more:?}");
                assert_eq!(element(&answer, "Message"), format!("Not authorized to perform {action}"), "{role}");
            }
        }
    }
    // a recipient and an audience that the provider is registered with
    let pair = pair("elsewhere");
    let says =
        Says { recipient: ELSEWHERE, audience: ELSEWHERE, attributes: attributes(&pair, &[]), ..Says::default() };
    let (status, answer) = corp.assume("elsewhere", &corp.idp.response(corp.site.clock.now(), &says), &[]).await;
    assert_eq!((status, element(&answer, "Audience")), (StatusCode::OK, ELSEWHERE));
}

#[tokio::test]
async fn the_shortest_word_on_the_duration_wins() {
    let corp = Corp::start();
    let now = corp.site.clock.now();
    for (asked, said, ends, lasts) in [
        (None, None, None, 3600),
        (Some("7200"), None, None, 7200),
        (Some("7200"), Some("900"), None, 900),
        (Some("900"), Some("7200"), None, 900),
        (Some("7200"), Some("1800"), Some(600), 600),
        (None, None, Some(40_000), 3600),
    ] {
        let pair = pair("reports");
        let said: Vec<_> = said.map(|seconds| ("SessionDuration", vec![seconds])).into_iter().collect();
        let session_ends_at = ends.map(|seconds| now + Duration::from_secs(seconds));
        let says = Says { attributes: attributes(&pair, &said), session_ends_at, ..Says::default() };
        let asked: Vec<_> = asked.map(|seconds| ("DurationSeconds", seconds)).into_iter().collect();
        let (_, answer) = corp.assume("reports", &corp.idp.response(now, &says), &asked).await;
        let until = rfc3339(now + Duration::from_secs(lasts));
        assert_eq!(element(&answer, "Expiration"), until, "{asked:?} {said:?} {ends:?}");
    }
    let (_, answer) = corp.assume("reports", &corp.response("reports", &[]), &[("DurationSeconds", "7201")]).await;
    assert_eq!(code(&answer), "ValidationError");
}

/// AWS decrypts by a key that is registered with the provider; here there is none, and the caller is told so.
#[tokio::test]
async fn an_encrypted_assertion_is_refused_by_name() {
    let corp = Corp::start();
    let pair_of_keys = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let params = rcgen::CertificateParams::new(["sts.example.com".to_owned()]).unwrap();
    let certificate = Certificate::from_der(params.self_signed(&pair_of_keys).unwrap().der()).unwrap();
    let pair = pair("plain");
    let says = Says { attributes: attributes(&pair, &[]), encrypt: Some(&certificate), ..Says::default() };
    let (status, answer) = corp.assume("plain", &corp.idp.response(corp.site.clock.now(), &says), &[]).await;
    assert_eq!((status, code(&answer)), (StatusCode::BAD_REQUEST, "InvalidIdentityToken"), "{answer}");
    assert!(element(&answer, "Message").starts_with("Encrypted assertions are not supported here"), "{answer}");
}
