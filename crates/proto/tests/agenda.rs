//! When the DHT is asked: soon enough for people to meet, and no more than that.
//! All of it in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::Duration;

use passalong_proto::rendezvous::agenda::{
    Agenda, LONGEST_BACK_OFF, LOOK, MemberAgenda, MemberErrand, Outcome, QUIET_AFTER, QUIET_LOOK,
    STILL_AFTER, STILL_LOOK, SeekerAgenda, SeekerErrand,
};
use passalong_proto::rendezvous::rounds::{AT_FULL_PACE, OTHERS, Rounds};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
/// How long an errand takes.
const TAKES: Duration = Duration::from_millis(800);

/// Does what is due until `end`; `outcome` says what comes of it.
fn follow<A: Agenda>(
    agenda: &mut A,
    now: &mut Duration,
    end: Duration,
    mut outcome: impl FnMut(A::Errand, Duration) -> Outcome,
) -> Vec<(Duration, A::Errand)> {
    let mut done = Vec::new();
    while *now < end {
        if let Some(errand) = agenda.next(*now) {
            done.push((*now, errand));
            *now += TAKES;
            agenda.done(errand, outcome(errand, *now), *now);
        } else {
            *now = agenda.wake().map_or(end, |wake| wake.max(*now)).min(end);
        }
    }
    done
}

fn count<E: PartialEq>(done: &[(Duration, E)], errand: E) -> usize {
    done.iter().filter(|(_, each)| *each == errand).count()
}

fn longest_gap<E: PartialEq + Copy>(done: &[(Duration, E)], errand: E) -> Duration {
    let times: Vec<Duration> = done
        .iter()
        .filter(|(_, each)| *each == errand)
        .map(|(at, _)| *at)
        .collect();
    let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
    gaps.max().unwrap_or_default()
}

#[test]
fn a_member_is_there_at_once_and_says_so_every_hour() {
    let mut agenda = MemberAgenda::new(Duration::ZERO, 1);
    let mut now = Duration::ZERO;
    let done = follow(&mut agenda, &mut now, 24 * HOUR, |_, _| Outcome::Done);
    assert_eq!(done[0].1, MemberErrand::Announce);
    assert_eq!(done[1].1, MemberErrand::Collect);
    assert!(done[1].0 < SECOND);
    let announced = count(&done, MemberErrand::Announce);
    assert!((22..=27).contains(&announced), "{announced}");
    // The DHT forgets within two hours.
    assert!(longest_gap(&done, MemberErrand::Announce) < HOUR + 10 * MINUTE);
}

#[test]
fn a_member_looks_often_at_first_and_less_where_nothing_happens() {
    let mut agenda = MemberAgenda::new(Duration::ZERO, 2);
    let mut now = Duration::ZERO;
    for (end, pause) in [
        (QUIET_AFTER, LOOK),
        (STILL_AFTER, QUIET_LOOK),
        (STILL_AFTER + 10 * HOUR, STILL_LOOK),
    ] {
        let begin = now;
        let done = follow(&mut agenda, &mut now, end, |_, _| Outcome::Done);
        let looks = count(&done, MemberErrand::Collect) as f64;
        let expected = (end - begin).as_secs_f64() / (pause + TAKES).as_secs_f64();
        assert!(
            (looks / expected - 1.0).abs() < 0.1,
            "{looks} of {expected}"
        );
        assert!(longest_gap(&done, MemberErrand::Collect) <= pause + pause / 5 + 2 * TAKES);
    }
}

#[test]
fn a_knock_makes_a_quiet_member_look_often_again() {
    let mut agenda = MemberAgenda::new(Duration::ZERO, 3);
    let mut now = Duration::ZERO;
    follow(&mut agenda, &mut now, 5 * HOUR, |_, _| Outcome::Done);
    let mut knocked = false;
    let knock = |errand, _| match errand {
        MemberErrand::Collect if !std::mem::replace(&mut knocked, true) => Outcome::News,
        _ => Outcome::Done,
    };
    let done = follow(&mut agenda, &mut now, 5 * HOUR + 10 * MINUTE, knock);
    assert!(count(&done, MemberErrand::Collect) > 50);
}

#[test]
fn the_members_of_a_swarm_together_look_about_as_often_as_one_alone() {
    let alone = {
        let mut agenda = MemberAgenda::new(Duration::ZERO, 4);
        let done = follow(
            &mut agenda,
            &mut Duration::default(),
            QUIET_AFTER,
            |_, _| Outcome::Done,
        );
        count(&done, MemberErrand::Collect)
    };
    let together: usize = (0..6)
        .map(|seed| {
            let mut agenda = MemberAgenda::new(Duration::ZERO, seed);
            agenda.crowd(Duration::ZERO, 5, true);
            let done = follow(
                &mut agenda,
                &mut Duration::default(),
                QUIET_AFTER,
                |_, _| Outcome::Done,
            );
            count(&done, MemberErrand::Collect)
        })
        .sum();
    assert!(together < alone * 3 / 2, "{together} looks, alone {alone}");
}

