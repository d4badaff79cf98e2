//! What a message must have, and what must not stand next to each other in it.

use crate::{
    check::signature::{TimestampPolicy, TimestampSource},
    error::SchemeError,
    scheme::{Function, MessagePart, TimeFormat},
};

/// Checks the parts of a message.
///
/// # Errors
///
/// [`SchemeError`], the first that is found.
pub(super) fn check(
    parts: &[MessagePart],
    timestamp: Option<&TimestampPolicy>,
    body_unsigned: bool,
) -> Result<(), SchemeError> {
    let has_body = parts.iter().any(MessagePart::has_all_of_body);
    match (has_body, body_unsigned) {
        (false, false) => return Err(SchemeError::BodyUnsigned),
        (true, true) => return Err(SchemeError::BodySigned),
        _ => {}
    }
    refuse_form_and_json(parts)?;
    check_delimiters(parts, timestamp)?;
    check_timestamp(parts, timestamp)
}

/// A body is a form or JSON. One that is read as both could be built so that
/// the two readings differ.
fn refuse_form_and_json(parts: &[MessagePart]) -> Result<(), SchemeError> {
    let is_json =
        |part: &&MessagePart| matches!(part, MessagePart::Json(_) | MessagePart::JsonOrEmpty(_));
    let is_form = |part: &MessagePart| part.is_form() || matches!(part, MessagePart::Form(_));
    if !parts.iter().any(is_form) {
        return Ok(());
    }
    match parts.iter().find(is_json) {
        Some(json) => Err(SchemeError::FormAndJson {
            other: json.clone(),
        }),
        None => Ok(()),
    }
}

fn check_timestamp(
    parts: &[MessagePart],
    timestamp: Option<&TimestampPolicy>,
) -> Result<(), SchemeError> {
    let has_timestamp = parts.contains(&MessagePart::Timestamp);
    match (timestamp.map(|policy| &policy.source), has_timestamp) {
        (None, true) => Err(SchemeError::TimestampLocationMissing),
        (
            Some(TimestampSource::Header(_) | TimestampSource::Field(_) | TimestampSource::Form(_)),
            false,
        ) => Err(SchemeError::TimestampUnsigned),
        // A timestamp in the body is signed with the body, if that is.
        (Some(TimestampSource::SignedJson(_)), false)
            if !parts.iter().any(MessagePart::is_whole_body) =>
        {
            Err(SchemeError::TimestampUnsigned)
        }
        _ => Ok(()),
    }
}

/// Refuses two parts of variable length next to each other. Literals delimit,
/// and so does a timestamp that marks where it ends: numbers do, since one that
/// is longer or shorter by a digit is stale, and so do dates with a zone.
fn check_delimiters(
    parts: &[MessagePart],
    timestamp: Option<&TimestampPolicy>,
) -> Result<(), SchemeError> {
    let has_zone = timestamp.is_none_or(|policy| policy.format != TimeFormat::Iso8601Utc);
    let is_variable = |part: &MessagePart| {
        part.is_variable_length() || (!has_zone && *part == MessagePart::Timestamp)
    };
    for pair in parts.windows(2) {
        if let [first, second] = pair
            && is_variable(first)
            && is_variable(second)
            && !is_known(first, second)
        {
            return Err(SchemeError::Undelimited {
                first: first.clone(),
                second: second.clone(),
            });
        }
    }
    Ok(())
}

/// What providers do all the same. Square and Mandrill put the body behind
/// the URL: what is left of that weakness is documented at
/// [`MessagePart::Url`]. Trello puts the URL behind the body: `check/message.rs`
/// refuses what could be moved there.
fn is_known(first: &MessagePart, second: &MessagePart) -> bool {
    matches!(
        (first, second),
        (
            MessagePart::Url | MessagePart::Function(Function::HubspotUrl),
            MessagePart::Body | MessagePart::FormSorted
        ) | (MessagePart::Body, MessagePart::Url)
    )
}
