//! The wildcard patterns of actions, resources and principals, as IAM reads them.

/// A part of a pattern with wildcards.
#[derive(Debug, Clone, Copy)]
pub(super) enum Token {
    /// This character.
    Literal(char),
    /// One character, but no colon: `?`.
    One,
    /// Any characters, but no colon: `*` within a field.
    InField,
    /// Any characters: `*` at the end of a field, which "can expand to match beyond the colon boundaries" (IAM User Guide,
    /// "IAM JSON policy elements: Resource").
    Any,
}

/// A pattern.
#[derive(Debug)]
pub(super) enum Pattern {
    /// A text without wildcards.
    Literal(String),
    /// One with wildcards.
    Wildcards(Vec<Token>),
}

/// How many fields an ARN has.
const ARN_FIELDS: usize = 6;

/// What every action is: a service and a name.
pub(super) const EVERY_ACTION: [Token; 5] = [
    Token::One,
    Token::InField,
    Token::Literal(':'),
    Token::One,
    Token::InField,
];

/// What every resource and every principal is: some text.
pub(super) const EVERYTHING: [Token; 1] = [Token::Any];

impl Pattern {
    /// An action, in lower case.
    pub(super) fn action(text: &str) -> Self {
        match text {
            "*" => Self::Wildcards(vec![Token::InField, Token::Literal(':'), Token::InField]),
            _ => tokens(text, false, |_| Token::InField),
        }
    }

    /// A resource. With `variables`, whatever a policy variable may stand for is matched too.
    pub(super) fn resource(text: &str, variables: bool) -> Self {
        let mut text = text.to_owned();
        if text.starts_with("arn:") {
            // "AWS automatically completes the ARN by adding wildcard characters (*) to all missing fields" (the same page).
            for _ in fields(&text, variables)..ARN_FIELDS {
                text.push_str(":*");
            }
        }
        tokens(&text, variables, |next| match next {
            None | Some(':') => Token::Any,
            Some(_) => Token::InField,
        })
    }

    /// A principal, its kind before the first colon. `*` is no wildcard unless it stands alone.
    pub(super) fn principal(text: &str) -> Self {
        match text.split_once(':') {
            Some((kind, "*")) => {
                let kind = kind.chars().chain([':']).map(Token::Literal);
                Self::Wildcards(kind.chain([Token::Any]).collect())
            }
            _ => Self::Literal(text.to_owned()),
        }
    }
}

/// How many fields a text has; colons of policy variables do not count.
fn fields(text: &str, variables: bool) -> usize {
    let mut rest = text;
    let mut colons = 0;
    while let Some((plain, variable)) = rest.split_once("${").filter(|_| variables) {
        colons += plain.matches(':').count();
        rest = variable.split_once('}').map_or("", |(_, after)| after);
    }
    colons + rest.matches(':').count() + 1
}

fn tokens(text: &str, variables: bool, star: impl Fn(Option<char>) -> Token) -> Pattern {
    let has_wildcards = text.contains(['*', '?']) || (variables && text.contains("${"));
    if !has_wildcards {
        return Pattern::Literal(text.to_owned());
    }
    let mut tokens = Vec::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '*' => {
                while rest.next_if_eq(&'*').is_some() {}
                tokens.push(star(rest.peek().copied()));
            }
            '?' => tokens.push(Token::One),
            '$' if variables && rest.next_if_eq(&'{').is_some() => {
                let _ = rest.by_ref().find(|c| *c == '}');
                tokens.push(Token::Any);
            }
            c => tokens.push(Token::Literal(c)),
        }
    }
    Pattern::Wildcards(tokens)
}
