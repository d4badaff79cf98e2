//! The usual slips between what a sender signs and what is verified here: another
//! form of the secret, of the body, or of the URL.
//!
//! Only for explanations, which are made where nobody waits for many. Invariant: no
//! text has anything of a secret, or of the delivery.

use bytes::Bytes;
use data_encoding::{
    BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE,
};
use hookrill_core::{Secret, Timestamp};

use crate::{
    check::Check, delivery::Delivery, error::VerifyError, trace::Trace, verifier::Verifier,
};

/// Bodies up to this length are tried with two slips at once.
const PAIRS_BODY_BYTES_MAX: usize = 1 << 16;

/// Another form of bytes; `None` where it is the same, or there is none.
type Change = fn(&[u8]) -> Option<Vec<u8>>;

/// Other forms of a secret.
const SECRETS: [(&str, Change); 11] = [
    ("without the white space around the secret", |secret| {
        changed(secret, secret.trim_ascii())
    }),
    ("without the quotes around the secret", |secret| {
        changed(secret, plain(secret))
    }),
    ("without `whsec_` at the start of the secret", |secret| {
        Some(plain(secret).strip_prefix(b"whsec_")?.to_vec())
    }),
    ("with the secret decoded from base64", |secret| {
        let text = plain(secret);
        let text = text.strip_prefix(b"whsec_").unwrap_or(text);
        decoded(text, &[BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD])
    }),
    ("with the secret decoded from hex", |secret| {
        decoded(plain(secret), &[HEXLOWER_PERMISSIVE])
    }),
    (
        "with the secret as it is written, and not decoded from base64",
        |secret| Some(BASE64.encode(secret).into_bytes()),
    ),
    (
        "with the secret as it is written, with `whsec_`, and not decoded",
        |secret| Some(format!("whsec_{}", BASE64.encode(secret)).into_bytes()),
    ),
    (
        "with the secret as it is written, and not decoded from hex",
        |secret| Some(HEXLOWER.encode(secret).into_bytes()),
    ),
    ("with `whsec_` in front of the secret", |secret| {
        Some([b"whsec_", secret].concat())
    }),
    (
        "with a line feed at the end of the secret: the sender's has one",
        |secret| Some([secret, b"\n"].concat()),
    ),
    (
        "with the secret in quotes: the sender's has some",
        |secret| Some([b"\"", secret, b"\""].concat()),
    ),
];

/// Other forms of a body.
const BODIES: [(&str, Change); 8] = [
    (
        "without the last line feed, which the capture added",
        |body| {
            let body = body.strip_suffix(b"\n")?;
            Some(body.strip_suffix(b"\r").unwrap_or(body).to_vec())
        },
    ),
    (
        "with a line feed at the end, which the capture lost",
        |body| Some([body, b"\n"].concat()),
    ),
    (
        "with CRLF at the ends of lines, which the capture or a proxy changed",
        |body| {
            let text = replaced(body, b"\r\n", b"\n");
            changed(body, &replaced(&text, b"\n", b"\r\n"))
        },
    ),
    (
        "with LF at the ends of lines, which the capture or a proxy changed",
        |body| changed(body, &replaced(body, b"\r\n", b"\n")),
    ),
    (
        "if the JSON has no blanks: something has parsed it and written it again",
        |body| changed(body, &spaced(body, "", "")),
    ),
    (
        "if the JSON has a blank behind each colon and comma: something has parsed it and written \
         it again",
        |body| changed(body, &spaced(body, " ", " ")),
    ),
    (
        "if slashes in the JSON are escaped: something has parsed it and written it again",
        |body| {
            let plain = replaced(body, b"\\/", b"/");
            changed(body, &replaced(&plain, b"/", b"\\/"))
        },
    ),
    (
        "if slashes in the JSON are not escaped: something has parsed it and written it again",
        |body| changed(body, &replaced(body, b"\\/", b"/")),
    ),
];

/// Another form of a URL, or of a part of it.
type UrlChange = fn(&str) -> Option<String>;

