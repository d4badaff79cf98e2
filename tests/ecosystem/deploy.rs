//! The files that deploy Hookrill fit those who read them, and Hookrill.
//!
//! Compose's and Kubernetes' files are judged by their own schemas, the
//! Dockerfile by hadolint (`tests/ecosystem/deploy/check.py`; `scripts/test` installs
//! what it needs). Fly.io, Render and Railway publish none that can be had
//! from a registry: their files are read, and held against the image and
//! against the configuration's own code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
    time::Duration,
};

use hookrill::{
    config::{Config, Environment, MissingSecrets, Sources},
    journal,
};
use serde_json::Value;

type Variables = BTreeMap<String, String>;

/// What stands for a secret: long enough for each.
const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// The paths that may be probed.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

static CHECKED: LazyLock<Value> = LazyLock::new(|| {
    let python = root().join("tests/ecosystem/deploy/.venv/bin/python");
    let mut check = Command::new(&python);
    check
        .current_dir(root())
        .arg("tests/ecosystem/deploy/check.py");
    let output = check
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}; run scripts/test", python.display()));
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
});

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The only document of a YAML file.
fn yaml(path: &str) -> &'static Value {
    &CHECKED["documents"][path][0]
}

fn toml(path: &str) -> Value {
    toml::from_str(&text(path)).unwrap()
}

/// What one instruction of the image's own stage says.
fn image(instruction: &str) -> String {
    let dockerfile = text("Dockerfile").replace("\\\n", " ");
    let (_, stage) = dockerfile.rsplit_once("\nFROM scratch\n").unwrap();
    let mut said = stage
        .lines()
        .filter_map(|line| line.strip_prefix(instruction)?.strip_prefix(' '));
    said.next().unwrap().trim().to_owned()
}

/// The environment that the image brings.
fn image_env() -> Variables {
    let said = image("ENV");
    let pairs = said.split_whitespace().map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    });
    pairs.collect()
}

/// `[{name: …, value: …}]`, or `key` for `name`; what has no value is secret.
fn named(list: &Value, name: &str) -> Variables {
    let variable = |item: &Value| {
        let value = item["value"].as_str().unwrap_or(SECRET);
        (item[name].as_str().unwrap().to_owned(), value.to_owned())
    };
    list.as_array().unwrap().iter().map(variable).collect()
}

fn keyed(map: &Value) -> Variables {
    let variable = |(name, value): (&String, &Value)| {
        let value = value
            .as_str()
            .unwrap_or_else(|| panic!("{name} is no text"));
        (name.clone(), value.to_owned())
    };
    map.as_object().unwrap().iter().map(variable).collect()
}

/// `NAME=value` in a file's comments, one a line; what is to be filled in is
/// secret.
fn in_comments(path: &str) -> Variables {
    let text = text(path);
    let variable = |line: &str| {
        let (name, value) = line[line.find("HOOKRILL__")?..].split_once('=')?;
        let (value, _remark) = value.split_once("  ").unwrap_or((value, ""));
        let value = match value.trim_end_matches(['\\', ' ']) {
            value if value == "…" || value.starts_with("$(") => SECRET.to_owned(),
            value => value.replace('…', "hookrill"),
        };
        Some((name.to_owned(), value))
    };
    let comments = text.lines().filter(|line| line.starts_with('#'));
    comments.filter_map(variable).collect()
}

/// Compose's `${NAME:-otherwise}` and `${NAME:+instead}`.
fn interpolated(text: &str, set: &Variables) -> String {
    let Some((before, rest)) = text.split_once("${") else {
        return text.to_owned();
    };
    let (expression, after) = rest.split_once('}').unwrap();
    let (name, rule) = expression.split_once(':').unwrap();
    let value = set.get(name);
    let put = match (rule.split_at(1), value) {
        (("-", _), Some(value)) => value,
        (("-", otherwise), None) => otherwise,
        (("+", instead), Some(_)) => instead,
        (("+", _), None) => "",
        _ => panic!("{text}"),
    };
    format!("{before}{put}{}", interpolated(after, set))
}

/// What the program makes of the image's environment and of `more`, where
/// `file` is at the path that is asked for.
fn loaded(more: Variables, file: Option<&str>) -> Result<Config, String> {
    let mut variables = image_env();
    variables.extend(more);
    let pairs = variables
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let environment: Environment = pairs.collect();
    let read = |path: &Path| match file {
        Some(text) if path == Path::new("/etc/hookrill/hookrill.toml") => Ok(text.into()),
        _ => Err(io::ErrorKind::NotFound.into()),
    };
    let sources = Sources::new(&environment).with_reader(&read);
    Config::load(sources, MissingSecrets::Assume).map_err(|error| error.to_string())
}

