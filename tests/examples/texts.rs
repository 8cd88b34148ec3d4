//! The unit of systemd and the Containerfile.

use super::*;

/// Sections and their settings, of which a name may come often.
fn unit(text: &str) -> BTreeMap<String, Vec<(String, String)>> {
    let (mut sections, mut section) = (BTreeMap::<_, Vec<_>>::new(), String::new());
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        } else {
            let (name, value) =
                line.split_once('=').unwrap_or_else(|| panic!("neither a section nor a setting: {line}"));
            sections.entry(section.clone()).or_default().push((name.to_owned(), value.to_owned()));
        }
    }
    sections
}

#[test]
fn the_unit_calls_claviger_as_it_is_and_locks_it_in() {
    let unit = unit(&text("systemd/claviger.service"));
    assert_eq!(unit.keys().collect::<Vec<_>>(), ["Install", "Service", "Unit"]);
    let all = |name: &str| -> Vec<&str> {
        unit["Service"].iter().filter(|(of, _)| of == name).map(|(_, value)| value.as_str()).collect()
    };
    for start in ["ExecStartPre", "ExecStart"] {
        let line: Vec<&str> = all(start)[0].split(' ').collect();
        assert_eq!(line[0], "/usr/local/bin/claviger");
        is_a_command(&line[1..]);
    }
    for (name, value) in
        [("NoNewPrivileges", "yes"), ("ProtectSystem", "strict"), ("DynamicUser", "yes"), ("UMask", "0077")]
    {
        assert_eq!(all(name), [value], "{name}");
    }
    // what the config reads is what is loaded for it
    let config = text("systemd/claviger.toml");
    for credential in all("LoadCredential") {
        let name = credential.split(':').next().unwrap();
        assert!(config.contains(&format!("\"/run/credentials/claviger.service/{name}\"")), "{name}");
    }
    let loaded = config.matches("/run/credentials/claviger.service/").count();
    assert_eq!(loaded, all("LoadCredential").len());
    // there is time enough for what is under way
    let drain =
        super::config("systemd/claviger.toml")["server"]["drain"].as_str().unwrap().trim_end_matches('s').to_owned();
    assert!(all("TimeoutStopSec")[0].parse::<u32>().unwrap() > drain.parse().unwrap());
}

#[test]
fn systemd_itself_finds_nothing_wrong() {
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        eprintln!("SKIPPED: there is no systemd-analyze to ask");
        return;
    };
    assert!(version.status.success());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("claviger.service");
    // it looks whether the program is there
    let program = env!("CARGO_BIN_EXE_claviger");
    fs::write(&file, text("systemd/claviger.service").replace("/usr/local/bin/claviger", program)).unwrap();
    let asked = |arguments: &[&str]| {
        let done = Command::new("systemd-analyze").args(arguments).arg(&file).output().unwrap();
        let said = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        (done.status.success(), said)
    };
    assert_eq!(asked(&["verify", "--man=no"]), (true, String::new()));
    // of 100, where less is better: above 20 a setting was forgotten
    let (locked, said) = asked(&["security", "--offline=true", "--threshold=20"]);
    assert!(locked, "{said}");
}

/// Its instructions, with continued lines in one.
fn instructions(text: &str) -> Vec<(String, String)> {
    let joined = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n").replace("\\\n", "");
    let lines = joined.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| line.split_once(' ').map(|(name, rest)| (name.to_owned(), rest.trim().to_owned())).unwrap())
        .collect()
}

#[test]
fn the_image_holds_claviger_alone_and_is_not_run_by_root() {
    let all = instructions(&text("container/Containerfile"));
    const KNOWN: [&str; 9] = ["FROM", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"];
    for (name, rest) in &all {
        assert!(KNOWN.contains(&&**name), "{name} {rest}");
    }
    let last = all.iter().rposition(|(name, _)| name == "FROM").unwrap();
    assert_eq!(all[last].1, "scratch");
    let stages: Vec<&str> =
        all[..last].iter().filter_map(|(_, rest)| rest.split_once(" AS ").map(|(_, name)| name)).collect();
    let of = |wanted: &str| all[last..].iter().find(|(name, _)| name == wanted).map(|(_, rest)| rest.as_str()).unwrap();
    let from = of("COPY").strip_prefix("--from=").unwrap().split(' ').next().unwrap();
    assert!(stages.contains(&from), "{from}");
    assert!(!of("USER").starts_with('0') && !of("USER").starts_with("root"), "{}", of("USER"));
    let [entry, arguments]: [Vec<String>; 2] =
        ["ENTRYPOINT", "CMD"].map(|name| serde_json::from_str(of(name)).unwrap());
    assert_eq!(entry, ["/usr/local/bin/claviger"]);
    is_a_command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let config = config("container/claviger.toml");
    let address = config["listen"]["main"]["address"].as_str().unwrap();
    assert!(address.ends_with(&format!(":{}", of("EXPOSE"))), "{address}");
    // what it copies out of the checkout is there
    for path in ["examples/container/claviger.toml", ".ci/packages"] {
        assert!(text("container/Containerfile").contains(path) && examples().join("..").join(path).exists(), "{path}");
    }
}
