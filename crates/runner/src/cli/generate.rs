//! `runner gen`: writes the generated reference pages and JSON Schemas, for `cargo xtask gen`.

use std::path::PathBuf;

use super::Failure;

/// Write the generated reference pages and JSON Schemas.
#[derive(Debug, clap::Args)]
pub struct Generate {
    /// The root of the tree that `docs/reference` and `schemas` are written under.
    directory: PathBuf,
}

impl Generate {
    pub(super) fn run(self) -> Result<u8, Failure> {
        crate::config::reference::write_all(&self.directory).map_err(|error| {
            Failure::Failed(format!(
                "writing below {} failed: {error}",
                self.directory.display()
            ))
        })?;
        Ok(0)
    }
}
