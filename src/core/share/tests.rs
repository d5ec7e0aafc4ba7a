use std::{net::IpAddr, task::Waker};

use proptest::prelude::*;

use super::*;

fn user(name: &str) -> QuotaKey {
    QuotaKey::User(name.into())
}

fn at(address: &str) -> QuotaKey {
    QuotaKey::at(address.parse::<IpAddr>().unwrap())
}

/// As many quota as it gets, one at a time.
fn all_of(quota: &Arc<Quota>, principal: &QuotaKey) -> (Vec<Reservation>, QuotaCause) {
    let mut taken = Vec::new();
    loop {
        match quota.take(principal.clone(), 1) {
            Ok(place) => taken.push(place),
            Err(no) => return (taken, no.cause),
        }
    }
}

fn is_told(exit: &Eviction) -> bool {
    exit.poll(&std::task::Context::from_waker(Waker::noop())).is_ready()
}

fn is_empty(quota: &Quota) -> bool {
    let taken = quota.taken.lock();
    taken.all == 0 && taken.of.is_empty() && taken.unauthenticated.count() == 0
}

#[test]
fn last_eighth_is_kept_for_small_principals() {
    for (limit, greedy, others) in [(64, 56, 8), (100, 88, 12), (1_000, 875, 125), (63, 63, 0), (1, 1, 0)] {
        let quota = Quota::new(Resource::Leases, limit);
        let (mut first, cause) = all_of(&quota, &user("greedy"));
        assert_eq!(first.len(), greedy, "of {limit}");
        assert_eq!(cause, if others == 0 { QuotaCause::Full } else { QuotaCause::Share });
        let (second, cause) = all_of(&quota, &user("other"));
        assert_eq!((second.len(), cause), (others, QuotaCause::Full), "of {limit}");
        // What is given back is for those who have little, and not for the one that had it.
        first.pop();
        assert_eq!(quota.take(user("greedy"), 1).is_ok(), others == 0, "of {limit}");
        assert!(quota.take(user("third"), 1).is_ok(), "of {limit}");
        drop((first, second));
        assert!(is_empty(&quota));
    }
}

