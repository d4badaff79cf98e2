//! Says in plain words what libraries say of a connection.
//!
//! What they say is for whoever programs with them. Invariant: nothing that came over
//! the connection is repeated.

use std::{error::Error, io};

use rustls::{CertificateError, Error as TlsError};

/// The error with its causes, in words for whoever typed the command: `a: b: c`.
pub(super) fn in_plain_words(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        let (message, is_end) = match of_library(cause) {
            Some(words) => (words.to_owned(), true),
            None => (cause.to_string(), false),
        };
        // Some errors repeat their source.
        if !text.contains(&message) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&message);
        }
        // What a port speaks instead is all there is to say.
        let is_said = is_end || text.contains(" speaks ");
        next = cause.source().filter(|_| !is_said);
    }
    text
}

/// What a library's error means.
fn of_library(error: &(dyn Error + 'static)) -> Option<&'static str> {
    if let Some(http) = error.downcast_ref::<hyper::Error>() {
        return of_http(http);
    }
    let io = error.downcast_ref::<io::Error>()?;
    if io.kind() == io::ErrorKind::ConnectionRefused {
        return Some(
            "Connection refused: is a gateway running there, and are host and port right? \
             `hookrill serve` prints its address",
        );
    }
    let tls = io.get_ref()?.downcast_ref::<TlsError>()?;
    Some(of_tls(tls))
}

fn of_http(error: &hyper::Error) -> Option<&'static str> {
    if error.is_incomplete_message() {
        return Some(
            "it was closed without an answer: is this a gateway's port, and does its URL begin \
             with http:// or with https://?",
        );
    }
    if error.is_parse() || error.is_parse_too_large() {
        return Some("what answers there does not speak HTTP");
    }
    let source = error.source()?.downcast_ref::<io::Error>()?;
    let is_cut = source.kind() == io::ErrorKind::UnexpectedEof;
    is_cut.then_some("it was cut off, as by a gateway that stops")
}

fn of_tls(error: &TlsError) -> &'static str {
    match error {
        TlsError::InvalidMessage(_) => "what answers there does not speak TLS",
        TlsError::InvalidCertificate(why) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet; is the clock of this machine right?"
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "its certificate is for another name than the URL's"
            }
            // A certificate that signed itself is called many things.
            CertificateError::UnknownIssuer | CertificateError::Other(_) => {
                "its certificate is not signed by an authority that browsers trust; is it \
                 self-signed?"
            }
            _ => "its certificate is not valid",
        },
        TlsError::AlertReceived(_) => "it has ended the handshake",
        _ => "the handshake came to no end",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("TLS with a failed")]
    struct Handshake(#[source] io::Error);

    #[test]
    fn what_is_wrong_with_a_certificate_is_said_without_names_of_types() {
        let other = rustls::OtherError(std::sync::Arc::new(io::Error::other("CaUsedAsEndEntity")));
        for (error, expected) in [
            (
                TlsError::InvalidCertificate(CertificateError::UnknownIssuer),
                "TLS with a failed: its certificate is not signed by an authority that browsers \
                 trust; is it self-signed?",
            ),
            (
                TlsError::InvalidCertificate(CertificateError::Other(other)),
                "TLS with a failed: its certificate is not signed by an authority that browsers \
                 trust; is it self-signed?",
            ),
            (
                TlsError::InvalidCertificate(CertificateError::Expired),
                "TLS with a failed: its certificate has expired",
            ),
            (
                TlsError::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
                "TLS with a failed: what answers there does not speak TLS",
            ),
        ] {
            let error = Handshake(io::Error::new(io::ErrorKind::InvalidData, error));
            assert_eq!(in_plain_words(&error), expected);
        }
    }

    #[test]
    fn what_no_library_says_is_told_with_its_causes() {
        let error = Handshake(io::Error::other("it is gone"));
        assert_eq!(in_plain_words(&error), "TLS with a failed: it is gone");
    }
}
