//! Template text to a JSON value. JSON is read as JSON; everything else as YAML, where the short forms
//! (`!Ref X`, `!GetAtt A.B`, `!Sub ...`) become the long forms that the evaluator knows.
//!
//! CloudFormation supports YAML 1.1 without aliases, hash merges and the binary, omap, pairs, set and timestamp
//! types (CloudFormation user guide, "Template format").

use granit_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Number, Value};

use super::TemplateError;

/// Deepest nesting that is read; CloudFormation's own parser has a limit of this order.
const MAX_DEPTH: usize = 128;

/// Reads the text of a template.
pub(super) fn parse(text: &str) -> Result<Value, TemplateError> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| {
            TemplateError::format(format_args!(
                "JSON not well-formed. (line {}, column {})",
                error.line(),
                error.column()
            ))
        });
    }
    let mut composer = Composer {
        parser: Parser::new_from_str(text),
    };
    composer.document()
}

struct Composer<'input> {
    parser: Parser<'input, granit_parser::StrInput<'input>>,
}

impl<'input> Composer<'input> {
    fn next(&mut self) -> Result<(Event<'input>, usize, usize), TemplateError> {
        loop {
            return match self.parser.next() {
                Some(Ok((Event::Comment(..), _))) => continue,
                Some(Ok((event, span))) => Ok((event, span.start.line(), span.start.col())),
                Some(Err(error)) => {
                    Err(not_well_formed(error.marker().line(), error.marker().col()))
                }
                None => Ok((Event::StreamEnd, 0, 0)),
            };
        }
    }

    fn document(&mut self) -> Result<Value, TemplateError> {
        loop {
            let (event, line, column) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(..) => {}
                Event::StreamEnd => return Ok(Value::Null),
                event => return self.node(event, line, column, 0),
            }
        }
    }

    fn node(
        &mut self,
        event: Event<'input>,
        line: usize,
        column: usize,
        depth: usize,
    ) -> Result<Value, TemplateError> {
        if depth > MAX_DEPTH {
            return Err(not_well_formed(line, column));
        }
        match event {
            Event::Scalar(text, style, _, tag) => {
                let plain = style == ScalarStyle::Plain;
                match tag.as_deref().and_then(function) {
                    Some(name) => Ok(short_form(&name, Value::String(text.into_owned()))),
                    None if plain && tag.is_none() => Ok(plain_scalar(&text)),
                    None => Ok(Value::String(text.into_owned())),
                }
            }
            Event::SequenceStart(_, _, tag) => {
                let mut items = Vec::new();
                loop {
                    let (event, line, column) = self.next()?;
                    if event == Event::SequenceEnd {
                        break;
                    }
                    items.push(self.node(event, line, column, depth + 1)?);
                }
                Ok(wrap(tag.as_deref(), Value::Array(items)))
            }
            Event::MappingStart(_, _, tag) => {
                let mut map = Map::new();
                loop {
                    let (event, line, column) = self.next()?;
                    let key = match event {
                        Event::MappingEnd => break,
                        Event::Scalar(text, ..) => text.into_owned(),
                        _ => return Err(not_well_formed(line, column)),
                    };
                    let (event, value_line, value_column) = self.next()?;
                    let value = self.node(event, value_line, value_column, depth + 1)?;
                    if key == "<<" || map.insert(key, value).is_some() {
                        return Err(not_well_formed(line, column));
                    }
                }
                Ok(wrap(tag.as_deref(), Value::Object(map)))
            }
            Event::Alias(_) => Err(TemplateError::format(
                "YAML aliases are not allowed in CloudFormation templates",
            )),
            _ => Err(not_well_formed(line, column)),
        }
    }
}

fn not_well_formed(line: usize, column: usize) -> TemplateError {
    TemplateError::format(format_args!(
        "YAML not well-formed. (line {line}, column {column})"
    ))
}

/// The long name of a local tag: `!Ref` and `!Condition` keep their name, every other one gets `Fn::`.
fn function(tag: &Tag) -> Option<String> {
    if tag.original_handle() != "!" || tag.suffix().is_empty() {
        return None;
    }
    Some(match tag.suffix() {
        "Ref" => "Ref".to_owned(),
        "Condition" => "Condition".to_owned(),
        name => format!("Fn::{name}"),
    })
}

fn wrap(tag: Option<&Tag>, value: Value) -> Value {
    match tag.and_then(function) {
        Some(name) => short_form(&name, value),
        None => value,
    }
}

fn short_form(name: &str, argument: Value) -> Value {
    let argument = match (name, &argument) {
        ("Fn::GetAtt", Value::String(text)) => match text.split_once('.') {
            Some((resource, attribute)) => Value::from(vec![resource, attribute]),
            None => argument,
        },
        _ => argument,
    };
    let mut map = Map::new();
    map.insert(name.to_owned(), argument);
    Value::Object(map)
}

/// YAML's core scalars. A number with a leading zero stays text, so that account ids survive.
fn plain_scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let leading_zero = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    if digits.starts_with(|first: char| first.is_ascii_digit()) && !leading_zero {
        if let Ok(integer) = text.parse::<i64>() {
            return Value::Number(integer.into());
        }
        if let Some(number) = text.parse::<f64>().ok().and_then(Number::from_f64) {
            return Value::Number(number);
        }
    }
    Value::String(text.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::parse;

    #[test]
    fn short_forms_become_long_forms() {
        let value = parse(
            "A: !Ref X\nB: !GetAtt R.Arn\nC: !Sub\n  - 'a${V}'\n  - V: !Ref 'AWS::Region'\nD: !If [C, !Ref A, 1]\nE: !Condition Q\n",
        )
        .unwrap();
        assert_eq!(
            value,
            json!({
                "A": {"Ref": "X"},
                "B": {"Fn::GetAtt": ["R", "Arn"]},
                "C": {"Fn::Sub": ["a${V}", {"V": {"Ref": "AWS::Region"}}]},
                "D": {"Fn::If": ["C", {"Ref": "A"}, 1]},
                "E": {"Condition": "Q"},
            })
        );
    }

    #[test]
    fn scalars_keep_their_kind() {
        let value = parse(
            "a: 2012-10-17\nb: '5'\nc: 5\nd: 012345678901\ne: true\nf: 1.5\ng:\nh: ^[a-z]+$\n",
        )
        .unwrap();
        assert_eq!(
            value,
            json!({"a": "2012-10-17", "b": "5", "c": 5, "d": "012345678901", "e": true, "f": 1.5, "g": null, "h": "^[a-z]+$"})
        );
    }

    #[test]
    fn comments_are_no_content() {
        let value = parse("# first\na: # of a\n  - 1 # one\n  # last\nb: 2\n# end\n").unwrap();
        assert_eq!(value, json!({"a": [1], "b": 2}));
    }

    #[test]
    fn malformed_text_says_where() {
        let error = parse("{\"a\": }").unwrap_err().to_string();
        assert_eq!(
            error,
            "Template format error: JSON not well-formed. (line 1, column 7)"
        );
        let error = parse("a: [1\nb: 2").unwrap_err().to_string();
        assert!(
            error.starts_with("Template format error: YAML not well-formed."),
            "{error}"
        );
    }

    #[test]
    fn aliases_and_merges_are_refused() {
        assert!(parse("a: &x 1\nb: *x\n").is_err());
        assert!(parse("a:\n  <<: {b: 1}\n").is_err());
    }
}
