//! Dividing a document like the one before it: what stays in it stays where it is.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Piece;
use crate::policy::{PolicyDocument, PolicyError, Statement};

/// Divides a document into pieces of at most `limit` characters, in which every statement that `earlier` has is in the piece
/// that has it there. So is one with the same id, and one without that is written about the same actions as one that is
/// gone. Others go where there is room.
pub(super) fn like(
    document: &PolicyDocument,
    earlier: &[Piece],
    limit: usize,
) -> Result<Vec<Piece>, PolicyError> {
    if earlier.is_empty() {
        let pieces = document.split(limit)?;
        return Ok(pieces.into_iter().map(Some).collect());
    }
    let homes = Homes::new(document, earlier);
    let mut pieces: Vec<Vec<Statement>> = vec![Vec::new(); earlier.len()];
    let mut others = Vec::new();
    let size = |statements: &[Statement]| document.with_statements(statements.to_vec()).size();
    for (index, statement) in document.statements().iter().enumerate() {
        let alone = size(std::slice::from_ref(statement));
        if alone > limit {
            return Err(PolicyError::StatementTooLong {
                position: index + 1,
                sid: statement.sid().map(str::to_owned),
                size: alone,
                limit,
            });
        }
        let Some(home) = homes.of(statement) else {
            others.push(statement);
            continue;
        };
        pieces[home].push(statement.clone());
        if size(&pieces[home]) > limit {
            return Err(PolicyError::StatementMoves {
                position: index + 1,
                sid: statement.sid().map(str::to_owned),
                piece: home + 1,
            });
        }
    }
    for statement in others {
        let with = |piece: &Vec<Statement>| {
            let mut with = piece.clone();
            with.push(statement.clone());
            with
        };
        match pieces.iter_mut().find(|piece| size(&with(piece)) <= limit) {
            Some(piece) => piece.push(statement.clone()),
            None => pieces.push(vec![statement.clone()]),
        }
    }
    let pieces = pieces.into_iter();
    Ok(pieces
        .map(|statements| (!statements.is_empty()).then(|| document.with_statements(statements)))
        .collect())
}

/// Where the statements of the earlier division are.
struct Homes<'a> {
    earlier: &'a [Piece],
    /// The actions of statements that are gone, by piece.
    gone: Vec<BTreeSet<String>>,
}

impl<'a> Homes<'a> {
    fn new(document: &PolicyDocument, earlier: &'a [Piece]) -> Self {
        let stays = |statement: &&Statement| {
            document.statements().iter().any(|other| {
                other == *statement || (statement.sid().is_some() && other.sid() == statement.sid())
            })
        };
        let gone = earlier.iter().map(|piece| {
            let statements = piece.iter().flat_map(PolicyDocument::statements);
            let gone = statements.filter(|statement| !stays(statement));
            gone.flat_map(actions).collect()
        });
        Self {
            earlier,
            gone: gone.collect(),
        }
    }

    fn of(&self, statement: &Statement) -> Option<usize> {
        let home = |is_it: &dyn Fn(&Statement) -> bool| {
            let has = |piece: &Piece| {
                let mut statements = piece.iter().flat_map(PolicyDocument::statements);
                statements.any(is_it)
            };
            self.earlier.iter().position(has)
        };
        home(&|other| other == statement)
            .or_else(|| home(&|other| other.sid().is_some() && other.sid() == statement.sid()))
            .or_else(|| {
                let actions: BTreeSet<String> = actions(statement).collect();
                self.gone
                    .iter()
                    .position(|gone| !gone.is_disjoint(&actions))
            })
    }
}

/// What a statement is written about, in lower case.
fn actions(statement: &Statement) -> impl Iterator<Item = String> {
    let elements = ["Action", "NotAction"].into_iter();
    let values = elements.filter_map(|name| statement.elements().get(name));
    let names = values.flat_map(|value| match value {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    });
    let names = names.filter_map(Value::as_str).map(str::to_ascii_lowercase);
    names.collect::<Vec<_>>().into_iter()
}
