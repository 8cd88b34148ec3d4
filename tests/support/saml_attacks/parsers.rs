//! What parsers disagree on, and what exhausts them (A16, threats 1.4).

use super::Verdict::{Alice, Refused};
use super::{
    ADMIN, ALICE, Attack, PROVIDER, STRANGER, Shape, Stage, Verdict, changed, cut, honest, honest_by, resigned, value,
};

pub(super) fn attacks() -> Vec<Attack> {
    let mut attacks = split_texts();
    attacks.extend(documents());
    attacks.extend(structures());
    attacks.extend(sizes());
    attacks
}

/// A text in two, for readers that take the first half (CVE-2017-11427): all of these survive canonicalisation.
fn split_texts() -> Vec<Attack> {
    let mut attacks = Vec::new();
    for (what, between) in [
        ("a comment", "<!---->"),
        ("a comment with a tag", "<!--</saml:NameID>-->"),
        ("a processing instruction", "<?p not-an-?>"), // OneUptime #2988
        ("CDATA", "<![CDATA[]]>"),
        ("an entity", "&nothing;"),
    ] {
        for (place, text) in [
            ("NameID", ALICE),
            ("an attribute", "wiki"),
            ("the Issuer", "idp.example.org"),
            ("the Audience", "apps.example.org/saml<"),
        ] {
            attacks.push(Attack::new(format!("parser: {what} in {place}"), Refused("Xml"), move |s: &Stage| {
                let (one, two) = text.split_at(4);
                let from = text.to_owned();
                let good = honest(s, false, true);
                if !good.contains(&from) {
                    return good.replacen("</saml:Issuer>", &format!("{between}</saml:Issuer>"), 1);
                }
                good.replacen(&from, &format!("{one}{between}{two}"), 1)
            }));
        }
        attacks.push(Attack::new(format!("parser: {what} in the DigestValue"), Refused("Xml"), move |s: &Stage| {
            changed(&honest(s, false, true), "</ds:DigestValue>", &format!("{between}</ds:DigestValue>"))
        }));
    }
    attacks
}

