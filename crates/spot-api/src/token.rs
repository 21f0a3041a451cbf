//! Where the Spot API token comes from. It is asked for at every call, so that a rotated token needs no restart.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use onboarding_core::secret::SecretText;

/// The token could not be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TokenError {
    /// The environment variable is not set, or empty.
    #[error(
        "no Spot API token: set {variable}, or name a token file or secret in the configuration"
    )]
    Missing {
        /// The variable.
        variable: String,
    },
    /// The token file cannot be read.
    #[error("cannot read the Spot API token from {path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// What was read is not a token: it is empty, or has characters that a header cannot carry.
    #[error("the Spot API token from {origin} is empty or has characters that no token has")]
    Malformed {
        /// Where it was read.
        origin: String,
    },
    /// Another source (a secret store, say) failed.
    #[error("cannot read the Spot API token from {origin}: {reason}")]
    Source {
        /// The source.
        origin: String,
        /// Why, without the secret.
        reason: String,
    },
}

/// A place that knows the Spot API token.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// The token. Called before every call of the API: keep it in memory when reading it is slow.
    ///
    /// # Errors
    /// When the source has none or cannot be read.
    async fn token(&self) -> Result<SecretText, TokenError>;

    /// Since when the token is the one that was told last, in Unix seconds; none when its place does not say so, or was not
    /// asked yet. Spot has no call that tells anything about a token.
    fn since(&self) -> Option<i64> {
        None
    }

    /// Spot refused the token: a source that keeps it in memory forgets it, so that the next call reads it again.
    async fn refused(&self) {}
}

/// The token in an environment variable, read once.
#[derive(Debug, Clone)]
pub struct EnvToken(SecretText);

impl EnvToken {
    /// The variable that Spot's own tools read, too.
    pub const VARIABLE: &'static str = "SPOTINST_TOKEN";

    /// Reads a variable ([`EnvToken::VARIABLE`], usually).
    ///
    /// # Errors
    /// When it is not set, empty, or not a token.
    pub fn read(variable: &str) -> Result<Self, TokenError> {
        let missing = || TokenError::Missing {
            variable: variable.to_owned(),
        };
        let text = std::env::var(variable).map_err(|_| missing())?;
        if text.trim().is_empty() {
            return Err(missing());
        }
        checked(&text, variable).map(Self)
    }
}

#[async_trait]
impl TokenSource for EnvToken {
    async fn token(&self) -> Result<SecretText, TokenError> {
        Ok(self.0.clone())
    }
}

/// The token in a file (a mounted secret), read at every call.
#[derive(Debug, Clone)]
pub struct FileToken(PathBuf);

impl FileToken {
    /// The file is read later, at each call.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

#[async_trait]
impl TokenSource for FileToken {
    async fn token(&self) -> Result<SecretText, TokenError> {
        let text = tokio::fs::read_to_string(&self.0)
            .await
            .map_err(|error| TokenError::File {
                path: self.0.clone(),
                reason: error.to_string(),
            })?;
        checked(&text, &self.0.display().to_string())
    }
}

/// A token as given, for callers that have it in hand.
#[async_trait]
impl TokenSource for SecretText {
    async fn token(&self) -> Result<SecretText, TokenError> {
        Ok(self.clone())
    }
}

/// Refuses what could not be sent, without showing it.
pub(crate) fn checked(text: &str, origin: &str) -> Result<SecretText, TokenError> {
    let secret = SecretText::new(text);
    let fits = !secret.is_empty() && secret.expose().bytes().all(|b| b.is_ascii_graphic());
    fits.then_some(secret).ok_or_else(|| TokenError::Malformed {
        origin: origin.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_file_is_read_again_at_every_call() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "first\n").unwrap();
        let source = FileToken::new(file.path());
        assert_eq!(source.token().await.unwrap().expose(), "first");
        std::fs::write(file.path(), "second\n").unwrap();
        assert_eq!(source.token().await.unwrap().expose(), "second");
    }

    #[tokio::test]
    async fn a_malformed_token_is_refused_without_being_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for bad in ["", " \n", "two words", "lïne", "a\nb"] {
            std::fs::write(file.path(), bad).unwrap();
            let error = FileToken::new(file.path()).token().await.unwrap_err();
            assert!(matches!(error, TokenError::Malformed { .. }), "{bad:?}");
            assert!(!error.to_string().contains("two words"));
        }
        let gone = FileToken::new(Path::new("/nonexistent/token"));
        assert!(matches!(gone.token().await, Err(TokenError::File { .. })));
    }

    #[test]
    fn a_missing_variable_says_what_to_set() {
        let error = EnvToken::read("ONBOARDING_NO_SUCH_VARIABLE").unwrap_err();
        assert!(
            error
                .to_string()
                .contains("set ONBOARDING_NO_SUCH_VARIABLE")
        );
    }
}