/// The same for a platform without a file.
fn config(platform: &str, more: Variables) -> Config {
    loaded(more, None).unwrap_or_else(|error| panic!("{platform}: {error}"))
}

struct Deployed {
    platform: &'static str,
    config: Config,
    /// How long the platform waits after SIGTERM.
    patience_secs: u64,
    /// Bytes of its volume, if it has one.
    volume: Option<u64>,
}

fn compose(domain: Option<&str>) -> Config {
    let domain = domain.map(|domain| ("HOOKRILL_DOMAIN".to_owned(), domain.to_owned()));
    let set = domain.into_iter().collect();
    let written = keyed(&yaml("compose.yaml")["services"]["hookrill"]["environment"]);
    let put = written
        .into_iter()
        .map(|(name, value)| (name, interpolated(&value, &set)));
    config("compose", put.collect())
}

fn pod() -> &'static Value {
    &yaml("deploy/kubernetes/deployment.yaml")["spec"]["template"]["spec"]
}

/// The example's names, with this for each value.
fn kubernetes_with(secret: &str) -> Result<Config, String> {
    let container = &pod()["containers"][0];
    let mut variables = named(&container["env"], "name");
    let example = &yaml("deploy/kubernetes/secret.example.yaml")["stringData"];
    let names = keyed(example).into_keys();
    variables.extend(names.map(|name| (name, secret.to_owned())));
    let file = &yaml("deploy/kubernetes/configmap.yaml")["data"]["hookrill.toml"];
    loaded(variables, file.as_str())
}

fn kubernetes() -> Config {
    let config = kubernetes_with(SECRET).unwrap();
    assert!(config.file.is_some());
    config
}

fn deployed() -> Vec<Deployed> {
    let secs = |value: &Value| {
        let text = value.as_str().and_then(|text| text.strip_suffix('s'));
        text.map_or_else(|| value.as_u64(), |text| text.parse().ok())
            .unwrap()
    };
    let (fly, railway) = (toml("deploy/fly.toml"), toml("deploy/railway.toml"));
    let (run, render) = (
        &yaml("deploy/cloud-run.yaml")["spec"]["template"]["spec"]["containers"][0],
        &yaml("deploy/render.yaml")["services"][0],
    );
    let gateway = &yaml("compose.yaml")["services"]["hookrill"];
    let claim = &yaml("deploy/kubernetes/persistentvolumeclaim.yaml")["spec"];
    let storage = claim["resources"]["requests"]["storage"].as_str().unwrap();
    let gibibytes = storage.strip_suffix("Gi").unwrap().parse::<u64>().unwrap();
    let mut on_fly = keyed(&fly["env"]);
    on_fly.extend(in_comments("deploy/fly.toml"));
    let fly_size = text("deploy/fly.toml");
    let (_, fly_size) = fly_size.split_once("--size ").unwrap();
    let fly_size: u64 = fly_size.lines().next().unwrap().parse().unwrap();
    let deployed = |platform, config, patience_secs, volume| Deployed {
        platform,
        config,
        patience_secs,
        volume,
    };
    vec![
        deployed(
            "compose",
            compose(None),
            secs(&gateway["stop_grace_period"]),
            None,
        ),
        deployed(
            "compose, tls",
            compose(Some("hooks.example.com")),
            secs(&gateway["stop_grace_period"]),
            None,
        ),
        deployed(
            "kubernetes",
            kubernetes(),
            secs(&pod()["terminationGracePeriodSeconds"]),
            Some(gibibytes << 30),
        ),
        deployed(
            "fly",
            config("fly", on_fly),
            secs(&fly["kill_timeout"]),
            Some(fly_size * 1_000_000_000),
        ),
        deployed(
            "cloud run",
            config("cloud run", named(&run["env"], "name")),
            10,
            None,
        ),
        deployed(
            "render",
            config("render", named(&render["envVars"], "key")),
            secs(&render["maxShutdownDelaySeconds"]),
            Some(render["disk"]["sizeGB"].as_u64().unwrap() * 1_000_000_000),
        ),
        deployed(
            "railway",
            config("railway", in_comments("deploy/railway.toml")),
            secs(&railway["deploy"]["drainingSeconds"]),
            // The smallest volume of a paid plan.
            Some(5_000_000_000),
        ),
    ]
}

#[test]
fn every_file_fits_its_schema_and_the_dockerfile_its_linter() {
    assert_eq!(CHECKED["problems"], serde_json::json!([]));
}

