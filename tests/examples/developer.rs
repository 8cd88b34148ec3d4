//! What a developer's machine has, and the commands behind it.

use super::*;

#[test]
fn the_agents_unit_calls_the_agent() {
    let unit = text("developer/claviger-agent.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/claviger ")).unwrap();
    is_a_command(&start.split(' ').collect::<Vec<_>>());
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no systemd-analyze to ask");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("claviger-agent.service");
    fs::write(&file, unit.replace("/usr/local/bin/claviger", env!("CARGO_BIN_EXE_claviger"))).unwrap();
    let verdict = Command::new("systemd-analyze").args(["verify", "--user", "--man=no"]).arg(&file).output().unwrap();
    let said = String::from_utf8([verdict.stdout, verdict.stderr].concat()).unwrap();
    assert!(!said.contains("claviger"), "{said}");
}

#[test]
fn the_profile_of_aws_names_one_of_ours() {
    let aws = text("developer/aws-config");
    let process = aws.lines().find_map(|line| line.strip_prefix("credential_process = claviger ")).unwrap();
    let words: Vec<&str> = process.split(' ').collect();
    is_a_command(&words);
    assert!(config("developer/developer.toml")["profile"].as_table().unwrap().contains_key(*words.last().unwrap()));
    assert_eq!(text("developer/developer.toml"), fs::read_to_string("config/developer.toml").unwrap());
}

#[test]
fn a_new_token_is_one_line_without_an_end_and_replaces_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let new_token = |file: &Path, mode: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_claviger"));
        command.arg("new-token").arg(file).args(["--mode", mode]).output().unwrap()
    };
    let mut before = String::new();
    for _ in 0..2 {
        let said = new_token(&file, "640");
        assert!(said.status.success() && said.stdout.is_empty(), "{said:?}");
        let token = fs::read_to_string(&file).unwrap();
        assert!(token.len() >= 43 && token.bytes().all(|byte| byte.is_ascii_graphic()), "{token}");
        assert_ne!(token, before);
        before = token;
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }
    assert_eq!(new_token(&file, "666").status.code(), Some(2));
    assert_eq!(new_token(Path::new("/nonexistent/token"), "600").status.code(), Some(1));
}
