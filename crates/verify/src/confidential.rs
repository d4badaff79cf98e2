//! What of a delivery must not be shown, not even to an operator: tokens, and signatures
//! that may be good elsewhere or under an older secret.
//!
//! Goes by what schemes say, and beyond that by names: a delivery that was refused may
//! have been meant for any scheme, or for none. Invariant: what is not shown leaves no
//! hash behind, since words can be guessed; of a signature at most [`SHOWN_CHARS`]
//! characters in a row are shown.

use std::borrow::Cow;

use hookrill_core::Pointer;
use http::{
    HeaderName,
    header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE},
};
use serde::de::IgnoredAny;

use crate::{
    check::{Check, form, grammar::SignatureLocation, token::TokenLocation},
    compile::CompiledScheme,
    scheme::{Authorization, Scheme, Source},
};

/// How much of a signature is shown, in characters.
const SHOWN_CHARS: usize = 8;
/// The longest run of letters and digits in a signature's header that is no signature: a
/// time in milliseconds.
const PLAIN_RUN_CHARS_MAX: usize = 13;
/// What stands in a query for what is not shown.
const CUT: &str = "‹cut›";

/// What ends a parameter that is in no quotes.
const ENDS: [char; 10] = ['?', '&', ';', ',', ' ', '"', '\'', '<', '>', '#'];

/// Parts of names of headers and parameters that carry tokens and keys.
const TOKEN_WORDS: &[&str] = &[
    "token",
    "secret",
    "passw",
    "auth",
    "credential",
    "session",
    "jwt",
    "assertion",
    "cookie",
    "private",
    "apikey",
    "api-key",
    "api_key",
    "access-key",
    "access_key",
];
/// Names that are tokens and keys as a whole, or as a word between hyphens.
const TOKEN_NAMES: &[&str] = &["key", "code", "pass", "pwd", "pin"];
/// Names with such a word that carry none.
const PLAIN_NAMES: &[&str] = &[
    "idempotency-key",
    "sec-websocket-key",
    "x-idempotency-key",
    "authority",
];
/// Parts of names that carry signatures.
const SIGNATURE_WORDS: &[&str] = &["sign", "sig", "hmac", "mac", "hash", "digest", "sha"];

/// Where the secrets and signatures of a scheme, or of several, are in a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Confidential {
    places: Vec<ConfidentialPlace>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ConfidentialPlace {
    at: Source,
    is_signature: bool,
}

/// What may be shown of a header's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShownValue {
    /// This text; parts of it may have been cut.
    Text(String),
    /// How many bytes it has, and no more.
    Bytes(usize),
}

