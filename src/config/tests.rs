use super::*;

/// A config that has nothing wrong with it.
const GOOD: &str = r#"
    [listen.main]
    address = "127.0.0.1:8080"
    public_url = "http://127.0.0.1:8080"
    [identity.corp]
    kind = "oidc"
    [credentials.aws]
    kind = "minted"
    [route.wiki]
    host = "wiki.localhost"
    upstream = "http://127.0.0.1:3000"
    allow = "signed-in"
"#;

fn surroundings(pairs: &[(&str, &str)]) -> Surroundings {
    let environment = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Surroundings::new("/etc/claviger", environment)
}

fn read(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(text, surroundings(&[])).and_then(Reading::sound)
}

/// The errors of `GOOD` with `more` after it.
fn errors(more: &str) -> Vec<String> {
    let errors = read(&format!("{GOOD}\n{more}")).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_not_written_has_its_default() {
    let config = read(GOOD).unwrap();
    assert_eq!((config.workers, config.drain, config.admin), (None, Duration::from_secs(30), None));
    assert_eq!((config.log_level, config.log_access), (LevelFilter::INFO, true));
    let route = &config.route["wiki"];
    assert_eq!((route.path.to_string().as_str(), route.bounds.connect), ("/", Duration::from_secs(5)));
    assert_eq!(route.identity, None);
    assert_eq!(route.credentials.as_deref(), Some("aws"));
}

#[test]
fn every_error_is_found_in_one_go() {
    let text = r#"
        state_dirr = "x"
        [server]
        workers = 0
        drain = "soon"
        [log]
        level = "loud"
        [listen.Main]
        address = "localhost"
        public_url = "http://example.com"
        trusted_proxies = ["10.0.0.0/8", "here"]
        [listen.other]
        tls = { certificate = "c.pem" }
        [keys]
        cookie = ["canary"]
        [route.wiki]
        hosst = "x"
        upstream = "ftp://127.0.0.1"
        allow = { group = ["x"] }
        identity = ["nobody"]
        credentials = "nothing"
        inject = ["x", { kind = "headers" }]
        timeouts = { connect = 5 }
    "#;
    let errors = read(text).unwrap_err();
    let mut paths: Vec<_> = errors.iter().map(|e| e.path.as_str()).collect();
    paths.sort_unstable();
    let expected = [
        "keys.cookie[0]",
        "listen.Main",
        "listen.Main.address",
        "listen.Main.public_url",
        "listen.Main.trusted_proxies[1]",
        "listen.other.address",
        "listen.other.tls.key",
        "log.level",
        "route.wiki.allow.group",
        "route.wiki.credentials",
        "route.wiki.hosst",
        "route.wiki.host",
        "route.wiki.identity[0]",
        "route.wiki.inject[0]",
        "route.wiki.timeouts.connect",
        "route.wiki.upstream",
        "server.drain",
        "server.workers",
        "state_dirr",
    ];
    assert_eq!(paths, expected, "{errors}");
    // A36: a secret that was written down is not repeated
    assert!(!errors.to_string().contains("canary"), "{errors}");
}

#[test]
fn instances_need_the_same_keys_for_what_they_sign_and_no_others() {
    let redis = "[session]\nkind = 'redis'\nurl = 'rediss://r'\n[keys]\ncookie = [{ env = 'C' }]\n\
                 minted = [{ env = 'M' }]\nsession = [{ env = 'S' }]";
    for (inject, is_missing) in [
        ("inject = [{ kind = 'headers' }, { kind = 'identity_jwt' }]", true),
        ("inject = { kind = 'headers', set = { X-From = 'identity_jwt' } }", false),
    ] {
        let reading = Config::parse(&format!("{GOOD}\n{inject}\n{redis}"), surroundings(&[])).unwrap();
        let told = reading.errors.to_string();
        assert_eq!(told.contains("keys.identity: is missing"), is_missing, "{inject}: {told}");
    }
}

#[test]
fn contradictions_are_errors() {
    for (more, error) in [
        ("[listen.two]\naddress = '127.0.0.1:8080'", "listen.two.address: is the address of `listen.main` too"),
        ("[session]\nidle = '0s'", "session.idle: is no time at all"),
        ("[session]\nlifetime = '0s'", "session.lifetime: is no time at all"),
        ("[session]\nmax_sessions = 0", "session.max_sessions: is 0"),
        ("[session]\noutage = '0s'", "session.outage: is no time at all"),
        ("[session]\nfolder = 'sessions'", "session.folder: is for kind = \"file\" only"),
        ("[session]\nkind = 'file'\nurl = 'rediss://r'", "session.url: is for kind = \"redis\" only"),
        (
            "[session]\nkind = 'redis'\n[keys]\ncookie = [{ env = 'C' }]\nminted = [{ env = 'M' }]\nsession = [{ env = 'S' }]",
            "session.url: is missing",
        ),
        (
            "[session]\nkind = 'redis'\nurl = 'rediss://r'\n[keys]\ncookie = [{ env = 'C' }]\nminted = [{ env = 'M' }]",
            "keys.session: is missing; with sessions in Redis, all instances need the same keys",
        ),
        (
            "[session]\nkind = 'redis'\nurl = 'rediss://r'\n[keys]\ncookie = [{ env = 'C' }]\nsession = [{ env = 'S' }]",
            "keys.minted: is missing",
        ),
        ("timeouts = { connect = '0s' }", "route.wiki.timeouts.connect: is no time at all"),
        ("timeouts = { first_byte = '0s' }", "route.wiki.timeouts.first_byte: is no time at all"),
        ("timeouts = { idle = '0s' }", "route.wiki.timeouts.idle: is no time at all"),
        ("timeouts = { total = '0s' }", "route.wiki.timeouts.total: is no time at all"),
        ("limits = { body = 0 }", "route.wiki.limits.body: is 0"),
        ("limits = { body = '1MB' }", "route.wiki.limits.body: expected a number of bytes"),
        ("path = '/.claviger'", "route.wiki.path: is claviger's own on every host"),
        ("path = '/.claviger/me'", "route.wiki.path: is claviger's own on every host"),
        ("[admin]\naddress = '127.0.0.1:8080'", "admin.address: is the address of `listen.main` too"),
        (
            "[authority]\naddress = '127.0.0.1:8080'\naccount = '123456789012'\nregion = 'eu-west-1'",
            "authority.address: is the address of `listen.main` too",
        ),
        (
            "[listen.two]\naddress = '127.0.0.1:1'\ntls = { certificate = 'c', key = 'k', client_auth = 'required' }",
            "listen.two.tls.client_auth: is of no use without `client_ca`",
        ),
        (
            "[listen.two]\naddress = '127.0.0.1:1'\ntls = { certificate = 'c', key = 'k', client_crl = 'r.pem' }",
            "listen.two.tls.client_crl: is of no use without `client_ca`",
        ),
        (
            "[listen.two]\naddress = '127.0.0.1:1'\n\
             tls = { certificate = 'c', key = 'k', client_ca = 'a', client_auth = 'maybe' }",
            "listen.two.tls.client_auth: unknown variant `maybe`, expected `optional` or `required`",
        ),
        (
            "[authority]\naddress = '127.0.0.1:1'\naccount = '123456789012'\nregion = 'eu-west-1'\n\
             tls = { certificate = 'c', key = 'k', client_ca = 'a' }",
            "authority.tls: asks for client certificates, which only [listen.*] does",
        ),
        (
            "[listen.two]\naddress = '0.0.0.0:1'\npublic_url = 'http://localhost:1'", // A9
            "listen.two.address: is 0.0.0.0:1, which others reach, but `public_url` is http://localhost:1",
        ),
        (
            "[listen.two]\naddress = '127.0.0.1:1'\npublic_url = 'http://localhost'\ntls = { certificate = 'c', key = 'k' }",
            "listen.two.public_url: is http, but the listener speaks TLS",
        ),
    ] {
        let found = errors(more);
        assert!(found.len() == 1 && found[0].starts_with(error), "{found:?}");
    }
}

#[test]
fn where_no_listener_has_a_public_url_those_on_loopback_are_known_by_their_addresses() {
    let good = GOOD.replace("public_url = \"http://127.0.0.1:8080\"", "");
    let origin = |text: &str| {
        let config = read(text).unwrap();
        config.listen["two"].public_url.as_ref().map(|url| url.origin().to_owned())
    };
    for (address, tls, known) in [
        ("127.0.0.1:8081", "", Some("http://127.0.0.1:8081")),
        ("[::1]:8081", "", Some("http://[::1]:8081")),
        ("127.0.0.1:8081", "tls = { certificate = 'c', key = 'k' }", None),
        ("0.0.0.0:8081", "", None),
    ] {
        let two = format!("[listen.two]\naddress = '{address}'\n{tls}");
        assert_eq!(origin(&format!("{good}\n{two}")).as_deref(), known, "{two}");
        assert_eq!(origin(&format!("{GOOD}\n{two}")), None, "{two}: people use the other");
    }
    // any port: it is known by the one it got
    let mut config = read(&good.replace(":8080", ":0")).unwrap();
    let main = config.listen.get_mut("main").unwrap();
    main.bound_at("127.0.0.1:40001".parse().unwrap());
    assert_eq!(main.public_url.as_ref().map(PublicUrl::origin), Some("http://127.0.0.1:40001"));
}

#[test]
fn an_empty_file_says_what_it_needs() {
    let errors = read("").unwrap_err();
    assert_eq!(errors.iter().map(|e| e.path.as_str()).collect::<Vec<_>>(), ["listen", "route"]);
}

#[test]
fn a_syntax_error_has_its_place_and_not_its_line() {
    // A36: what stands on the line may be a secret
    let errors = read("[identity.corp]\nclient_secret = \"canary").unwrap_err().to_string();
    assert!(errors.starts_with("line 2, column "), "{errors}");
    assert!(!errors.contains("canary"), "{errors}");
}

#[test]
fn state_is_kept_where_the_system_says() {
    let folder = |pairs: &[(&str, &str)], more: &str| {
        let config = Config::parse(&format!("{more}\n{GOOD}"), surroundings(pairs)).and_then(Reading::sound).unwrap();
        config.state_dir.display().to_string()
    };
    let (systemd, xdg, home) = (("STATE_DIRECTORY", "/var/lib/a:/b"), ("XDG_STATE_HOME", "/x"), ("HOME", "/h"));
    assert_eq!(folder(&[systemd, xdg, home], "state_dir = 'here'"), "/etc/claviger/here");
    assert_eq!(folder(&[systemd, xdg, home], ""), "/var/lib/a");
    assert_eq!(folder(&[xdg, home], ""), "/x/claviger");
    assert_eq!(folder(&[home], ""), "/h/.local/state/claviger");
    assert_eq!(folder(&[], ""), "/etc/claviger/state");
}

#[test]
fn limits_that_let_nothing_through_are_refused() {
    let found = errors(
        r#"
        [limits]
        connections = 0
        connections_per_address = 0
        requests_per_connection = 0
        requests = 0
        memory = "1MiB"
        first_byte = "0s"
        idle = "0s"
        head_bytes = "4KiB"
        headers = 3
        body_bytes = "1KB"
        streams = 0
        conections = 1
        [limits.rate]
        per_address = { requests = 0, per = "1s" }
        login = "none"
        "#,
    );
    let paths: Vec<_> = found.iter().map(|error| error.split(':').next().unwrap()).collect();
    let mut sorted = paths.clone();
    sorted.sort_unstable();
    let expected = [
        "limits.body_bytes",
        "limits.conections",
        "limits.connections",
        "limits.connections_per_address",
        "limits.first_byte",
        "limits.head_bytes",
        "limits.headers",
        "limits.idle",
        "limits.memory",
        "limits.rate.login",
        "limits.rate.per_address",
        "limits.requests",
        "limits.requests_per_connection",
        "limits.streams",
    ];
    assert_eq!(sorted, expected, "{found:#?}");
}

#[test]
fn limits_are_what_is_written_or_follow_from_the_system() {
    let limits = read(GOOD).unwrap().limits;
    assert_eq!(limits.of_a_connection(&[]), crate::server::Limits::default());
    let most = limits.most();
    assert_eq!(most.connections_per_address, (most.connections - most.connections / 4).max(1));
    let text = "[limits]\nconnections = 9\nrequests = 5\nmemory = \"1GiB\"\nhead = \"3s\"";
    let limits = read(&format!("{GOOD}\n{text}")).unwrap().limits;
    let most = limits.most();
    assert_eq!((most.connections, most.connections_per_address, most.requests), (9, 7, 5));
    assert_eq!((most.memory, limits.of_a_connection(&[]).head), (Some(1 << 30), Duration::from_secs(3)));
}

/// `config/examples/session`: each key that a place for sessions has.
#[test]
fn examples_of_places_for_sessions_are_sound() {
    let environment = [("REDIS_PASSWORD", "canary")];
    for (example, is_redis) in [
        (include_str!("../../config/examples/session/file.toml"), false),
        (include_str!("../../config/examples/session/redis.toml"), true),
    ] {
        let config = Config::parse(&format!("{GOOD}\n{example}"), surroundings(&environment)).unwrap().sound().unwrap();
        let address = config.redis().unwrap();
        assert_eq!(address.is_some(), is_redis);
        assert!(!format!("{address:?}").contains("canary"), "A36");
    }
    let text = GOOD.to_owned() + include_str!("../../config/examples/session/redis.toml");
    for (from, to, error) in [
        ("rediss://", "rediss://:canary@", "session.url: holds a user or password"),
        ("rediss://", "http://", "session.url: is no address of redis"),
        ("{ env = \"REDIS_PASSWORD\" }", "{ env = \"OTHER\" }", "session.password: the environment variable"),
        ("prefix =", "ca = \"none.pem\"\nprefix =", "session.ca: `/etc/claviger/none.pem` can't be read"),
    ] {
        let config = Config::parse(&text.replacen(from, to, 1), surroundings(&environment)).unwrap().sound().unwrap();
        let errors = config.redis().unwrap_err().to_string();
        assert!(errors.starts_with(error) && !errors.contains("canary"), "{errors}");
    }
}