#[test]
fn every_environment_makes_a_gateway_that_listens_where_it_is_asked() {
    let exposed: u16 = image("EXPOSE").parse().unwrap();
    for Deployed {
        platform, config, ..
    } in deployed()
    {
        assert!(config.listen.ip().is_unspecified(), "{platform}");
        assert_eq!(config.listen.port(), exposed, "{platform}");
        let local = config.public_url.starts_with("http://localhost");
        assert!(
            local || config.public_url.starts_with("https://"),
            "{platform}"
        );
        // Compose alone starts without configuration.
        assert_eq!(
            config.zero_config.is_some(),
            platform.starts_with("compose")
        );
    }
}

#[test]
fn an_example_that_was_not_filled_in_starts_nothing() {
    let error = kubernetes_with("").unwrap_err();
    let names = keyed(&yaml("deploy/kubernetes/secret.example.yaml")["stringData"]);
    for name in names.keys() {
        assert!(
            error.contains(&format!("{name} is empty")),
            "{name}: {error}"
        );
    }
    assert!(
        names.values().all(String::is_empty),
        "no secret is published"
    );
}

#[test]
fn every_platform_waits_longer_than_delay_and_drain_take() {
    for Deployed {
        platform,
        config,
        patience_secs,
        ..
    } in deployed()
    {
        let stop = config.server.shutdown_delay + config.server.shutdown_grace;
        // A slow machine wants some time for the process's own end.
        let needed = stop + Duration::from_secs(2);
        let patience = Duration::from_secs(patience_secs);
        assert!(patience >= needed, "{platform}: {patience:?} of {needed:?}");
    }
}

#[test]
fn a_gateway_serves_on_where_others_are_told_of_its_end_while_it_ends() {
    for Deployed {
        platform, config, ..
    } in deployed()
    {
        let delay = config.server.shutdown_delay;
        // Elsewhere one proxy routes to one gateway: the sooner it is back, the better.
        assert_eq!(!delay.is_zero(), platform == "kubernetes", "{platform}");
    }
    // It would come before SIGTERM, and so before readiness is off.
    assert_eq!(pod()["containers"][0]["lifecycle"], Value::Null);
    assert_eq!(
        pod()["containers"][0]["readinessProbe"]["httpGet"]["path"],
        "/readyz"
    );
}

#[test]
fn a_volume_holds_what_is_retained_and_the_reserve() {
    for Deployed {
        platform,
        config,
        volume,
        ..
    } in deployed()
    {
        let retained = config.journal.retention.bytes;
        match (config.journal.backend, volume) {
            (journal::Backend::Disk { reserve_bytes, .. }, Some(volume)) => {
                // A few per cent of index, and whole segments.
                let needed = retained + retained / 20 + (64 << 20) + reserve_bytes;
                assert!(volume > needed, "{platform}: {volume} of {needed}");
            }
            (journal::Backend::Disk { .. }, None) => assert!(platform.starts_with("compose")),
            _ => assert_eq!(platform, "cloud run"),
        }
    }
}

#[test]
fn a_platform_that_counts_requests_or_files_lets_webhooks_in() {
    let service = &yaml("deploy/cloud-run.yaml")["spec"]["template"]["spec"];
    let fly = &toml("deploy/fly.toml")["http_service"]["concurrency"]["hard_limit"];
    for (platform, most) in [
        (
            "cloud run",
            service["containerConcurrency"].as_u64().unwrap() - 1,
        ),
        ("fly", fly.as_u64().unwrap()),
    ] {
        let deployed = deployed();
        let found = deployed.iter().find(|one| one.platform == platform);
        let subscribers = found.unwrap().config.server.subscribers_max as u64;
        assert!(subscribers <= most, "{platform}");
    }
}

/// All values of this key, wherever it is.
fn values<'a>(tree: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match tree {
        Value::Object(map) => {
            found.extend(map.get(key));
            map.values().for_each(|value| values(value, key, found));
        }
        Value::Array(list) => list.iter().for_each(|value| values(value, key, found)),
        _ => {}
    }
}

