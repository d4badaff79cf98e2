//! The image, built by the Dockerfile as it stands, and run: nothing is
//! missing in it.
//!
//! No container engine is needed. `scripts/image` builds with buildah, and
//! the program runs in the image's own tree by chroot(8), as the image's user
//! and with the image's environment. It is linked to this machine's C library
//! there and hardly optimised; `HOOKRILL_IMAGE_FULL=1` builds what is shipped.
//! Needs root on Linux; elsewhere it says that it was left out, and fails
//! where `CI` is set.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use hookrill_testing::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// What the issue of its size comes to: everything in it, unpacked.
const IMAGE_BYTES_MAX: u64 = 20_000_000;
/// No start, answer or end takes that long.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Between two looks at something that tells nobody when it happens.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const TAG: &str = "localhost/hookrill-test";

#[test]
fn the_image_has_all_it_needs_and_keeps_events_over_a_restart() {
    if !can_run() {
        return;
    }
    let image = Image::build();
    image.says_how_it_is_run();
    image.holds_the_program_and_two_folders();
    image.is_given_what_an_engine_gives();

    let port = free_port();
    assert_eq!(
        image.health(port).status.code(),
        Some(1),
        "nothing runs yet"
    );
    let gateway = image.start(port);
    let token = image.token(port);
    let live = format!("/events/hello?token={token}");
    let mut stream = subscribe(gateway.address, &live);
    let forged = image.run(
        port,
        &[
            "send",
            "hello",
            "{}",
            "--secret",
            "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        ],
    );
    assert_eq!(forged.status.code(), Some(1));
    let sent = image.run(port, &["send", "hello", r#"{"n":1}"#]);
    assert!(sent.status.success(), "{sent:?}");
    wait_for(&mut stream, r#"data: {"n":1}"#);

    assert_eq!(gateway.stop(&image).code(), Some(0));
    // An end, not a reset; and when to come back.
    let rest: Vec<_> = stream.map(Result::unwrap).collect();
    assert!(
        rest.iter().any(|line| line.starts_with("retry: ")),
        "{rest:?}"
    );

    let restarted = image.start(port);
    let path = format!("/events/hello?since=earliest&token={token}");
    wait_for(&mut subscribe(restarted.address, &path), r#"data: {"n":1}"#);
    assert_eq!(restarted.stop(&image).code(), Some(0));
    image.holds_the_program_and_two_folders();
}

/// Whether all is there that this needs.
fn can_run() -> bool {
    let has = |program: &str| Command::new(program).arg("--version").output().is_ok();
    let needed = [
        ("Linux", cfg!(target_os = "linux")),
        ("root", rustix::process::geteuid().is_root()),
        ("buildah", has("buildah")),
        ("chroot", has("chroot")),
    ];
    let missing: Vec<_> = needed.iter().filter(|(_, there)| !there).collect();
    assert!(
        missing.is_empty() || std::env::var_os("CI").is_none(),
        "the image cannot be tested without {missing:?}"
    );
    if !missing.is_empty() {
        eprintln!("THE IMAGE WAS NOT TESTED: {missing:?}");
    }
    missing.is_empty()
}

/// An image that was built, and its tree.
struct Image {
    storage: TempDir,
    tree: PathBuf,
    config: Value,
}

impl Image {
    fn build() -> Self {
        let storage = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut image = Self {
            storage,
            tree: PathBuf::new(),
            config: Value::Null,
        };
        // Copies where the file system cannot be laid over.
        let works = |driver| {
            image.configure(driver);
            image.buildah(&["info"]).status.success()
        };
        assert!(["overlay", "vfs"].into_iter().any(works));
        let mut build = Command::new("scripts/image");
        build
            .arg("--buildah")
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("HOOKRILL_IMAGE_FULL").is_none() {
            build.arg("--quick");
        }
        let built = image.stored(build.arg(TAG)).output().unwrap();
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );

        let container = image.asked(&["from", TAG]);
        image.tree = image.asked(&["mount", &container]).into();
        let inspected = image.asked(&["inspect", "--type", "image", TAG]);
        let inspected: Value = serde_json::from_str(&inspected).unwrap();
        image.config = inspected["Docker"]["config"].clone();
        image
    }

    /// A storage of its own: nobody's images are touched.
    fn configure(&self, driver: &str) {
        let storage = self.storage.path().display();
        let text = format!(
            "[storage]\ndriver = \"{driver}\"\n\
             graphroot = \"{storage}/{driver}\"\nrunroot = \"{storage}/run-{driver}\"\n"
        );
        fs::write(self.storage.path().join("storage.conf"), text).unwrap();
    }

    fn stored<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let conf = self.storage.path().join("storage.conf");
        command.env("CONTAINERS_STORAGE_CONF", conf)
    }

    fn buildah(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("buildah");
        self.stored(command.args(arguments)).output().unwrap()
    }

    fn asked(&self, arguments: &[&str]) -> String {
        let output = self.buildah(arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn says_how_it_is_run(&self) {
        let config = &self.config;
        assert_eq!(config["User"], "65532:65532");
        assert_eq!(config["StopSignal"], "SIGTERM");
        assert_eq!(config["Healthcheck"]["Test"][0], "CMD", "there is no shell");
        assert!(config["Volumes"].get("/data").is_some(), "{config}");
        assert!(config["ExposedPorts"].get("8080/tcp").is_some(), "{config}");
        let env = config["Env"].as_array().unwrap();
        assert!(env.contains(&"HOOKRILL__SERVER__LISTEN=0.0.0.0:8080".into()));
        assert!(env.contains(&"HOOKRILL__JOURNAL__PATH=/data".into()));
        for label in ["title", "description", "licenses"] {
            let label = format!("org.opencontainers.image.{label}");
            assert_ne!(config["Labels"][&label], Value::Null, "{label}");
        }
    }

    /// The user can write to the two folders, and to nothing else.
    fn holds_the_program_and_two_folders(&self) {
        let mut names: Vec<_> = entries(&self.tree)
            .map(|path| path.file_name().unwrap().to_owned())
            .collect();
        names.retain(|name| name != "dev");
        names.sort();
        assert_eq!(names, ["backup", "data", "hookrill"]);
        let program = fs::metadata(self.tree.join("hookrill")).unwrap();
        assert_eq!((program.uid(), program.mode() & 0o022), (0, 0));
        assert!(program.len() < IMAGE_BYTES_MAX, "{} bytes", program.len());
        for folder in ["backup", "data"].map(|name| self.tree.join(name)) {
            for path in entries(&folder).chain([folder.clone()]) {
                let owner = fs::metadata(&path).unwrap().uid();
                assert_eq!(owner, 65532, "{}", path.display());
            }
        }
    }

    /// Randomness, for a C library that does not ask the kernel for it.
    fn is_given_what_an_engine_gives(&self) {
        let devices = self.tree.join("dev");
        assert!(!devices.exists());
        fs::create_dir(&devices).unwrap();
        for (name, minor) in [("random", "8"), ("urandom", "9")] {
            let mut mknod = Command::new("mknod");
            mknod.args(["-m", "666"]).arg(devices.join(name));
            assert!(mknod.args(["c", "1", minor]).status().unwrap().success());
        }
    }

    /// A program of the image, as an engine would run it.
    fn command(&self, port: u16) -> Command {
        let mut command = Command::new("chroot");
        let words = |key: &str| {
            let list = self.config[key].as_array().unwrap();
            list.iter()
                .map(|word| word.as_str().unwrap())
                .collect::<Vec<_>>()
        };
        let user = self.config["User"].as_str().unwrap();
        command.env_clear().env("PORT", port.to_string());
        command.envs(
            words("Env")
                .into_iter()
                .map(|pair| pair.split_once('=').unwrap()),
        );
        command.args(["--userspec", user, "--groups", ""]);
        command.arg(&self.tree).args(words("Entrypoint"));
        command.stdin(Stdio::null());
        command
    }

    fn run(&self, port: u16, arguments: &[&str]) -> Output {
        self.command(port).args(arguments).output().unwrap()
    }

    fn health(&self, port: u16) -> Output {
        let test = self.config["Healthcheck"]["Test"].as_array().unwrap();
        let words: Vec<_> = test.iter().map(|word| word.as_str().unwrap()).collect();
        assert_eq!(words[1], self.config["Entrypoint"][0].as_str().unwrap());
        self.run(port, &words[2..])
    }

    fn token(&self, port: u16) -> String {
        let minted = self.run(port, &["token", "--topic", "hello"]);
        assert!(minted.status.success(), "{minted:?}");
        String::from_utf8(minted.stdout).unwrap().trim().to_owned()
    }

    /// Runs what the image runs by itself, until its health check says yes.
    fn start(&self, port: u16) -> Container {
        let mut command = self.command(port);
        let run = self.config["Cmd"].as_array().unwrap();
        command.args(run.iter().map(|word| word.as_str().unwrap()));
        // To the test's own output, which is shown where it fails.
        let child = command.spawn().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut container = Container { child, address };
        let patience = Instant::now() + WAIT_MAX;
        while !self.health(port).status.success() {
            let ended = container.child.try_wait().unwrap();
            assert!(ended.is_none(), "it does not start: {ended:?}");
            assert!(Instant::now() < patience, "it does not become healthy");
            thread::park_timeout(LOOK_AGAIN);
        }
        container
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // A tree that is mounted could not be deleted.
        for arguments in [
            &["umount", "--all"][..],
            &["rm", "--all"],
            &["rmi", "--all", "--force"],
        ] {
            self.buildah(arguments);
        }
    }
}

/// The image, running; it ends with its handle.
struct Container {
    child: Child,
    address: SocketAddr,
}

impl Container {
    /// Ends it as an engine would.
    fn stop(mut self, image: &Image) -> ExitStatus {
        assert_eq!(image.config["StopSignal"], "SIGTERM");
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let patience = Instant::now() + WAIT_MAX;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < patience, "it does not end");
            thread::park_timeout(LOOK_AGAIN);
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// A stream that outlives the container's handle.
fn subscribe(address: SocketAddr, path: &str) -> impl Iterator<Item = io::Result<String>> {
    Connection::open(address).unwrap().lines(path).unwrap()
}

fn wait_for(stream: &mut impl Iterator<Item = io::Result<String>>, line: &str) {
    let found = stream.map(Result::unwrap).any(|said| said == line);
    assert!(found, "the stream ended without {line}");
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().path())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
