//! Header lines, read so that no two readers can disagree.

use http::{HeaderMap, HeaderName};

use crate::{error::VerifyError, scheme::HeaderNames};

/// Refuses a delivery that has a header with bytes outside ASCII.
///
/// # Errors
///
/// [`VerifyError::HeaderNotAscii`].
pub(crate) fn require_ascii(headers: &HeaderMap) -> Result<(), VerifyError> {
    match headers.iter().find(|(_, value)| value.to_str().is_err()) {
        Some((header, _)) => Err(VerifyError::HeaderNotAscii {
            header: header.clone(),
        }),
        None => Ok(()),
    }
}

/// The value of the first of `names` that is there.
///
/// # Errors
///
/// Those of [`only`].
pub(super) fn first<'h>(
    headers: &'h HeaderMap,
    names: &HeaderNames,
) -> Result<Option<&'h str>, VerifyError> {
    for name in names.iter() {
        if let Some(value) = only(headers, name)? {
            return Ok(Some(value));
        }
    }
    Ok(None)
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
