//! What a message must have, and what must not stand side by side in it.

use crate::{
    error::SchemeError,
    proof::{Clocked, Moment},
    scheme::{Function, MessagePart, TimeFormat},
};

pub(super) fn check(
    parts: &[MessagePart],
    clock: Option<&Clocked>,
    body_unsigned: bool,
) -> Result<(), SchemeError> {
    match (parts.iter().any(has_body), body_unsigned) {
        (false, false) => return Err(SchemeError::BodyUnsigned),
        (true, true) => return Err(SchemeError::BodySigned),
        _ => {}
    }
    // A body is a form or JSON, and one that is read as both could be built
    // to say two things.
    let form = parts.iter().any(is_form);
    let other =
        |part: &&MessagePart| matches!(part, MessagePart::Json(_) | MessagePart::JsonOrEmpty(_));
    if let (true, Some(other)) = (form, parts.iter().find(other)) {
        let other = (*other).clone();
        return Err(SchemeError::FormAndJson { other });
    }
    check_fences(parts, clock)?;
    let has_timestamp = parts.contains(&MessagePart::Timestamp);
    match (clock.map(|clock| &clock.moment), has_timestamp) {
        (None, true) => Err(SchemeError::TimestampLocationMissing),
        (Some(Moment::Header(_) | Moment::Field(_)), false) => Err(SchemeError::TimestampUnsigned),
        // A timestamp in the body is signed with the body, if that is.
        (Some(Moment::SignedJson(_)), false) if !parts.iter().any(has_whole_body) => {
            Err(SchemeError::TimestampUnsigned)
        }
        _ => Ok(()),
    }
}

/// Whether a part needs the URL that the sender was given.
pub(super) fn has_url(part: &MessagePart) -> bool {
    matches!(part, MessagePart::Url | MessagePart::Function(_))
}

fn has_whole_body(part: &MessagePart) -> bool {
    matches!(part, MessagePart::Body | MessagePart::BodySha256)
}

fn is_form(part: &MessagePart) -> bool {
    matches!(
        part,
        MessagePart::FormSorted | MessagePart::Function(Function::Twilio)
    )
}

fn has_body(part: &MessagePart) -> bool {
    has_whole_body(part) || is_form(part)
}

/// Refuses two parts of any text side by side. Literals are fences, and so is
/// a timestamp that says where it ends: numbers do, since one that is longer
/// or shorter by a digit is stale, and so do dates with a zone.
fn check_fences(parts: &[MessagePart], clock: Option<&Clocked>) -> Result<(), SchemeError> {
    let open = clock.is_some_and(|clock| clock.format == TimeFormat::Iso8601Utc);
    let is_variable_length =
        |part: &MessagePart| part.is_variable_length() || (open && *part == MessagePart::Timestamp);
    for pair in parts.windows(2) {
        if let [first, second] = pair
            && is_variable_length(first)
            && is_variable_length(second)
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
/// the URL: what is left of that weakness is said at [`MessagePart::Url`]. Trello
/// puts the URL behind the body: `message` refuses what could be moved there.
fn is_known(first: &MessagePart, second: &MessagePart) -> bool {
    matches!(
        (first, second),
        (
            MessagePart::Url | MessagePart::Function(Function::HubspotUrl),
            MessagePart::Body | MessagePart::FormSorted
        ) | (MessagePart::Body, MessagePart::Url)
    )
}