#[test]
fn small_principal_is_not_affected() {
    let quota = Quota::new(Resource::Connections, 64);
    let kept: Vec<_> = (0..9).map(|n| all_of(&quota, &at(&format!("192.0.2.{n}")))).collect();
    let counts: Vec<_> = kept.iter().map(|(taken, _)| taken.len()).collect();
    assert_eq!(counts, [56, 8, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(quota.refusals().map(|(_, count)| count), [8, 1, 0]);
}

#[test]
fn cap_is_per_principal_and_all_or_none() {
    let quota = Quota::capped(Resource::Viewers, 3, 2);
    let (two, cause) = all_of(&quota, &user("a"));
    assert_eq!((two.len(), cause), (2, QuotaCause::Share));
    assert_eq!(quota.take(user("b"), 2).unwrap_err().cause, QuotaCause::Full);
    let mut one = quota.take(user("b"), 1).unwrap();
    assert_eq!(one.grow_up_to(1).unwrap_err().cause, QuotaCause::Full);
    drop(two);
    one.grow_up_to(1).unwrap();
    assert_eq!((one.count(), one.grow_up_to(1).unwrap_err().cause), (2, QuotaCause::Share));
    one.shrink(9);
    assert!(one.count() == 0 && is_empty(&quota));
}

#[test]
fn ipv6_network_is_a_single_principal() {
    assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:1:2:3"));
    assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
    assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
    assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
}

#[test]
fn oldest_unauthenticated_connection_makes_room() {
    let quota = Quota::for_connections(10, true);
    let mut come: Vec<_> = (0..5).map(|_| quota.admit(at("192.0.2.1")).unwrap()).collect();
    come[0].0.transfer_to(user("app")).unwrap();
    let (sixth, _) = quota.admit(at("192.0.2.1")).unwrap();
    assert!(come.iter().all(|(_, exit)| !is_told(exit.as_ref().unwrap())));
    let (seventh, _) = quota.admit(at("192.0.2.1")).unwrap();
    let told: Vec<_> = come.iter().map(|(_, exit)| is_told(exit.as_ref().unwrap())).collect();
    assert_eq!(told, [false, true, false, false, false]);
    // Unauthenticated make room for strangers where users have all but a few.
    let (mine, _) = all_of(&quota, &user("app"));
    assert_eq!(mine.len(), 4);
    let (mut newest, _) = quota.admit(at("192.0.2.2")).unwrap();
    assert!(is_told(come[2].1.as_ref().unwrap()));
    newest.transfer_to(user("other")).unwrap();
    assert_eq!(quota.refusals().map(|(_, count)| count), [1, 0, 2]);
    drop((come, mine, newest, sixth, seventh));
    assert!(is_empty(&quota));
}

#[test]
fn flood_evicts_its_own_connections() {
    let quota = Quota::for_connections(160, true);
    let (_first, slow) = quota.admit(at("192.0.2.1")).unwrap();
    let flood: Vec<_> = (0..200).map(|_| quota.admit(at("192.0.2.2")).unwrap()).collect();
    assert!(!is_told(slow.as_ref().unwrap()));
    assert_eq!(flood.iter().filter(|(_, exit)| is_told(exit.as_ref().unwrap())).count(), 121);
}

#[test]
fn login_beyond_the_share_is_refused() {
    let quota = Quota::for_connections(64, true);
    let logged_in = |name: &str| {
        let (mut place, exit) = quota.admit(at("192.0.2.1")).unwrap();
        place.transfer_to(user(name)).map(|()| place).map_err(|no| (no, exit))
    };
    let mut kept: Vec<_> = (0..56).map(|_| logged_in("app").unwrap()).collect();
    let (no, exit) = logged_in("app").unwrap_err();
    assert_eq!(no, QuotaExceeded { resource: Resource::Connections, limit: 64, cause: QuotaCause::Share });
    assert!(!is_told(exit.as_ref().unwrap()), "it may try as another");
    kept.push(logged_in("other").unwrap());
    // To log in again as the same costs nothing.
    kept[0].transfer_to(user("app")).unwrap();
    assert_eq!(kept[56].transfer_to(user("app")).unwrap_err().cause, QuotaCause::Share);
    kept[0].transfer_to(user("other")).unwrap();
    drop(kept);
    assert!(is_empty(&quota));
}

#[derive(Clone, Debug)]
enum Step {
    Take(u8, usize),
    Enter(u8),
    Transfer(usize, u8),
    Drop(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..4u8, 1..20usize).prop_map(|(who, count)| Step::Take(who, count)),
        (0..4u8).prop_map(Step::Enter),
        (any::<usize>(), 0..4u8).prop_map(|(at, who)| Step::Transfer(at, who)),
        any::<usize>().prop_map(Step::Drop),
    ];
    prop::collection::vec(step, 0..200)
}

proptest! {
    #[test]
    fn share_invariants_hold_for_random_actions(
        limit in 1..200usize, has_users: bool, steps in steps()
    ) {
        let quota = Quota::for_connections(limit, has_users);
        let (name, address) = (|who: u8| user(&who.to_string()), |who: u8| at(&format!("192.0.2.{who}")));
        let mut kept = Vec::new();
        for step in steps {
            match step {
                Step::Take(who, count) => kept.extend(quota.take(name(who), count)),
                Step::Enter(who) => kept.extend(quota.admit(address(who)).map(|(place, _)| place)),
                Step::Transfer(at, who) => {
                    let count = kept.len().max(1);
                    kept.get_mut(at % count).map(|place: &mut Reservation| place.transfer_to(name(who)));
                }
                Step::Drop(at) if !kept.is_empty() => drop(kept.swap_remove(at % kept.len())),
                Step::Drop(_) => {}
            }
            let taken = quota.taken.lock();
            let strangers = taken.unauthenticated.count();
            prop_assert!(taken.all + strangers <= limit);
            prop_assert!(strangers <= quota.max_unauthenticated.unwrap_or(0));
            prop_assert_eq!(taken.of.values().sum::<usize>(), taken.all);
            prop_assert!(taken.of.values().all(|has| *has > 0));
            let is_short = |has: &usize| *has <= limit - reserve(limit);
            prop_assert!(taken.of.values().all(is_short), "one has what is left for others");
        }
        drop(kept);
        prop_assert!(is_empty(&quota));
    }
}
