//! Where a token is, checked.

use hookrill_core::Secret;

use super::check_secrets;
use crate::{
    error::SchemeError,
    scheme::{Authorization, Scheme, SchemeKind, Token},
    token::{Place, TokenProof},
};

pub(super) fn proof(scheme: Scheme, secrets: Vec<Secret>) -> Result<TokenProof, SchemeError> {
    let token = scheme.token.ok_or(SchemeError::KeyMissing {
        kind: SchemeKind::Token,
        key: "token",
        example: r#"{ header = "X-Token" }"#,
    })?;
    let place = place(token)?;
    check_secrets(&secrets)?;
    Ok(TokenProof { place, secrets })
}

fn place(token: Token) -> Result<Place, SchemeError> {
    let Token {
        header,
        prefix,
        query,
        authorization,
    } = token;
    match (header, query, authorization) {
        (Some(names), None, None) => Ok(Place::Header { names, prefix }),
        (None, Some(name), None) if prefix.is_empty() => Ok(Place::Query(name)),
        (None, None, Some(Authorization::Bearer)) if prefix.is_empty() => Ok(Place::Bearer),
        (None, None, Some(Authorization::Basic)) if prefix.is_empty() => Ok(Place::Basic),
        _ => Err(SchemeError::LocationAmbiguous {
            key: "token",
            choices: "`header` (with `prefix`, if you like), `query` and `authorization`",
        }),
    }
}
