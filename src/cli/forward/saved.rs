//! `--save`: each request as a file, and as a script that sends it again.
//!
//! Tokens that were put back are left out of both. Invariant: a file is named by a cursor
//! and by nothing that a sender chose, and whatever a request consists of, the script has
//! it as data.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use data_encoding::BASE64;
use http::{
    HeaderName, HeaderValue,
    header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT},
};

use super::{delivery::StoredDelivery, outgoing::Outgoing, target::Target};

/// Characters of Base64 on one line.
const LINE_CHARS: usize = 76;

/// A folder of requests.
#[derive(Debug)]
pub(super) struct Saved {
    folder: PathBuf,
}

impl Saved {
    /// # Errors
    ///
    /// Where there is no such folder, and it can't be made.
    pub(super) fn in_folder(folder: &Path) -> anyhow::Result<Self> {
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder);
        made.with_context(|| format!("{} cannot be made", folder.display()))?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Saves a request, in place of an earlier one of the same delivery.
    pub(super) fn save(
        &self,
        delivery: &StoredDelivery,
        outgoing: &Outgoing,
        target: &Target,
    ) -> anyhow::Result<()> {
        let shown = outgoing.without_secrets();
        let name = delivery.name();
        self.write(&format!("{name}.http"), &http_file(&shown, target), 0o600)?;
        self.write(
            &format!("{name}.sh"),
            &script(&shown, target, outgoing),
            0o700,
        )
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
        let path = self.folder.join(name);
        let written = (|| {
            let unfinished = self.folder.join(format!(".{name}.part"));
            let mut options = fs::OpenOptions::new();
            let options = options.write(true).create(true).truncate(true).mode(mode);
            io::Write::write_all(&mut options.open(&unfinished)?, bytes)?;
            fs::rename(&unfinished, &path)
        })();
        written.with_context(|| format!("{} cannot be written", path.display()))
    }
}