#[test]
fn ports_probes_and_volumes_are_those_of_the_image() {
    let exposed: u64 = image("EXPOSE").parse().unwrap();
    let mut all = CHECKED["documents"].clone();
    all["fly"] = toml("deploy/fly.toml");
    all["railway"] = toml("deploy/railway.toml");
    let every = |keys: &[&str]| {
        let mut found = Vec::new();
        keys.iter().for_each(|key| values(&all, key, &mut found));
        found.into_iter().cloned().collect::<Vec<_>>()
    };
    let ports = every(&["containerPort", "internal_port"]);
    assert_eq!(ports, vec![Value::from(exposed); 3]);
    let published = &all["compose.yaml"][0]["services"]["hookrill"]["ports"][0];
    assert_eq!(published, &format!("127.0.0.1:{exposed}:{exposed}"));

    let mut probed = every(&["healthCheckPath", "healthcheckPath"]);
    probed.extend(every(&["httpGet"]).iter().map(|get| get["path"].clone()));
    probed.push(all["fly"]["http_service"]["checks"][0]["path"].clone());
    assert_eq!(probed.len(), 8, "{probed:?}");
    for path in probed {
        assert!(PROBES.contains(&path.as_str().unwrap()), "{path}");
    }

    let data = image("VOLUME");
    assert_eq!(image_env()["HOOKRILL__JOURNAL__PATH"], data);
    assert_eq!(all["fly"]["mounts"][0]["destination"], data);
    assert_eq!(
        all["deploy/render.yaml"][0]["services"][0]["disk"]["mountPath"],
        data
    );
    assert_eq!(pod()["containers"][0]["volumeMounts"][0]["mountPath"], data);
    let volumes = &all["compose.yaml"][0]["services"]["hookrill"]["volumes"];
    assert_eq!(volumes[0], format!("journal:{data}"));
}

#[test]
fn compose_and_kubernetes_grant_no_privilege() {
    let (user, _) = image("USER")
        .split_once(':')
        .map(|(user, group)| (user.parse::<u64>().unwrap(), group.parse::<u64>().unwrap()))
        .unwrap();
    assert_ne!(user, 0);
    let security = &pod()["securityContext"];
    for key in ["runAsUser", "runAsGroup", "fsGroup"] {
        assert_eq!(security[key], user, "{key}");
    }
    assert_eq!(security["runAsNonRoot"], true);
    let container = &pod()["containers"][0]["securityContext"];
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(container["capabilities"]["drop"][0], "ALL");

    let gateway = &yaml("compose.yaml")["services"]["hookrill"];
    assert_eq!(gateway["read_only"], true);
    assert_eq!(gateway["cap_drop"][0], "ALL");
    assert_eq!(gateway["security_opt"][0], "no-new-privileges:true");
}

#[test]
fn caddy_alone_is_trusted_and_goes_to_the_gateway() {
    let compose = yaml("compose.yaml");
    let caddy = &compose["services"]["caddy"]["networks"]["gateway"]["ipv4_address"];
    let trusted = self::compose(None).server.trusted_proxies;
    let [trusted] = trusted.as_slice() else {
        panic!("{trusted:?}");
    };
    assert_eq!(
        trusted.to_string(),
        format!("{}/32", caddy.as_str().unwrap())
    );
    let exposed = image("EXPOSE");
    let service = &compose["services"]["caddy"];
    let upstream = service["environment"]["HOOKRILL_UPSTREAM"].as_str();
    assert_eq!(upstream, Some(&*format!("hookrill:{exposed}")));
    // tests/ecosystem/proxies.rs runs that file.
    let mounted = service["volumes"][0].as_str().unwrap();
    assert!(mounted.starts_with("./deploy/proxies/Caddyfile:"));
    let caddyfile = text("deploy/proxies/Caddyfile");
    assert!(caddyfile.contains("reverse_proxy {$HOOKRILL_UPSTREAM:"));
}

/// Whatever the texts name is a key; what it is set to here does not matter.
#[test]
fn every_key_that_a_text_names_is_one() {
    let mut named = BTreeSet::new();
    for path in [
        "README.md",
        "docs/configuration.md",
        "docs/run.md",
        "deploy/README.md",
        "compose.yaml",
        "deploy/fly.toml",
        "deploy/railway.toml",
        "deploy/render.yaml",
        "deploy/cloud-run.yaml",
    ] {
        let text = text(path);
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        named.extend(
            words
                .filter(|word| word.starts_with("HOOKRILL__"))
                .map(str::to_owned),
        );
    }
    assert!(named.len() > 10, "{named:?}");
    let set = |variables: &mut dyn Iterator<Item = &String>| {
        let environment: Environment = variables.map(|name| (name.as_str(), "x")).collect();
        let read = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let sources = Sources::new(&environment).with_reader(&read);
        Config::load(sources, MissingSecrets::Assume)
            .unwrap_err()
            .to_string()
    };
    let said = set(&mut named.iter());
    assert!(!said.contains("no such key"), "{said}");
    let wrong = set(&mut ["HOOKRILL__SERVER__LISTNE".to_owned()].iter());
    assert!(wrong.contains("no such key"), "{wrong}");
}