fn documents() -> Vec<Attack> {
    let xml = Refused("Xml");
    let before = |name: &str, text: fn(&Stage) -> String| {
        Attack::new(format!("parser: {name}"), Refused("Xml"), move |s: &Stage| text(s) + &honest(s, false, true))
    };
    vec![
        before("a DOCTYPE", |_| "<!DOCTYPE samlp:Response>".into()),
        before("an external DTD", |s| format!("<!DOCTYPE a SYSTEM \"{}\">", s.forbidden_url)),
        before("an external entity, a file", |s| {
            format!("<!DOCTYPE a [<!ENTITY x SYSTEM \"file://{}\">]>", s.forbidden_file)
        }),
        before("an external parameter entity", |s| {
            format!("<!DOCTYPE a [<!ENTITY % x SYSTEM \"{}\">%x;]>", s.forbidden_url)
        }),
        before("a default attribute", |_| "<!DOCTYPE a [<!ATTLIST saml:Assertion ID CDATA \"_evil\">]>".into()),
        before("a processing instruction", |s| format!("<?xml-stylesheet href=\"{}\"?>", s.forbidden_url)),
        before("a comment", |_| "<!-- -->".into()),
        before("a byte order mark", |_| "\u{feff}".into()),
        before("text", |_| "x".into()),
        before("another root", |_| "<a/>".into()),
        before("XML 1.1", |_| "<?xml version=\"1.1\"?>".into()),
        before("declared Latin-1", |_| "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>".into()),
        before("declared UTF-7", |_| "<?xml version=\"1.0\" encoding=\"UTF-7\"?>".into()),
        before("declared UTF-16", |_| "<?xml version=\"1.0\" encoding=\"UTF-16\"?>".into()),
        before("declared EBCDIC", |_| "<?xml version=\"1.0\" encoding=\"IBM037\"?>".into()),
        before("declared twice", |_| "<?xml version=\"1.0\"?><?xml version=\"1.0\"?>".into()),
        Attack::new("control: declared UTF-8", Alice, |s| {
            format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}\n", honest(s, false, true))
        }),
        Attack::new("parser: UTF-16", xml, |s| {
            honest(s, false, true).encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>()
        }),
        Attack::new("parser: UTF-16 with its mark", xml, |s| {
            format!("\u{feff}{}", honest(s, false, true)).encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>()
        }),
        Attack::new("parser: an overlong `<`", xml, |s| {
            let good = honest(s, false, true);
            let at = good.find("</saml:NameID>").unwrap();
            [&good.as_bytes()[..at], b"\xc0\xbc", &good.as_bytes()[at..]].concat()
        }),
        Attack::new("parser: a surrogate", xml, |s| {
            let good = honest(s, false, true);
            let at = good.find("</saml:NameID>").unwrap();
            [&good.as_bytes()[..at], b"\xed\xa0\x80", &good.as_bytes()[at..]].concat()
        }),
        Attack::new("parser: a NUL", xml, |s| changed(&honest(s, false, true), "</saml:NameID>", "\0</saml:NameID>")),
        Attack::new("parser: a NUL by number", xml, |s| {
            changed(&honest(s, false, true), "</saml:NameID>", "&#0;</saml:NameID>")
        }),
        Attack::new("parser: a control character", xml, |s| {
            changed(&honest(s, false, true), "</saml:NameID>", "\u{1}</saml:NameID>")
        }),
        Attack::new("parser: cut off", xml, |s| {
            let good = honest(s, false, true);
            good[..good.len() - "</samlp:Response>".len()].to_owned()
        }),
        Attack::new("parser: cut off within a tag", xml, |s| {
            let good = honest(s, false, true);
            good[..good.len() - 1].to_owned()
        }),
        Attack::new("parser: a second root", xml, |s| honest(s, false, true) + "<b/>"),
        Attack::new("parser: an open second root", xml, |s| honest(s, false, true) + "<b>"),
        Attack::new("parser: a second Response", xml, |s| {
            honest(s, false, true) + &honest_by(s, &STRANGER, ADMIN, false, true)
        }),
        Attack::new("parser: text behind", xml, |s| honest(s, false, true) + "x"),
        Attack::new("parser: an attribute twice", xml, |s| {
            changed(&honest(s, false, true), "<saml:Assertion ", "<saml:Assertion ID=\"_evil\" ")
        }),
        Attack::new("parser: an attribute twice by two prefixes", xml, |s| {
            changed(
                &honest(s, false, true),
                "<saml:Subject>",
                "<saml:Subject xmlns:a=\"urn:x\" xmlns:b=\"urn:x\" a:c=\"1\" b:c=\"2\">",
            )
        }),
        Attack::new("parser: a prefix declared twice", xml, |s| {
            changed(&honest(s, false, true), "<saml:Subject>", "<saml:Subject xmlns:a=\"urn:x\" xmlns:a=\"urn:y\">")
        }),
        Attack::new("parser: a prefix not declared", xml, |s| {
            changed(&honest(s, false, true), "<saml:Subject>", "<saml:Subject a:b=\"c\">")
        }),
        Attack::new("parser: the xml prefix bound anew", xml, |s| {
            changed(&honest(s, false, true), "<saml:Subject>", "<saml:Subject xmlns:xml=\"urn:x\">")
        }),
        Attack::new("parser: a relative namespace (CVE-2025-66568)", xml, |s| {
            changed(&honest(s, false, true), "<saml:Assertion ", "<saml:Assertion xmlns:ns=\"1\" ")
        }),
        Attack::new("parser: crossed tags", xml, |s| {
            changed(&honest(s, false, true), "</saml:Subject>", "</saml:subject>")
        }),
        Attack::new("parser: `]]>` in a text", xml, |s| {
            changed(&honest(s, false, true), "</saml:NameID>", "]]></saml:NameID>")
        }),
        Attack::new("parser: `<` in an attribute", xml, |s| {
            changed(&honest(s, false, true), "<saml:Subject>", "<saml:Subject a=\"<\">")
        }),
        Attack::new("parser: billion laughs", xml, |s| {
            let mut dtd = String::from("<!DOCTYPE a [<!ENTITY l0 \"lol\">");
            for n in 1..10 {
                dtd += &format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10));
            }
            dtd + "]>" + &changed(&honest(s, false, true), ALICE, "&l9;")
        }),
        Attack::new("parser: the subject by numbers is another text", Refused("Signature"), |s| {
            changed(&honest(s, false, true), ALICE, "&#97;dmin@example.org")
        }),
        Attack::new("control: the subject by numbers is the same text", Alice, |s| {
            changed(&honest(s, false, true), ALICE, "&#97;lic&#x65;@example.org")
        }),
        Attack::new("control: lines ended as Windows ends them, around it", Alice, |s| {
            changed(&honest(s, false, true), "<samlp:Status>", "\r\n<samlp:Status>")
        }),
    ]
}

