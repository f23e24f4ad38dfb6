//! What was shared and received, and is over.

use rusqlite::{Row, params};

use super::Store;
use super::columns::{integer, unsigned};
use crate::api::{Direction, HistoryEntry, Outcome, Problem};

/// Entries that are kept: the latest.
const MAX_ENTRIES: i64 = 1000;
/// Names that are kept of one entry.
const MAX_PEOPLE: usize = 100;

const DIRECTIONS: [(Direction, &str); 2] = [
    (Direction::Shared, "shared"),
    (Direction::Received, "received"),
];
const OUTCOMES: [(Outcome, &str); 4] = [
    (Outcome::Complete, "complete"),
    (Outcome::Stopped, "stopped"),
    (Outcome::Delivered, "delivered"),
    (Outcome::Cancelled, "cancelled"),
];

impl Store {
    /// At most `limit` entries, the latest first.
    pub(crate) fn history(&self, limit: u32) -> Result<Vec<HistoryEntry>, Problem> {
        self.rows(
            "SELECT id, name, direction, outcome, people, files, bytes, at
             FROM history ORDER BY number DESC LIMIT ?1",
            [limit],
            parse_entry,
        )
    }

    /// Adds an entry; the oldest are forgotten when there are too many.
    pub(crate) fn add_history(&self, entry: &HistoryEntry) -> Result<(), Problem> {
        let people = &entry.people[..entry.people.len().min(MAX_PEOPLE)];
        let people =
            serde_json::to_string(people).map_err(|e| Problem::state("keep its history", e))?;
        self.change(|connection| {
            connection.execute(
                "INSERT INTO history (id, name, direction, outcome, people, files, bytes, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    entry.id,
                    entry.name,
                    word(&DIRECTIONS, entry.direction),
                    word(&OUTCOMES, entry.outcome),
                    people,
                    entry.files,
                    integer(entry.bytes),
                    integer(entry.at),
                ],
            )?;
            connection.execute(
                "DELETE FROM history WHERE number NOT IN
                 (SELECT number FROM history ORDER BY number DESC LIMIT ?1)",
                [MAX_ENTRIES],
            )?;
            Ok(())
        })
    }

    pub(crate) fn clear_history(&self) -> Result<(), Problem> {
        self.change(|connection| connection.execute("DELETE FROM history", []).map(drop))
    }
}

fn word<T: PartialEq>(words: &[(T, &'static str)], value: T) -> Option<&'static str> {
    let found = words.iter().find(|(known, _)| *known == value);
    found.map(|(_, word)| *word)
}

fn meant<T: Copy>(words: &[(T, &'static str)], word: &str) -> Option<T> {
    let found = words.iter().find(|(_, known)| *known == word);
    found.map(|(value, _)| *value)
}

fn parse_entry(row: &Row<'_>) -> Option<HistoryEntry> {
    let mut people: Vec<String> = serde_json::from_str(&row.get::<_, String>(4).ok()?).ok()?;
    people.truncate(MAX_PEOPLE);
    Some(HistoryEntry {
        id: row.get(0).ok()?,
        name: row.get(1).ok()?,
        direction: meant(&DIRECTIONS, &row.get::<_, String>(2).ok()?)?,
        outcome: meant(&OUTCOMES, &row.get::<_, String>(3).ok()?)?,
        people,
        files: row.get(5).ok()?,
        bytes: unsigned(row, 6)?,
        at: unsigned(row, 7)?,
    })
}
