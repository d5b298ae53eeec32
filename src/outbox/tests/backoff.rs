//! Tests of the backoff delays.

use super::super::backoff::Backoff;
use super::*;

#[test]
fn the_range_doubles_up_to_the_cap_and_the_servers_wish_is_its_floor() {
    let (base, cap) = (Duration::from_millis(500), Duration::from_secs(30));
    for _ in 0..200 {
        let mut backoff = Backoff::new(base, cap, true);
        for range in [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000] {
            assert!(backoff.next(None) <= Duration::from_millis(range));
        }
        for _ in 0..100 {
            assert!(backoff.next(None) <= cap);
        }
        let asked = Duration::from_secs(40);
        let wait = backoff.next(Some(asked));
        assert!(wait >= asked && wait <= asked + cap);
        backoff.reset();
        assert!(backoff.next(None) <= base);
    }
}

#[test]
fn without_jitter_every_wait_is_the_whole_range() {
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(3), false);
    assert_eq!([(); 3].map(|()| backoff.next(None).as_secs()), [1, 2, 3]);
}
