//! The words of a plugin, as far as they are kept, shown and counted: short, in one line, and nothing that moves a cursor.

use super::AnswerError;

/// Most characters of a text.
const LONGEST_TEXT: usize = 1000;

/// Most characters of an id.
const LONGEST_ID: usize = 200;

/// Most characters of a code.
const LONGEST_CODE: usize = 64;

/// Whether a word is a code: in kebab case, and short enough to be a label of a metric.
#[must_use]
pub fn is_code(word: &str) -> bool {
    word.len() <= LONGEST_CODE
        && word.starts_with(|c: char| c.is_ascii_lowercase())
        && word
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Checks an id of a plugin, named `what`.
///
/// # Errors
/// It is empty, too long, or has characters that an id cannot have.
pub fn check_id(what: &str, id: &str) -> Result<(), AnswerError> {
    let is_fine = (1..=LONGEST_ID).contains(&id.len())
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.:/@+".contains(&b));
    if is_fine {
        return Ok(());
    }
    Err(AnswerError::Text {
        what: what.to_owned(),
        why: format!(
            "must be 1 to {LONGEST_ID} letters, digits and -_.:/@+, and is {:?}",
            id.chars().take(LONGEST_CODE).collect::<String>()
        ),
    })
}

/// Checks a text of a plugin for people, named `what`.
///
/// # Errors
/// It is empty, too long, or has characters that change how a terminal shows what stands around it.
pub fn check_text(what: &str, text: &str) -> Result<(), AnswerError> {
    let why = if text.trim().is_empty() {
        "is empty".to_owned()
    } else if text.chars().nth(LONGEST_TEXT).is_some() {
        format!("has more than {LONGEST_TEXT} characters")
    } else if let Some(bad) = text.chars().find(|c| is_disguise(*c)) {
        format!("has the character {}", bad.escape_unicode())
    } else {
        return Ok(());
    };
    Err(AnswerError::Text {
        what: what.to_owned(),
        why,
    })
}

/// Whether a character is not shown but changes what is: controls, and those that turn the direction of writing around.
fn is_disguise(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
