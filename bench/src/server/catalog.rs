//! The servers that come with this program, and what a machine lacks of them.

use std::{env, path::Path};

use super::{Places, Spec, SpecError};

const BUILT_IN: &[(&str, &str)] = &[
    ("hookrill.toml", include_str!("../../servers/hookrill.toml")),
    ("floor.toml", include_str!("../../servers/floor.toml")),
    ("axum.toml", include_str!("../../servers/axum.toml")),
    ("nchan.toml", include_str!("../../servers/nchan.toml")),
    ("pushpin.toml", include_str!("../../servers/pushpin.toml")),
    (
        "better-sse.toml",
        include_str!("../../servers/better-sse.toml"),
    ),
    ("express.toml", include_str!("../../servers/express.toml")),
];

/// All of them, in the order of the tables.
///
/// # Errors
///
/// None, as a test holds; a description could be wrong while it is edited.
pub fn built_in() -> Result<Vec<Spec>, SpecError> {
    let read = |(file, text): &(&str, &str)| Spec::read(file, text);
    BUILT_IN.iter().map(read).collect()
}

/// What a server needs and this machine lacks.
#[must_use]
pub fn missing(spec: &Spec, places: &Places) -> Vec<String> {
    let is_here = |need: &str| {
        if need.contains('/') {
            Path::new(need).exists()
        } else {
            in_path(need)
        }
    };
    let peers = places.peers.display().to_string();
    let needs = spec.needs.iter();
    let needs = needs.map(|need| super::template::fill(need, &[("peers", &peers)]));
    needs.filter(|need| !is_here(need)).collect()
}

fn in_path(program: &str) -> bool {
    let folders = env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers out of an ordinary user's path.
    let system = ["/usr/sbin", "/sbin"].map(Into::into);
    env::split_paths(&folders)
        .chain(system)
        .any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_description_that_comes_along_is_good() {
        let all = built_in().expect("all are good");
        let names: Vec<&str> = all.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(names[0], "hookrill");
        assert!(names.contains(&"nchan"));
    }
}
