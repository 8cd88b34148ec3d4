//! A source and a provider's answers, without a door.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use super::*;
use crate::built_in::{Environment, Surroundings, build};
use crate::clock::ManualClock;
use crate::fetch::Fetch;
use crate::identity::{BUILT_INS, Begun, LoginError, LoginMemory, Onward, Returned, SignedIn};
use crate::saml::{
    AssertionOf, Certificate, ExpectedMessage, Guarded, Kind, NO_PASSIVE, NameId, ProviderOf, Redirected, Requested,
    ResponseOf, SKEW, SUCCESS, Signing,
};
use crate::secret::Secret;
use crate::telemetry::Metrics;
use crate::tls::Trust;

const ISSUER: &str = "https://idp.example.com";
const SIGN_ON: &str = "https://idp.example.com/sso";
const AWS: (&str, &str) = ("https://signin.aws.amazon.com/saml", "urn:amazon:webservices");
const ROLE: &str = "arn:aws:iam::123456789012:role/reports";
const PROVIDER_ARN: &str = "arn:aws:iam::123456789012:saml-provider/corp";

static KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    let pair = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let params = rcgen::CertificateParams::new(["idp.example.com".to_owned()]).unwrap();
    let certificate = Certificate::from_der(params.self_signed(&pair).unwrap().der()).unwrap();
    SigningKey::new(&Secret::new(pair.serialize_pem()), certificate).unwrap()
});

struct Setting {
    source: Arc<dyn IdentitySource>,
    clock: Arc<ManualClock>,
    _folder: tempfile::TempDir,
}

/// What an answer is made of.
struct Told<'a> {
    recipient: &'a str,
    audience: &'a str,
    status: &'a str,
    detail: Option<&'a str>,
    attributes: &'a [(&'a str, Vec<String>)],
    proven: SystemTime,
}

impl Setting {
    fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let provider = ProviderOf {
            entity_id: ISSUER,
            sign_on_url: SIGN_ON,
            logout_url: None,
            signing: &[KEY.certificate()],
            wants_signed_requests: false,
            name_id_formats: &[],
            valid_until: None,
        };
        std::fs::write(folder.path().join("idp.xml"), provider.write(None).unwrap()).unwrap();
        let clock = Arc::new(ManualClock::at(1_800_000_000));
        let surroundings = Surroundings::new(folder.path(), Environment::default());
        let text = format!(
            "kind = 'saml'\nissuer = '{ISSUER}'\nentity_id = 'https://us.example.com'\nmetadata_file = 'idp.xml'\n{more}"
        );
        let materials = Materials {
            fetch: Arc::new(Fetch::new(&Trust::system())),
            metrics: Metrics::new(),
            keys: crate::identity::IssuedKeys::passing(),
        };
        let dynamic: Arc<dyn Clock> = Arc::clone(&clock) as _;
        let settings = Settings {
            name: "corp",
            table: toml::from_str(&text).unwrap(),
            surroundings: &surroundings,
            clock: &dynamic,
        };
        let source = build(BUILT_INS, settings, &materials).unwrap();
        Self { source, clock, _folder: folder }
    }

    async fn begin(&self, quietly: bool) -> (Begun, Requested) {
        let callback = "https://us.example.com/.claviger/callback".parse().unwrap();
        let begun = self.source.login().unwrap().begin(&callback, quietly).await.unwrap();
        let Onward::Redirect(url) = &begun.to else { panic!("a redirect") };
        let redirected = Redirected::read(url.query().unwrap()).unwrap();
        let guarded = Guarded::new(redirected.document(), Kind::AuthnRequest).unwrap();
        let expected = ExpectedMessage {
            issuer: "https://us.example.com",
            destination: SIGN_ON,
            now: self.clock.now(),
            skew: SKEW,
        };
        let requested = Requested::unverified(&guarded, &expected).unwrap();
        (begun, requested)
    }

    fn told<'a>(&self, (recipient, audience): (&'a str, &'a str)) -> Told<'a> {
        Told { recipient, audience, status: SUCCESS, detail: None, attributes: &[], proven: self.clock.now() }
    }

    fn response(&self, request: &Requested, told: &Told<'_>) -> Returned {
        let name_id = NameId { value: "alice".into(), format: None, name_qualifier: None, sp_name_qualifier: None };
        let response = ResponseOf {
            issuer: ISSUER,
            destination: request.acs_url.as_deref().unwrap(),
            in_response_to: Some(&request.id),
            status: told.status,
            status_detail: told.detail,
            assertion: (told.status == SUCCESS).then(|| AssertionOf {
                name_id: &name_id,
                recipient: told.recipient,
                audience: told.audience,
                attributes: told.attributes,
                session_index: "_s",
                authn_instant: told.proven,
                authn_context: "urn:oasis:names:tc:SAML:2.0:ac:classes:Password",
                session_ends_at: Some(self.clock.now() + Duration::from_secs(7200)),
                lives: Duration::from_secs(600),
            }),
            at: self.clock.now(),
        };
        let signing = Signing { key: &KEY, response: false, assertion: true, encrypt: None };
        let value = response.build(signing).unwrap().as_is().value;
        Returned(vec![("SAMLResponse".to_owned(), value)])
    }

    async fn finish(&self, returned: &Returned, memory: &LoginMemory) -> Result<SignedIn, LoginError> {
        self.source.login().unwrap().finish(returned, memory).await
    }
}

