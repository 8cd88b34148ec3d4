//! `examples/`: every file is what its platform reads, and every word of claviger's in it is real.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

use crate::support::secure::certificate;

mod developer;
mod manifests;
mod texts;

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn text(path: &str) -> String {
    fs::read_to_string(examples().join(path)).unwrap()
}

/// Every file below `examples/`, relative to it.
fn files() -> BTreeSet<String> {
    let (mut files, mut folders) = (BTreeSet::new(), vec![examples()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(examples()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    files
}

/// What is not read by a test here is no example that runs.
#[test]
fn every_file_is_of_a_kind_that_is_checked() {
    let checked = |name: &str| {
        ["claviger.toml", "developer.toml", "aws-config", ".json", ".yaml", ".service", "Containerfile", "README.md"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    let strange: Vec<String> = files().into_iter().filter(|name| !checked(name)).collect();
    assert_eq!(strange, [""; 0]);
}

/// With a certificate and a secret where the platform would have put them.
#[test]
fn every_config_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = certificate("apps.example.com");
    let given = [
        ("tls.crt", &*chain),
        ("tls.key", &*key),
        ("oidc-secret", "a secret"),
        ("ca.crt", &*chain),
        ("token", "a token"),
    ];
    for (name, text) in given {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let configs: Vec<String> = files().into_iter().filter(|name| name.ends_with("claviger.toml")).collect();
    assert!(configs.len() >= 4, "{configs:?}");
    for config in configs {
        let there = format!("{}/", folder.path().display());
        let file = folder.path().join("claviger.toml");
        let places = ["/run/credentials/claviger.service/", "/var/run/secrets/kubernetes.io/serviceaccount/"];
        let text = places.iter().fold(text(&config), |text, place| text.replace(place, &there));
        fs::write(&file, text).unwrap();
        let mut check = Command::new(env!("CARGO_BIN_EXE_claviger"));
        let done = check.arg("check").arg(&file).env("OIDC_SECRET", "a secret").output().unwrap();
        assert!(done.status.success(), "{config}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

/// A config by its place, as TOML.
fn config(path: &str) -> toml::Table {
    text(path).parse().unwrap()
}

/// Where the only endpoint of a config is, and what clients must show at it.
fn endpoint(config: &toml::Table) -> (String, String) {
    let endpoint = &config["endpoint"].as_table().unwrap()["app"];
    assert_eq!(endpoint["kind"].as_str(), Some("container"));
    let of = |key: &str| endpoint[key].as_str().unwrap().to_owned();
    (format!("http://{}/v1/credentials", of("address")), of("token_file"))
}

/// Whether claviger has this command, and all of its flags: `claviger <command> --help` is asked.
fn is_a_command(arguments: &[&str]) {
    let [command, rest @ ..] = arguments else { panic!("claviger is called with nothing") };
    let help = Command::new(env!("CARGO_BIN_EXE_claviger")).args([command, "--help"]).output().unwrap();
    assert!(help.status.success(), "`claviger {command}` is no command");
    let help = String::from_utf8(help.stdout).unwrap();
    for flag in rest.iter().filter(|argument| argument.starts_with('-')) {
        assert!(help.contains(flag), "`claviger {command}` has no {flag}");
    }
    if matches!(*command, "serve" | "check") {
        assert!(rest.contains(&"/etc/claviger/claviger.toml"), "{arguments:?}");
    }
}