fn structures() -> Vec<Attack> {
    let structure = Refused("Structure");
    let duplicate = |name: &'static str| {
        Attack::new(format!("structure: an ID twice, as {name}"), Refused(""), move |s: &Stage| {
            let good = honest(s, false, true);
            let id = value(cut(&good, "saml:Assertion"), "ID").to_owned();
            changed(&good, "<samlp:Status>", &format!("<samlp:Status {name}=\"{id}\">"))
        })
    };
    let verdict = |name: &str, verdict: Verdict, from: &'static str, to: &'static str| {
        Attack::new(format!("structure: {name}"), verdict, move |s: &Stage| changed(&honest(s, false, true), from, to))
    };
    vec![
        duplicate("ID"),
        duplicate("Id"),
        duplicate("id"),
        duplicate("iD"),
        duplicate("xml:id"),
        duplicate("AssertionID"),
        verdict("another root", structure, "samlp:Response", "samlp:ArtifactResponse")
            .then_closed("samlp:Response", "samlp:ArtifactResponse"),
        verdict(
            "a root of another namespace",
            structure,
            "urn:oasis:names:tc:SAML:2.0:protocol",
            "urn:oasis:names:tc:SAML:1.0:protocol",
        ),
        verdict("version 1.1", structure, "Version=\"2.0\"", "Version=\"1.1\""),
        verdict(
            "EncryptedID",
            Refused("Encryption"),
            "</saml:Subject>",
            "<saml:EncryptedID></saml:EncryptedID></saml:Subject>",
        ),
        verdict(
            "EncryptedAttribute",
            Refused("Encryption"),
            "</saml:AttributeStatement>",
            "<saml:EncryptedAttribute></saml:EncryptedAttribute></saml:AttributeStatement>",
        ),
        verdict(
            "encryption in an attribute",
            structure,
            "</saml:AttributeValue>",
            "<xenc:EncryptedData xmlns:xenc=\"http://www.w3.org/2001/04/xmlenc#\"></xenc:EncryptedData></saml:AttributeValue>",
        ),
        verdict(
            "an empty EncryptedAssertion beside it",
            structure,
            "</samlp:Response>",
            "<saml:EncryptedAssertion xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\"></saml:EncryptedAssertion></samlp:Response>",
        ),
        verdict(
            "an Assertion of another namespace",
            structure,
            "</samlp:Response>",
            "<Assertion xmlns=\"urn:x\"></Assertion></samlp:Response>",
        ),
        verdict("an unknown child", structure, "<samlp:Status>", "<samlp:Other></samlp:Other><samlp:Status>"),
        verdict("two Status", structure, "<samlp:Status>", "<samlp:Status></samlp:Status><samlp:Status>"),
        Attack::new("structure: an assertion alone", structure, |s| {
            cut(&honest(s, false, true), "saml:Assertion").to_owned()
        }),
        Attack::new("structure: no assertion", Refused("Missing"), |s| {
            super::without(&honest(s, false, true), "saml:Assertion")
        }),
        Attack::new("structure: two signed assertions", structure, |s| {
            let (one, two) = (honest(s, false, true), honest(s, false, true));
            changed(&one, "</samlp:Response>", &format!("{}</samlp:Response>", cut(&two, "saml:Assertion")))
        }),
        Attack::new("structure: two assertions in a signed Response", structure, |s| {
            let (one, two) = (honest(s, false, false), honest(s, false, false).replace(ALICE, ADMIN));
            let both = changed(&one, "</samlp:Response>", &format!("{}</samlp:Response>", cut(&two, "saml:Assertion")));
            resigned(&both, "samlp:Response", &PROVIDER, &Shape::usual())
        }),
        Attack::new("structure: in SOAP", structure, |s| {
            format!(
                "<e:Envelope xmlns:e=\"http://schemas.xmlsoap.org/soap/envelope/\"><e:Body>{}</e:Body></e:Envelope>",
                honest(s, false, true)
            )
        }),
        Attack::new("structure: nothing", Refused("Xml"), |_| ""),
        Attack::new("structure: no XML", Refused("Xml"), |_| "{\"a\":1}"),
    ]
}