/// Other URLs that the provider may have been given.
const URLS: [(&str, UrlChange); 6] = [
    ("with https:// in the public URL", |url| {
        Some(format!("https://{}", url.strip_prefix("http://")?))
    }),
    ("with http:// in the public URL", |url| {
        Some(format!("http://{}", url.strip_prefix("https://")?))
    }),
    ("with the port 443 in the public URL", |url| {
        Some(format!("{}:443", without_port(url)))
    }),
    ("with the port 80 in the public URL", |url| {
        Some(format!("{}:80", without_port(url)))
    }),
    ("without the port in the public URL", |url| {
        let shorter = without_port(url);
        (shorter != url).then(|| shorter.to_owned())
    }),
    (
        "with https:// and without the port in the public URL",
        |url| {
            Some(format!(
                "https://{}",
                without_port(url.strip_prefix("http://")?)
            ))
        },
    ),
];

/// Other paths that the provider may have been given.
const PATHS: [(&str, UrlChange); 3] = [
    ("with a slash at the end of the path", |target| {
        let (path, query) = split_query(target);
        (!path.ends_with('/')).then(|| format!("{path}/{query}"))
    }),
    ("without the slash at the end of the path", |target| {
        let (path, query) = split_query(target);
        Some(format!("{}{query}", path.strip_suffix('/')?))
    }),
    ("without the query", |target| {
        let (path, query) = split_query(target);
        (!query.is_empty()).then(|| path.to_owned())
    }),
];

/// With which slip a delivery that matches no secret would match one.
pub(crate) fn find(verifier: &Verifier, delivery: &Delivery, now: Timestamp) -> Option<String> {
    let attempt = Attempt {
        verifier,
        delivery,
        now,
    };
    let found = attempt
        .bodies()
        .or_else(|| attempt.secrets())
        .or_else(|| attempt.urls());
    found.or_else(|| {
        let is_short = delivery.body.len() <= PAIRS_BODY_BYTES_MAX;
        is_short.then(|| attempt.pairs()).flatten()
    })
}

struct Attempt<'a> {
    verifier: &'a Verifier,
    delivery: &'a Delivery,
    now: Timestamp,
}

