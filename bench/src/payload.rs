//! What senders post and subscribers ask: bodies, signatures, tokens and whole
//! requests, made before the clock starts.
//!
//! Invariant: each body begins with its number, so that a subscriber's copy
//! says which event it is.

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// What stands before an event's number.
pub const MARKER: &str = r#"{"n":"#;

/// The bodies of a round, by number.
#[derive(Debug, Clone)]
pub enum Bodies {
    /// JSON of so many bytes, filled up with one letter.
    Filled(usize),
    /// Real or realistic ones, each a JSON object, taken in turn.
    Examples(std::sync::Arc<[String]>),
}

impl Bodies {
    /// The body of event `number`, due so many nanoseconds after the start.
    #[must_use]
    pub fn body(&self, number: u32, due_nanos: u64) -> String {
        let start = format!("{MARKER}{number},\"t\":{due_nanos}");
        match self {
            Bodies::Filled(bytes) => {
                let fill = bytes.saturating_sub(start.len() + r#","fill":""}"#.len());
                format!(r#"{start},"fill":"{}"}}"#, "x".repeat(fill))
            }
            Bodies::Examples(examples) => {
                let example = &examples[number as usize % examples.len()];
                match example.trim_start_matches('{').trim_start() {
                    "}" => format!("{start}}}"),
                    rest => format!("{start},{rest}"),
                }
            }
        }
    }
}

/// `sha256=` and the HMAC-SHA256 in hexadecimal, as GitHub signs.
#[must_use]
pub fn github_signature(secret: &str, body: &str) -> String {
    format!("sha256={}", HEXLOWER.encode(&hmac(secret, body)))
}

/// A subscriber token, as `hookrill token` mints them: HS256 (RFC 7518,
/// section 3.2) over `topics`, `exp` and `sub`.
#[must_use]
pub fn token(secret: &str, topic: &str, subscriber: usize, expires_unix_secs: u64) -> String {
    let header = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"HS256"}"#);
    let claims = serde_json::json!({
        "topics": [topic],
        "exp": expires_unix_secs,
        "sub": format!("subscriber-{subscriber}"),
    });
    let claims = BASE64URL_NOPAD.encode(claims.to_string().as_bytes());
    let signed = format!("{header}.{claims}");
    let signature = BASE64URL_NOPAD.encode(&hmac(secret, &signed));
    format!("{signed}.{signature}")
}

fn hmac(secret: &str, message: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let mut mac = mac.expect("HMAC takes keys of any length");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// A whole request. `headers` are lines such as `Accept: text/event-stream`.
#[must_use]
pub fn request(method: &str, path: &str, host: &str, headers: &[String], body: &str) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    if method != "GET" {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filled_body_is_json_of_the_size_asked_for() {
        for number in [0, 7, 123_456] {
            let body = Bodies::Filled(512).body(number, 99);
            assert_eq!(body.len(), 512);
            let read: serde_json::Value = serde_json::from_str(&body).expect("it is JSON");
            assert_eq!(read["n"], number);
        }
    }

    #[test]
    fn an_example_keeps_its_fields_behind_the_number() {
        let examples = [r#"{"action":"opened"}"#.to_owned(), "{}".to_owned()];
        let bodies = Bodies::Examples(examples.into());
        assert_eq!(bodies.body(2, 5), r#"{"n":2,"t":5,"action":"opened"}"#);
        assert_eq!(bodies.body(3, 5), r#"{"n":3,"t":5}"#);
    }

    #[test]
    fn a_body_is_signed_as_github_documents_it() {
        let signed = github_signature("It's a Secret to Everybody", "Hello, World!");
        let documented = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        assert_eq!(signed, format!("sha256={documented}"));
    }
}