#[test]
fn while_people_arrive_a_member_with_many_links_looks_as_often_as_one_with_none() {
    let mut agenda = MemberAgenda::new(Duration::ZERO, 8);
    agenda.crowd(Duration::ZERO, 9, true);
    let mut now = Duration::ZERO;
    let minutes = 5 * MINUTE;
    let done = follow(&mut agenda, &mut now, minutes, |_, now| {
        if now < MINUTE {
            Outcome::News
        } else {
            Outcome::Done
        }
    });
    let looks = |from: Duration, to: Duration| {
        let within = |(at, errand): &&(Duration, MemberErrand)| {
            *errand == MemberErrand::Collect && (from..to).contains(at)
        };
        done.iter().filter(within).count()
    };
    assert!(looks(Duration::ZERO, 2 * MINUTE) >= 10);
    assert!(looks(4 * MINUTE, 5 * MINUTE) <= 2);
}

#[test]
fn who_has_no_room_does_not_look_and_who_loses_somebody_looks_at_once() {
    let mut agenda = MemberAgenda::new(Duration::ZERO, 5);
    let mut now = Duration::ZERO;
    agenda.crowd(now, 64, false);
    assert_eq!(
        follow(&mut agenda, &mut now, HOUR, |_, _| Outcome::Done),
        []
    );
    assert_eq!(agenda.wake(), None);
    agenda.crowd(now, 63, true);
    assert_eq!(agenda.next(now), Some(MemberErrand::Announce));
    assert_eq!(agenda.next(now), Some(MemberErrand::Collect));
}

#[test]
fn what_changes_while_a_member_says_that_it_is_there_is_said_right_after() {
    let mut agenda = MemberAgenda::new(Duration::ZERO, 6);
    assert_eq!(agenda.next(Duration::ZERO), Some(MemberErrand::Announce));
    agenda.renewed(SECOND);
    agenda.done(MemberErrand::Announce, Outcome::Done, 2 * SECOND);
    assert_eq!(agenda.next(2 * SECOND), Some(MemberErrand::Announce));
}

#[test]
fn an_unreachable_dht_is_asked_less_and_less_and_found_again() {
    let mut agenda = MemberAgenda::new(Duration::ZERO, 7);
    let mut now = Duration::ZERO;
    let done = follow(&mut agenda, &mut now, 2 * HOUR, |_, _| Outcome::Failed);
    assert!(done.len() < 150, "{} attempts", done.len());
    let back = now;
    let done = follow(&mut agenda, &mut now, back + HOUR, |_, _| Outcome::Done);
    assert!(done[0].0 - back < LONGEST_BACK_OFF + LONGEST_BACK_OFF / 5);
    assert!(count(&done, MemberErrand::Collect) > 100);
}

#[test]
fn who_can_reach_the_dht_again_begins_at_once() {
    let mut now = Duration::ZERO;
    let mut agenda = MemberAgenda::new(now, 9);
    follow(&mut agenda, &mut now, HOUR, |_, _| Outcome::Failed);
    agenda.online(now);
    assert_eq!(agenda.next(now), Some(MemberErrand::Announce));
    assert_eq!(agenda.next(now), Some(MemberErrand::Collect));
    let mut agenda = SeekerAgenda::new(now, 9);
    agenda.online(now);
    assert_eq!(agenda.next(now), Some(SeekerErrand::LookAround));
    assert_eq!(agenda.next(now), None);
    agenda.renewed(now);
    let later = now + HOUR;
    follow(&mut agenda, &mut now, later, |_, _| Outcome::Failed);
    agenda.online(now);
    assert_eq!(agenda.next(now), Some(SeekerErrand::Deliver));
}

#[test]
fn a_seeker_looks_around_at_once_and_for_answers_only_once_it_knocked() {
    let mut agenda = SeekerAgenda::new(Duration::ZERO, 1);
    assert_eq!(agenda.next(Duration::ZERO), Some(SeekerErrand::LookAround));
    assert_eq!(agenda.next(Duration::ZERO), None);
    agenda.done(SeekerErrand::LookAround, Outcome::Done, SECOND);
    assert!(agenda.wake().unwrap() > SECOND);
    agenda.renewed(2 * SECOND);
    assert_eq!(agenda.next(2 * SECOND), Some(SeekerErrand::Deliver));
    assert_eq!(agenda.next(2 * SECOND), None);
    agenda.done(SeekerErrand::Deliver, Outcome::News, 3 * SECOND);
    assert!(agenda.wake().unwrap() <= 5 * SECOND);
    assert_eq!(agenda.next(5 * SECOND), Some(SeekerErrand::Check));
}

