//! The ground of SAML against documents of attackers: what is refused, for which reason, and what is still let in.

mod messages;
mod metadata;
mod second_opinion;

use claviger::saml::{Answer, Assertion, Expected, Guarded, Kind, Reason, Refused, SKEW, Trust, Verified, verify};

use crate::support::saml_attacks::{ALICE, OURSELVES, PROVIDER, STRANGER, Stage, Verdict, attacks};

fn trust() -> Trust {
    Trust { certificates: vec![PROVIDER.certificate.clone()], decryption: vec![OURSELVES.decryption()], cbc: false }
}

fn believed(document: &[u8], trust: &Trust) -> Result<Verified, Refused> {
    verify(Guarded::new(document, Kind::Response)?, trust)
}

fn accepted(document: &[u8], stage: &Stage, trust: &Trust) -> Result<Assertion, Refused> {
    believed(document, trust)?.accept(&Expected {
        issuer: &stage.issuer,
        destination: Some(&stage.acs_url),
        recipients: &[&stage.acs_url],
        audiences: &[&stage.audience],
        answer: Answer::To(&stage.request),
        authn_contexts: &[],
        now: stage.now,
        skew: SKEW,
    })
}

/// A15, A16, A17 and threats 1.4: every document of the table.
#[test]
fn every_attack_is_refused_and_every_control_is_alice() {
    let (stage, trust) = (Stage::alone(), trust());
    let attacks = attacks();
    let mut wrong = Vec::new();
    for attack in &attacks {
        let outcome = accepted(&attack.document(&stage), &stage, &trust);
        match (&outcome, attack.verdict) {
            (Ok(assertion), Verdict::Alice) if assertion.name_id.value == ALICE => {}
            (Err(refused), Verdict::Refused(because)) if format!("{:?}", refused.reason()).starts_with(because) => {}
            _ => {
                wrong.push(format!("{}: {:?}, expected {:?}", attack.name, outcome.map(|a| a.name_id), attack.verdict))
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), attacks.len(), wrong.join("\n"));
    let hostile = attacks.iter().filter(|attack| attack.verdict != Verdict::Alice).count();
    assert!(hostile >= 120, "there are {hostile}");
}

#[test]
fn without_a_pinned_certificate_nothing_is_believed() {
    let stage = Stage::alone();
    for attack in attacks().iter().filter(|attack| attack.verdict == Verdict::Alice) {
        let refused = accepted(&attack.document(&stage), &stage, &Trust { certificates: Vec::new(), ..trust() });
        assert_eq!(refused.unwrap_err().reason(), &Reason::NoCertificate, "{}", attack.name);
    }
}

/// While they are run, nobody is called and nothing is opened that a document names.
#[test]
fn no_attack_makes_us_call_anybody() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("canary");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let stage = Stage {
        forbidden_url: format!("http://{}/forbidden", listener.local_addr().unwrap()),
        forbidden_file: pipe.to_str().unwrap().to_owned(),
        ..Stage::alone()
    };
    // whoever opened the pipe to read would wait here for ever for somebody to write
    for attack in attacks() {
        let _ = accepted(&attack.document(&stage), &stage, &trust());
    }
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

/// The certificate of tomorrow and that of yesterday, whichever it is signed by.
#[test]
fn during_a_rollover_either_key_is_believed() {
    let stage = Stage::alone();
    let control = attacks().into_iter().find(|attack| attack.verdict == Verdict::Alice).unwrap();
    let mut certificates = vec![STRANGER.certificate.clone(), PROVIDER.certificate.clone()];
    for _ in 0..2 {
        let trust = Trust { certificates: certificates.clone(), ..trust() };
        assert!(accepted(&control.document(&stage), &stage, &trust).is_ok());
        certificates.reverse();
    }
    let trust = Trust { certificates: vec![STRANGER.certificate.clone()], ..trust() };
    assert_eq!(accepted(&control.document(&stage), &stage, &trust).unwrap_err().reason(), &Reason::Signature);
}

#[test]
fn encrypted_to_the_old_key_or_by_cbc_with_consent_is_opened() {
    let stage = Stage::alone();
    let both = Trust { decryption: vec![STRANGER.decryption(), OURSELVES.decryption()], ..trust() };
    let none = Trust { decryption: Vec::new(), ..trust() };
    let cbc = Trust { cbc: true, ..trust() };
    let attacks = attacks();
    let named = |name: &str| attacks.iter().find(|attack| attack.name == name).unwrap().document(&stage);
    let encrypted = named("control: encrypted, AES-128-GCM");
    assert!(accepted(&encrypted, &stage, &both).is_ok());
    assert_eq!(accepted(&encrypted, &stage, &none).unwrap_err().reason(), &Reason::Undecryptable);
    let by_cbc = named("cipher: CBC without consent");
    assert_eq!(accepted(&by_cbc, &stage, &cbc).unwrap().name_id.value, ALICE);
}

/// What an assertion says arrives whole.
#[test]
fn an_assertion_is_read_whole() {
    let stage = Stage::alone();
    let control = attacks().into_iter().find(|attack| attack.verdict == Verdict::Alice).unwrap();
    let assertion = accepted(&control.document(&stage), &stage, &trust()).unwrap();
    assert_eq!(assertion.values("groups"), ["staff", "wiki"]);
    assert_eq!(assertion.values("mail"), [ALICE]);
    assert!(assertion.values("none").is_empty());
    assert_eq!(assertion.session_index.as_deref(), Some("_session-1"));
    assert_eq!(assertion.in_response_to.as_ref(), Some(&stage.request));
    assert_eq!((&assertion.recipient, &assertion.audience), (&stage.acs_url, &stage.audience));
    assert_eq!(assertion.once.until, stage.now + std::time::Duration::from_secs(300) + SKEW);
    assert!(assertion.once.id.starts_with('_'));
}