impl Confidential {
    /// Of all schemes together, each as its presets write it.
    pub fn of_schemes<'s>(schemes: impl IntoIterator<Item = &'s Scheme>) -> Self {
        let mut all = Self::default();
        for scheme in schemes {
            all.add_scheme(scheme);
        }
        all
    }

    pub(crate) fn of_compiled(compiled: &CompiledScheme) -> Self {
        let mut own = Self::default();
        match &compiled.check {
            Check::Signature(check) => {
                let at = match &check.grammar.location {
                    SignatureLocation::Header(names) => Source::Header(names.clone()),
                    SignatureLocation::Json(pointer) => Source::Json(pointer.clone()),
                    SignatureLocation::Form(name) => Source::Form(name.clone()),
                };
                own.add(at, true);
                if let Some(provisioning) = &check.provisioning {
                    own.add(provisioning.at.clone(), false);
                }
            }
            Check::Token(check) => own.add_token(check.location()),
            Check::None => {}
        }
        for at in compiled.handshakes.tokens() {
            own.add(at.clone(), false);
        }
        own
    }

    /// The same with what others say.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        for place in &other.places {
            self.add(place.at.clone(), place.is_signature);
        }
        self
    }

    fn add(&mut self, at: Source, is_signature: bool) {
        let place = ConfidentialPlace { at, is_signature };
        if !self.places.contains(&place) {
            self.places.push(place);
        }
    }

    fn add_token(&mut self, location: &TokenLocation) {
        let at = match location {
            TokenLocation::Header { names, .. } => Source::Header(names.clone()),
            TokenLocation::Bearer | TokenLocation::Basic => Source::Header(AUTHORIZATION.into()),
            TokenLocation::Query(name) => Source::Query(name.clone()),
            TokenLocation::Json(pointer) => Source::Json(pointer.clone()),
        };
        self.add(at, false);
    }

    fn add_scheme(&mut self, scheme: &Scheme) {
        if let Some(signature) = &scheme.signature {
            let header = signature.header.clone().map(Source::Header);
            let json = signature.json.clone().map(Source::Json);
            let field = signature.form.clone().map(Source::Form);
            for at in [header, json, field].into_iter().flatten() {
                self.add(at, true);
            }
        }
        if let Some(token) = &scheme.token {
            let header = token.header.clone().map(Source::Header);
            let json = token.json.clone().map(Source::Json);
            let query = token.query.clone().map(Source::Query);
            let own = match token.authorization {
                Some(Authorization::Bearer | Authorization::Basic) => {
                    Some(Source::Header(AUTHORIZATION.into()))
                }
                None => None,
            };
            for at in [header, json, query, own].into_iter().flatten() {
                self.add(at, false);
            }
        }
        let provisioned = scheme.provisioned_secret.iter().map(|one| &one.at);
        let tokens = scheme
            .challenge
            .iter()
            .filter_map(|one| one.verify_token.as_ref());
        for at in provisioned.chain(tokens) {
            self.add(at.clone(), false);
        }
    }

    /// What may be shown of a header.
    #[must_use]
    pub fn header(&self, name: &HeaderName, value: &[u8]) -> ShownValue {
        let is = |is_signature| {
            self.places.iter().any(|place| {
                place.is_signature == is_signature
                    && matches!(&place.at, Source::Header(names) if names.iter().any(|it| it == name))
            })
        };
        if is(false) || is_token(name.as_str()) || is_credentials(name) {
            return ShownValue::Bytes(value.len());
        }
        let text = String::from_utf8_lossy(value);
        if is(true) || is_signature(name.as_str()) {
            return ShownValue::Text(shortened(&text));
        }
        ShownValue::Text(self.without_parameters(&text))
    }

    /// A request target in which the tokens of its query are cut: `/a?token=‹cut›&b=1`.
    #[must_use]
    pub fn target(&self, path_and_query: &str) -> String {
        self.without_parameters(path_and_query)
    }

    /// A request target without the confidential parameters of its query, and the names of
    /// those, as they are written.
    #[must_use]
    pub fn open_target<'t>(&self, target: &'t str) -> (Cow<'t, str>, Vec<&'t str>) {
        let Some((path, query)) = target.split_once('?') else {
            return (target.into(), Vec::new());
        };
        let name_of = |pair: &'t str| pair.split('=').next().unwrap_or_default();
        let (cut, left): (Vec<_>, Vec<_>) = query
            .split('&')
            .partition(|pair| self.is_confidential_parameter(name_of(pair)));
        if cut.is_empty() {
            return (target.into(), Vec::new());
        }
        let open = match &*left {
            [] => path.to_owned(),
            left => format!("{path}?{}", left.join("&")),
        };
        (open.into(), cut.into_iter().map(name_of).collect())
    }

    /// A text in which the values of confidential parameters are cut, in whatever URLs are
    /// in it.
    fn without_parameters(&self, text: &str) -> String {
        let mut shown = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('=') {
            let (before, value) = rest.split_at(at + 1);
            shown.push_str(before);
            rest = value;
            let name = before[..at].rsplit(ENDS).next().unwrap_or_default();
            if self.is_confidential_parameter(name) {
                shown.push_str(CUT);
                rest = &value[value_bytes(value)..];
            }
        }
        shown.push_str(rest);
        shown
    }

    fn is_confidential_parameter(&self, name: &str) -> bool {
        let decoded = form::decode(name);
        let text = String::from_utf8_lossy(&decoded);
        let is_own = self.places.iter().any(|place| match &place.at {
            Source::Query(own) | Source::Form(own) => *own == *text,
            Source::Header(_) | Source::Json(_) => false,
        });
        is_own || is_token(&text) || is_signature(&text)
    }

    /// A body without the tokens and signatures of these schemes; `None` where they can't
    /// be found and may be there, because it is not JSON or was `cut`.
    #[must_use]
    pub fn body<'b>(&self, body: &'b [u8], is_cut: bool) -> Option<Cow<'b, [u8]>> {
        let mut shown = Cow::Borrowed(body);
        for place in &self.places {
            match &place.at {
                Source::Json(pointer) => match without_value(pointer, &shown) {
                    Ok(Some(emptied)) => shown = emptied.into(),
                    Ok(None) => {}
                    Err(NoJson) if is_cut || looks_like_json(body) => return None,
                    Err(NoJson) => {}
                },
                Source::Form(name) => {
                    if let Some(emptied) = without_field(name, &shown) {
                        shown = emptied.into();
                    }
                }
                Source::Header(_) | Source::Query(_) => {}
            }
        }
        Some(shown)
    }
}

