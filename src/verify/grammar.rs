//! The grammar of a signature header: items, keys, prefix.
//!
//! Always multi-valued; items with unknown keys are ignored, so that a
//! provider can add a version beside the one that is read here.

use http::HeaderMap;

use super::{error::VerifyError, headers, scheme::Names};

/// The most signatures that one delivery may offer. DocuSign, which has the
/// most, sends one per configured key; each costs one comparison per secret.
pub const SIGNATURES_MAX: usize = 16;

/// Where signatures are and how they are written; checked.
#[derive(Debug, Clone)]
pub(super) struct Grammar {
    pub(super) header: Names,
    pub(super) prefix: String,
    /// Each character separates items.
    pub(super) separators: String,
    pub(super) keys: Option<Keys>,
}

/// The grammar of an item.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) separator: String,
    pub(super) signature: String,
}

impl Grammar {
    /// The signatures as written, of all the headers that are there.
    ///
    /// # Errors
    ///
    /// Where there is no header, no signature in it, too many, or a header
    /// twice with different values.
    pub(super) fn signatures<'h>(&self, from: &'h HeaderMap) -> Result<Vec<&'h str>, VerifyError> {
        let mut present = None;
        let mut found = Vec::new();
        for name in self.header.iter() {
            let Some(value) = headers::only(from, name)? else {
                continue;
            };
            present.get_or_insert(name);
            for signature in self.items(value).filter_map(|item| self.signature(item)) {
                if found.len() == SIGNATURES_MAX {
                    return Err(VerifyError::SignaturesTooMany);
                }
                found.push(signature);
            }
        }
        match present {
            None => Err(VerifyError::HeaderMissing {
                header: self.header.first().clone(),
            }),
            Some(name) if found.is_empty() => Err(VerifyError::SignatureForm {
                header: name.clone(),
            }),
            Some(_) => Ok(found),
        }
    }

    /// The value of another field of the same header, such as `t`.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Duplicate`] where it is there twice and differs.
    pub(super) fn field<'h>(
        &self,
        from: &'h HeaderMap,
        key: &str,
    ) -> Result<Option<&'h str>, VerifyError> {
        let mut found = None;
        for name in self.header.iter() {
            let value = headers::only(from, name)?.unwrap_or_default();
            for value in self.items(value).filter_map(|item| self.value(item, key)) {
                if *found.get_or_insert(value) != value {
                    return Err(VerifyError::Duplicate {
                        header: name.clone(),
                    });
                }
            }
        }
        Ok(found)
    }

    /// A header value that offers `signature`, with a field before it.
    pub(super) fn write(&self, field: Option<(&str, &str)>, signature: &str) -> String {
        let Some(keys) = &self.keys else {
            return format!("{}{signature}", self.prefix);
        };
        let separator = &keys.separator;
        let item = format!("{}{separator}{}{signature}", keys.signature, self.prefix);
        match (field, self.separators.chars().next()) {
            (Some((key, value)), Some(next)) => format!("{key}{separator}{value}{next}{item}"),
            _ => item,
        }
    }

    fn items<'h>(&self, value: &'h str) -> impl Iterator<Item = &'h str> {
        value
            .split(|c| self.separators.contains(c))
            .map(str::trim)
            .filter(|item| !item.is_empty())
    }

    fn signature<'h>(&self, item: &'h str) -> Option<&'h str> {
        let value = match &self.keys {
            Some(keys) => self.value(item, &keys.signature)?,
            None => item,
        };
        value.strip_prefix(&*self.prefix)
    }

    fn value<'h>(&self, item: &'h str, key: &str) -> Option<&'h str> {
        let (found, value) = item.split_once(&*self.keys.as_ref()?.separator)?;
        (found.trim_end() == key).then(|| value.trim_start())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn grammar(separators: &str, keys: Option<(&str, &str)>) -> Grammar {
        Grammar {
            header: HeaderName::from_static("x-sig").into(),
            prefix: String::new(),
            separators: separators.into(),
            keys: keys.map(|(separator, signature)| Keys {
                separator: separator.into(),
                signature: signature.into(),
            }),
        }
    }

    fn lines(values: &[&str]) -> HeaderMap {
        let name = HeaderName::from_static("x-sig");
        let lines = values.iter().map(|v| (name.clone(), v.parse().unwrap()));
        lines.collect()
    }

    #[test]
    fn items_with_other_keys_are_ignored_and_all_signatures_are_read() {
        let stripe = grammar(",", Some(("=", "v1")));
        let header = lines(&["t=12, v1=aa==,v0=zz,v1 = bb,,junk,v10=cc,=v1"]);
        assert_eq!(stripe.signatures(&header), Ok(vec!["aa==", "bb"]));
        assert_eq!(stripe.field(&header, "t"), Ok(Some("12")));
        assert_eq!(stripe.field(&header, "x"), Ok(None));
        let standard = grammar(" ", Some((",", "v1")));
        let header = lines(&["v1,aa= v1a,zz v1,bb="]);
        assert_eq!(standard.signatures(&header), Ok(vec!["aa=", "bb="]));
    }

    #[test]
    fn a_header_or_a_field_that_says_two_things_is_refused() {
        let stripe = grammar(",", Some(("=", "v1")));
        let header = HeaderName::from_static("x-sig");
        let twice = Err(VerifyError::Duplicate { header });
        assert_eq!(stripe.signatures(&lines(&["v1=a", "v1=b"])), twice);
        assert_eq!(stripe.signatures(&lines(&["v1=a", "v1=a"])), Ok(vec!["a"]));
        assert_eq!(
            stripe.field(&lines(&["t=1,t=2,v1=a"]), "t"),
            twice.map(|_| None)
        );
        assert_eq!(stripe.field(&lines(&["t=1,t=1"]), "t"), Ok(Some("1")));
    }

    #[test]
    fn the_number_of_signatures_is_bounded() {
        let list = grammar(",", None);
        let header = |count| lines(&[&*vec!["a"; count].join(",")]);
        let found = list
            .signatures(&header(SIGNATURES_MAX))
            .map(|all| all.len());
        assert_eq!(found, Ok(SIGNATURES_MAX));
        assert_eq!(
            list.signatures(&header(SIGNATURES_MAX + 1)),
            Err(VerifyError::SignaturesTooMany)
        );
    }
}
