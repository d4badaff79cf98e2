//! stub
/// Key material. Shows nothing of itself, and is wiped when dropped.
#[derive(Clone)]
pub struct Secret(zeroize::Zeroizing<Box<[u8]>>);

impl Secret {
    /// Takes the bytes of a secret as they stand.
    #[must_use]
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self(zeroize::Zeroizing::new(bytes.into()))
    }

    /// The bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