#[test]
fn a_knock_that_changes_on_the_way_is_delivered_again_right_after() {
    let mut agenda = SeekerAgenda::new(Duration::ZERO, 2);
    agenda.renewed(Duration::ZERO);
    assert_eq!(agenda.next(Duration::ZERO), Some(SeekerErrand::Deliver));
    agenda.renewed(SECOND);
    agenda.done(SeekerErrand::Deliver, Outcome::News, 2 * SECOND);
    assert_eq!(agenda.next(2 * SECOND), Some(SeekerErrand::Deliver));
}

#[test]
fn who_waits_for_hours_asks_little_and_is_met_within_twenty_seconds() {
    let mut agenda = SeekerAgenda::new(Duration::ZERO, 3);
    let mut now = Duration::ZERO;
    agenda.renewed(now);
    let mut first = true;
    let done = follow(&mut agenda, &mut now, 6 * HOUR, |errand, _| match errand {
        SeekerErrand::Deliver if std::mem::take(&mut first) => Outcome::News,
        _ => Outcome::Done,
    });
    let later: Vec<_> = done.iter().filter(|(at, _)| *at > HOUR).copied().collect();
    let a_minute = |errand| count(&later, errand) as f64 / (5.0 * 60.0);
    assert!(a_minute(SeekerErrand::Check) < 4.2);
    assert!(a_minute(SeekerErrand::Deliver) < 1.1);
    assert!(a_minute(SeekerErrand::LookAround) < 1.1);
    // A member that comes online finds the knock within seconds.
    assert!(longest_gap(&later, SeekerErrand::Check) < 20 * SECOND);
}

/// A device with `count` shares that were offered together: when it looks for each of
/// them, until `end`. `outcome` says what comes of a look for the share with a number.
fn device(
    count: usize,
    end: Duration,
    outcome: impl Fn(usize, Duration) -> Outcome,
) -> Vec<Vec<Duration>> {
    let mut rounds = Rounds::default();
    let mut agendas: Vec<(u64, MemberAgenda)> = (0..count as u64)
        .map(|seed| {
            (
                rounds.enter(Duration::ZERO),
                MemberAgenda::new(Duration::ZERO, seed),
            )
        })
        .collect();
    let mut looks = vec![Vec::new(); count];
    let mut now = Duration::ZERO;
    while now < end {
        for (share, (number, agenda)) in agendas.iter_mut().enumerate() {
            while let Some(errand) = agenda.next(now) {
                let mut came = Outcome::Done;
                if errand == MemberErrand::Collect {
                    looks[share].push(now);
                    came = outcome(share, now);
                    agenda.leave_at_least(rounds.pause(*number, agenda.touched()));
                }
                agenda.done(errand, came, now);
            }
        }
        let wake = agendas.iter().filter_map(|(_, agenda)| agenda.wake()).min();
        now = wake.unwrap_or(end).max(now);
    }
    looks
}

#[test]
fn however_many_shares_a_device_has_it_looks_about_as_often_as_for_five() {
    let looks = |count, end| {
        let all = device(count, end, |_, _| Outcome::Done);
        all.iter().map(Vec::len).sum::<usize>() as f64
    };
    let one = looks(1, QUIET_AFTER);
    for count in 1..=AT_FULL_PACE {
        assert!(looks(count, QUIET_AFTER) > one * count as f64 * 0.95);
    }
    let most = one * (AT_FULL_PACE as f64 + f64::from(OTHERS));
    for count in [5, 10, 15] {
        let together = looks(count, QUIET_AFTER);
        assert!(
            together < most * 1.15,
            "{together} looks for {count} shares"
        );
        assert!(
            together > most * 0.85,
            "{together} looks for {count} shares"
        );
    }
    // Each of more is looked for once a minute.
    let hundred = looks(100, QUIET_AFTER);
    assert!(hundred < looks(10, QUIET_AFTER) * 5.0, "{hundred} looks");
    // Later, when each is looked for less often anyway, hardly any have to wait for others.
    let [few, many] = [1, 10].map(|count| looks(count, STILL_AFTER + 10 * HOUR));
    assert!(many > few * 10.0 * 0.8, "{many} looks, for one {few}");
}

