//! A form (`application/x-www-form-urlencoded` or `multipart/form-data`) as the JSON that
//! subscribers read.
//!
//! Decides by content what it can, since a `Content-Type` is hardly ever signed.
//! Refuses a form with more than [`FIELDS_MAX`] fields: it stays text. Invariant: one
//! form makes one JSON text; names stand in the order in which they came first.

use std::{borrow::Cow, collections::HashMap};

use memchr::memmem;
use percent_encoding::percent_decode;
use serde::de::IgnoredAny;

/// The most fields of a form that is read.
const FIELDS_MAX: usize = 10_000;
/// What some senders write before JSON, and no reader of it takes (RFC 8259, 8.1).
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The same bytes without a byte order mark before them.
#[must_use]
pub fn without_byte_order_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)
}

/// Whether a body begins as a JSON object or array does, and so as no form: both would
/// be escaped there. `curl -d` calls JSON a form.
#[must_use]
pub fn begins_as_json(body: &[u8]) -> bool {
    let body = without_byte_order_mark(body);
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(first, Some(b'{' | b'['))
}

/// Whether a `Content-Type` says that the body is a form.
#[must_use]
pub fn is_form(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        || essence.eq_ignore_ascii_case("multipart/form-data")
}

/// Names and values of a form of several parts (`multipart/form-data`, RFC 7578), of a
/// file its name; `None` where it is no such form. At most the first 10,000 are read. No
/// value is copied: it may be long, and nobody may want it.
#[must_use]
pub fn form_parts(form: &[u8]) -> Option<impl Iterator<Item = (Cow<'_, str>, Cow<'_, [u8]>)>> {
    let parts = parts(without_byte_order_mark(form))?;
    Some(parts.into_iter().take(FIELDS_MAX).map(field_of_part))
}

/// Reads forms as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FormReader {
    json_field: Option<Box<str>>,
}

impl FormReader {
    /// One that takes the JSON in `json_field` for the whole form, where that field is
    /// there, once, and is JSON.
    #[must_use]
    pub fn new(json_field: Option<Box<str>>) -> Self {
        Self { json_field }
    }

    /// The form as JSON: an object of strings by the names as they are, `a[b]` too; a
    /// name that comes again makes an array of its values. Bytes that are not UTF-8
    /// become U+FFFD. In a form of several parts, a file is its name.
    ///
    /// `None`: it stays text. Whatever is called a form and has not the shape of one would
    /// be an object whose names mean nothing, and hide nothing; so would a form whose
    /// `json_field` is no JSON object or list, or is there twice.
    #[must_use]
    pub fn json(&self, form: &[u8]) -> Option<String> {
        let form = without_byte_order_mark(form);
        let fields = match parts(form) {
            Some(parts) => gathered(parts.into_iter().map(shown_field))?,
            None => gathered(written_fields(written_form(form)?))?,
        };
        let wanted = self.json_field.as_deref();
        match fields.iter().find(|(name, _)| Some(&**name) == wanted) {
            Some((_, values)) => json_in(values),
            None => Some(object(&fields)),
        }
    }
}

/// The JSON that is the value of a field.
fn json_in(values: &[Cow<'_, str>]) -> Option<String> {
    let [value] = values else {
        return None;
    };
    let json = value.trim_start_matches('\u{feff}');
    serde_json::from_str::<IgnoredAny>(json).ok()?;
    begins_as_json(json.as_bytes()).then(|| json.to_owned())
}

/// A name, and all its values.
type Field<'f> = (Cow<'f, str>, Vec<Cow<'f, str>>);

/// The values by their names, in the order of the names; `None`: too many.
fn gathered<'f>(
    pairs: impl Iterator<Item = (Cow<'f, str>, Cow<'f, str>)>,
) -> Option<Vec<Field<'f>>> {
    let mut fields: Vec<Field<'f>> = Vec::new();
    let mut places: HashMap<Cow<'f, str>, usize> = HashMap::new();
    for (index, (name, value)) in pairs.enumerate() {
        if index == FIELDS_MAX {
            return None;
        }
        match places.get(&name) {
            Some(&place) => fields[place].1.push(value),
            None => {
                places.insert(name.clone(), fields.len());
                fields.push((name, vec![value]));
            }
        }
    }
    Some(fields)
}

