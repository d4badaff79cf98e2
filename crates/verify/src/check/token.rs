//! Verifies a token: a shared secret that is sent along.
//!
//! It verifies that the sender knows the secret, and nothing of what was sent.
//! Invariants: there is at least one secret; no caller sees the token of a
//! delivery that was verified.

use std::{borrow::Cow, mem};

use bytes::Bytes;
use data_encoding::BASE64;
use hookrill_core::{Pointer, Secret};
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{form, headers, lookup::required_json};
use crate::{delivery::Delivery, error::VerifyError, scheme::HeaderNames, trace::Trace};

/// Where a token is, and which ones are accepted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TokenCheck {
    location: TokenLocation,
    secrets: Vec<Secret>,
}

/// Where a token is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum TokenLocation {
    Header {
        names: HeaderNames,
        prefix: String,
    },
    Query(String),
    Bearer,
    Basic,
    /// A string in the JSON body.
    Json(Pointer),
}

impl TokenCheck {
    pub(crate) fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// Any of `secrets` may match, and the first one is sent.
    ///
    /// # Panics
    ///
    /// Where there is no secret.
    pub(crate) fn new(location: TokenLocation, secrets: Vec<Secret>) -> Self {
        assert!(!secrets.is_empty(), "a token is compared with a secret");
        Self { location, secrets }
    }

    /// Where the token is.
    pub(crate) fn location(&self) -> &TokenLocation {
        &self.location
    }

    /// The header that has the token; of several names, the preferred one.
    pub(crate) fn header(&self) -> Option<&HeaderName> {
        match &self.location {
            TokenLocation::Header { names, .. } => Some(names.first()),
            TokenLocation::Bearer | TokenLocation::Basic => Some(&AUTHORIZATION),
            TokenLocation::Query(_) | TokenLocation::Json(_) => None,
        }
    }

    /// The parameter of the query that has the token.
    pub(crate) fn parameter(&self) -> Option<&str> {
        match &self.location {
            TokenLocation::Query(name) => Some(name),
            _ => None,
        }
    }

    /// The secret that is sent.
    pub(crate) fn first_secret(&self) -> &Secret {
        &self.secrets[0]
    }

    /// The same with other secrets, made of these one by one.
    pub(crate) fn map_secrets(&self, change: impl FnMut(&Secret) -> Secret) -> Self {
        Self {
            location: self.location.clone(),
            secrets: self.secrets.iter().map(change).collect(),
        }
    }

    /// Verifies a delivery.
    ///
    /// # Errors
    ///
    /// [`VerifyError`], the first that is found.
    pub(crate) fn verify(&self, delivery: &Delivery, trace: &mut Trace) -> Result<(), VerifyError> {
        trace.begin("token");
        let token = self.location.find(delivery)?;
        trace.passed(|| "found".to_owned());
        trace.begin("secret");
        let matches = |secret: &Secret| constant_time_eq(secret, &token);
        let index = self.secrets.iter().position(matches);
        trace.matched(index.ok_or(VerifyError::Mismatch)?);
        Ok(())
    }

    /// Takes the token out of a delivery that it has verified.
    ///
    /// # Errors
    ///
    /// [`VerifyError::TokenMalformed`] where it can't be taken out: nobody behind this may
    /// see it.
    pub(crate) fn redact(&self, delivery: &mut Delivery) -> Result<CutToken, VerifyError> {
        let mut cut = CutToken::default();
        match &self.location {
            TokenLocation::Header { names, .. } => {
                for name in names.iter() {
                    cut.take_header(delivery, name);
                }
            }
            TokenLocation::Bearer | TokenLocation::Basic => {
                cut.take_header(delivery, &AUTHORIZATION);
            }
            TokenLocation::Json(pointer) => {
                let emptied = pointer.emptied(&delivery.body);
                let emptied = emptied.ok_or(VerifyError::TokenMalformed)?.into();
                cut.body = Some(mem::replace(&mut delivery.body, emptied));
            }
            TokenLocation::Query(name) => {
                let others = without_parameter(&delivery.path_and_query, name);
                cut.path_and_query = Some(mem::replace(&mut delivery.path_and_query, others));
            }
        }
        debug_assert!(
            self.location
                .find(delivery)
                .is_ok_and(|token| token.is_empty())
                == matches!(self.location, TokenLocation::Json(_)),
            "nobody behind this finds the token"
        );
        Ok(cut)
    }
}

