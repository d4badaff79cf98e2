//! The start without any configuration.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::Machine;
use crate::{
    access::Policy,
    config::{Config, MissingSecrets},
};

/// A folder that is not there yet, in one that goes away.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("some/data");
    (home, data)
}

fn machine(data: &Path) -> Machine<'_> {
    Machine::default().set("HOOKRILL__JOURNAL__PATH", data.to_str().unwrap())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn secrets(config: &Config) -> [Vec<u8>; 2] {
    let token = config.access.secret.as_ref().unwrap();
    let admin = config.server.admin_token.as_ref().unwrap();
    [token.expose().to_owned(), admin.expose().to_owned()]
}

#[test]
fn secrets_are_created_once_and_only_the_owner_can_read_them() {
    let (_home, data) = folder();
    let config = machine(&data).load_or(MissingSecrets::Create).unwrap();
    let zero_config = config.zero_config.as_ref().unwrap();
    assert_eq!((&zero_config.folder, zero_config.created), (&data, true));
    assert_eq!(mode(&data), 0o700);
    for name in ["webhook-secret", "token-secret", "admin-token"] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    let signing = fs::read_to_string(data.join("webhook-secret")).unwrap();
    assert!(
        signing.starts_with("whsec_") && signing.len() == 51,
        "{}",
        signing.len()
    );
    let any = config.topics.any().unwrap();
    assert_eq!(
        (&*any.scheme, any.access),
        ("standard-webhooks", Policy::Token)
    );

    for missing in [
        MissingSecrets::Create,
        MissingSecrets::Refuse,
        MissingSecrets::Assume,
    ] {
        let again = machine(&data).load_or(missing).unwrap();
        assert_eq!(secrets(&again), secrets(&config));
        assert!(!again.zero_config.unwrap().created);
    }
    assert_eq!(
        fs::read_to_string(data.join("webhook-secret")).unwrap(),
        signing
    );
}

#[test]
fn without_a_configuration_pages_of_this_machine_are_let_in() {
    let (_home, data) = folder();
    let config = machine(&data).load_or(MissingSecrets::Assume).unwrap();
    assert_eq!(config.server.cors_origins, crate::http::LOOPBACK_ORIGINS);
    for origin in config.server.cors_origins {
        assert!(
            origin.parse::<crate::http::OriginPattern>().is_ok(),
            "{origin}"
        );
    }
    let origin = "https://app.example.com";
    let written = machine(&data).set("HOOKRILL__SERVER__CORS_ORIGINS__0", origin);
    let with_origin = written.load_or(MissingSecrets::Assume).unwrap();
    assert_eq!(with_origin.server.cors_origins, [origin]);
}

#[test]
fn two_folders_get_different_secrets() {
    let created = || {
        let (home, data) = folder();
        let config = machine(&data).load_or(MissingSecrets::Create).unwrap();
        drop(home);
        secrets(&config)
    };
    let (one, other) = (created(), created());
    assert!(one[0] != other[0] && one[1] != other[1] && one[0] != one[1]);
}

#[test]
fn only_serve_creates_secrets() {
    let (_home, data) = folder();
    let error = machine(&data).load_or(MissingSecrets::Refuse).unwrap_err();
    assert_eq!(error.diagnostics.len(), 1, "{error}");
    assert!(
        error
            .to_string()
            .contains("run `hookrill serve` in this folder first")
    );
    machine(&data).load_or(MissingSecrets::Assume).unwrap();
    assert!(!data.exists());
}

#[test]
fn nothing_is_created_for_a_start_that_fails() {
    let (_home, data) = folder();
    let machine = machine(&data).set("HOOKRILL__LOG__FORMAT", "xml");
    let error = machine.load_or(MissingSecrets::Create).unwrap_err();
    assert_eq!(error.diagnostics.len(), 1, "{error}");
    assert!(!data.exists());
}

#[test]
fn an_incomplete_secret_is_neither_used_nor_overwritten() {
    let (_home, data) = folder();
    machine(&data).load_or(MissingSecrets::Create).unwrap();
    let path = data.join("token-secret");
    fs::write(&path, "short").unwrap();
    let error = machine(&data).load_or(MissingSecrets::Create).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("token-secret does not contain a complete secret"),
        "{error}"
    );
    assert!(!error.to_string().contains("short"));
    assert_eq!(fs::read_to_string(&path).unwrap(), "short");

    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let unreadable = machine(&data).load_or(MissingSecrets::Create).unwrap_err();
    let message = unreadable.to_string();
    let expected = format!("cannot read {}: ", path.display());
    assert!(message.contains(&expected), "{message}");
}

#[test]
fn a_link_in_place_of_a_secret_is_not_written_through() {
    let (home, data) = folder();
    fs::create_dir_all(&data).unwrap();
    let target = home.path().join("target");
    std::os::unix::fs::symlink(&target, data.join("webhook-secret")).unwrap();
    let error = machine(&data).load_or(MissingSecrets::Create).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("webhook-secret (set journal.path"),
        "{error}"
    );
    assert!(!target.exists());
}

#[test]
fn without_a_file_the_environment_may_set_everything_but_topics() {
    let (_home, data) = folder();
    let secret = "0123456789abcdef0123456789abcdef";
    let machine = machine(&data)
        .set("HOOKRILL__ACCESS__SECRET", secret)
        .set("PORT", "9");
    let config = machine.load_or(MissingSecrets::Create).unwrap();
    assert_eq!(config.access.secret.unwrap().expose(), secret.as_bytes());
    assert_eq!(config.listen.port(), 9);
    assert!(!data.join("token-secret").exists());
}

#[test]
fn a_file_or_a_topic_ends_zero_configuration() {
    let config = Machine::with("").load().unwrap();
    assert!(config.zero_config.is_none());
    let topic = Machine::default()
        .set("HOOKRILL__TOPICS__A__SCHEME__KIND", "none")
        .set("HOOKRILL__TOPICS__A__ACCESS", "public");
    assert!(topic.load().unwrap().zero_config.is_none());
}
