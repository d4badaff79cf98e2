//! Texts of a delivery, by where a scheme says they are.

use std::borrow::Cow;

use hookrill_core::Pointer;

use super::{form, headers};
use crate::{delivery::Delivery, error::VerifyError, scheme::Source};

impl Source {
    /// The text at this place.
    ///
    /// # Errors
    ///
    /// [`VerifyError::HeaderDuplicate`], [`VerifyError::HeaderNotAscii`].
    pub(crate) fn find<'d>(
        &self,
        delivery: &'d Delivery,
    ) -> Result<Option<Cow<'d, str>>, VerifyError> {
        Ok(match self {
            Self::Header(names) => headers::first(&delivery.headers, names)?.map(Cow::Borrowed),
            Self::Json(pointer) => pointer.find(delivery.json()).map(Cow::Owned),
            Self::Query(name) => {
                form::value(form::query(&delivery.path_and_query), name).map(Cow::Owned)
            }
            Self::Form(name) => form::field(&delivery.body, name).map(Cow::Owned),
        })
    }
}

/// The string or whole number in a JSON body, where one must be.
///
/// # Errors
///
/// [`VerifyError::JsonMissing`].
pub(super) fn required_json(pointer: &Pointer, body: &[u8]) -> Result<String, VerifyError> {
    pointer.find(body).ok_or_else(|| VerifyError::JsonMissing {
        pointer: pointer.clone(),
    })
}
