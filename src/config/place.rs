//! Where the gateway of a configuration is, however broken the file may be.
//!
//! For whoever only wants to ask it something: a mistake in the file must not make a
//! gateway look ill that was started before it. Reports nothing and creates nothing;
//! what can't be read counts as not written.

use std::{net::SocketAddr, path::PathBuf};

use toml::de::{DeTable, DeValue};

use super::{
    diagnostic::Diagnostics,
    environment::Environment,
    readable::readable,
    settings,
    sources::{Sources, find_file},
    values,
};

/// Where a gateway keeps its journal and listens, as far as that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayPlace {
    /// The journal's folder, if it has one.
    pub journal_folder: PathBuf,
    /// The URL of its address on this machine.
    pub local_url: String,
}

impl GatewayPlace {
    /// Reads it: the environment first, then the file, then the defaults.
    #[must_use]
    pub fn read(sources: Sources<'_>) -> Self {
        let file = find_file(sources, &Diagnostics::default()).map(|(_, text)| text);
        let (parsed, _) = readable(file.as_deref().unwrap_or_default());
        let (table, _mistakes) = DeTable::parse_recoverable(&parsed);
        let table = table.get_ref();
        let written = |section: &str, key: &str, variable: &str| {
            let environment: &Environment = sources.environment;
            let written = environment.get(variable).map(str::to_owned);
            let written = written.or_else(|| string(table, section, key))?;
            sources.value(&written).ok()
        };
        let path = written("journal", "path", "HOOKRILL__JOURNAL__PATH");
        let listen = written("server", "listen", "HOOKRILL__SERVER__LISTEN");
        let listen = listen.and_then(|text| text.parse::<SocketAddr>().ok());
        let mut listen = listen.unwrap_or(settings::LISTEN);
        let port = sources.environment.get("PORT").map(values::port);
        if let Some(Ok(port)) = port {
            listen.set_port(port);
        }
        Self {
            journal_folder: settings::journal_path(path.map(PathBuf::from)),
            local_url: settings::local_url(listen),
        }
    }
}

fn string(table: &DeTable<'_>, section: &str, key: &str) -> Option<String> {
    let DeValue::Table(section) = table.get(section)?.get_ref() else {
        return None;
    };
    match section.get(key)?.get_ref() {
        DeValue::String(text) => Some(text.clone().into_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use super::*;

    fn place(file: &str, environment: &[(&'static str, &'static str)]) -> (String, String) {
        let environment: Environment = environment.iter().copied().collect();
        let read = |_: &Path| match file {
            "" => Err(io::ErrorKind::NotFound.into()),
            text => Ok(text.as_bytes().to_owned()),
        };
        let place = GatewayPlace::read(Sources::new(&environment).with_reader(&read));
        (place.local_url, place.journal_folder.display().to_string())
    }

    #[test]
    fn a_place_is_read_from_the_environment_and_from_a_file_that_is_broken_elsewhere() {
        let broken = "topics:\n[server\nlisten = 5\n[journal]\npath = \"kept\"\n[server]\n\
                      listen = \"[::]:9000\"\nnonsense =\n[topics.a]\npreset = \"x";
        for (file, environment, url, folder) in [
            ("", &[][..], "http://127.0.0.1:8080", "data"),
            (
                "server.listen = \"0.0.0.0:9000\"\nunknown = 1",
                &[],
                "http://127.0.0.1:9000",
                "data",
            ),
            (broken, &[], "http://[::1]:9000", "kept"),
            (broken, &[("PORT", "7")], "http://[::1]:7", "kept"),
            (
                broken,
                &[
                    ("HOOKRILL__SERVER__LISTEN", "192.0.2.1:1"),
                    ("HOOKRILL__JOURNAL__PATH", "/data"),
                ],
                "http://192.0.2.1:1",
                "/data",
            ),
            (
                "[server]\nlisten = \"env:LISTEN\"",
                &[("LISTEN", "127.0.0.1:3")],
                "http://127.0.0.1:3",
                "data",
            ),
            (
                "\u{0}",
                &[("PORT", "many")],
                "http://127.0.0.1:8080",
                "data",
            ),
        ] {
            let expected = (url.to_owned(), folder.to_owned());
            assert_eq!(place(file, environment), expected, "{file:?}");
        }
    }
}
