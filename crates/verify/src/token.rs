//! The token kind: a shared word that is sent along.
//!
//! It proves that the sender knows the word, and nothing of what was sent.
//! Invariant: a token that was proven leaves this room with nobody.

use std::borrow::Cow;

use data_encoding::BASE64;
use hookrill_core::Secret;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{
    delivery::Delivery, error::VerifyError, explain::Trace, form, headers, scheme::HeaderNames,
};

/// Where a token is, and the words that are believed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TokenProof {
    pub(super) place: Place,
    /// Never empty; any may match.
    pub(super) secrets: Vec<Secret>,
}

/// Where a token is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    Header { names: HeaderNames, prefix: String },
    Query(String),
    Bearer,
    Basic,
}

impl TokenProof {
    /// Proves a delivery, or says why not.
    pub(super) fn prove(&self, delivery: &Delivery, trace: &mut Trace) -> Result<(), VerifyError> {
        trace.at("token");
        let token = self.place.find(delivery)?;
        trace.found(|| "there is one".to_owned());
        trace.at("secret");
        let index = self.secrets.iter().position(|secret| same(secret, &token));
        trace.matched(index.ok_or(VerifyError::Mismatch)?);
        Ok(())
    }

    /// Takes the token out of a delivery that it has proven.
    pub(super) fn redact(&self, delivery: &mut Delivery) {
        match &self.place {
            Place::Header { names, .. } => names.iter().for_each(|name| {
                delivery.headers.remove(name);
            }),
            Place::Bearer | Place::Basic => {
                delivery.headers.remove(AUTHORIZATION);
            }
            Place::Query(name) => {
                if let Some((path, query)) = delivery.path_and_query.split_once('?') {
                    let others = query.split('&').filter(|pair| {
                        let key = pair.split_once('=').map_or(*pair, |(key, _)| key);
                        form::unescape(key) != name.as_bytes()
                    });
                    let others = others.collect::<Vec<_>>().join("&");
                    delivery.path_and_query = match &*others {
                        "" => path.to_owned(),
                        others => format!("{path}?{others}"),
                    };
                }
            }
        }
    }
}

impl Place {
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
            Self::Query(name) => query(delivery, name).map(Cow::Owned),
        }
    }
}

/// What follows the scheme's name, which has no case (RFC 9110 section 11.1).
fn credentials<'d>(delivery: &'d Delivery, scheme: &str) -> Result<&'d str, VerifyError> {
    let value = headers::required(&delivery.headers, &AUTHORIZATION.into())?;
    match value.split_once(' ') {
        Some((name, rest)) if name.eq_ignore_ascii_case(scheme) => Ok(rest.trim_start()),
        _ => Err(VerifyError::TokenMalformed),
    }
}

fn query(delivery: &Delivery, name: &str) -> Result<Vec<u8>, VerifyError> {
    let mut values = form::fields(form::query(&delivery.path_and_query))
        .filter(|(key, _)| form::unescape(key) == name.as_bytes())
        .map(|(_, value)| form::unescape(value));
    let value = values.next().ok_or(VerifyError::QueryMissing)?;
    match values.all(|other| other == value) {
        true => Ok(value),
        false => Err(VerifyError::TokenMalformed),
    }
}

/// Compares hashes, which have one length, so that the time tells nothing of
/// the secret's length either.
pub(super) fn same(secret: &Secret, token: &[u8]) -> bool {
    let (secret, token) = (Sha256::digest(secret.expose()), Sha256::digest(token));
    secret.as_slice().ct_eq(token.as_slice()).into()
}
