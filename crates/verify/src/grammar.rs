//! The grammar of a signature header: items, keys, prefix.
//!
//! Always multi-valued; items with unknown keys are ignored, so that a
//! provider can add a version beside the one that is read here.

use hookrill_core::Pointer;
use std::borrow::Cow;

use super::{
    delivery::Delivery,
    error::VerifyError,
    headers,
    limits::SIGNATURES_MAX,
    message,
    scheme::{HeaderNames, Source},
};

/// Where signatures are and how they are written; checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grammar {
    pub(super) place: Place,
    pub(super) prefix: String,
    pub(super) prefix_optional: bool,
    /// Each character separates items.
    pub(super) separators: String,
    pub(super) keys: Option<Keys>,
}

/// Where signatures are.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    Header(HeaderNames),
    Json(Pointer),
}

/// The grammar of an item.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Keys {
    pub(super) separator: String,
    pub(super) signature: String,
}

impl Grammar {
    /// The signatures as written, of all the places that are there.
    ///
    /// # Errors
    ///
    /// Where there is no such place, no signature in it, too many, or a
    /// header twice with different values.
    pub(super) fn signatures<'d>(
        &self,
        delivery: &'d Delivery,
    ) -> Result<Vec<Cow<'d, str>>, VerifyError> {
        let values = self.values(delivery)?;
        let mut found = Vec::new();
        for value in &values {
            match value {
                Cow::Borrowed(text) => found.extend(self.within(text).map(Cow::Borrowed)),
                Cow::Owned(text) => {
                    let owned = self.within(text).map(|one| Cow::Owned(one.to_owned()));
                    found.extend(owned);
                }
            }
            if found.len() > SIGNATURES_MAX {
                return Err(VerifyError::SignaturesTooMany);
            }
        }
        match (values.is_empty(), found.is_empty()) {
            (true, _) => Err(self.missing()),
            (false, true) => Err(self.misshapen(&values)),
            (false, false) => Ok(found),
        }
    }

    /// The value of another field of the same header, such as `t`.
    ///
    /// # Errors
    ///
    /// [`VerifyError::HeaderDuplicate`] where it is there twice and differs.
    pub(super) fn field<'d>(
        &self,
        delivery: &'d Delivery,
        key: &str,
    ) -> Result<Option<&'d str>, VerifyError> {
        let Place::Header(names) = &self.place else {
            return Ok(None);
        };
        let mut found = None;
        for name in names.iter() {
            let value = headers::only(&delivery.headers, name)?.unwrap_or_default();
            for value in self.items(value).filter_map(|item| self.value(item, key)) {
                if *found.get_or_insert(value) != value {
                    return Err(VerifyError::HeaderDuplicate {
                        header: name.clone(),
                    });
                }
            }
        }
        Ok(found)
    }

    fn values<'d>(&self, delivery: &'d Delivery) -> Result<Vec<Cow<'d, str>>, VerifyError> {
        let mut values = Vec::new();
        match &self.place {
            Place::Header(names) => {
                for name in names.iter() {
                    let value = headers::only(&delivery.headers, name)?;
                    values.extend(value.map(Cow::Borrowed));
                }
            }
            Place::Json(pointer) => values.extend(pointer.find(&delivery.body).map(Cow::Owned)),
        }
        Ok(values)
    }

    fn missing(&self) -> VerifyError {
        match &self.place {
            Place::Header(names) => VerifyError::HeaderMissing {
                header: names.first().clone(),
            },
            Place::Json(pointer) => message::missing(pointer),
        }
    }

    /// There is a value, and no signature in it: is it for want of a prefix?
    fn misshapen(&self, values: &[Cow<'_, str>]) -> VerifyError {
        let mut items = values.iter().flat_map(|value| self.items(value));
        let location = match &self.place {
            Place::Header(names) => Source::Header(names.first().clone().into()),
            Place::Json(pointer) => Source::Json(pointer.clone()),
        };
        match items.any(|item| self.prefixed(item).is_some()) {
            true => VerifyError::SignaturePrefixMissing {
                location,
                prefix: self.prefix.clone(),
            },
            false => VerifyError::SignatureMalformed {
                location,
                form: self.form(),
            },
        }
    }

    /// How a signature has to look, for people.
    fn form(&self) -> String {
        match &self.keys {
            Some(Keys {
                separator,
                signature,
            }) => format!("{signature}{separator}{}…", self.prefix),
            None => format!("{}…", self.prefix),
        }
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

    /// The signatures in one value; no more than are taken, and one.
    fn within<'h>(&self, value: &'h str) -> impl Iterator<Item = &'h str> {
        let items = self.items(value).filter_map(|item| self.signature(item));
        items.take(SIGNATURES_MAX + 1)
    }

    fn items<'h>(&self, value: &'h str) -> impl Iterator<Item = &'h str> {
        value
            .split(|c| self.separators.contains(c))
            .map(str::trim)
            .filter(|item| !item.is_empty())
    }

    fn signature<'h>(&self, item: &'h str) -> Option<&'h str> {
        let value = self.prefixed(item)?;
        match value.strip_prefix(&*self.prefix) {
            None if self.prefix_optional => Some(value),
            bare => bare,
        }
    }

    /// A signature with the prefix that it should have.
    fn prefixed<'h>(&self, item: &'h str) -> Option<&'h str> {
        match &self.keys {
            Some(keys) => self.value(item, &keys.signature),
            None => Some(item),
        }
    }

    fn value<'h>(&self, item: &'h str, key: &str) -> Option<&'h str> {
        let (found, value) = item.split_once(&*self.keys.as_ref()?.separator)?;
        (found.trim_end() == key).then(|| value.trim_start())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;
    use crate::tests::post;

    fn grammar(separators: &str, keys: Option<(&str, &str)>) -> Grammar {
        Grammar {
            place: Place::Header(HeaderName::from_static("x-sig").into()),
            prefix: String::new(),
            prefix_optional: false,
            separators: separators.into(),
            keys: keys.map(|(separator, signature)| Keys {
                separator: separator.into(),
                signature: signature.into(),
            }),
        }
    }

    fn lines(values: &[&str]) -> Delivery {
        let lines: Vec<_> = values.iter().map(|value| ("x-sig", *value)).collect();
        post("", &lines)
    }

    fn texts(found: Result<Vec<Cow<'_, str>>, VerifyError>) -> Vec<String> {
        found.unwrap().into_iter().map(Cow::into_owned).collect()
    }

    #[test]
    fn items_with_other_keys_are_ignored_and_all_signatures_are_read() {
        let stripe = grammar(",", Some(("=", "v1")));
        let header = lines(&["t=12, v1=aa==,v0=zz,v1 = bb,,junk,v10=cc,=v1"]);
        assert_eq!(texts(stripe.signatures(&header)), ["aa==", "bb"]);
        assert_eq!(stripe.field(&header, "t"), Ok(Some("12")));
        assert_eq!(stripe.field(&header, "x"), Ok(None));
        let standard = grammar(" ", Some((",", "v1")));
        let header = lines(&["v1,aa= v1a,zz v1,bb="]);
        assert_eq!(texts(standard.signatures(&header)), ["aa=", "bb="]);
    }

    #[test]
    fn a_header_or_a_field_that_says_two_things_is_refused() {
        let stripe = grammar(",", Some(("=", "v1")));
        let header = HeaderName::from_static("x-sig");
        let twice = VerifyError::HeaderDuplicate { header };
        let found = lines(&["v1=a", "v1=b"]);
        assert_eq!(stripe.signatures(&found), Err(twice.clone()));
        assert_eq!(texts(stripe.signatures(&lines(&["v1=a", "v1=a"]))), ["a"]);
        assert_eq!(stripe.field(&lines(&["t=1,t=2,v1=a"]), "t"), Err(twice));
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

    proptest! {
        #[test]
        fn what_is_written_is_read_again_whatever_stands_beside_it(
            prefix in "[a-z0-9]{0,4}=?",
            separators in "[,; |]{1,3}",
            keys in prop::option::of(("[=:]", "[a-z]{1,3}[0-9]?")),
            signature in "[0-9a-zA-Z+/_-]{1,64}={0,2}",
            time in "[0-9]{1,16}",
            junk in "[a-zA-Z0-9]{0,20}",
        ) {
            let keys = keys.as_ref().map(|(separator, key)| (&**separator, &**key));
            let grammar = Grammar { prefix, ..grammar(&separators, keys) };
            let field = ("time", &*time);
            let next = separators.chars().next().unwrap();
            let value = format!("{junk}{next}{}{next}", grammar.write(Some(field), &signature));
            let delivery = lines(&[&*value]);
            let found = texts(grammar.signatures(&delivery));
            prop_assert!(found.contains(&signature), "{value:?}: {found:?}");
            if keys.is_some() {
                prop_assert_eq!(found.len(), 1);
                prop_assert_eq!(grammar.field(&delivery, "time"), Ok(Some(&*time)));
            }
        }

        #[test]
        fn any_header_gives_few_signatures_and_none_that_is_not_in_it(
            value in "[ -~]{0,200}",
            separators in "[ -~]{0,3}",
            keys in prop::option::of(("[ -~]{1,2}", "[ -~]{1,3}")),
            prefix in "[ -~]{0,3}",
            prefix_optional: bool,
        ) {
            let keys = keys.as_ref().map(|(separator, key)| (&**separator, &**key));
            let grammar = Grammar { prefix, prefix_optional, ..grammar(&separators, keys) };
            let delivery = lines(&[&*value]);
            if let Ok(found) = grammar.signatures(&delivery) {
                prop_assert!((1..=SIGNATURES_MAX).contains(&found.len()));
                prop_assert!(found.iter().all(|one| value.contains(&**one)));
            }
            let _ = grammar.field(&delivery, "t");
        }
    }
}
