//! People met for each share, and where they took knocks: so that its members
//! can be found again when whoever shared it is gone.

use std::net::SocketAddr;

use passalong_proto::keys::DeviceId;
use passalong_proto::knock::DeviceName;
use rusqlite::{Row, params};

use super::Store;
use super::columns::{integer, unsigned};
use crate::api::{DeviceView, Problem};
use crate::engine::unix_millis;

/// People remembered for one share: those met last.
const MAX_PEOPLE: i64 = 64;
/// Addresses remembered of one of them.
const MAX_ADDRESSES: usize = 8;

/// A member of a share, as kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StoredPerson {
    pub(crate) device: DeviceId,
    pub(crate) name: DeviceName,
    /// When they were met last, Unix milliseconds.
    pub(crate) met_at: u64,
    /// Where they took knocks, best first; eight at most are kept.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Whether they showed that the share is theirs.
    pub(crate) sharer: bool,
}

impl Store {
    /// The people of a share, those met last first.
    pub(crate) fn people(&self, id: &str) -> Result<Vec<StoredPerson>, Problem> {
        self.rows(
            "SELECT device, name, met_at, addresses, sharer FROM person
             WHERE share = ?1 ORDER BY met_at DESC, device LIMIT ?2",
            params![id, MAX_PEOPLE],
            parse_person,
        )
    }

    /// Adds these people to those of a share, or puts what is new of them; a name is
    /// kept where none is known now. The ones met longest ago are forgotten when there are too many.
    pub(crate) fn remember_people(&self, id: &str, people: &[StoredPerson]) -> Result<(), Problem> {
        self.change(|connection| {
            let mut insert = connection.prepare_cached(
                "INSERT INTO person (share, device, name, addresses, met_at, sharer)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT (share, device) DO UPDATE SET
                 name = CASE excluded.name WHEN ?7 THEN name ELSE excluded.name END,
                 addresses = excluded.addresses, met_at = excluded.met_at,
                 sharer = max(sharer, excluded.sharer)",
            )?;
            // Whoever is known by hearsay alone has no name of their own.
            let nobody = DeviceName::new("");
            for person in people {
                let addresses: Vec<String> = person
                    .addresses
                    .iter()
                    .take(MAX_ADDRESSES)
                    .map(ToString::to_string)
                    .collect();
                insert.execute(params![
                    id,
                    person.device.0,
                    person.name.as_str(),
                    addresses.join(","),
                    integer(person.met_at),
                    person.sharer,
                    nobody.as_str(),
                ])?;
            }
            connection
                .prepare_cached(
                    "DELETE FROM person WHERE share = ?1 AND device NOT IN
                     (SELECT device FROM person WHERE share = ?1
                      ORDER BY met_at DESC, device LIMIT ?2)",
                )?
                .execute(params![id, MAX_PEOPLE])
                .map(drop)
        })
    }
}

fn parse_person(row: &Row<'_>) -> Option<StoredPerson> {
    let addresses: String = row.get(3).ok()?;
    let addresses = addresses.split(',').filter(|text| !text.is_empty());
    Some(StoredPerson {
        device: DeviceId(row.get(0).ok()?),
        name: DeviceName::new(&row.get::<_, String>(1).ok()?),
        met_at: unsigned(row, 2)?,
        addresses: addresses
            .take(MAX_ADDRESSES)
            .map(|address| address.parse().ok())
            .collect::<Option<_>>()?,
        sharer: row.get(4).ok()?,
    })
}

/// A member of a share as its swarm knows them: device, name, where they take knocks.
pub(crate) type Acquaintance = (DeviceId, DeviceName, Vec<SocketAddr>);

/// Remembers whom a share's swarm knows now, and who of them made the share if that is
/// known. What cannot be kept is only missed after the next start.
pub(crate) fn keep_people(
    store: &Store,
    id: &str,
    known: Vec<Acquaintance>,
    sharer: Option<DeviceId>,
) {
    let met_at = unix_millis();
    let people: Vec<StoredPerson> = known
        .into_iter()
        .map(|(device, name, addresses)| StoredPerson {
            device,
            name,
            met_at,
            addresses,
            sharer: sharer == Some(device),
        })
        .collect();
    if !people.is_empty()
        && let Err(problem) = store.remember_people(id, &people)
    {
        tracing::warn!(problem.message, "people could not be kept");
    }
}

/// Whom a share came from in an earlier run: who made it if they were met, else whoever
/// was met last.
pub(crate) fn came_from(store: &Store, id: &str) -> Option<DeviceView> {
    let people = store.people(id).unwrap_or_default();
    let sharer = people.iter().find(|person| person.sharer);
    let person = sharer.or(people.first())?;
    Some(DeviceView {
        id: person.device.short(),
        name: person.name.as_str().to_owned(),
    })
}

/// Whoever is remembered of a share, as its swarm takes them; nobody if that
/// cannot be read.
pub(crate) fn remembered(store: &Store, id: &str) -> Vec<Acquaintance> {
    let people = store.people(id).unwrap_or_default().into_iter();
    people
        .map(|person| (person.device, person.name, person.addresses))
        .collect()
}