/// What was cut out of a delivery with its token.
#[derive(Default)]
pub(crate) struct CutToken {
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<Bytes>,
    path_and_query: Option<String>,
}

impl CutToken {
    fn take_header(&mut self, delivery: &mut Delivery, name: &HeaderName) {
        let values = delivery.headers.get_all(name).into_iter().cloned();
        self.headers
            .extend(values.map(|value| (name.clone(), value)));
        delivery.headers.remove(name);
    }

    /// Puts it back into a delivery that is refused for another reason, so that whoever
    /// looks at it again finds what came.
    pub(crate) fn put_back(self, delivery: &mut Delivery) {
        for (name, value) in self.headers {
            delivery.headers.append(name, value);
        }
        if let Some(body) = self.body {
            delivery.body = body;
        }
        if let Some(path_and_query) = self.path_and_query {
            delivery.path_and_query = path_and_query;
        }
    }
}

impl TokenLocation {
    fn find<'d>(&self, delivery: &'d Delivery) -> Result<Cow<'d, [u8]>, VerifyError> {
        match self {
            Self::Header { names, prefix } => {
                let value = headers::required(&delivery.headers, names)?;
                let token = value.strip_prefix(&**prefix);
                Ok(token.ok_or(VerifyError::TokenMalformed)?.as_bytes().into())
            }
            Self::Bearer => Ok(credentials(delivery, "bearer")?.as_bytes().into()),
            Self::Basic => {
                let pair = BASE64.decode(credentials(delivery, "basic")?.as_bytes());
                Ok(pair.map_err(|_| VerifyError::TokenMalformed)?.into())
            }
            Self::Query(name) => parameter(delivery, name).map(Cow::Owned),
            Self::Json(pointer) => {
                let text = required_json(pointer, &delivery.body)?;
                Ok(text.into_bytes().into())
            }
        }
    }
}

/// What follows the name of the authentication scheme, which is compared
/// without case (RFC 9110 section 11.1).
fn credentials<'d>(delivery: &'d Delivery, scheme: &str) -> Result<&'d str, VerifyError> {
    let value = headers::required(&delivery.headers, &AUTHORIZATION.into())?;
    match value.split_once(' ') {
        Some((name, rest)) if name.eq_ignore_ascii_case(scheme) => Ok(rest.trim_start()),
        _ => Err(VerifyError::TokenMalformed),
    }
}

/// The decoded value of a query parameter.
fn parameter(delivery: &Delivery, name: &str) -> Result<Vec<u8>, VerifyError> {
    let mut values = form::fields(form::query(&delivery.path_and_query))
        .filter(|(key, _)| form::decode(key) == name.as_bytes())
        .map(|(_, value)| form::decode(value));
    let value = values.next().ok_or(VerifyError::QueryMissing)?;
    if values.any(|other| other != value) {
        return Err(VerifyError::TokenMalformed);
    }
    Ok(value)
}

/// A request target without the parameters of this name.
fn without_parameter(path_and_query: &str, name: &str) -> String {
    let Some((path, query)) = path_and_query.split_once('?') else {
        return path_and_query.to_owned();
    };
    let others = query.split('&').filter(|pair| {
        let key = pair.split_once('=').map_or(*pair, |(key, _)| key);
        form::decode(key) != name.as_bytes()
    });
    let others = others.collect::<Vec<_>>().join("&");
    if others.is_empty() {
        return path.to_owned();
    }
    format!("{path}?{others}")
}

/// Compares hashes, which have one length, so that the time it takes says
/// nothing of the secret's length either.
pub(crate) fn constant_time_eq(secret: &Secret, token: &[u8]) -> bool {
    let (secret_hash, token_hash) = (Sha256::digest(secret.expose()), Sha256::digest(token));
    secret_hash.as_slice().ct_eq(token_hash.as_slice()).into()
}
