//! What the tests need and did not bring.

use std::path::{Path, PathBuf};

/// Something that `scripts/test` installs, or that stands beside it, by its path
/// from the project's root.
pub(crate) fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    assert!(
        path.exists(),
        "{} is missing: run scripts/test, which installs what the tests need",
        path.display()
    );
    path
}
