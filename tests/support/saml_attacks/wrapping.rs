//! XML signature wrapping (A15; Somorovsky et al. 2012, XSW 1 to 8): what was signed stays, and what is read is another.

use super::Verdict::Refused;
use super::{ADMIN, ALICE, Attack, cut, honest, value, without};

/// Where a second assertion, or the signed one, can be put.
#[derive(Clone, Copy, Debug)]
enum Place {
    FirstOfResponse,
    BeforeAssertion,
    AfterAssertion,
    Extensions,
    StatusDetail,
    Advice,
    AttributeValue,
    ConfirmationData,
    SignatureObject,
    SignatureItself,
    KeyInfo,
    AroundIt,
    Issuer,
    Conditions,
}

const PLACES: [Place; 14] = [
    Place::FirstOfResponse,
    Place::BeforeAssertion,
    Place::AfterAssertion,
    Place::Extensions,
    Place::StatusDetail,
    Place::Advice,
    Place::AttributeValue,
    Place::ConfirmationData,
    Place::SignatureObject,
    Place::SignatureItself,
    Place::KeyInfo,
    Place::AroundIt,
    Place::Issuer,
    Place::Conditions,
];

pub(super) fn attacks() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for place in PLACES {
        for same_id in [false, true] {
            let ids = if same_id { "the same ID" } else { "its own ID" };
            // XSW 3, 7: the signed one stays where it is
            attacks.push(Attack::new(format!("wrapping: evil one in {place:?}, {ids}"), Refused(""), move |stage| {
                let good = honest(stage, false, true);
                let assertion = cut(&good, "saml:Assertion");
                wrapped(&good, assertion, &evil(assertion, same_id, false), place)
            }));
            // XSW 4, 5, 6, 8: the evil one takes its place, with or without the signature, and the signed one hides
            for signed in [false, true] {
                let with = if signed { "with the signature" } else { "without it" };
                let name = format!("wrapping: evil one {with}, the signed one in {place:?}, {ids}");
                attacks.push(Attack::new(name, Refused(""), move |stage| {
                    let good = honest(stage, false, true);
                    let assertion = cut(&good, "saml:Assertion");
                    let hidden = if signed { without(assertion, "ds:Signature") } else { assertion.to_owned() };
                    wrapped(&good, &evil(assertion, same_id, signed), &hidden, place)
                }));
            }
        }
    }
    // XSW 1, 2: the same of a signed Response
    for (where_to, place) in [
        ("in its Signature", "</ds:Signature>"),
        ("before its Signature", "<ds:Signature"),
        ("in its Status", "</samlp:Status>"),
        ("at its end", "</samlp:Response>"),
        ("in an Object", "</ds:KeyInfo>"),
    ] {
        for same_id in [false, true] {
            let name = format!("wrapping: the signed Response {where_to}, same ID: {same_id}");
            attacks.push(Attack::new(name, Refused(""), move |stage| {
                let good = honest(stage, true, false);
                let mut outer = good.replace(ALICE, ADMIN);
                if !same_id {
                    outer = outer.replacen(&format!(" ID=\"{}\"", value(&good, "ID")), " ID=\"_evil\"", 1);
                }
                let hidden = without(&good, "ds:Signature");
                let hidden =
                    if where_to == "in an Object" { format!("<ds:Object>{hidden}</ds:Object>") } else { hidden };
                let at = outer.find(place).unwrap();
                let at = if where_to == "in an Object" { at + place.len() } else { at };
                format!("{}{hidden}{}", &outer[..at], &outer[at..])
            }));
        }
    }
    attacks
}

/// What the attacker wants read.
fn evil(assertion: &str, same_id: bool, signed: bool) -> String {
    let evil = assertion.replace(ALICE, ADMIN);
    let evil = if signed { evil } else { without(&evil, "ds:Signature") };
    if same_id { evil } else { evil.replacen(&format!(" ID=\"{}\"", value(assertion, "ID")), " ID=\"_evil\"", 1) }
}

/// The Response with `visible` as its assertion, and `other` put somewhere.
fn wrapped(good: &str, visible: &str, other: &str, place: Place) -> String {
    let response = good.replacen(cut(good, "saml:Assertion"), visible, 1);
    let before = |mark: &str, content: String| response.replacen(mark, &format!("{content}{mark}"), 1);
    match place {
        Place::FirstOfResponse => before("<saml:Issuer", other.to_owned()),
        Place::Extensions => before("<samlp:Status>", format!("<samlp:Extensions>{other}</samlp:Extensions>")),
        Place::StatusDetail => before("</samlp:Status>", format!("<samlp:StatusDetail>{other}</samlp:StatusDetail>")),
        _ => response.replacen(visible, &put(visible, other, place), 1),
    }
}

/// `visible`, with `other` put beside it or in it.
fn put(visible: &str, other: &str, place: Place) -> String {
    let within = |name: &str, content: String| {
        let end = format!("</{name}>");
        assert!(visible.contains(&end), "no {name} in {visible}");
        visible.replacen(&end, &format!("{content}{end}"), 1)
    };
    let at_signature = |content: String| {
        let end = "</ds:Signature>";
        if visible.contains(end) {
            visible.replacen(end, &format!("{content}{end}"), 1)
        } else {
            let signature = format!("<ds:Signature xmlns:ds=\"{}\">{content}{end}", super::DSIG);
            visible.replacen("</saml:Issuer>", &format!("</saml:Issuer>{signature}"), 1)
        }
    };
    match place {
        Place::BeforeAssertion => format!("{other}{visible}"),
        Place::AfterAssertion => format!("{visible}{other}"),
        Place::Advice => within("saml:Assertion", format!("<saml:Advice>{other}</saml:Advice>")),
        Place::AttributeValue => within("saml:AttributeValue", other.to_owned()),
        Place::ConfirmationData => within("saml:SubjectConfirmationData", other.to_owned()),
        Place::SignatureObject => at_signature(format!("<ds:Object>{other}</ds:Object>")),
        Place::SignatureItself => at_signature(other.to_owned()),
        Place::KeyInfo => at_signature(format!("<ds:KeyInfo>{other}</ds:KeyInfo>")),
        Place::AroundIt => {
            // the other's tag around this one
            let open = other.find('>').unwrap() + 1;
            format!("{}{visible}{}", &other[..open], &other[open..])
        }
        Place::Issuer => within("saml:Issuer", other.to_owned()),
        Place::Conditions => within("saml:Conditions", other.to_owned()),
        Place::FirstOfResponse | Place::Extensions | Place::StatusDetail => unreachable!("these are not near it"),
    }
}
