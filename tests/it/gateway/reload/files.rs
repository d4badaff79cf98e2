//! The real program: signals, and files that change.

use std::{fs, os::unix::fs::symlink, path::Path};

use hookrill_testing::{free_address, hookrill};
use rustix::process::Signal;
use tempfile::TempDir;

use super::*;

const APPLIED: &str = "the new configuration is in use";
const REFUSED: &str = "the new configuration was rejected as a whole";
const SECTIONS: &str = "[topics.named]\naccess = \"public\"\npreset = \"github\"\n\
    secrets = [\"file:secrets/now/github\"]\n\
    [topics.open]\naccess = \"public\"\nscheme = { kind = \"none\" }";

/// Secrets as Kubernetes lays them out: a link to the folder that holds now.
fn keep(folder: &Path, version: &str, secret: &str) {
    let secrets = folder.join("secrets");
    fs::create_dir_all(secrets.join(version)).unwrap();
    fs::write(secrets.join(version).join("github"), secret).unwrap();
    symlink(version, secrets.join("next")).unwrap();
    fs::rename(secrets.join("next"), secrets.join("now")).unwrap();
}

fn started(folder: &TempDir) -> Process {
    keep(folder.path(), "1", GITHUB_SECRET);
    let config = format!("admin_token = \"{ADMIN_TOKEN}\"\n{SECTIONS}");
    Process::start(folder.path(), &config)
}

async fn post(gateway: &Process, secret: &str) -> u16 {
    let [(name, value)] = signed(secret);
    let answer = gateway.post_with("named", &[(name, &value)], "{}").await;
    answer.status
}

#[tokio::test]
async fn a_secret_whose_link_is_swapped_is_read_again_by_itself() {
    let folder = TempDir::new().unwrap();
    let gateway = started(&folder);
    let mut subscriber = gateway.subscriber("/events/named").await;
    subscriber.opened().await;
    assert_eq!(post(&gateway, GITHUB_SECRET).await, 200);
    // Of the same size, so that only where it is can tell.
    keep(gateway.folder(), "2", &GITHUB_SECRET.to_uppercase());
    gateway.wait_for_log_times(APPLIED, 1);
    assert_eq!(post(&gateway, GITHUB_SECRET).await, 401);
    assert_eq!(post(&gateway, &GITHUB_SECRET.to_uppercase()).await, 200);
    subscriber.events(2).await;
    let said = gateway.stop();
    assert!(said.contains("secrets/now/github"), "{said}");
    for secret in [GITHUB_SECRET, &GITHUB_SECRET.to_uppercase()] {
        assert!(!said.contains(secret), "{said}");
    }
}

#[tokio::test]
async fn a_changed_file_is_taken_and_a_bad_one_refused_until_it_is_good() {
    let folder = TempDir::new().unwrap();
    let gateway = started(&folder);
    let mut subscriber = gateway.subscriber("/events/open").await;
    subscriber.opened().await;
    let file = gateway.folder().join("hookrill.toml");
    let first = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{first}\n{NEW}")).unwrap();
    gateway.wait_for_log_times(APPLIED, 1);
    assert_eq!(gateway.post("new", "x").await.status, 200);

    // Good and bad together, as `hookrill check` says it.
    let bad = first.replace("[topics.open]", "[topics.opened]");
    fs::write(&file, format!("{bad}\nacces = \"token\"")).unwrap();
    gateway.wait_for_log_times(REFUSED, 1);
    let check = hookrill(gateway.folder()).arg("check").output().unwrap();
    let check = String::from_utf8(check.stderr).unwrap();
    let problem = check.lines().nth(1).unwrap().trim();
    assert!(problem.contains("topics.opened.acces"), "{check}");
    gateway.wait_for_log(problem);
    assert_eq!(gateway.post("opened", "x").await.status, 401);
    assert_eq!(gateway.post("new", "x").await.status, 200);
    assert_eq!(gateway.metric("hookrill_reload_last_applied").await, 0.0);

    fs::remove_file(&file).unwrap();
    gateway.wait_for_log_times(REFUSED, 2);
    // It does not go on as if it had started without a file.
    assert!(gateway.log().contains("there is no configuration"));
    assert_eq!(gateway.post("open", "x").await.status, 200);

    fs::write(&file, bad).unwrap();
    subscriber.events(1).await;
    subscriber.ended().await;
    gateway.wait_for_log_times(APPLIED, 2);
    assert_eq!(gateway.post("opened", "x").await.status, 200);
    assert_eq!(gateway.post("new", "x").await.status, 401);
    let of = |result| format!("hookrill_reloads_total{{result=\"{result}\"}}");
    assert_eq!(gateway.metric(&of("applied")).await, 2.0);
    assert_eq!(gateway.metric(&of("rejected")).await, 2.0);
    assert_eq!(gateway.metric("hookrill_reload_last_applied").await, 1.0);
    gateway.stop();
}

#[tokio::test]
async fn sighup_reads_it_at_once_and_ends_nothing() {
    let folder = TempDir::new().unwrap();
    let gateway = started(&folder);
    let mut subscriber = gateway.subscriber("/events/open").await;
    subscriber.opened().await;
    gateway.signal(Signal::HUP);
    gateway.wait_for_log_times("nothing has changed", 1);
    let file = gateway.folder().join("hookrill.toml");
    let text = fs::read_to_string(&file).unwrap();
    let listen = text.replace(&gateway.address.to_string(), "127.0.0.1:1");
    fs::write(&file, format!("{listen}\n{NEW}")).unwrap();
    gateway.signal(Signal::HUP);
    gateway.wait_for_log_times(APPLIED, 1);
    gateway.wait_for_log("changing this requires a restart key=\"server.listen\"");
    assert_eq!(gateway.post("new", "x").await.status, 200);
    let id = gateway.post("open", "x").await.id();
    assert_eq!(subscriber.events(1).await[0].id, id);
    gateway.stop();
}

/// Without a file its secrets were made at the start, and are read again.
#[tokio::test]
async fn secrets_that_were_made_at_the_start_are_read_again() {
    let folder = TempDir::new().unwrap();
    let address = free_address();
    let mut serve = hookrill(folder.path());
    serve.arg("serve");
    serve.env("HOOKRILL__SERVER__LISTEN", address.to_string());
    let gateway = Process::start_as(&mut serve, folder.path(), address);
    let secret = gateway.folder().join("data/token-secret");
    let token = |key: &str| {
        let claims = hookrill::access::Claims {
            topics: vec!["*".into()],
            exp: 4_000_000_000,
            ..Default::default()
        };
        let key = hookrill_core::Secret::new(key.as_bytes());
        hookrill::access::mint(&key, &claims).unwrap()
    };
    let made = fs::read_to_string(&secret).unwrap();
    let old = format!("/events/hello?token={}", token(made.trim()));
    let mut subscriber = gateway.subscriber(&old).await;
    subscriber.opened().await;
    fs::write(&secret, TOKEN_SECRET).unwrap();
    gateway.signal(Signal::HUP);
    subscriber.ended().await;
    let new = format!("/events/hello?token={}", token(TOKEN_SECRET));
    gateway.subscriber(&new).await.opened().await;
    assert_eq!(gateway.get(&old, &[]).await.status, 401);
    fs::remove_file(&secret).unwrap();
    gateway.signal(Signal::HUP);
    gateway.wait_for_log_times(REFUSED, 1);
    gateway.subscriber(&new).await.opened().await;
    gateway.stop();
}