impl Attempt<'_> {
    fn bodies(&self) -> Option<String> {
        BODIES.iter().find_map(|(text, change)| {
            let other = with_body(self.delivery, *change)?;
            self.matches(self.verifier, &other, text)
        })
    }

    fn secrets(&self) -> Option<String> {
        SECRETS.iter().find_map(|(text, change)| {
            let other = with_secrets(self.verifier, *change)?;
            self.matches(&other, self.delivery, text)
        })
    }

    /// Schemes that sign no URL are as they were with any.
    fn urls(&self) -> Option<String> {
        for (text, change) in &PATHS {
            if let Some(other) = with_path(self.delivery, *change)
                && let Some(found) = self.matches(self.verifier, &other, text)
            {
                return Some(found);
            }
        }
        for (text, change) in &URLS {
            let Some(other) = with_url(self.verifier, *change) else {
                continue;
            };
            if let Some(found) = self.matches(&other, self.delivery, text) {
                return Some(found);
            }
            for (path_text, path_change) in &PATHS {
                let both = format!("{text}, and {path_text}");
                if let Some(delivery) = with_path(self.delivery, *path_change)
                    && let Some(found) = self.matches(&other, &delivery, &both)
                {
                    return Some(found);
                }
            }
        }
        None
    }

    fn pairs(&self) -> Option<String> {
        for (body_text, body_change) in &BODIES {
            let Some(delivery) = with_body(self.delivery, *body_change) else {
                continue;
            };
            let found = SECRETS.iter().find_map(|(text, change)| {
                let other = with_secrets(self.verifier, *change)?;
                self.matches(&other, &delivery, &format!("{text}, and {body_text}"))
            });
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// The hint, if it does match.
    fn matches(&self, verifier: &Verifier, delivery: &Delivery, text: &str) -> Option<String> {
        let mut trace = Trace::enabled();
        let outcome = verifier.verify_traced(delivery.clone(), self.now, &mut trace);
        // A timestamp is looked at once a secret has matched.
        if !matches!(outcome, Ok(_) | Err(VerifyError::Stale { .. })) {
            return None;
        }
        let which = match trace.into_parts() {
            (_, Some(index)) if secrets_of(verifier) > 1 => format!("secret {}", index + 1),
            _ => "it".to_owned(),
        };
        Some(format!("{which} matches {text}"))
    }
}

fn secrets_of(verifier: &Verifier) -> usize {
    match &verifier.compiled.check {
        Check::Signature(check) => check.keys.len(),
        Check::Token(check) => check.secrets().len(),
        Check::None => 0,
    }
}

fn with_body(delivery: &Delivery, change: Change) -> Option<Delivery> {
    Some(Delivery {
        body: Bytes::from(change(&delivery.body)?),
        ..delivery.clone()
    })
}

fn with_path(delivery: &Delivery, change: UrlChange) -> Option<Delivery> {
    Some(Delivery {
        path_and_query: change(&delivery.path_and_query)?,
        ..delivery.clone()
    })
}

fn with_url(verifier: &Verifier, change: UrlChange) -> Option<Verifier> {
    let mut other = verifier.clone();
    let Check::Signature(check) = &mut other.compiled.check else {
        return None;
    };
    let url = check.public_urls.first().filter(|url| !url.is_empty())?;
    check.public_urls = vec![change(url.trim_end_matches('/'))?];
    Some(other)
}

/// Keeps the place of each secret, so that it can be named.
fn with_secrets(verifier: &Verifier, change: Change) -> Option<Verifier> {
    let mut any = false;
    let mut map = |secret: &Secret| match change(secret.expose()) {
        Some(other) => {
            any = true;
            Secret::new(other)
        }
        None => secret.clone(),
    };
    let mut other = verifier.clone();
    match &mut other.compiled.check {
        Check::Signature(check) => check.keys = check.keys.iter().map(map).collect(),
        Check::Token(check) => *check = check.map_secrets(&mut map),
        Check::None => {}
    }
    any.then_some(other)
}

fn changed(before: &[u8], after: &[u8]) -> Option<Vec<u8>> {
    (before != after && !after.is_empty()).then(|| after.to_vec())
}

/// A secret without white space and quotes around it.
fn plain(secret: &[u8]) -> &[u8] {
    let trimmed = secret.trim_ascii();
    match trimmed {
        [first @ (b'"' | b'\'' | b'`'), inside @ .., last] if first == last => inside,
        _ => trimmed,
    }
}

fn decoded(text: &[u8], encodings: &[data_encoding::Encoding]) -> Option<Vec<u8>> {
    let mut decoded = encodings
        .iter()
        .filter_map(|encoding| encoding.decode(text).ok());
    decoded.find(|bytes| !bytes.is_empty())
}

/// The host of a URL may be an IPv6 address, so that not every colon begins a port.
fn without_port(url: &str) -> &str {
    match url.rsplit_once(':') {
        Some((before, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            before
        }
        _ => url,
    }
}

fn split_query(target: &str) -> (&str, &str) {
    target.split_at(target.find('?').unwrap_or(target.len()))
}

fn replaced(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(byte) = rest.first() {
        if let Some(after) = rest.strip_prefix(from) {
            out.extend_from_slice(to);
            rest = after;
        } else {
            out.push(*byte);
            rest = &rest[1..];
        }
    }
    out
}

/// JSON with these blanks behind colons and commas, and no others; numbers, names and
/// strings stay as they are written.
fn spaced(json: &[u8], behind_colon: &str, behind_comma: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut in_string, mut is_escaped) = (false, false);
    for byte in json {
        if in_string {
            out.push(*byte);
            in_string = is_escaped || *byte != b'"';
            is_escaped = !is_escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => continue,
            _ => out.push(*byte),
        }
        match byte {
            b'"' => in_string = true,
            b':' => out.extend_from_slice(behind_colon.as_bytes()),
            b',' => out.extend_from_slice(behind_comma.as_bytes()),
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_respaced_outside_of_its_strings_alone() {
        let json = br#"{ "a, : \" b" : [ 1 ,2 ], "c":"\\" , "d": 1.0 }"#;
        let compact = br#"{"a, : \" b":[1,2],"c":"\\","d":1.0}"#;
        assert_eq!(spaced(json, "", ""), compact);
        let python = br#"{"a, : \" b": [1, 2], "c": "\\", "d": 1.0}"#;
        assert_eq!(spaced(json, " ", " "), python);
    }

    #[test]
    fn a_port_is_told_from_an_address() {
        for (url, expected) in [
            ("https://a.example:8443", "https://a.example"),
            ("https://a.example", "https://a.example"),
            ("https://[::1]:80", "https://[::1]"),
            ("https://[::1]", "https://[::1]"),
        ] {
            assert_eq!(without_port(url), expected);
        }
    }
}