/// The body is not JSON.
struct NoJson;

/// The body without what is there, if anything is.
fn without_value(pointer: &Pointer, body: &[u8]) -> Result<Option<Vec<u8>>, NoJson> {
    if let Some(emptied) = pointer.emptied(body) {
        return Ok(Some(emptied));
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    match serde_json::from_slice::<IgnoredAny>(body) {
        Ok(_) => Ok(None),
        Err(_) => Err(NoJson),
    }
}

/// Whether it begins as JSON does, and may have been meant as some.
fn looks_like_json(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    matches!(body.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// The form without the values of the fields of this name, if it has one.
fn without_field(name: &str, body: &[u8]) -> Option<Vec<u8>> {
    let mut emptied = Vec::with_capacity(body.len());
    let mut is_changed = false;
    for (n, pair) in body.split(|byte| *byte == b'&').enumerate() {
        if n > 0 {
            emptied.push(b'&');
        }
        let key = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        let is_it = form::decode(&String::from_utf8_lossy(key)) == name.as_bytes();
        if is_it && key.len() < pair.len() {
            emptied.extend_from_slice(&pair[..=key.len()]);
            is_changed = true;
        } else {
            emptied.extend_from_slice(pair);
        }
    }
    is_changed.then_some(emptied)
}

/// How long a parameter's value is, at the beginning of this text: up to its closing quote,
/// or to what can't be part of it.
fn value_bytes(text: &str) -> usize {
    let quote = text.chars().next().filter(|c| "\"'".contains(*c));
    let end = match quote {
        Some(quote) => text[1..].find(quote).map(|at| at + 2),
        None => text.find(ENDS),
    };
    end.unwrap_or(text.len())
}

fn is_credentials(name: &HeaderName) -> bool {
    [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, SET_COOKIE].contains(name)
}

fn is_token(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    if PLAIN_NAMES.contains(&&*name) {
        return false;
    }
    TOKEN_WORDS.iter().any(|word| name.contains(word))
        || name
            .split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| TOKEN_NAMES.contains(&word))
}

fn is_signature(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SIGNATURE_WORDS.iter().any(|word| name.contains(word))
}

/// A signature's header, in which each long run of the letters that signatures are
/// written with is cut: `t=1700000000,v1=3fa9c1e0…`.
fn shortened(text: &str) -> String {
    let is_of_run = |c: char| c.is_alphanumeric() || "+/-_=".contains(c);
    let mut shown = String::new();
    for part in text.split_inclusive(|c: char| !is_of_run(c)) {
        // A key and what it stands for: `v1=…`. Padding stands at the end.
        let (key, rest) = match part.split_once('=') {
            Some((key, rest)) if key.len() <= PLAIN_RUN_CHARS_MAX && !rest.is_empty() => {
                shown.push_str(key);
                shown.push('=');
                (key, rest)
            }
            _ => ("", part),
        };
        debug_assert!(key.len() <= PLAIN_RUN_CHARS_MAX);
        let run = rest.trim_end_matches(|c: char| !is_of_run(c));
        if run.chars().count() <= PLAIN_RUN_CHARS_MAX {
            shown.push_str(rest);
        } else {
            shown.extend(run.chars().take(SHOWN_CHARS));
            shown.push('…');
            shown.push_str(&rest[run.len()..]);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Settings, Verifier, preset};

    fn text(name: &'static str, value: &str) -> ShownValue {
        let name = HeaderName::from_static(name);
        Confidential::default().header(&name, value.as_bytes())
    }

    #[test]
    fn of_a_signature_the_beginning_is_shown_and_of_a_token_its_length() {
        let hex = "3fa9c1e05f6bd29d76a6bd0b5ee6b4a8c9ad74f8c0c8a5cf65f7d8df9ec11fb1";
        for (name, value, shown) in [
            (
                "x-hub-signature-256",
                format!("sha256={hex}"),
                "sha256=3fa9c1e0…",
            ),
            (
                "stripe-signature",
                format!("t=1700000000,v1={hex},v0={hex}"),
                "t=1700000000,v1=3fa9c1e0…,v0=3fa9c1e0…",
            ),
            (
                "x-shopify-hmac-sha256",
                "P6nB4F9r0p12pr0LXua0qMmtdPjAyKXPZffY357BH7E=".into(),
                "P6nB4F9r…",
            ),
            (
                "webhook-signature",
                "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1,a".into(),
                "v1,g0hM9SsE… v1,a",
            ),
            ("x-signature", hex.into(), "3fa9c1e0…"),
            (
                "x-request-url",
                "https://a.example/x?b=1&token=abc&c=2".into(),
                "https://a.example/x?b=1&token=‹cut›&c=2",
            ),
            (
                "referer",
                "https://a.example/?%74oken=abc#x".into(),
                "https://a.example/?%74oken=‹cut›#x",
            ),
            (
                "x-forwarded",
                "token=\"a b\";proto=https,secret=c, d=e".into(),
                "token=‹cut›;proto=https,secret=‹cut›, d=e",
            ),
            ("x-forwarded", "token='a b".into(), "token=‹cut›"),
            ("x-forwarded", "token=a==&b=c".into(), "token=‹cut›&b=c"),
            ("idempotency-key", "order-1".into(), "order-1"),
            (
                "content-type",
                "application/json; charset=utf-8".into(),
                "application/json; charset=utf-8",
            ),
        ] {
            assert_eq!(text(name, &value), ShownValue::Text(shown.into()), "{name}");
        }
        for name in [
            "authorization",
            "cookie",
            "x-gitlab-token",
            "x-api-key",
            "x-hook-secret",
            "proxy-authorization",
            "x-key",
        ] {
            assert_eq!(text(name, "0123456789"), ShownValue::Bytes(10), "{name}");
        }
    }

    #[test]
    fn what_a_scheme_calls_its_token_is_not_shown_whatever_its_name() {
        let toml = |location: &str| {
            let scheme: Scheme =
                toml::from_str(&format!("kind = \"token\"\ntoken = {location}")).unwrap();
            Verifier::new(scheme, Settings::new(["s:e"]))
                .unwrap()
                .confidential()
        };
        let own = toml("{ header = \"X-Plain\" }");
        assert_eq!(
            own.header(&HeaderName::from_static("x-plain"), b"abc"),
            ShownValue::Bytes(3)
        );
        let in_query = toml("{ query = \"plain\" }");
        assert_eq!(
            in_query.target("/ingest/a?x=1&pl%61in=s:e&y"),
            "/ingest/a?x=1&pl%61in=‹cut›&y"
        );
        let in_json = toml("{ json = \"/a/b\" }");
        assert_eq!(
            in_json.body(br#"{"a":{"b":"s:e"},"c":1}"#, false).unwrap(),
            &br#"{"a":{"b":""},"c":1}"#[..]
        );
        assert_eq!(
            in_json.body(br#"{"c":1}"#, false).unwrap(),
            &br#"{"c":1}"#[..]
        );
        for unreadable in [&br#"{"a":{"b":"s:e"}"#[..], br#" [{"a":{"b":"s:e"}}"#] {
            assert_eq!(in_json.body(unreadable, false), None);
        }
        assert_eq!(in_json.body(b"text", false).unwrap(), &b"text"[..]);
        assert_eq!(
            in_json.body(b"text", true),
            None,
            "what follows is not known"
        );
    }

    #[test]
    fn a_field_of_a_form_is_emptied_however_its_name_is_written() {
        let confidential = Confidential {
            places: vec![ConfidentialPlace {
                at: Source::Form("sig".into()),
                is_signature: true,
            }],
        };
        let shown = confidential
            .body(b"a=1&s%69g=abc&sig=def&b&sig", false)
            .unwrap();
        assert_eq!(shown, &b"a=1&s%69g=&sig=&b&sig"[..]);
        assert_eq!(confidential.body(b"a=1", false).unwrap(), &b"a=1"[..]);
    }

    #[test]
    fn secrets_can_be_tried_on_the_same_scheme() {
        let github = preset("github").unwrap();
        let verifier = Verifier::new(github.scheme, Settings::new(["one"])).unwrap();
        let others = verifier.with_secrets(["two", "three"]).unwrap();
        let expected = Verifier::new(
            preset("github").unwrap().scheme,
            Settings::new(["two", "three"]),
        );
        assert_eq!(others, expected.unwrap());
        assert!(verifier.with_secrets([""]).is_err());
        assert!(verifier.with_secrets(vec!["x"; 17]).is_err());
    }
}
