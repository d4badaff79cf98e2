//! Warns of environment variables that look like keys and that nothing reads.
//!
//! Silent about those that somebody else sets: Kubernetes and Docker describe
//! services in variables of their names.

use std::collections::BTreeSet;

use super::{
    diagnostic::{Diagnostics, KeyPath, Location},
    environment::{Environment, PREFIX},
    hints,
};

/// What the program itself reads, and what its build does.
const READ: [&str; 5] = [
    "HOOKRILL_CONFIG",
    "HOOKRILL_TOKEN",
    "HOOKRILL_URL",
    "HOOKRILL_COMMIT",
    "HOOKRILL_COMMIT_DATE",
];
/// How the variables begin that are meant for this program, in any case.
const MEANT: &str = "hookrill";

/// Warns of each variable that looks like a key and that nothing reads.
/// `referenced` are those that the configuration names by `env:`. To be called once
/// all sections are read.
pub(super) fn warn(
    environment: &Environment,
    referenced: &BTreeSet<String>,
    diagnostics: &Diagnostics,
) {
    let known = diagnostics.known();
    for (name, value) in environment.iter() {
        let is_read = READ.contains(&name) || name.starts_with(PREFIX);
        if is_read || referenced.contains(name) || is_service_link(name, value) {
            continue;
        }
        let message = if name == "RUST_LOG" {
            "nothing reads this variable; what is logged is set by HOOKRILL__LOG__LEVEL".to_owned()
        } else if !is_meant(name) {
            continue;
        } else if let Some(near) = hints::nearest_variable(name, &known) {
            format!("nothing reads this variable; did you mean {near}?")
        } else {
            format!(
                "nothing reads this variable; keys are set by names such as \
                 HOOKRILL__SERVER__LISTEN, and a value env:{name} would read it"
            )
        };
        let location = Location::Variable(name.into());
        diagnostics.warn(&KeyPath::root(), &location, message);
    }
}

/// Whether it begins with the program's name, as a word of its own.
fn is_meant(name: &str) -> bool {
    let start = name.get(..MEANT.len());
    let rest = name.get(MEANT.len()..);
    start.is_some_and(|start| start.eq_ignore_ascii_case(MEANT))
        && rest.is_some_and(|rest| rest.starts_with(['_', '.', '-']))
}

/// Whether a cluster or a container engine describes a service with it:
/// `HOOKRILL_SERVICE_HOST`, `HOOKRILL_PORT_8080_TCP_ADDR`, `HOOKRILL_ENV_PATH`.
fn is_service_link(name: &str, value: Option<&str>) -> bool {
    let is_address = || {
        let schemes = ["tcp://", "udp://", "sctp://"];
        value.is_some_and(|value| schemes.iter().any(|scheme| value.starts_with(scheme)))
    };
    let (_, after_service) = name.split_once("_SERVICE_").unwrap_or_default();
    let (_, after_port) = name.split_once("_PORT_").unwrap_or_default();
    let mut words = after_port.split('_');
    let is_port = words.next().is_some_and(|port| port.parse::<u16>().is_ok())
        && words
            .next()
            .is_some_and(|word| ["TCP", "UDP", "SCTP"].contains(&word));
    after_service == "HOST"
        || after_service == "PORT"
        || after_service.starts_with("PORT_")
        || is_port
        || (name.ends_with("_PORT") && is_address())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clusters_and_container_engines_set_is_told_from_keys() {
        for (name, value) in [
            ("HOOKRILL_SERVICE_HOST", "10.0.0.1"),
            ("HOOKRILL_SERVICE_PORT", "8080"),
            ("HOOKRILL_SERVICE_PORT_HTTP", "8080"),
            ("HOOKRILL_BLUE_SERVICE_HOST", "10.0.0.1"),
            ("HOOKRILL_PORT", "tcp://10.0.0.1:8080"),
            ("HOOKRILL_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
            ("HOOKRILL_PORT_8080_TCP_PROTO", "tcp"),
            ("HOOKRILL_PORT_8080_UDP_ADDR", "10.0.0.1"),
        ] {
            assert!(is_service_link(name, Some(value)), "{name}");
        }
        for (name, value) in [
            ("HOOKRILL_PORT", "8080"),
            ("HOOKRILL_SERVER_LISTEN", "10.0.0.1:80"),
            ("HOOKRILL_PORT_NUMBER", "8080"),
            ("HOOKRILL_SERVICE_TOKEN", "x"),
        ] {
            assert!(!is_service_link(name, Some(value)), "{name}");
        }
    }

    #[test]
    fn a_name_that_only_begins_alike_is_not_meant() {
        for (name, expected) in [
            ("HOOKRILL_LISTEN", true),
            ("hookrill__server__listen", true),
            ("Hookrill.Server.Listen", true),
            ("HOOKRILLS_HOME", false),
            ("MY_HOOKRILL_URL", false),
            ("HOOKRILL", false),
            ("PATH", false),
        ] {
            assert_eq!(is_meant(name), expected, "{name}");
        }
    }
}
