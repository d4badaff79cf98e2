//! What a message must have, and what must not stand side by side in it.

use crate::{
    error::SchemeError,
    proof::{Clocked, Moment},
    scheme::{Function, Part, TimeFormat},
};

pub(super) fn check(
    parts: &[Part],
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
    let other = |part: &&Part| matches!(part, Part::Json(_) | Part::JsonOrEmpty(_));
    if let (true, Some(other)) = (form, parts.iter().find(other)) {
        let other = other.to_string();
        return Err(SchemeError::FormMixed { other });
    }
    check_fences(parts, clock)?;
    let has_timestamp = parts.contains(&Part::Timestamp);
    match (clock.map(|clock| &clock.moment), has_timestamp) {
        (None, true) => Err(SchemeError::TimestampUnplaced),
        (Some(Moment::Header(_) | Moment::Field(_)), false) => Err(SchemeError::TimestampUnsigned),
        // A timestamp in the body is signed with the body, if that is.
        (Some(Moment::SignedJson(_)), false) if !parts.iter().any(has_whole_body) => {
            Err(SchemeError::TimestampUnsigned)
        }
        _ => Ok(()),
    }
}

/// Whether a part needs the URL that the sender was given.
pub(super) fn has_url(part: &Part) -> bool {
    matches!(part, Part::Url | Part::Function(_))
}

fn has_whole_body(part: &Part) -> bool {
    matches!(part, Part::Body | Part::BodySha256)
}

fn is_form(part: &Part) -> bool {
    matches!(part, Part::FormSorted | Part::Function(Function::Twilio))
}

fn has_body(part: &Part) -> bool {
    has_whole_body(part) || is_form(part)
}

/// Refuses two parts of any text side by side. Literals are fences, and so is
/// a timestamp that says where it ends: numbers do, since one that is longer
/// or shorter by a digit is stale, and so do dates with a zone.
fn check_fences(parts: &[Part], clock: Option<&Clocked>) -> Result<(), SchemeError> {
    let open = clock.is_some_and(|clock| clock.format == TimeFormat::Iso8601Utc);
    let is_free = |part: &Part| part.is_free() || (open && *part == Part::Timestamp);
    for pair in parts.windows(2) {
        if let [first, second] = pair
            && is_free(first)
            && is_free(second)
            && !is_known(first, second)
        {
            return Err(SchemeError::Unfenced {
                first: first.to_string(),
                second: second.to_string(),
            });
        }
    }
    Ok(())
}

/// What providers do all the same. Square and Mandrill put the body behind
/// the URL: what is left of that weakness is said at [`Part::Url`]. Trello
/// puts the URL behind the body: `message` refuses what could be moved there.
fn is_known(first: &Part, second: &Part) -> bool {
    matches!(
        (first, second),
        (
            Part::Url | Part::Function(Function::HubspotUrl),
            Part::Body | Part::FormSorted
        ) | (Part::Body, Part::Url)
    )
}
