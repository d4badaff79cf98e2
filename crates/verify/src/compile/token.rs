//! Tokens: where they are, and which ones are accepted.

use hookrill_core::Secret;

use super::check_secrets;
use crate::{
    check::token::{TokenCheck, TokenLocation},
    error::SchemeError,
    scheme::{Authorization, Scheme, SchemeKind, Token},
};

/// Compiles a scheme that compares a token.
///
/// # Errors
///
/// [`SchemeError`], the first that is found.
pub(super) fn compile(scheme: Scheme, secrets: Vec<Secret>) -> Result<TokenCheck, SchemeError> {
    let token = scheme.token.ok_or(SchemeError::KeyMissing {
        kind: SchemeKind::Token,
        key: "token",
        example: r#"{ header = "X-Token" }"#,
    })?;
    with_secrets(location(token)?, secrets)
}

/// Compares the token there with these secrets.
///
/// # Errors
///
/// [`SchemeError`], the first that is found.
pub(crate) fn with_secrets(
    location: TokenLocation,
    secrets: Vec<Secret>,
) -> Result<TokenCheck, SchemeError> {
    check_secrets(&secrets)?;
    if matches!(location, TokenLocation::Basic) {
        check_pairs(&secrets)?;
    }
    Ok(TokenCheck::new(location, secrets))
}

/// Refuses what is not a user and a password (RFC 7617, section 2): no delivery could match.
fn check_pairs(secrets: &[Secret]) -> Result<(), SchemeError> {
    let is_pair = |secret: &Secret| secret.expose().contains(&b':');
    match secrets.iter().position(|secret| !is_pair(secret)) {
        Some(index) => Err(SchemeError::SecretNotAPair { index }),
        None => Ok(()),
    }
}

fn location(token: Token) -> Result<TokenLocation, SchemeError> {
    let Token {
        header,
        prefix,
        query,
        authorization,
        json,
    } = token;
    let ambiguous = SchemeError::LocationAmbiguous {
        key: "token",
        choices: "`header` (with `prefix`, if you like), `query`, `authorization` and `json`",
    };
    if !prefix.is_empty() && header.is_none() {
        return Err(ambiguous);
    }
    match (header, query, authorization, json) {
        (Some(names), None, None, None) => Ok(TokenLocation::Header { names, prefix }),
        (None, Some(name), None, None) => Ok(TokenLocation::Query(name)),
        (None, None, Some(Authorization::Bearer), None) => Ok(TokenLocation::Bearer),
        (None, None, Some(Authorization::Basic), None) => Ok(TokenLocation::Basic),
        (None, None, None, Some(pointer)) => Ok(TokenLocation::Json(pointer)),
        _ => Err(ambiguous),
    }
}
