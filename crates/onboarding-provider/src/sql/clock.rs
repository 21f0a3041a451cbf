//! Statements that go by the clock of the database: those of the processes on it differ.

use super::{Backend, Database};

/// A statement with the database's clock in it, in Unix milliseconds, as each database has it.
pub(super) struct Timed {
    pub(super) postgres: &'static str,
    pub(super) sqlite: &'static str,
}

/// The clock in Unix milliseconds.
macro_rules! now {
    (postgres) => {
        "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
    };
    (sqlite) => {
        "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
    };
}

/// A [`Timed`] statement: these texts, with the clock between each two of them.
macro_rules! timed {
    ($first:literal $(, $next:literal)+ $(,)?) => {
        $crate::sql::clock::Timed {
            postgres: concat!($first $(, $crate::sql::clock::now!(postgres), $next)+),
            sqlite: concat!($first $(, $crate::sql::clock::now!(sqlite), $next)+),
        }
    };
}

pub(super) use {now, timed};

impl Database {
    /// The text of a statement for this database.
    pub(super) fn text(&self, statement: &Timed) -> &'static str {
        match self.backend {
            Backend::Postgres => statement.postgres,
            Backend::Sqlite => statement.sqlite,
        }
    }
}
