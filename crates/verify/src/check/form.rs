//! Forms, in a query or a body: `application/x-www-form-urlencoded`.

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
pub(super) fn decode(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}

/// The value of a field as UTF-8; `None` where it is not there, is not UTF-8,
/// or is given more than once with different values.
pub(super) fn value(text: &str, name: &str) -> Option<String> {
    let mut values = fields(text)
        .filter(|(key, _)| decode(key) == name.as_bytes())
        .map(|(_, value)| decode(value));
    let value = values.next()?;
    if values.any(|other| other != value) {
        return None;
    }
    String::from_utf8(value).ok()
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
    fn a_field_with_two_values_has_none() {
        assert_eq!(value("a=1&b=2", "a").as_deref(), Some("1"));
        assert_eq!(value("%61=1&a=1", "a").as_deref(), Some("1"));
        assert_eq!(value("a=1&a=2", "a"), None);
        assert_eq!(value("a=%ff", "a"), None);
        assert_eq!(value("ab=1", "a"), None);
    }
}
