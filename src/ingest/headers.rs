//! Which headers of a delivery its event keeps, and in which of its lists.
//!
//! Invariant: no header is kept whose name says that it may be a secret, but as proof;
//! and as proof none is kept that the scheme does not verify deliveries by.

use hookrill_core::{HEADERS_MAX, HeaderList, PROOF_HEADERS_MAX, Proof};
use hookrill_verify::Delivery;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE},
};

/// The most bytes of header values that an event keeps.
const KEPT_BYTES_MAX: usize = 8 * 1024;
/// The most of those that are proof.
const PROOF_BYTES_MAX: usize = 4 * 1024;
/// The most bytes of names of headers that are not kept.
const OMITTED_BYTES_MAX: usize = 512;

/// The headers that an event keeps, and what is known of the others.
#[derive(Debug, Default)]
pub(super) struct KeptHeaders {
    /// Those that a view may show.
    pub(super) headers: HeaderList,
    /// Those that no view shows.
    pub(super) proof: Proof,
    /// The names of others, joined by commas.
    pub(super) omitted: String,
    /// Whether there were more than there is room for.
    pub(super) cut: bool,
}

/// Whether events keep a header of this name, which is in lower case, for views to show.
#[must_use]
pub fn keeps_header(name: &str) -> bool {
    !may_be_secret(name)
}

/// A header's value, if it is text.
pub(super) fn text(headers: &HeaderMap, name: &HeaderName) -> Option<Box<str>> {
    headers.get(name).and_then(readable).map(Into::into)
}

/// A value that can be shown: UTF-8 without control characters. HTTP calls bytes beyond
/// ASCII opaque (RFC 9110, section 5.5), and those who send any send UTF-8.
fn readable(value: &HeaderValue) -> Option<&str> {
    // Nearly all are ASCII.
    if let Ok(text) = value.to_str() {
        return Some(text);
    }
    let text = std::str::from_utf8(value.as_bytes()).ok()?;
    let is_shown = |c: char| c == '\t' || !c.is_control();
    text.chars().all(is_shown).then_some(text)
}

impl KeptHeaders {
    /// Names something else that is not kept: a header, or behind `?` a parameter of the
    /// query.
    pub(super) fn omit(&mut self, mark: &str, name: &str) {
        self.cut |= !push_name(&mut self.omitted, mark, name);
    }

    /// The headers of a delivery; beyond the bounds, the first of them. Those that are
    /// needed are kept whatever their names say.
    pub(super) fn of(delivery: &Delivery, is_needed: impl Fn(&HeaderName) -> bool) -> Self {
        let mut sorted = Sorted::default();
        // They are about what was sent, and the event has what that was decoded to.
        let was_decoded = delivery.headers.contains_key(CONTENT_ENCODING);
        for (name, value) in &delivery.headers {
            let is_of_decoded = name == CONTENT_ENCODING || name == CONTENT_LENGTH;
            // That of a GET is of the form that its query was made.
            let is_of_query = delivery.method == Method::GET && name == CONTENT_TYPE;
            if was_decoded && is_of_decoded || is_of_query {
                continue;
            }
            sorted.add(name, value, is_needed(name));
        }
        let lines = delivery.headers.get_all(CONTENT_ENCODING).into_iter();
        let codings: Vec<&str> = lines.filter_map(readable).collect();
        let codings = codings.join(", ");
        if delivery.sent.is_some() && was_decoded {
            sorted.cut |= sorted.kept.len() == HEADERS_MAX;
            sorted.kept.truncate(HEADERS_MAX - 1);
            sorted.kept.push((CONTENT_ENCODING.as_str(), &codings));
        }
        debug_assert!(sorted.kept.iter().all(|(name, _)| keeps_header(name)));
        Self {
            headers: sorted.kept.into_iter().collect(),
            proof: Proof::new(sorted.proof.into_iter().collect()),
            omitted: sorted.omitted,
            cut: sorted.cut,
        }
    }
}

/// Headers, each in its list.
#[derive(Default)]
struct Sorted<'d> {
    kept: Vec<(&'d str, &'d str)>,
    kept_bytes: usize,
    proof: Vec<(&'d str, &'d str)>,
    proof_bytes: usize,
    omitted: String,
    cut: bool,
}

impl<'d> Sorted<'d> {
    fn add(&mut self, name: &'d HeaderName, value: &'d HeaderValue, is_needed: bool) {
        let name = name.as_str();
        let Some(value) = readable(value) else {
            return self.omit(name);
        };
        let is_kept = keeps_header(name);
        let fits = self.kept.len() < HEADERS_MAX && self.kept_bytes + value.len() <= KEPT_BYTES_MAX;
        if is_kept && fits {
            self.kept_bytes += value.len();
            self.kept.push((name, value));
        } else if is_needed {
            self.keep_as_proof(name, value);
        } else if is_kept {
            self.cut = true;
        } else {
            self.omit(name);
        }
    }

    fn keep_as_proof(&mut self, name: &'d str, value: &'d str) {
        self.proof_bytes += value.len();
        if self.proof.len() == PROOF_HEADERS_MAX || self.proof_bytes > PROOF_BYTES_MAX {
            self.cut = true;
        } else {
            self.proof.push((name, value));
        }
    }

    /// Lines of one name follow each other.
    fn omit(&mut self, name: &str) {
        if self.omitted.rsplit(',').next() != Some(name) {
            self.cut |= !push_name(&mut self.omitted, "", name);
        }
    }
}

