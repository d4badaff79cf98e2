//! Forms: `application/x-www-form-urlencoded` in a query or a body, and
//! `multipart/form-data` in a body.

use std::borrow::Cow;

use hookrill_core::{begins_as_json, form_parts, without_byte_order_mark};
use percent_encoding::percent_decode_str;

use crate::error::VerifyError;

/// The most fields of a form that is signed field by field.
const FIELDS_MAX: usize = 1000;

/// Name and value of each field as written, still percent-encoded.
pub(super) fn fields(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let fields = text.split('&').filter(|field| !field.is_empty());
    fields.map(|field| field.split_once('=').unwrap_or((field, "")))
}

/// The bytes that a name or value of a form stands for: `+` is a space.
pub(crate) fn decode(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}

/// The value of a field as UTF-8; `None` where it is not there, is not UTF-8,
/// or is given more than once with different values.
pub(super) fn value(text: &str, name: &str) -> Option<String> {
    // Most names are spelled plainly, and in a body that nothing has verified yet there
    // may be millions of them.
    let is_it = |key: &str| {
        let escaped = key.bytes().any(|byte| matches!(byte, b'%' | b'+'));
        key == name || (escaped && decode(key) == name.as_bytes())
    };
    let values = fields(text).filter(|(key, _)| is_it(key));
    let value = only(values.map(|(_, value)| decode(value)))?;
    String::from_utf8(value).ok()
}

/// The one value; `None` where there is none, or another.
fn only<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let value = values.next()?;
    values.all(|other| other == value).then_some(value)
}

/// The value of a field of a body, as [`value`]; of several parts, where it is such a form.
pub(super) fn field(body: &[u8], name: &str) -> Option<String> {
    let Some(parts) = form_parts(body) else {
        let text = std::str::from_utf8(without_byte_order_mark(body)).ok()?;
        return value(text, name);
    };
    let found = only(parts.filter(|(key, _)| key == name).map(|(_, bytes)| bytes))?;
    String::from_utf8(found.into_owned()).ok()
}

/// The value of a field of a body that is a form, where one must be.
///
/// # Errors
///
/// [`VerifyError::FieldMissing`].
pub(super) fn required(body: &[u8], name: &str) -> Result<String, VerifyError> {
    field(body, name).ok_or_else(|| VerifyError::FieldMissing {
        field: name.to_owned(),
    })
}

/// What is signed of a body that is JSON, or a form with the JSON in its only field.
/// Whatever its `Content-Type` says: nobody signs that. Both begin differently.
///
/// # Errors
///
/// [`VerifyError::NotTheField`] for a form with other fields: nobody has signed those.
pub(super) fn body_or_field<'b>(body: &'b [u8], name: &str) -> Result<Cow<'b, [u8]>, VerifyError> {
    if begins_as_json(body) {
        return Ok(body.into());
    }
    let not_it = || VerifyError::NotTheField {
        field: name.to_owned(),
    };
    let text = std::str::from_utf8(body).map_err(|_| not_it())?;
    let mut fields = fields(text);
    match (fields.next(), fields.next()) {
        (Some((key, value)), None) if decode(key) == name.as_bytes() => Ok(decode(value).into()),
        _ => Err(not_it()),
    }
}

/// The query of a request target.
pub(super) fn query(path_and_query: &str) -> &str {
    path_and_query.split_once('?').unwrap_or_default().1
}