/// What may be read as `a=1&b=2`, without a line end behind it; `None` for other text,
/// which senders without a `Content-Type` of their own call a form as well: a single
/// word, several lines, XML.
fn written_form(form: &[u8]) -> Option<&[u8]> {
    let form = form.strip_suffix(b"\n").unwrap_or(form);
    let form = form.strip_suffix(b"\r").unwrap_or(form);
    let is_one_word = !form.is_empty() && memchr::memchr2(b'=', b'&', form).is_none();
    let is_one_line = !form.iter().any(u8::is_ascii_control);
    let in_no_name = |byte: &u8| matches!(byte, b' ' | b'"' | b'<' | b'>');
    let mut names = form.split(|&byte| byte == b'&').map(|field| {
        let end = memchr::memchr(b'=', field).unwrap_or(field.len());
        &field[..end]
    });
    let has_names = names.all(|name| !name.iter().any(in_no_name));
    (!is_one_word && is_one_line && has_names).then_some(form)
}

/// The fields of `a=1&b=2`.
fn written_fields(form: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let written = form.split(|&byte| byte == b'&');
    written.filter(|field| !field.is_empty()).map(|field| {
        let equals = field.iter().position(|&byte| byte == b'=');
        match equals {
            Some(at) => (decoded(&field[..at]), decoded(&field[at + 1..])),
            None => (decoded(field), Cow::Borrowed("")),
        }
    })
}

/// The parts of a form (RFC 7578), each with its head; `None` where it is no such form, or
/// is cut off. Its first line is the delimiter, so that no header is needed to read it. Of
/// more than [`FIELDS_MAX`] parts, one more is given than that.
fn parts(form: &[u8]) -> Option<Vec<&[u8]>> {
    // Some begin with the line end that belongs to each delimiter (RFC 2046, section 5.1.1).
    let form = form.strip_prefix(b"\r\n").unwrap_or(form);
    let line_end = memmem::find(form, b"\r\n")?;
    let boundary = form[..line_end].trim_ascii_end().strip_prefix(b"--")?;
    if !(1..=70).contains(&boundary.len()) || !boundary.is_ascii() {
        return None;
    }
    // What browsers send of a form without fields: the end alone.
    if boundary.ends_with(b"--") && form.len() == line_end + 2 {
        return Some(Vec::new());
    }
    let delimiter = [b"\r\n--", boundary].concat();
    let (mut parts, mut begin) = (Vec::new(), line_end + 2);
    for end in memmem::find_iter(form, &delimiter) {
        let behind = &form[end + delimiter.len()..];
        let padding = behind
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'));
        let padding = padding.count();
        let is_last = behind.starts_with(b"--");
        // Otherwise it is the beginning of a longer line, which belongs to the part.
        if is_last || behind[padding..].starts_with(b"\r\n") {
            parts.push(form.get(begin..end).unwrap_or_default());
            begin = end + delimiter.len() + padding + 2;
        }
        if is_last || parts.len() > FIELDS_MAX {
            return Some(parts);
        }
    }
    None
}

/// As [`field_of_part`], as text.
fn shown_field(part: &[u8]) -> (Cow<'_, str>, Cow<'_, str>) {
    let (name, value) = field_of_part(part);
    let value = match value {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
    };
    (name, value)
}

/// Name and value of a part; of a file, its name.
fn field_of_part(part: &[u8]) -> (Cow<'_, str>, Cow<'_, [u8]>) {
    let (head, value) = match memmem::find(part, b"\r\n\r\n") {
        _ if part.starts_with(b"\r\n") => (&[][..], &part[2..]),
        Some(end) => (&part[..end], &part[end + 4..]),
        None => (part, &[][..]),
    };
    let head = String::from_utf8_lossy(head);
    let is_disposition = |line: &&str| {
        let (name, _) = line.split_once(':').unwrap_or_default();
        name.trim().eq_ignore_ascii_case("content-disposition")
    };
    let disposition = head.split("\r\n").find(is_disposition).unwrap_or_default();
    let name = parameter(disposition, "name").unwrap_or_default();
    match parameter(disposition, "filename").or_else(|| extended(disposition)) {
        Some(file) => (name.into(), file.into_bytes().into()),
        None => (name.into(), value.into()),
    }
}