/// The request as it is written on a connection.
fn http_file(outgoing: &Outgoing, target: &Target) -> Vec<u8> {
    let mut text = format!(
        "{} {} HTTP/1.1\r\n",
        outgoing.method, outgoing.path_and_query
    )
    .into_bytes();
    let host = HeaderValue::from_str(target.host()).ok();
    let host = host.filter(|_| !outgoing.headers.contains_key(HOST));
    let length = HeaderValue::from(outgoing.body.len());
    let framing = host.iter().map(|host| (&HOST, host));
    let framing = framing.chain([(&CONTENT_LENGTH, &length)]);
    for (name, value) in framing.chain(&outgoing.headers) {
        text.extend_from_slice(&line(name, value));
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(&outgoing.body);
    text
}

fn line(name: &HeaderName, value: &HeaderValue) -> Vec<u8> {
    [name.as_str().as_bytes(), b": ", value.as_bytes()].concat()
}

/// A script for `sh` that sends the request by curl. Its body is in Base64: no shell keeps
/// a NUL, and no line of it ends the document.
fn script(outgoing: &Outgoing, target: &Target, with_secrets: &Outgoing) -> Vec<u8> {
    let mut text =
        b"#!/bin/sh\n# The body is in Base64, so that no byte of it is changed.\n".to_vec();
    if !with_secrets.secrets.headers.is_empty() || with_secrets.secrets.query.is_some() {
        text.extend_from_slice(b"# The token is left out: add it by hand.\n");
    }
    text.extend_from_slice(b"base64 -d <<'END' | curl --include --path-as-is --globoff \\\n");
    for argument in arguments(outgoing, target) {
        text.extend_from_slice(b"  ");
        text.extend_from_slice(&argument);
        text.extend_from_slice(b" \\\n");
    }
    text.extend_from_slice(b"  --data-binary @-\n");
    let body = BASE64.encode(&outgoing.body).into_bytes();
    for line in body.chunks(LINE_CHARS) {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text.extend_from_slice(b"END\n");
    text
}

fn arguments(outgoing: &Outgoing, target: &Target) -> Vec<Vec<u8>> {
    let option = |name: &str, value: &[u8]| [name.as_bytes(), b" ", &quoted(value)].concat();
    let url = format!("{}{}", target.origin, outgoing.path_and_query);
    let mut arguments = vec![
        option("--request", outgoing.method.as_str().as_bytes()),
        option("--url", url.as_bytes()),
    ];
    for (name, value) in &outgoing.headers {
        // Without a value, curl takes a colon for "leave it out".
        let written = if value.is_empty() {
            format!("{name};").into_bytes()
        } else {
            line(name, value)
        };
        arguments.push(option("--header", &written));
    }
    // What curl would add.
    for name in [
        ACCEPT,
        CONTENT_TYPE,
        USER_AGENT,
        HeaderName::from_static("expect"),
    ] {
        if !outgoing.headers.contains_key(&name) {
            arguments.push(option("--header", format!("{name}:").as_bytes()));
        }
    }
    arguments
}

/// One word for `sh`: within single quotes nothing has a meaning but the quote itself.
pub(super) fn quoted(word: &[u8]) -> Vec<u8> {
    let mut text = vec![b'\''];
    for byte in word {
        match byte {
            b'\'' => text.extend_from_slice(b"'\\''"),
            byte => text.push(*byte),
        }
    }
    text.push(b'\'');
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{super::delivery::tests::stored, *};

    /// A header value and a body that a shell or a file's reader could act upon.
    fn hostile() -> (StoredDelivery, Outgoing) {
        let body: Vec<u8> = (0..=255)
            .chain(*b"\nEND\n'; touch pwned; $(touch pwned)")
            .collect();
        let stored = stored(serde_json::json!({
            "target": "/a?b=`touch+pwned`&c='$(x)'&d=[1-3]",
            "headers": [["x-a", "'; touch pwned; '"], ["x-b", "$(touch pwned) `x` \\ \""],
                ["x-empty", ""], ["x-c", "@/etc/passwd"]],
            "body_base64": BASE64.encode(&body),
        }));
        let outgoing = Outgoing::new(&stored, &Target::parse("3000/hooks").unwrap());
        (stored, outgoing)
    }

    #[test]
    fn a_script_sends_what_came_and_runs_nothing_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let (stored, outgoing) = hostile();
        let saved = Saved::in_folder(&folder.path().join("out")).unwrap();
        saved
            .save(&stored, &outgoing, &Target::parse("3000").unwrap())
            .unwrap();
        // In place of curl: what it is given, each argument on its own.
        let fake = "#!/bin/sh\nfor word; do printf '%s\\0' \"$word\"; done >words\ncat >body\n";
        fs::write(folder.path().join("curl"), fake).unwrap();
        let executable = fs::Permissions::from_mode(0o700);
        fs::set_permissions(folder.path().join("curl"), executable).unwrap();
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        let script = folder.path().join("out/e-7.sh");
        let mut sh = std::process::Command::new("sh");
        let sh = sh.arg(script).current_dir(folder.path()).env("PATH", path);
        assert!(sh.status().unwrap().success());
        assert_eq!(fs::read(folder.path().join("body")).unwrap(), outgoing.body);
        assert!(!folder.path().join("pwned").exists());
        let words = fs::read(folder.path().join("words")).unwrap();
        let words = String::from_utf8(words).unwrap();
        let words: Vec<_> = words.split('\0').collect();
        for expected in [
            "x-a: '; touch pwned; '",
            "x-b: $(touch pwned) `x` \\ \"",
            "x-empty;",
            "content-type:",
            "http://localhost:3000/hooks/a?b=`touch+pwned`&c='$(x)'&d=[1-3]",
            "--globoff",
            "POST",
        ] {
            assert!(words.contains(&expected), "{expected} not in {words:?}");
        }
    }

    #[test]
    fn a_file_is_the_request_and_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (stored, outgoing) = hostile();
        let saved = Saved::in_folder(folder.path()).unwrap();
        saved
            .save(&stored, &outgoing, &Target::parse("3000").unwrap())
            .unwrap();
        let path = folder.path().join("e-7.http");
        let bytes = fs::read(&path).unwrap();
        let read = super::super::super::captured::parse(&bytes).unwrap();
        assert_eq!(read.body, outgoing.body);
        assert_eq!(read.target, outgoing.path_and_query);
        assert_eq!(read.headers["x-a"], "'; touch pwned; '");
        assert_eq!(read.headers["host"], "localhost:3000");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
        let names = fs::read_dir(folder.path()).unwrap();
        assert_eq!(names.count(), 2, "nothing unfinished is left");
    }

    #[test]
    fn a_token_is_saved_nowhere() {
        let (stored, mut outgoing) = hostile();
        outgoing
            .headers
            .insert("x-token", HeaderValue::from_static("hunter2"));
        outgoing
            .secrets
            .headers
            .push(HeaderName::from_static("x-token"));
        let folder = tempfile::tempdir().unwrap();
        let saved = Saved::in_folder(folder.path()).unwrap();
        saved
            .save(&stored, &outgoing, &Target::parse("3000").unwrap())
            .unwrap();
        for name in ["e-7.http", "e-7.sh"] {
            let bytes = fs::read(folder.path().join(name)).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
