//! One document over several managed policies, by statement.
//!
//! Statements go, in their order, into the first piece that still has room. So the same document always makes the
//! same pieces, and a statement added at the end changes one piece, or starts a new one: no other piece is touched.

use super::{PolicyDocument, PolicyError, Statement};

impl PolicyDocument {
    /// Divides the document into pieces of at most `limit` characters, white space not counted. A document that fits
    /// is its own only piece. Statements are never cut, and keep their order within a piece; which piece grants an
    /// action makes no difference to IAM.
    ///
    /// # Errors
    /// [`PolicyError::StatementTooLong`] when one statement alone is longer than the limit.
    pub fn split(&self, limit: usize) -> Result<Vec<Self>, PolicyError> {
        if self.size() <= limit {
            return Ok(vec![self.clone()]);
        }
        let frame = self.with_statements(Vec::new()).size();
        let mut pieces: Vec<(usize, Vec<Statement>)> = Vec::new();
        for (index, statement) in self.statements().iter().enumerate() {
            let alone = self.with_statements(vec![statement.clone()]).size();
            if alone > limit {
                return Err(PolicyError::StatementTooLong {
                    position: index + 1,
                    sid: statement.sid().map(str::to_owned),
                    size: alone,
                    limit,
                });
            }
            let added = alone - frame + 1; // The comma before it.
            match pieces.iter_mut().find(|(size, _)| size + added <= limit) {
                Some((size, statements)) => {
                    *size += added;
                    statements.push(statement.clone());
                }
                None => pieces.push((alone, vec![statement.clone()])),
            }
        }
        Ok(pieces
            .into_iter()
            .map(|(_, statements)| self.with_statements(statements))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn statement(number: usize, actions: usize) -> Value {
        let actions: Vec<String> = (0..actions)
            .map(|i| format!("s{number}:Action{i}"))
            .collect();
        json!({"Sid": format!("S{number}"), "Effect": "Allow", "Action": actions, "Resource": "*"})
    }

    fn document(actions: &[usize]) -> PolicyDocument {
        let statements: Vec<Value> = actions
            .iter()
            .enumerate()
            .map(|(n, a)| statement(n, *a))
            .collect();
        PolicyDocument::from_value(json!({"Version": "2012-10-17", "Statement": statements}))
            .unwrap()
    }

    #[test]
    fn a_document_that_fits_exactly_is_not_split() {
        let document = document(&[3, 4]);
        assert_eq!(
            document.split(document.size()).unwrap(),
            vec![document.clone()]
        );
        assert_eq!(document.split(document.size() - 1).unwrap().len(), 2);
    }

    #[test]
    fn only_a_single_statement_that_is_too_long_is_refused() {
        let error = document(&[1, 500]).split(6_144).unwrap_err().to_string();
        assert!(
            error.starts_with("statement 2 (S1) makes a policy of "),
            "{error}"
        );
        assert!(error.contains("6144 fit"), "{error}");
    }

    proptest! {
        #[test]
        fn pieces_hold_every_statement_once_and_fit(actions in prop::collection::vec(1usize..40, 1..30)) {
            let document = document(&actions);
            let pieces = document.split(1_000).unwrap();
            for piece in &pieces {
                prop_assert!(piece.size() <= 1_000, "{}", piece.size());
            }
            let position = |statement: &Statement| document.statements().iter().position(|s| s == statement).unwrap();
            let mut found: Vec<usize> = Vec::new();
            for piece in &pieces {
                let positions: Vec<usize> = piece.statements().iter().map(position).collect();
                prop_assert!(positions.is_sorted());
                found.extend(positions);
            }
            found.sort_unstable();
            prop_assert_eq!(found, (0..actions.len()).collect::<Vec<_>>());
            prop_assert_eq!(document.split(1_000).unwrap(), pieces);
        }

        #[test]
        fn a_statement_added_at_the_end_changes_at_most_one_piece(
            actions in prop::collection::vec(1usize..40, 1..30),
            added in 1usize..40,
        ) {
            let before = document(&actions).split(1_000).unwrap();
            let mut longer = actions.clone();
            longer.push(added);
            let after = document(&longer).split(1_000).unwrap();
            prop_assert!(after.len() == before.len() || after.len() == before.len() + 1);
            let changed = before.iter().zip(&after).filter(|(b, a)| b != a).count();
            prop_assert_eq!(changed, usize::from(after.len() == before.len()));
        }
    }
}
