//! URLs as messages may repeat them.

/// The URL without what may be secret, for errors and `Debug`: user and password,
/// query and fragment.
#[must_use]
pub fn without_secrets(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let mark = rest.find(['?', '#']);
    let (user, host) = match rest.rfind('@') {
        // A password with a mark in it, or a query with an `@`.
        Some(at) if mark.is_some_and(|mark| mark < at) => return format!("{scheme}…"),
        Some(at) => ("…", at),
        None => ("", 0),
    };
    match mark {
        Some(mark) => format!("{scheme}{user}{}…", &rest[host..=mark]),
        None => format!("{scheme}{user}{}", &rest[host..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_repeats_no_user_and_no_query() {
        for (text, shown) in [
            ("https://a:1/b", "https://a:1/b"),
            ("http://user:secret@a/b", "http://…@a/b"),
            ("user:secret@a", "…@a"),
            ("http://user:s@c/ret@a", "http://…@a"),
            ("http://user:secret?@a", "http://…"),
            ("http://a/?token=secret", "http://a/?…"),
            ("http://a#secret", "http://a#…"),
            ("http://a/?to=b@c&token=secret", "http://…"),
            ("", ""),
        ] {
            assert_eq!(without_secrets(text), shown, "{text}");
        }
    }
}