/// What is made for AWS is taken where that is configured, and kept with what it says of roles.
#[tokio::test]
async fn an_assertion_for_aws_is_taken_by_consent_and_kept() {
    let ours = ("https://us.example.com/.claviger/saml/corp/acs", "https://us.example.com");
    let attributes = [
        (
            "https://aws.amazon.com/SAML/Attributes/Role",
            vec![format!("{PROVIDER_ARN},{ROLE}"), "something else".to_owned()],
        ),
        ("https://aws.amazon.com/SAML/Attributes/SessionDuration", vec!["7200".to_owned()]),
    ];
    for (more, told, outcome) in [
        ("", ours, Some(false)),
        ("", AWS, None),
        ("aws = {}", ours, Some(false)),
        ("aws = {}", AWS, Some(true)),
        // recipient and audience belong together
        ("aws = {}", (ours.0, AWS.1), None),
        ("aws = {}", (AWS.0, ours.1), None),
        (
            "aws = { recipient = 'https://us.example.com/.claviger/saml/corp/acs', audience = 'https://us.example.com' }",
            ours,
            Some(true),
        ),
    ] {
        let setting = Setting::new(more);
        let (begun, request) = setting.begin(false).await;
        let told = Told { attributes: &attributes, ..setting.told(told) };
        let returned = setting.response(&request, &told);
        let finished = setting.finish(&returned, &begun.memory).await;
        assert_eq!(
            finished.as_ref().ok().map(|signed_in| signed_in.tokens.saml.is_some()),
            outcome,
            "{more} {finished:?}"
        );
        let Some(kept) = finished.ok().and_then(|signed_in| signed_in.tokens.saml) else { continue };
        assert!(kept.document.matches(returned.only("SAMLResponse").unwrap()), "as it was posted");
        assert_eq!((kept.roles.len(), kept.roles[0].role.as_str()), (1, ROLE));
        assert_eq!(kept.taken_until, setting.clock.now() + Duration::from_secs(300), "AWS's five minutes");
        assert_eq!(kept.session_duration, Some(Duration::from_secs(7200)));
        assert_eq!(kept.session_ends, Some(setting.clock.now() + Duration::from_secs(7200)));
    }
}

/// SAML-Core §3.4.1: what is wanted quietly is asked for so, and a provider that can't says so.
#[tokio::test]
async fn a_quiet_login_asks_nothing() {
    let setting = Setting::new("");
    for quietly in [true, false] {
        let (begun, request) = setting.begin(quietly).await;
        assert_eq!(request.is_passive, quietly);
        let told = Told {
            status: "urn:oasis:names:tc:SAML:2.0:status:Responder",
            detail: Some(NO_PASSIVE),
            ..setting.told(AWS)
        };
        let finished = setting.finish(&setting.response(&request, &told), &begun.memory).await;
        assert!(matches!(
            (quietly, finished),
            (true, Err(LoginError::WouldAsk)) | (false, Err(LoginError::Refused(_)))
        ));
    }
    for more in ["passive = false", "force_authn = true"] {
        assert!(!Setting::new(more).begin(true).await.1.is_passive, "{more}");
    }
}

/// A provider that does not know ForceAuthn, or has it taken out on the way, answers with the proof of this morning.
#[tokio::test]
async fn a_proof_of_before_is_none_where_one_is_wanted_anew() {
    let ours = ("https://us.example.com/.claviger/saml/corp/acs", "https://us.example.com");
    for (more, ago, is_taken) in
        [("force_authn = true", 3600, false), ("force_authn = true", 30, true), ("", 3600, true)]
    {
        let setting = Setting::new(more);
        let (begun, request) = setting.begin(false).await;
        let told = Told { proven: setting.clock.now() - Duration::from_secs(ago), ..setting.told(ours) };
        let finished = setting.finish(&setting.response(&request, &told), &begun.memory).await;
        assert_eq!(finished.is_ok(), is_taken, "{more} {ago}");
    }
}
