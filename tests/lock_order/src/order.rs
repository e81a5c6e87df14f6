//! The order in which locks are taken, learnt while they are: pure data.
//!
//! A lock's *class* is the place in the source where it was made: what is learnt of one task's lock is true of all tasks'. Whoever holds a lock and asks for
//! another says that the one comes before the other. A circle among the classes is an inversion: two threads, each at its own place in the circle, could
//! wait for each other for ever, though they never did so here. So is a class that is taken inside itself, since of two locks of one class
//! another thread may take the other first.

use std::collections::HashMap;
use std::panic::Location;

/// A place in the source.
pub type Site = &'static Location<'static>;

/// What was learnt, and where: a class to those taken inside it.
#[derive(Default)]
pub struct Order(HashMap<Site, HashMap<Site, Taken>>);

/// Where somebody who held one lock took the other.
#[derive(Clone, Copy)]
struct Taken {
    held_since: Site,
    at: Site,
}

impl Order {
    /// Somebody who holds a lock of the class `outer`, taken at `held_since`, asks at `at` for one of the class `inner`. True if
    /// that is new; the error tells the circle.
    pub fn learn(
        &mut self,
        outer: Site,
        held_since: Site,
        inner: Site,
        at: Site,
    ) -> Result<bool, String> {
        let known = self
            .0
            .get(outer)
            .is_some_and(|after| after.contains_key(inner));
        if known {
            return Ok(false);
        }
        let taken = Taken { held_since, at };
        self.0.entry(outer).or_default().insert(inner, taken);
        let Some(way) = self.way(inner, outer) else {
            return Ok(true);
        };
        let mut told = format!(
            "the lock made at {inner} is taken at {at}, inside of that made at {outer}, taken at {held_since}"
        );
        for (outer, inner) in way.iter().zip(&way[1..]) {
            let Taken { held_since, at } = self.0[*outer][*inner];
            told += &format!(
                "\nand elsewhere that made at {inner} is taken at {at}, inside of that made at {outer}, taken at {held_since}"
            );
        }
        Err(told)
    }

    /// From one class to another, by what is taken inside of what.
    fn way(&self, from: Site, to: Site) -> Option<Vec<Site>> {
        let mut came_from: HashMap<Site, Site> = HashMap::new();
        let mut next = vec![from];
        while let Some(class) = next.pop() {
            if class == to {
                let mut way = vec![to];
                while let Some(class) = way.last().filter(|class| **class != from) {
                    way.push(came_from[*class]);
                }
                way.reverse();
                return Some(way);
            }
            for inner in self.0.get(class).into_iter().flat_map(HashMap::keys) {
                if *inner != from && !came_from.contains_key(inner) {
                    came_from.insert(inner, class);
                    next.push(inner);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn site() -> Site {
        Location::caller()
    }

    /// Three classes, and a place that does not matter.
    fn sites() -> ([Site; 3], Site) {
        ([site(), site(), site()], site())
    }

    #[test]
    fn an_order_that_is_kept_is_none_of_our_business() {
        let ([a, b, c], at) = sites();
        let mut order = Order::default();
        for (outer, inner) in [(a, b), (b, c), (a, c)] {
            assert_eq!(order.learn(outer, at, inner, at), Ok(true));
            assert_eq!(order.learn(outer, at, inner, at), Ok(false));
        }
    }

    #[test]
    fn an_inversion_is_told_with_its_places() {
        let ([a, b, _], at) = sites();
        let mut order = Order::default();
        order.learn(a, at, b, at).unwrap();
        let told = order.learn(b, at, a, at).unwrap_err();
        assert_eq!(told.lines().count(), 2, "{told}");
        assert!(told.contains(&a.to_string()) && told.contains(&b.to_string()));
    }

    #[test]
    fn so_is_one_through_a_third() {
        let ([a, b, c], at) = sites();
        let mut order = Order::default();
        order.learn(a, at, b, at).unwrap();
        order.learn(b, at, c, at).unwrap();
        let told = order.learn(c, at, a, at).unwrap_err();
        assert_eq!(told.lines().count(), 3, "{told}");
    }

    #[test]
    fn so_is_a_class_inside_itself() {
        let ([a, ..], at) = sites();
        assert!(Order::default().learn(a, at, a, at).is_err());
    }
}
