//! The token kind: a shared word that is sent along.
//!
//! It proves that the sender knows the word, and nothing of what was sent.
//! Invariant: a token that was proven leaves this room with nobody.

use std::borrow::Cow;

use data_encoding::BASE64;
use http::header::AUTHORIZATION;
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{
    delivery::Delivery, error::VerifyError, explain::Trace, headers, scheme::Names, secret::Secret,
};

/// Where a token is, and the words that are believed.
#[derive(Debug, Clone)]
pub(super) struct TokenProof {
    pub(super) place: Place,
    /// Never empty; any may match.
    pub(super) secrets: Vec<Secret>,
}

/// Where a token is.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Header { names: Names, prefix: String },
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
                    let others = query.split('&').filter(|pair| key(pair) != *name);
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
                let value = header(delivery, names)?;
                let token = value.strip_prefix(&**prefix);
                Ok(token.ok_or(VerifyError::TokenForm)?.as_bytes().into())
            }
            Self::Bearer => Ok(credentials(delivery, "bearer")?.as_bytes().into()),
            Self::Basic => {
                let pair = BASE64.decode(credentials(delivery, "basic")?.as_bytes());
                Ok(pair.map_err(|_| VerifyError::TokenForm)?.into())
            }
            Self::Query(name) => query(delivery, name).map(Cow::Owned),
        }
    }
}

fn header<'d>(delivery: &'d Delivery, names: &Names) -> Result<&'d str, VerifyError> {
    let value = headers::first(&delivery.headers, names)?;
    value.ok_or_else(|| VerifyError::HeaderMissing {
        header: names.first().clone(),
    })
}

/// What follows the scheme's name, which has no case (RFC 9110 section 11.1).
fn credentials<'d>(delivery: &'d Delivery, scheme: &str) -> Result<&'d str, VerifyError> {
    let value = header(delivery, &AUTHORIZATION.into())?;
    match value.split_once(' ') {
        Some((name, rest)) if name.eq_ignore_ascii_case(scheme) => Ok(rest.trim_start()),
        _ => Err(VerifyError::TokenForm),
    }
}

fn query(delivery: &Delivery, name: &str) -> Result<Vec<u8>, VerifyError> {
    let (_, query) = delivery.path_and_query.split_once('?').unwrap_or_default();
    let mut values = query
        .split('&')
        .filter(|pair| key(pair) == name)
        .map(|pair| unescape(pair.split_once('=').unwrap_or_default().1));
    let value = values.next().ok_or(VerifyError::QueryMissing)?;
    if values.any(|other| other != value) {
        return Err(VerifyError::TokenForm);
    }
    Ok(value)
}

fn key(pair: &str) -> String {
    let key = pair.split_once('=').map_or(pair, |(key, _)| key);
    String::from_utf8_lossy(&unescape(key)).into_owned()
}

/// As forms are written: `+` is a space.
fn unescape(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}

/// Compares hashes, which have one length, so that the time tells nothing of
/// the secret's length either.
fn same(secret: &Secret, token: &[u8]) -> bool {
    let (secret, token) = (Sha256::digest(secret.expose()), Sha256::digest(token));
    secret.as_slice().ct_eq(token.as_slice()).into()
}
