//! Many handles as one. Each child is spawned for it: take off `spawn_await` to see what the combinator adds.

use super::CHILDREN;
use heist::{Task, TaskGroup};
use std::hint::black_box;

fn children() -> impl Iterator<Item = Task<u64>> {
    (0..CHILDREN).map(|child| heist::spawn(async move { child }))
}

pub(super) async fn gather(n: u64) {
    for _ in 0..n / CHILDREN {
        let values = heist::gather(children()).await.expect("they end well");
        assert_eq!(black_box(values).len() as u64, CHILDREN);
    }
}

pub(super) async fn wait(n: u64) {
    for _ in 0..n / CHILDREN {
        let mut tasks: Vec<_> = children().collect();
        let done = heist::wait(&mut tasks).await.expect("there are some");
        assert_eq!(black_box(done).len() as u64, CHILDREN);
    }
}

pub(super) async fn as_completed(n: u64) {
    for _ in 0..n / CHILDREN {
        let completed = heist::as_completed(children());
        let mut given = 0;
        while let Some(child) = completed.next().await {
            let (_, value) = child.expect("there is no deadline");
            black_box(value.expect("it ends well"));
            given += 1;
        }
        assert_eq!(given, CHILDREN);
    }
}

pub(super) async fn task_group(n: u64) {
    for _ in 0..n / CHILDREN {
        let ended = TaskGroup::run(|group| async move {
            for child in 0..CHILDREN {
                let task = group.spawn(async move { child });
                task.expect("the group is open").detach();
            }
        });
        ended.await.expect("they end well");
    }
}

pub(super) async fn shield(n: u64) {
    for round in 0..n {
        let shield = heist::shield(heist::spawn(async move { round }));
        black_box(shield.await.expect("it ends well"));
    }
}
