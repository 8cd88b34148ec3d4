//! What every kind must do, asked of each entry of each table of kinds: a new kind is tested by being listed.

use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use claviger::built_in::{self, BuiltIn, Environment, Settings, SettingsError, Surroundings};
use claviger::clock::{Clock, ManualClock};
use claviger::config::Config;
use claviger::credentials::{self, Mint};
use claviger::fetch::Fetch;
use claviger::generation::{Generation, Parts};
use claviger::identity::IssuedKeys;
use claviger::inject::IdentityIssuer;
use claviger::jose::{Signer, SigningKeys};
use claviger::telemetry::Metrics;
use claviger::tls::Trust;
use claviger::upstream::Upstreams;
use claviger::{endpoint, identity, inject};
use toml::{Table, Value};

/// What every secret of an example is here. It may be anywhere but in what is printed.
const CANARY: &str = "canary-5e1f0c9b";

#[test]
fn every_kind_keeps_to_the_rules() {
    let parts = parts();
    let materials = identity_materials(&parts);
    each("identity", identity::BUILT_INS, &materials);
    each("credentials", credentials::BUILT_INS, &credentials::Materials { mint: parts.mint.clone() });
    each("endpoint", endpoint::BUILT_INS, &endpoint_materials(&parts));
    each("inject", inject::BUILT_INS, &route_materials(&parts));
}

/// Asks every kind of a table.
fn each<T: ?Sized + Debug, C>(table: &str, list: &[BuiltIn<T, C>], context: &C) {
    assert!(!list.is_empty());
    let reference = read("config/reference.toml");
    for built_in in list {
        let name = format!("{table}/{}", built_in.kind);
        assert!(!built_in.summary.is_empty() && built_in.summary.ends_with('.'), "{name}: the summary is no sentence");
        assert_eq!(built_in.example, read(&format!("config/examples/{name}.toml")), "{name}: the example is elsewhere");
        assert!(reference.contains(&format!("kind = \"{}\"", built_in.kind)), "{name}: it is not in the reference");

        let example: Table = built_in.example.parse().unwrap_or_else(|e| panic!("{name}: the example: {e}"));
        assert_eq!(example.get("kind").and_then(Value::as_str), Some(built_in.kind), "{name}: the example's kind");
        let built = build(list, &example, context).unwrap_or_else(|e| panic!("{name}: the example: {e}"));
        assert!(!format!("{built:?} {built:#?}").contains(CANARY), "{name}: `Debug` shows a secret");

        // A36: neither does an error
        let mut odd = example.clone();
        odd.insert("no-such-key".into(), Value::Boolean(true));
        let error = build(list, &odd, context).err().unwrap_or_else(|| panic!("{name}: it takes any key"));
        assert!(error.to_string().contains("no-such-key"), "{name}: {error}");
        for key in example.iter().filter(|(_, value)| is_reference(value)).map(|(key, _)| key) {
            let mut written = example.clone();
            written.insert(key.clone(), Value::String(CANARY.into()));
            let error = build(list, &written, context).err().unwrap_or_else(|| panic!("{name}: `{key}` is no secret"));
            assert_eq!(&error.key, key, "{name}: {error}");
            assert!(error.problem.contains("{ env = ") && !error.problem.contains(CANARY), "{name}: {error}");
        }
    }
}

#[test]
fn an_unknown_kind_is_answered_with_the_known_ones() {
    let error = build(inject::BUILT_INS, &"kind = 'sigv5'".parse().unwrap(), &route_materials(&parts())).unwrap_err();
    assert_eq!(error.key, "kind");
    for built_in in inject::BUILT_INS {
        assert!(error.problem.contains(built_in.kind), "{error}");
    }
}

#[test]
fn every_example_belongs_to_a_kind() {
    let tables = [
        ("identity", identity::BUILT_INS.iter().map(|b| b.kind).collect::<Vec<_>>()),
        ("credentials", credentials::BUILT_INS.iter().map(|b| b.kind).collect()),
        ("endpoint", endpoint::BUILT_INS.iter().map(|b| b.kind).collect()),
        ("inject", inject::BUILT_INS.iter().map(|b| b.kind).collect()),
    ];
    for (table, kinds) in tables {
        for file in toml_files(&root().join("config/examples").join(table)) {
            let kind = file.file_stem().unwrap().to_str().unwrap();
            assert!(kinds.contains(&kind), "config/examples/{table}/{kind}.toml is no kind's");
        }
    }
}

