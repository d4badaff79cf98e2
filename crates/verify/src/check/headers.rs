//! Header lines, read so that no two readers can disagree.
//!
//! Only those that a scheme names are read, and only they have to be ASCII: what else
//! a proxy adds, such as a city's name in UTF-8, is no part of a verification.

use http::{HeaderMap, HeaderName};

use crate::{error::VerifyError, scheme::HeaderNames};

/// The value of the first of `names` that is there and not empty; an empty one where
/// all that are there are.
///
/// # Errors
///
/// Those of [`only`].
pub(super) fn first<'h>(
    headers: &'h HeaderMap,
    names: &HeaderNames,
) -> Result<Option<&'h str>, VerifyError> {
    let mut empty = None;
    for name in names.iter() {
        match only(headers, name)? {
            Some("") => empty = Some(""),
            Some(value) => return Ok(Some(value)),
            None => {}
        }
    }
    Ok(empty)
}

/// The value of the first of `names` that is there, where one must be.
///
/// # Errors
///
/// [`VerifyError::HeaderMissing`], and those of [`only`].
pub(super) fn required<'h>(
    headers: &'h HeaderMap,
    names: &HeaderNames,
) -> Result<&'h str, VerifyError> {
    first(headers, names)?.ok_or_else(|| VerifyError::HeaderMissing {
        header: names.first().clone(),
    })
}

/// The one value of a header; of several lines, all must have the same.
///
/// # Errors
///
/// [`VerifyError::HeaderDuplicate`], [`VerifyError::HeaderNotAscii`].
pub(super) fn only<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'h str>, VerifyError> {
    let mut lines = headers.get_all(name).iter();
    let Some(value) = lines.next() else {
        return Ok(None);
    };
    if lines.any(|other| other != value) {
        return Err(VerifyError::HeaderDuplicate {
            header: name.clone(),
        });
    }
    let text = value.to_str().map_err(|_| VerifyError::HeaderNotAscii {
        header: name.clone(),
    })?;
    Ok(Some(text))
}
