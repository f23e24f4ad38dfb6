//! The others in a share, in words: whom it comes from and whom it goes to.

use passalong_engine::api::{PersonState, PersonView};

/// Names that are told one by one; more are counted.
const NAMED: usize = 3;

/// "Ana", "Ana and Ben", "Ana, Ben and Cleo", "Ana, Ben, Cleo and 2 others".
pub(crate) fn together(names: &[&str]) -> String {
    let others;
    let mut named: Vec<&str> = names.iter().copied().take(NAMED).collect();
    match names.len() - named.len() {
        0 => {}
        1 => {
            others = "one other".to_owned();
            named.push(&others);
        }
        more => {
            others = format!("{more} others");
            named.push(&others);
        }
    }
    match named.split_last() {
        None => String::new(),
        Some((only, [])) => (*only).to_owned(),
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
    }
}

/// Names of those whom bytes come from now.
pub(crate) fn sources(people: &[PersonView]) -> Vec<&str> {
    let sending = people.iter().filter(|person| person.from_rate > 0);
    sending.map(|person| person.device.name.as_str()).collect()
}

/// What is under way to the others, all of them together.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sending<'a> {
    /// Names of those who are receiving.
    pub(crate) to: Vec<&'a str>,
    /// Bytes that they hold, of those that they asked for.
    pub(crate) bytes: u64,
    pub(crate) total: u64,
    /// Bytes a second that go to them from here.
    pub(crate) rate: u64,
}

impl Sending<'_> {
    /// What goes to these people from here; those who get it from others only
    /// are left out.
    pub(crate) fn to(people: &[PersonView]) -> Sending<'_> {
        let mut sending = Sending::default();
        let receiving =
            |person: &&PersonView| person.state == PersonState::Receiving && person.route.is_some();
        for person in people.iter().filter(receiving) {
            sending.to.push(&person.device.name);
            sending.bytes = sending.bytes.saturating_add(person.bytes);
            sending.total = sending.total.saturating_add(person.total);
            sending.rate = sending.rate.saturating_add(person.rate);
        }
        sending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_named_and_many_are_counted() {
        assert_eq!(together(&[]), "");
        assert_eq!(together(&["Ana"]), "Ana");
        assert_eq!(together(&["Ana", "Ben"]), "Ana and Ben");
        assert_eq!(together(&["Ana", "Ben", "Cleo"]), "Ana, Ben and Cleo");
        let four = ["Ana", "Ben", "Cleo", "Dan"];
        assert_eq!(together(&four), "Ana, Ben, Cleo and one other");
        let five = ["Ana", "Ben", "Cleo", "Dan", "Eva"];
        assert_eq!(together(&five), "Ana, Ben, Cleo and 2 others");
    }
}
