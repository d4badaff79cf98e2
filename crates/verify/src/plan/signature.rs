//! Where signatures and timestamps are, checked.

use std::time::Duration;

use crate::{
    error::SchemeError,
    grammar::{Grammar, Keys, Place},
    proof::{Clocked, Moment},
    scheme::{HeaderNames, Signature, TimestampRule},
};

/// The longest family of headers: DocuSign's.
const NUMBERED_MAX: u16 = 100;

pub(super) fn grammar(signature: Signature) -> Result<Grammar, SchemeError> {
    let texts = [
        &signature.separator,
        &signature.key_separator,
        &signature.key,
    ];
    if texts.iter().any(|text| text.as_deref() == Some("")) {
        return Err(SchemeError::SeparatorEmpty);
    }
    if signature.prefix_optional && signature.prefix.is_empty() {
        return Err(SchemeError::PrefixMissing);
    }
    let keys = match (signature.key_separator, signature.key) {
        (Some(separator), Some(signature)) => Some(Keys {
            separator,
            signature,
        }),
        (None, None) => None,
        _ => return Err(SchemeError::ItemKeyIncomplete),
    };
    let place = match (signature.header, signature.numbered, signature.json) {
        (Some(names), None, None) => Place::Header(names),
        (Some(names), Some(last), None) => Place::Header(family(&names, last)?),
        (None, None, Some(pointer)) => Place::Json(pointer),
        (None, Some(_), _) => return Err(SchemeError::NumberedInvalid),
        _ => {
            return Err(SchemeError::LocationAmbiguous {
                key: "signature",
                choices: "`header` and `json`",
            });
        }
    };
    Ok(Grammar {
        place,
        prefix: signature.prefix,
        prefix_optional: signature.prefix_optional,
        separators: signature.separator.unwrap_or_default(),
        keys,
    })
}

fn family(names: &HeaderNames, last: u16) -> Result<HeaderNames, SchemeError> {
    let fits = names.is_single() && (1..=NUMBERED_MAX).contains(&last);
    let family = fits.then(|| names.numbered(last)).flatten();
    family.ok_or(SchemeError::NumberedInvalid)
}

/// `apart`: whether the message has the timestamp as a part of its own.
pub(super) fn clock(
    rule: TimestampRule,
    grammar: &Grammar,
    tolerance: Option<Duration>,
    apart: bool,
) -> Result<Clocked, SchemeError> {
    let moment = match (rule.header, rule.field, rule.json) {
        (Some(names), None, None) => Moment::Header(names),
        (None, Some(key), None) => Moment::Field(key),
        (None, None, Some(pointer)) if apart => Moment::Json(pointer),
        (None, None, Some(pointer)) => Moment::SignedJson(pointer),
        _ => {
            return Err(SchemeError::LocationAmbiguous {
                key: "timestamp",
                choices: "`header`, `field` and `json`",
            });
        }
    };
    let in_header = matches!(grammar.place, Place::Header(_));
    let keyed = grammar.keys.is_some() && !grammar.separators.is_empty() && in_header;
    if matches!(moment, Moment::Field(_)) && !keyed {
        return Err(SchemeError::ItemKeyIncomplete);
    }
    let tolerance = tolerance.unwrap_or(rule.tolerance);
    if tolerance.is_zero() {
        return Err(SchemeError::ToleranceZero);
    }
    Ok(Clocked {
        moment,
        format: rule.format,
        tolerance,
    })
}
