use super::*;

/// SSRF, A22: where requests go as they ask, and for whom, is decided by the config.
#[test]
fn egress_goes_to_listed_hosts_for_this_machine_alone() {
    let build = |listen: &str, host: &str, upstream: &str, identity: &str, inject: &str| {
        let text = format!(
            "[listen.main]\naddress = '{listen}'\n[credentials.aws]\nkind = 'web_identity'\nregion = 'eu-west-1'\n\
             [identity.workload]\nkind = 'token_file'\npath = 'token'\n[identity.other]\nkind = 'token_file'\npath = 'token'\n\
             [route.x]\nhost = {host}\nupstream = {upstream}\nidentity = {identity}\nallow = 'signed-in'\n\
             role = 'arn:aws:iam::123456789012:role/x'\ninject = {{ kind = 'sigv4'{inject} }}",
        );
        let built = Generation::build(&config(&text), &parts());
        built.map(|_| ()).map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    };
    const HERE: &str = "127.0.0.1:8080";
    const S3: &str = "['s3.eu-west-1.amazonaws.com', '*.s3.eu-west-1.amazonaws.com']";
    const ASKED: &str = "'as-asked'";
    const OWN: &str = "['workload']";
    assert_eq!(build(HERE, S3, ASKED, OWN, ""), Ok(()));
    assert_eq!(build(HERE, S3, ASKED, OWN, ", service = 's3', region = 'eu-west-1'"), Ok(()));
    assert_eq!(build(HERE, S3, "{ url = 'as-asked', endpoint = 'http://127.0.0.1:9000' }", OWN, ""), Ok(()));
    assert_eq!(build(HERE, "'x.localhost'", "'https://s3.eu-west-1.amazonaws.com'", OWN, ""), Ok(()));
    for (listen, host, upstream, identity, inject, expected) in [
        (HERE, "'*'", ASKED, OWN, "", "route.x.upstream: goes where requests ask, and `host` is *"),
        (HERE, "'169.254.169.254'", ASKED, OWN, "", "(`169.254.169.254`)"),
        (HERE, "'evil.test'", ASKED, OWN, "", "not known as an AWS service's"),
        ("0.0.0.0:8080", S3, ASKED, OWN, "", "route.x.identity: names `workload`"),
        (HERE, S3, ASKED, "['workload', 'other']", "", "route.x.identity: names `workload`"),
        (HERE, S3, ASKED, OWN, ", service = 's3'", "route.x.inject.region: is missing beside `service`"),
        (HERE, "'x.localhost'", "'https://s3.example.com'", OWN, "", "route.x.inject.service: is missing, and"),
    ] {
        let refused = build(listen, host, upstream, identity, inject).unwrap_err();
        assert!(refused.contains(expected), "{host} {upstream}: {refused}");
    }
}