/// The name of a file as `UTF-8''a%20b.png` (RFC 5987), which forms should not use.
fn extended(disposition: &str) -> Option<String> {
    let value = parameter(disposition, "filename*")?;
    let encoded = value.splitn(3, '\'').nth(2).unwrap_or(&value);
    let bytes: Vec<u8> = percent_decode(encoded.as_bytes()).collect();
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// A parameter of a header, without its quotes. Browsers escape a quote as `%22`, others
/// as `\"`.
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let mut rest = header.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let is_wanted = name.trim().eq_ignore_ascii_case(wanted);
        let (value, behind) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let (value, behind) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_owned(), behind)
            }
        };
        if is_wanted {
            return Some(value.replace("%22", "\""));
        }
        rest = behind.trim_start_matches([';', ' ']);
    }
}

/// What is in quotes, and the text behind them.
fn unquoted(quoted: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    (value, "")
}

fn object(fields: &[Field<'_>]) -> String {
    let mut out = String::from("{");
    for (index, (name, values)) in fields.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_string(&mut out, name);
        out.push(':');
        if let [value] = &values[..] {
            push_string(&mut out, value);
            continue;
        }
        for (place, value) in values.iter().enumerate() {
            out.push(if place == 0 { '[' } else { ',' });
            push_string(&mut out, value);
        }
        out.push(']');
    }
    out.push('}');
    out
}

fn push_string(out: &mut String, text: &str) {
    let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&serde_json::Value::from(text).to_string());
    }
}