#[test]
fn the_latest_of_many_shares_are_looked_for_at_full_pace_and_so_is_who_was_just_knocked_at() {
    let knock = |share: usize, now: Duration| match share {
        0 if (5 * MINUTE..6 * MINUTE).contains(&now) => Outcome::News,
        _ => Outcome::Done,
    };
    let looks = device(10, QUIET_AFTER, knock);
    let longest = |share: usize, from: Duration, to: Duration| {
        let within = |at: &&Duration| (from..to).contains(*at);
        let times: Vec<Duration> = looks[share].iter().filter(within).copied().collect();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        gaps.max().unwrap()
    };
    let full = LOOK + LOOK / 5;
    for share in [8, 9] {
        assert!(longest(share, Duration::ZERO, QUIET_AFTER) < full);
    }
    // The third gives its place up to the one that was knocked at.
    assert!(longest(7, Duration::ZERO, 5 * MINUTE) < full);
    assert!(longest(7, 7 * MINUTE, QUIET_AFTER) > full);
    assert!(longest(0, MINUTE, 5 * MINUTE) > full);
    assert!(longest(0, 6 * MINUTE, QUIET_AFTER) < full);
    assert!(longest(1, Duration::ZERO, QUIET_AFTER) < 40 * SECOND);
}

/// Two who follow their agendas, with errands that take a second: how long until
/// the seeker has its answer. The member has other shares, and leaves `pause` between two
/// looks for this one.
fn meeting(seed: u64, quiet: Duration, pause: Duration) -> Duration {
    let mut member_agenda = MemberAgenda::new(Duration::ZERO, seed);
    member_agenda.leave_at_least(pause);
    let mut now = Duration::ZERO;
    follow(&mut member_agenda, &mut now, quiet, |_, _| Outcome::Done);
    let start = now;
    let mut agenda = SeekerAgenda::new(start, seed + 1000);
    agenda.renewed(start);
    let (mut delivered, mut answered) = (None, None);
    for tick in 0.. {
        let now = start + tick * Duration::from_millis(100);
        while let Some(errand) = agenda.next(now) {
            let outcome = match errand {
                SeekerErrand::Deliver if delivered.is_none() => {
                    delivered = Some(now + SECOND);
                    Outcome::News
                }
                SeekerErrand::Check if answered.is_some_and(|at| at <= now) => {
                    return now + SECOND - start;
                }
                _ => Outcome::Done,
            };
            agenda.done(errand, outcome, now + SECOND);
        }
        while let Some(errand) = member_agenda.next(now) {
            let there = delivered.is_some_and(|at| at <= now);
            if errand == MemberErrand::Collect && there && answered.is_none() {
                answered = Some(now + 2 * SECOND);
            }
            member_agenda.done(errand, Outcome::Done, now + SECOND);
        }
    }
    unreachable!()
}

/// The median of 200 meetings, and the slowest. They begin at any time between two looks.
fn meetings(quiet: Duration, pause: Duration) -> [Duration; 2] {
    let meet = |number| {
        let begin = quiet + pause.max(STILL_LOOK) * number / 200;
        meeting(number.into(), begin, pause)
    };
    let mut times: Vec<Duration> = (0..200).map(meet).collect();
    times.sort();
    [times[100], times[199]]
}

#[test]
fn two_meet_within_fifteen_seconds_at_the_median_and_never_much_later() {
    let [median, slowest] = meetings(MINUTE, LOOK);
    assert!(median <= 15 * SECOND, "{median:?}");
    assert!(slowest <= 25 * SECOND, "{slowest:?}");
    let [_, slowest] = meetings(5 * HOUR, LOOK);
    assert!(slowest <= 45 * SECOND, "{slowest:?}");
}

#[test]
fn the_oldest_of_ten_shares_is_met_within_half_a_minute_at_the_median() {
    let mut rounds = Rounds::default();
    let oldest = rounds.enter(Duration::ZERO);
    for _ in 1..10 {
        rounds.enter(SECOND);
    }
    let pause = rounds.pause(oldest, Duration::ZERO);
    for quiet in [10 * MINUTE, HOUR, 5 * HOUR] {
        let [median, slowest] = meetings(quiet, pause);
        assert!(median <= 30 * SECOND, "{median:?}");
        assert!(slowest <= 50 * SECOND, "{slowest:?}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_of_it_an_agenda_neither_stalls_nor_spins(
        seed in any::<u64>(),
        outcomes in prop::collection::vec(0..3_u8, 1..40),
        links in 0..70_usize,
    ) {
        let outcome = |number: usize| match outcomes[number % outcomes.len()] {
            0 => Outcome::News,
            1 => Outcome::Done,
            _ => Outcome::Failed,
        };
        let mut agenda = MemberAgenda::new(Duration::ZERO, seed);
        agenda.crowd(Duration::ZERO, links, true);
        let mut number = 0;
        let done = follow(&mut agenda, &mut Duration::default(), HOUR, |_, _| {
            number += 1;
            outcome(number)
        });
        prop_assert!((20..=900).contains(&done.len()), "{} errands", done.len());
        let mut agenda = SeekerAgenda::new(Duration::ZERO, seed);
        agenda.renewed(Duration::ZERO);
        let done = follow(&mut agenda, &mut Duration::default(), HOUR, |_, _| {
            number += 1;
            outcome(number)
        });
        prop_assert!((60..=1500).contains(&done.len()), "{} errands", done.len());
    }
}