/// The fields sorted by name, each as name and value with nothing between, as
/// Twilio signs them. Of a name that is given more than once, each value counts
/// once, and the values are sorted.
///
/// # Errors
///
/// [`VerifyError::NotAForm`] where the body is not ASCII, which no form is, or
/// has more than [`FIELDS_MAX`] fields.
pub(super) fn sorted_fields(body: &[u8]) -> Result<Vec<u8>, VerifyError> {
    let text = std::str::from_utf8(body).map_err(|_| VerifyError::NotAForm)?;
    if !text.is_ascii() {
        return Err(VerifyError::NotAForm);
    }
    let mut pairs: Vec<_> = fields(text)
        .take(FIELDS_MAX + 1)
        .map(|(name, value)| (decode(name), decode(value)))
        .collect();
    if pairs.len() > FIELDS_MAX {
        return Err(VerifyError::NotAForm);
    }
    pairs.sort();
    pairs.dedup();
    let flat = pairs.into_iter().flat_map(|(name, value)| [name, value]);
    Ok(flat.collect::<Vec<_>>().concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_sorted_and_run_together() {
        let sorted = |text: &str| sorted_fields(text.as_bytes());
        assert_eq!(
            sorted("b=2&a=1+1&c=%2B&a=1+1&a=0"),
            Ok(b"a0a1 1b2c+".into())
        );
        assert_eq!(sorted("").as_deref(), Ok(&b""[..]));
        assert_eq!(sorted("a&&=b").as_deref(), Ok(&b"ba"[..]));
        assert_eq!(sorted("a=\u{e9}"), Err(VerifyError::NotAForm));
        assert!(sorted(&vec!["a=1"; FIELDS_MAX].join("&")).is_ok());
        assert!(sorted(&vec!["a=1"; FIELDS_MAX + 1].join("&")).is_err());
    }

    #[test]
    fn a_form_with_json_in_it_is_that_json_and_has_no_other_field() {
        let read = |body: &str| {
            body_or_field(body.as_bytes(), "payload")
                .ok()
                .map(Cow::into_owned)
        };
        assert_eq!(read(r#" {"a":"b=c&d"}"#), Some(br#" {"a":"b=c&d"}"#.into()));
        assert_eq!(read("payload=%7B%7D"), Some(b"{}".into()));
        assert_eq!(read("&payload=%7B+%7D&"), Some(b"{ }".into()));
        for other in [
            "",
            "payload",
            "payload=%7B%7D&x=1",
            "x=1&payload=%7B%7D",
            "x=%7B%7D",
        ] {
            let bare = (other == "payload").then(Vec::new);
            assert_eq!(read(other), bare, "{other}");
        }
        assert_eq!(read("payload=%7B%7D&payload=%7B%7D"), None);
        assert_eq!(body_or_field(b"payload=\xff", "payload").ok(), None);
    }

    #[test]
    fn a_field_is_found_in_a_form_of_several_parts_beside_files() {
        let part = |head: &str, value: &[u8]| {
            let head = format!("--x\r\nContent-Disposition: form-data; {head}\r\n\r\n");
            [head.as_bytes(), value, b"\r\n"].concat()
        };
        let form = [
            part("name=\"a\"", b"1"),
            part("name=\"file\"; filename=\"f.png\"", b"\xff\x00a=2&"),
            part("name=\"b\"", b"\xff"),
            part("name=\"c\"", b"1"),
            part("name=\"c\"", b"2"),
            b"--x--\r\n".into(),
        ]
        .concat();
        assert_eq!(field(&form, "a").as_deref(), Some("1"));
        assert_eq!(field(&form, "file").as_deref(), Some("f.png"));
        for missing in ["b", "c", "d"] {
            assert_eq!(field(&form, missing), None, "{missing}");
        }
        // Without its end it is another form, which has no such field.
        assert_eq!(field(&form[..form.len() - 9], "a"), None);
        assert_eq!(field(b"a=1", "a").as_deref(), Some("1"));
        assert_eq!(field(b"\xef\xbb\xbfa=1", "a").as_deref(), Some("1"));
    }

    #[test]
    fn a_field_with_two_values_has_none() {
        assert_eq!(value("a=1&b=2", "a").as_deref(), Some("1"));
        assert_eq!(value("%61=1&a=1", "a").as_deref(), Some("1"));
        assert_eq!(value("a=1&a=2", "a"), None);
        assert_eq!(value("a=%ff", "a"), None);
        assert_eq!(value("ab=1", "a"), None);
    }
}