/// Adds a name to a list, behind what marks its kind; returns whether there was room.
fn push_name(names: &mut String, mark: &str, name: &str) -> bool {
    if names.len() + mark.len() + name.len() >= OMITTED_BYTES_MAX || name.contains(',') {
        return false;
    }
    if !names.is_empty() {
        names.push(',');
    }
    names.push_str(mark);
    names.push_str(name);
    true
}

/// Whether a header's name, in lower case, says that its value may be a secret,
/// or may let whoever replays it pass a check. One pass over the name: a search
/// for each word took longer than verifying the body.
fn may_be_secret(name: &str) -> bool {
    let name = name.as_bytes();
    (0..name.len()).any(|at| {
        let words: &[&[u8]] = match name[at] {
            b'a' => &[b"auth"],
            b'c' => &[b"cookie"],
            b'h' => &[b"hmac"],
            b'k' => &[b"key"],
            b'p' => &[b"password"],
            b's' => &[b"secret", b"sign"],
            b't' => &[b"token"],
            _ => &[],
        };
        words.iter().any(|word| name[at..].starts_with(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_may_be_a_secret_is_not_kept() {
        for (name, keeps) in [
            ("content-type", true),
            ("x-github-event", true),
            ("user-agent", true),
            ("authorization", false),
            ("proxy-authorization", false),
            ("set-cookie", false),
            ("x-hub-signature-256", false),
            ("x-shopify-hmac-sha256", false),
            ("x-api-key", false),
            ("x-gitlab-token", false),
            ("x-password", false),
            ("x-client-secret", false),
        ] {
            assert_eq!(keeps_header(name), keeps, "{name}");
        }
    }

    fn of(lines: &[(&str, &[u8])], proof: &[&'static str]) -> KeptHeaders {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        let at = hookrill_core::Timestamp::default();
        let delivery = Delivery::new(Method::POST, "/ingest/a", headers, "", at);
        let proof: Vec<_> = proof.iter().copied().map(HeaderName::from_static).collect();
        KeptHeaders::of(&delivery, |name| proof.contains(name))
    }

    fn lines(list: &HeaderList) -> Vec<(&str, &str)> {
        list.iter().collect()
    }

    #[test]
    fn a_value_in_utf_8_is_kept_and_other_bytes_are_not() {
        let kept = of(
            &[
                ("cf-ipcity", b"Z\xc3\xbcrich"),
                ("x-latin-1", b"Z\xfcrich"),
                ("x-control", b"a\xc2\x85b"),
                ("x-empty", b""),
            ],
            &[],
        );
        let expected = [("cf-ipcity", "Z\u{fc}rich"), ("x-empty", "")];
        assert_eq!(lines(&kept.headers), expected);
        assert_eq!(kept.omitted, "x-latin-1,x-control");
        assert!(!kept.cut);
    }

    #[test]
    fn what_verified_a_delivery_is_proof_and_other_secrets_are_named_alone() {
        let kept = of(
            &[
                ("x-signature", b"abc"),
                ("webhook-id", b"1"),
                ("cookie", b"hush"),
                ("cookie", b"hush"),
                ("authorization", b"hush"),
            ],
            &["webhook-id", "x-signature"],
        );
        assert_eq!(lines(&kept.headers), [("webhook-id", "1")]);
        assert_eq!(lines(kept.proof.headers()), [("x-signature", "abc")]);
        assert_eq!(kept.omitted, "cookie,authorization");
        let without = of(&[("x-signature", b"abc")], &[]);
        assert!(without.proof.headers().is_empty());
        assert_eq!(without.omitted, "x-signature");
    }

    #[test]
    fn no_more_is_kept_than_the_bounds_and_the_first_come_first() {
        let names: Vec<_> = (0..HEADERS_MAX + 10).map(|n| format!("x-{n}")).collect();
        let many: Vec<_> = names.iter().map(|name| (&**name, &b"v"[..])).collect();
        let kept = of(&many, &[]);
        assert_eq!((kept.headers.len(), kept.cut), (HEADERS_MAX, true));
        let (long, two) = ("v".repeat(KEPT_BYTES_MAX - 1), b"vv");
        let lengthy = of(
            &[
                ("x-a", long.as_bytes()),
                ("x-b", two),
                ("x-c", b"v"),
                ("x-id", two),
            ],
            &["x-id"],
        );
        let first: Vec<_> = lengthy.headers.iter().map(|(name, _)| name).collect();
        assert_eq!(first, ["x-a", "x-c"]);
        // What verified it is not lost to what there is too much of.
        assert_eq!(lines(lengthy.proof.headers()), [("x-id", "vv")]);
        assert!(lengthy.cut);
    }

    #[test]
    fn proof_and_names_have_bounds_of_their_own() {
        let most = "v".repeat(PROOF_BYTES_MAX);
        for (lines, left) in [
            (&[("x-sign", most.as_bytes()), ("x-sign", b"v")][..], 1),
            (&[("x-sign", &b"v"[..]); 9], PROOF_HEADERS_MAX),
        ] {
            let kept = of(lines, &["x-sign"]);
            assert_eq!((kept.proof.headers().len(), kept.cut), (left, true));
        }
        let names: Vec<_> = (0..100).map(|n| format!("x-token-{n}")).collect();
        let many: Vec<_> = names.iter().map(|name| (&**name, &b"v"[..])).collect();
        let kept = of(&many, &[]);
        assert!(kept.omitted.len() <= OMITTED_BYTES_MAX && kept.cut);
    }
}