/// The text that a name or value stands for: `+` is a space.
fn decoded(text: &[u8]) -> Cow<'_, str> {
    if !text.iter().any(|byte| matches!(byte, b'+' | b'%')) {
        return String::from_utf8_lossy(text);
    }
    let spaced: Vec<u8> = text
        .iter()
        .map(|&byte| if byte == b'+' { b' ' } else { byte })
        .collect();
    let bytes: Vec<u8> = percent_decode(&spaced).collect();
    match String::from_utf8(bytes) {
        Ok(plain) => plain.into(),
        Err(error) => String::from_utf8_lossy(error.as_bytes())
            .into_owned()
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_form_is_an_object_of_strings_in_its_order() {
        for (form, json) in [
            ("", "{}"),
            ("&&", "{}"),
            ("b=1&a=2", r#"{"b":"1","a":"2"}"#),
            ("a=1&b=x&a=2", r#"{"a":["1","2"],"b":"x"}"#),
            ("a[]=1&a%5B%5D=2&a[b]=3", r#"{"a[]":["1","2"],"a[b]":"3"}"#),
            ("a&=b&c=", r#"{"a":"","":"b","c":""}"#),
            ("a=1+1%2B&b=%22%5C%0a", r#"{"a":"1 1+","b":"\"\\\n"}"#),
            ("a=%C3%BC%ff&b=%e", "{\"a\":\"ü\u{fffd}\",\"b\":\"%e\"}"),
            ("a=b=c", r#"{"a":"b=c"}"#),
            ("payload=%7B%7D", r#"{"payload":"{}"}"#),
        ] {
            let read = FormReader::default().json(form.as_bytes());
            assert_eq!(read.as_deref(), Some(json), "{form}");
        }
    }

    #[test]
    fn the_field_with_the_json_stands_for_the_form_where_it_is_one() {
        let reader = FormReader::new(Some("payload".into()));
        for (form, json) in [
            ("payload=%7B%22a%22%3A1%7D", r#"{"a":1}"#),
            ("payload=%EF%BB%BF%7B%7D&x=1", "{}"),
            ("payload=%5B+1%5D&x=1", "[ 1]"),
            ("command=%2Fx", r#"{"command":"/x"}"#),
        ] {
            assert_eq!(
                reader.json(form.as_bytes()).as_deref(),
                Some(json),
                "{form}"
            );
        }
        // An object with this field as text would show what is to be hidden in it.
        for form in [
            "payload=no",
            "payload=1",
            "payload=%22%7B%7D%22",
            "payload=%7B",
            "payload=%7B%7Dx",
            "payload=%7B%7D%00",
            "payload=%7B%7D&payload=%7B%7D",
        ] {
            assert_eq!(reader.json(form.as_bytes()), None, "{form}");
        }
    }

    #[test]
    fn a_form_of_several_parts_is_the_same_object_and_a_file_its_name() {
        let form = "--x y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n2\r\n\
                    --x y\r\nContent-Type: text/plain\r\ncontent-disposition: form-data; \
                    name=\"b \\\" %22\"; filename=\"c;d.png\"\r\n\r\n\x00--x\r\n\
                    --x y\r\nContent-Disposition: form-data; name=payload\r\n\r\n{\"z\":1}\r\n\
                    --x y--\r\n";
        let reader = FormReader::default();
        assert_eq!(
            reader.json(form.as_bytes()).as_deref(),
            Some(r#"{"a":"1\r\n2","b \" \"":"c;d.png","payload":"{\"z\":1}"}"#)
        );
        let of_payload = FormReader::new(Some("payload".into()));
        assert_eq!(
            of_payload.json(form.as_bytes()).as_deref(),
            Some(r#"{"z":1}"#)
        );
        // What is cut off is no such form, nor is one with other line ends.
        assert_eq!(reader.json(&form.as_bytes()[..form.len() - 10]), None);
        assert_eq!(reader.json(form.replace("\r\n", "\n").as_bytes()), None);
        let part = "\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x";
        let many = |count: usize| format!("--x{}--", part.repeat(count));
        assert!(reader.json(many(FIELDS_MAX).as_bytes()).is_some());
        assert!(reader.json(many(FIELDS_MAX + 1).as_bytes()).is_none());
    }

    #[test]
    fn a_form_of_several_parts_is_read_as_senders_write_it() {
        let reader = FormReader::default();
        let head = "Content-Disposition: form-data; name";
        for (form, json) in [
            (
                format!("\r\n--x\r\n{head}=a\r\n\r\n1\r\n--x--"),
                r#"{"a":"1"}"#,
            ),
            (
                format!("--x \t\r\n{head}=a\r\n\r\n1\r\n--x \r\n{head}=b\r\n\r\n2\r\n--x--"),
                r#"{"a":"1","b":"2"}"#,
            ),
            (
                format!("--x\r\n{head}=a\r\n\r\n1\r\n--xy\r\n--x--"),
                r#"{"a":"1\r\n--xy"}"#,
            ),
            ("--x\r\n\r\n1\r\n--x--".into(), r#"{"":"1"}"#),
            (
                format!("--x\r\n{head}=a; filename*=UTF-8''b%20c\r\n\r\n1\r\n--x--"),
                r#"{"a":"b c"}"#,
            ),
            ("--x\r\n--x--".into(), r#"{"":""}"#),
            ("------WebKitFormBoundaryx--\r\n".into(), "{}"),
        ] {
            assert_eq!(
                reader.json(form.as_bytes()).as_deref(),
                Some(json),
                "{form:?}"
            );
        }
        assert_eq!(
            reader.json(format!("preamble\r\n--x\r\n{head}=a\r\n\r\n1\r\n--x--").as_bytes()),
            None
        );
    }

    #[test]
    fn text_that_is_called_a_form_stays_text() {
        let reader = FormReader::default();
        for text in [
            "hello",
            "two words",
            "%7B%7D",
            "<a secret=\"s\">x</a>",
            "a: \"b=c\"",
            "one=1\ntwo=2",
            "total so far=1",
            "a=1\0",
        ] {
            assert_eq!(reader.json(text.as_bytes()), None, "{text}");
        }
        assert_eq!(
            reader.json(b"a=b c<\"\r\n").as_deref(),
            Some(r#"{"a":"b c<\""}"#)
        );
        assert_eq!(reader.json(b"hello=").as_deref(), Some(r#"{"hello":""}"#));
        assert_eq!(reader.json(b"a&b").as_deref(), Some(r#"{"a":"","b":""}"#));
    }

    #[test]
    fn a_form_with_more_fields_than_anybody_sends_stays_text() {
        let many = |count: usize| vec!["a"; count].join("&");
        let reader = FormReader::default();
        assert!(reader.json(many(FIELDS_MAX).as_bytes()).is_some());
        assert!(reader.json(many(FIELDS_MAX + 1).as_bytes()).is_none());
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_the_result_is_json(form: Vec<u8>) {
            let json = FormReader::default().json(&form);
            let json = json.unwrap_or_else(|| "{}".into());
            prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
        }
    }
}
