//! How a signature header is written: items, keys, prefix.
//!
//! Always multi-valued; items with unknown keys are ignored, so that a
//! provider can add a new version next to the one that is read here. Invariant:
//! one delivery gives 1 to [`SIGNATURES_MAX`] signatures, or an error.

use std::borrow::Cow;

use hookrill_core::Pointer;

use super::{form, headers};
use crate::{
    delivery::Delivery,
    error::VerifyError,
    limits::SIGNATURES_MAX,
    scheme::{HeaderNames, Source},
};

/// Where signatures are and how they are written; checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SignatureGrammar {
    pub(crate) location: SignatureLocation,
    pub(crate) prefix: String,
    pub(crate) prefix_optional: bool,
    /// Each character separates items.
    pub(crate) separators: String,
    pub(crate) item_key: Option<ItemKey>,
}

/// Where signatures are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SignatureLocation {
    Header(HeaderNames),
    Json(Pointer),
    /// A field of a form.
    Form(String),
}

/// Which items are signatures, where items have keys.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ItemKey {
    /// What separates an item's key from its value.
    pub(crate) separator: String,
    /// The key of signatures: `v1`.
    pub(crate) signature: String,
}

impl SignatureGrammar {
    /// The signatures as written, in all the places that are there.
    ///
    /// # Errors
    ///
    /// Where there is no such place, no signature in it, too many, or a header
    /// more than once with different values.
    pub(super) fn signatures<'d>(
        &self,
        delivery: &'d Delivery,
    ) -> Result<Vec<Cow<'d, str>>, VerifyError> {
        let values = self.values(delivery)?;
        if values.is_empty() {
            return Err(self.missing());
        }
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
        if found.is_empty() {
            return Err(self.malformed(&values));
        }
        Ok(found)
    }

    /// The value of another field of the same header, such as `t`.
    ///
    /// # Errors
    ///
    /// [`VerifyError::HeaderDuplicate`] where it is given more than once with
    /// different values.
    pub(super) fn field<'d>(
        &self,
        delivery: &'d Delivery,
        key: &str,
    ) -> Result<Option<&'d str>, VerifyError> {
        let SignatureLocation::Header(names) = &self.location else {
            return Ok(None);
        };
        let mut found = None;
        for name in names.iter() {
            let header = headers::only(&delivery.headers, name)?.unwrap_or_default();
            for value in self.items(header).filter_map(|item| self.value(item, key)) {
                if *found.get_or_insert(value) != value {
                    return Err(VerifyError::HeaderDuplicate {
                        header: name.clone(),
                    });
                }
            }
        }
        Ok(found)
    }

    /// A header value that offers `signature`, with a field in front of it.
    pub(crate) fn format(&self, field: Option<(&str, &str)>, signature: &str) -> String {
        let Some(ItemKey {
            separator,
            signature: signature_key,
        }) = &self.item_key
        else {
            return format!("{}{signature}", self.prefix);
        };
        let item = format!("{signature_key}{separator}{}{signature}", self.prefix);
        match (field, self.separators.chars().next()) {
            (Some((key, value)), Some(next)) => format!("{key}{separator}{value}{next}{item}"),
            _ => item,
        }
    }

    fn values<'d>(&self, delivery: &'d Delivery) -> Result<Vec<Cow<'d, str>>, VerifyError> {
        let mut values = Vec::new();
        match &self.location {
            SignatureLocation::Header(names) => {
                for name in names.iter() {
                    let value = headers::only(&delivery.headers, name)?;
                    values.extend(value.map(Cow::Borrowed));
                }
            }
            SignatureLocation::Json(pointer) => {
                values.extend(pointer.find(&delivery.body).map(Cow::Owned));
            }
            SignatureLocation::Form(name) => {
                values.push(form::required(&delivery.body, name)?.into());
            }
        }
        Ok(values)
    }

    fn missing(&self) -> VerifyError {
        match &self.location {
            SignatureLocation::Header(names) => VerifyError::HeaderMissing {
                header: names.first().clone(),
            },
            SignatureLocation::Json(pointer) => VerifyError::JsonMissing {
                pointer: pointer.clone(),
            },
            SignatureLocation::Form(name) => VerifyError::FieldMissing {
                field: name.clone(),
            },
        }
    }

    /// Why there is no signature in these values: is only the prefix missing?
    fn malformed(&self, values: &[Cow<'_, str>]) -> VerifyError {
        let location = match &self.location {
            SignatureLocation::Header(names) => Source::Header(names.first().clone().into()),
            SignatureLocation::Json(pointer) => Source::Json(pointer.clone()),
            SignatureLocation::Form(name) => Source::Form(name.clone()),
        };
        let mut items = values.iter().flat_map(|value| self.items(value));
        if items.any(|item| self.prefixed(item).is_some()) {
            return VerifyError::SignaturePrefixMissing {
                location,
                prefix: self.prefix.clone(),
            };
        }
        VerifyError::SignatureMalformed {
            location,
            form: self.form(),
        }
    }

    /// How a signature begins, for people.
    fn form(&self) -> String {
        self.format(None, "…")
    }

    /// The signatures in one value; at most one more than are accepted.
    fn within<'h>(&self, value: &'h str) -> impl Iterator<Item = &'h str> {
        let items = self.items(value).filter_map(|item| self.signature(item));
        items.take(SIGNATURES_MAX + 1)
    }

    fn items<'h>(&self, value: &'h str) -> impl Iterator<Item = &'h str> {
        value
            // `str::contains` would start a search for a string of one character.
            .split(|c| self.separators.chars().any(|separator| separator == c))
            .map(str::trim)
            .filter(|item| !item.is_empty())
    }

    fn signature<'h>(&self, item: &'h str) -> Option<&'h str> {
        let value = self.prefixed(item)?;
        let bare = value.strip_prefix(&*self.prefix);
        if bare.is_none() && self.prefix_optional {
            return Some(value);
        }
        bare
    }

    /// A signature with the prefix that it should have.
    fn prefixed<'h>(&self, item: &'h str) -> Option<&'h str> {
        match &self.item_key {
            Some(item_key) => self.value(item, &item_key.signature),
            None => Some(item),
        }
    }

    /// The value of an item that has this key.
    fn value<'h>(&self, item: &'h str, key: &str) -> Option<&'h str> {
        let (found, value) = item.split_once(&*self.item_key.as_ref()?.separator)?;
        (found.trim_end() == key).then(|| value.trim_start())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;

    use super::*;
    use crate::tests::post;

    fn grammar(separators: &str, item_key: Option<(&str, &str)>) -> SignatureGrammar {
        SignatureGrammar {
            location: SignatureLocation::Header(HeaderName::from_static("x-sig").into()),
            prefix: String::new(),
            prefix_optional: false,
            separators: separators.into(),
            item_key: item_key.map(|(separator, signature)| ItemKey {
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
        let with_spaces = lines(&["v1,aa= v1a,zz v1,bb="]);
        assert_eq!(texts(standard.signatures(&with_spaces)), ["aa=", "bb="]);
    }

    #[test]
    fn a_header_or_a_field_with_two_values_is_refused() {
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
        fn what_is_formatted_is_found_again_whatever_stands_next_to_it(
            prefix in "[a-z0-9]{0,4}=?",
            separators in "[,; |]{1,3}",
            keys in prop::option::of(("[=:]", "[a-z]{1,3}[0-9]?")),
            signature in "[0-9a-zA-Z+/_-]{1,64}={0,2}",
            time in "[0-9]{1,16}",
            junk in "[a-zA-Z0-9]{0,20}",
        ) {
            let item_key = keys.as_ref().map(|(separator, key)| (&**separator, &**key));
            let grammar = SignatureGrammar { prefix, ..grammar(&separators, item_key) };
            let field = ("time", &*time);
            let next = separators.chars().next().unwrap();
            let value = format!("{junk}{next}{}{next}", grammar.format(Some(field), &signature));
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
            let item_key = keys.as_ref().map(|(separator, key)| (&**separator, &**key));
            let grammar = SignatureGrammar { prefix, prefix_optional, ..grammar(&separators, item_key) };
            let delivery = lines(&[&*value]);
            if let Ok(found) = grammar.signatures(&delivery) {
                prop_assert!((1..=SIGNATURES_MAX).contains(&found.len()));
                prop_assert!(found.iter().all(|one| value.contains(&**one)));
            }
            let _ = grammar.field(&delivery, "t");
        }
    }
}
