//! Which deliveries are wanted: `--match /repository/name=demo`.
//!
//! Decided here and not by the gateway. Invariant: a body that has not the place is never
//! wanted, whatever is compared.

use std::str::FromStr;

use hookrill_core::{FormReader, Pointer, begins_as_json, is_form};
use http::header::CONTENT_TYPE;
use serde_json::Value;

use super::delivery::StoredDelivery;
use crate::http::decode_captured;

/// The field that has the JSON where a provider sends forms: GitHub's and Slack's.
const JSON_FIELD: &str = "payload";

/// The most bytes that a coded body is decoded to.
const DECODED_BYTES_MAX: usize = 64 << 20;

/// One condition on a body.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Match {
    pointer: Pointer,
    comparison: Comparison,
}

#[derive(Debug, Clone, PartialEq)]
enum Comparison {
    Equal(String),
    Above(f64),
    Below(f64),
}

impl FromStr for Match {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "must be a JSON pointer, one of = > <, and a value, such as \
                            /repository/name=demo or '/amount>100'";
        let at = text.find(['=', '>', '<']).ok_or(FORM)?;
        let (pointer, rest) = text.split_at(at);
        let pointer = pointer.trim_end().parse().map_err(|_| FORM)?;
        let (sign, value) = rest.split_at(1);
        let number = || {
            let number: Result<f64, _> = value.trim().parse();
            number.map_err(|_| format!("'{sign}' compares numbers, such as '/amount{sign}100'"))
        };
        let comparison = match sign {
            ">" => Comparison::Above(number()?),
            "<" => Comparison::Below(number()?),
            _ => Comparison::Equal(value.to_owned()),
        };
        Ok(Self {
            pointer,
            comparison,
        })
    }
}

impl Match {
    /// The same as it is typed.
    pub(super) fn written(&self) -> String {
        match &self.comparison {
            Comparison::Equal(text) => format!("{}={text}", self.pointer),
            Comparison::Above(number) => format!("{}>{number}", self.pointer),
            Comparison::Below(number) => format!("{}<{number}", self.pointer),
        }
    }

    fn fits(&self, body: &[u8]) -> bool {
        let Some(written) = self.pointer.value(body) else {
            return false;
        };
        match &self.comparison {
            Comparison::Equal(text) => equals(&written, text),
            Comparison::Above(number) => written.parse::<f64>().is_ok_and(|own| own > *number),
            Comparison::Below(number) => written.parse::<f64>().is_ok_and(|own| own < *number),
        }
    }
}

/// Whether a JSON value is this text: a string by its characters, anything else as it is
/// written, and numbers by their value.
fn equals(written: &str, text: &str) -> bool {
    if written.starts_with('"') {
        let string: Result<String, _> = serde_json::from_str(written);
        return string.is_ok_and(|string| string == text);
    }
    let is_number = |json: &str| matches!(serde_json::from_str(json), Ok(Value::Number(_)));
    written == text
        || is_number(written) && is_number(text) && written.parse::<f64>() == text.parse::<f64>()
}

/// Whether all conditions hold.
pub(super) fn is_wanted(matches: &[Match], delivery: &StoredDelivery) -> bool {
    if matches.is_empty() {
        return true;
    }
    // What was signed in its coding comes in it.
    let decoded = decode_captured(&delivery.headers, &delivery.body, DECODED_BYTES_MAX);
    let body = decoded
        .ok()
        .flatten()
        .unwrap_or_else(|| delivery.body.clone());
    let content_type = delivery.headers.get(CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let form = if content_type.is_some_and(is_form) && !begins_as_json(&body) {
        FormReader::new(Some(JSON_FIELD.into())).json(&body)
    } else {
        None
    };
    let json = form.as_deref().map_or(&body[..], str::as_bytes);
    matches.iter().all(|one| one.fits(json))
}

#[cfg(test)]
mod tests {
    use super::{super::delivery::tests::stored, *};
    use data_encoding::BASE64;

    fn wanted(body: &str, matches: &[&str]) -> bool {
        let matches: Vec<Match> = matches.iter().map(|text| text.parse().unwrap()).collect();
        let is_form = !body.starts_with('{');
        let content_type = if is_form {
            "application/x-www-form-urlencoded"
        } else {
            "application/json"
        };
        let delivery = stored(serde_json::json!({
            "body_base64": BASE64.encode(body.as_bytes()),
            "headers": [["content-type", content_type]],
        }));
        is_wanted(&matches, &delivery)
    }

    #[test]
    fn a_body_is_wanted_where_every_condition_holds() {
        let body =
            r#"{"a":{"b":"x y","n":12.5,"t":true,"z":null},"l":[7],"big":1e400,"d":1,"d":2}"#;
        for (matches, is_wanted) in [
            (&["/a/b=x y"][..], true),
            (&["/a/b=x"], false),
            (&["/a/n=12.50"], true),
            (&["/a/n>12"], true),
            (&["/a/n>12.5"], false),
            (&["/a/n<13", "/a/t=true"], true),
            (&["/a/n<13", "/a/t=false"], false),
            (&["/a/z=null"], true),
            (&["/l/0=7"], true),
            (&["/big>5"], true),
            (&["/missing="], false),
            (&["/a/b>1"], false),
            (&["/d=2"], true),
            (&["/d=1"], false),
        ] {
            assert_eq!(wanted(body, matches), is_wanted, "{matches:?}");
        }
        assert!(!wanted("{", &["/a=1"]), "no JSON has no such place");
        assert!(wanted("a=1&b=2", &["/b=2"]));
        assert!(wanted("payload=%7B%22b%22%3A2%7D", &["/b=2"]));
    }

    #[test]
    fn what_is_no_condition_is_refused_with_its_form() {
        for text in ["", "a=b", "/a", "=b", "/a>x", "/a<"] {
            let error = text.parse::<Match>().unwrap_err();
            assert!(error.contains("such as"), "{text}: {error}");
        }
        let written = |text: &str| text.parse::<Match>().unwrap().written();
        assert_eq!(written("/a=b=c"), "/a=b=c");
        assert_eq!(written("/a > 5"), "/a>5");
    }
}
