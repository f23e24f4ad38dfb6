//! Several people after one share.

use passalong_engine::api::{Id, PersonView, Presence};

use crate::Person;

/// How many people are connected.
pub fn connected(people: &[PersonView]) -> usize {
    let here = people.iter().filter(|p| p.presence == Presence::Connected);
    here.count()
}

/// Somebody who has opened an invite and looks at the list.
pub async fn looking(name: &str, link: &str) -> (Person, Id) {
    let person = Person::new(name).await;
    let id = person.look(link).await;
    (person, id)
}