fn sizes() -> Vec<Attack> {
    let exceeds = Refused("Exceeds");
    let many = |n: usize, each: fn(usize) -> String| (0..n).map(each).collect::<String>();
    vec![
        Attack::new("size: 40,000 attributes", exceeds, move |_| {
            format!(
                "<samlp:Response xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\" {}/>",
                many(40_000, |n| format!("a{n}='' "))
            )
        }),
        Attack::new("size: 10,000 attributes that fit", exceeds, move |s| {
            changed(
                &honest(s, false, true),
                "<samlp:Status>",
                &format!("<samlp:Status {}>", many(10_000, |n| format!("a{n}='' "))),
            )
        }),
        Attack::new("size: 65 attributes", exceeds, move |s| {
            changed(
                &honest(s, false, true),
                "<samlp:Status>",
                &format!("<samlp:Status {}>", many(65, |n| format!("a{n}='' "))),
            )
        }),
        Attack::new("size: 5,000 namespaces", exceeds, move |s| {
            changed(
                &honest(s, false, true),
                "<samlp:Status>",
                &format!("<samlp:Status {}>", many(5_000, |n| format!("xmlns:a{n}='urn:x' "))),
            )
        }),
        Attack::new("size: namespaces by depth", exceeds, move |s| {
            let open = many(20, |n| {
                format!("<a xmlns:a{n}='urn:x' xmlns:b{n}='urn:x' xmlns:c{n}='urn:x' xmlns:d{n}='urn:x'>")
            });
            changed(&honest(s, false, true), "<samlp:Status>", &format!("<samlp:Status>{open}{}", "</a>".repeat(20)))
        }),
        Attack::new("size: namespaces copied 2,000 times", exceeds, move |s| {
            let spaces = many(60, |n| format!("xmlns:a{n}='urn:x{n}' "));
            let inner = format!("<b {spaces}>{}</b>", "<c xmlns=''/>".repeat(2_000));
            changed(&honest(s, false, true), "<samlp:Status>", &format!("<samlp:Status>{inner}"))
        }),
        Attack::new("size: depth 20,000", exceeds, |s| {
            changed(
                &honest(s, false, true),
                "<samlp:Status>",
                &format!("<samlp:Status>{}{}", "<a>".repeat(20_000), "</a>".repeat(20_000)),
            )
        }),
        Attack::new("size: depth 33", exceeds, |s| {
            changed(
                &honest(s, false, true),
                "<samlp:Status>",
                &format!("<samlp:Status>{}{}", "<a>".repeat(31), "</a>".repeat(31)),
            )
        }),
        Attack::new("size: 5,000 elements", exceeds, |s| {
            changed(&honest(s, false, true), "<samlp:Status>", &format!("<samlp:Status>{}", "<a/>".repeat(5_000)))
        }),
        Attack::new("size: 20 MB", exceeds, |s| {
            changed(&honest(s, false, true), "</saml:NameID>", &format!("{}</saml:NameID>", "x".repeat(20_000_000)))
        }),
        Attack::new("size: 432 KB", exceeds, |s| {
            changed(&honest(s, false, true), "</saml:NameID>", &format!("{}</saml:NameID>", "x".repeat(432_000)))
        }),
    ]
}

impl Attack {
    /// As it was, and every other place of a name changed too.
    fn then_closed(self, from: &'static str, to: &'static str) -> Self {
        let Self { name, verdict, forge } = self;
        Self::new(name, verdict, move |s: &Stage| {
            String::from_utf8(forge(s)).unwrap().replace(&format!("</{from}>"), &format!("</{to}>"))
        })
    }
}
