use std::sync::Arc;

use super::*;

/// So many look-ups of a prefix have been made.
fn look_ups(act: impl FnOnce()) -> usize {
    let before = LOOKED_UP.get();
    act();
    LOOKED_UP.get() - before
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn hold() -> Hold {
    Hold { session: SessionId(1), mode: Mode::Exclusive, token: 7, since: Instant::now() }
}

/// Watches, and where it is told.
fn watcher(events: &Arc<Events>, prefix: &str) -> (Watcher, Arc<Notify>) {
    let news = Arc::new(Notify::new());
    let notified: Arc<dyn Notified> = news.clone();
    (events.watch(prefix, None, Arc::downgrade(&notified)), news)
}

fn kept(watcher: &mut Watcher) -> (usize, u64) {
    let (mut events, mut missed) = (0, 0);
    while let Some(next) = watcher.next() {
        match next {
            NextEvent::Event(_) => events += 1,
            NextEvent::Missed(count) => missed += count.unwrap(),
        }
    }
    (events, missed)
}

#[test]
fn event_of_another_prefix_costs_a_look_up() {
    let events = Arc::<Events>::default();
    let _watchers: Vec<_> = (0..10_000).map(|_| watcher(&events, "app1:")).collect();
    assert_eq!(look_ups(|| events.taken(&name("app2:nightly"), hold())), 1);
    assert_eq!(look_ups(|| events.taken(&name("app1:nightly"), hold())), 1);
    assert_eq!(look_ups(|| events.taken(&name("a"), hold())), 0, "shorter than any prefix");
    assert_eq!(events.news.lock().items.len(), 1, "the watchers are told by another task");
}

#[test]
fn look_ups_are_bounded_by_the_length_of_the_name() {
    let events = Arc::<Events>::default();
    let long = "x".repeat(64);
    let _watchers: Vec<_> = (0..=64).map(|length| watcher(&events, &long[..length])).collect();
    assert_eq!(look_ups(|| events.taken(&name("abc"), hold())), 4);
    assert_eq!(look_ups(|| events.taken(&name(&long), hold())), 65);
}

#[test]
fn rings_of_many_prefixes_share_the_room() {
    let events = Arc::<Events>::default();
    let mut first = watcher(&events, "").0;
    (0..HISTORY + 10).for_each(|_| events.taken(&name("a"), hold()));
    assert_eq!(kept(&mut first), (HISTORY, 10));
    let mut late = watcher(&events, "a").0;
    (0..HISTORY).for_each(|_| events.taken(&name("a"), hold()));
    let _many: Vec<_> = (0..1_000).map(|at| watcher(&events, &format!("b{at}"))).collect();
    let room = KEPT / 1_024;
    assert_eq!(kept(&mut late), (room, (HISTORY - room) as u64));
}

#[tokio::test(start_paused = true)]
async fn prefix_lives_on_for_a_minute_after_its_last_watcher() {
    let events = Arc::<Events>::default();
    let (mut gone, news) = watcher(&events, "a");
    events.taken(&name("a"), hold());
    assert!(matches!(gone.next(), Some(NextEvent::Event(_))));
    let after = gone.last();
    drop((gone, news));
    events.taken(&name("a"), hold());
    let notified: Arc<dyn Notified> = Arc::new(Notify::new());
    let mut again = events.watch("a", Some(after), Arc::downgrade(&notified));
    assert_eq!(kept(&mut again), (1, 0));
    drop(again);
    // It ends when nobody watches and nothing is kept.
    while events.next().await.is_some() {}
    assert!(!events.is_wanted());
    let mut late = events.watch("a", Some(after), Arc::downgrade(&notified));
    assert!(matches!(late.next(), Some(NextEvent::Missed(None))));
}

#[test]
fn event_ids_round_trip_and_others_are_refused() {
    let id = EventId::UNKNOWN;
    assert_eq!(id.to_string().parse(), Ok(id));
    for text in ["", "7", "x-1", "1-x", "-"] {
        assert!(text.parse::<EventId>().is_err(), "{text}");
    }
}