#[test]
fn every_config_is_sound() {
    let files = toml_files(&root().join("config"));
    assert!(files.len() >= 2);
    for file in files {
        let loaded = Generation::load(&file, &environment(&read_file(&file)), |_, _| parts());
        let (config, generation) = loaded.unwrap_or_else(|errors| panic!("{}:\n{errors}", file.display()));
        assert_eq!(config.route.len(), generation.routes.iter().count());
        assert!(!format!("{config:?} {generation:?}").contains(CANARY), "{}: `Debug` shows a secret", file.display());
    }
}

/// What the reference explains but can't set: uncommented it must be sound as well, but for the files it names.
#[test]
fn every_key_of_the_reference_is_one() {
    let text = read("config/reference.toml");
    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            // prose has no `key = value` and no `[section]`
            Some(code) if is_a_key_or_a_section(code) => code,
            _ => line,
        })
        .collect();
    let surroundings = Surroundings::new(root().join("config"), environment(&text));
    let reading = Config::parse(&uncommented.join("\n"), surroundings).unwrap();
    assert!(reading.errors.is_empty(), "{}", reading.errors);
    assert!(reading.config.provider.is_some() && reading.config.authority.is_some());
}

fn is_a_key_or_a_section(code: &str) -> bool {
    let is_name = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b"_.-".contains(&b));
    match code.split_once(" = ") {
        Some((key, _)) => is_name(key),
        None => code.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).is_some_and(is_name),
    }
}

fn identity_materials(parts: &Parts) -> identity::Materials {
    identity::Materials { fetch: Arc::clone(&parts.fetch), metrics: parts.metrics.clone(), keys: parts.keys.clone() }
}

/// Those that the example of an endpoint names.
fn endpoint_materials(parts: &Parts) -> endpoint::Materials {
    let materials = identity_materials(parts);
    let example = read("config/examples/identity/token_file.toml").parse().unwrap();
    let source = build(identity::BUILT_INS, &example, &materials).unwrap();
    let example = read("config/examples/identity/kubernetes.toml").parse().unwrap();
    let cluster = build(identity::BUILT_INS, &example, &materials).unwrap();
    let example = read("config/examples/credentials/web_identity.toml").parse().unwrap();
    let provider = build(credentials::BUILT_INS, &example, &credentials::Materials { mint: None }).unwrap();
    endpoint::Materials {
        sources: [("workload".into(), source), ("cluster".into(), cluster)].into(),
        providers: [("minio".into(), provider)].into(),
        metrics: parts.metrics.clone(),
        keys: parts.keys.clone(),
    }
}

fn build<T: ?Sized, C>(list: &[BuiltIn<T, C>], table: &Table, context: &C) -> Result<Arc<T>, SettingsError> {
    let surroundings = Surroundings::new(root().join("config/examples"), environment(&table.to_string()));
    let settings =
        Settings { name: "example", table: table.clone(), surroundings: &surroundings, clock: &parts().clock };
    built_in::build(list, settings, context)
}

/// An environment in which every variable that the text refers to holds the canary.
fn environment(text: &str) -> Environment {
    let names = text.split("env = \"").skip(1).filter_map(|rest| rest.split('"').next());
    names.map(|name| (name.to_owned(), CANARY.to_owned())).collect()
}

/// Whether the value says where a secret is kept.
fn is_reference(value: &Value) -> bool {
    value.as_table().is_some_and(|table| table.len() == 1 && (table.contains_key("env") || table.contains_key("file")))
}

fn parts() -> Parts {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(1_000_000_000));
    let trust = Trust::system();
    let (signer, _) = Signer::generate().unwrap();
    let mint = Mint::new("https://apps.example.com/.claviger/issuer".parse().unwrap(), signer, Vec::new());
    let keys = SigningKeys::new(Signer::generate().unwrap().0, Vec::new());
    let identity_issuer = Some(IdentityIssuer::new("https://apps.example.com", keys));
    let upstreams = Arc::new(Upstreams::unchecked());
    let metrics = Metrics::new();
    let (fetch, mint, keys) = (Arc::new(Fetch::new(&trust)), Some(mint), IssuedKeys::passing());
    Parts { clock, fetch, trust, upstreams, mint, identity_issuer, metrics, keys }
}

/// What an injector of a route to an upstream by https may use.
fn route_materials(parts: &Parts) -> inject::Materials {
    inject::Materials {
        identity_issuer: parts.identity_issuer.clone(),
        upstream: Some("https://wiki.internal".into()),
        in_clear_text: None,
        sources: vec!["corp".into()],
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    read_file(&root().join(path))
}

fn read_file(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn toml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "toml")).collect()
}
