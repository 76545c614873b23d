//! What waits in an inbox.

#![allow(clippy::unwrap_used)]

use expect_test::{Expect, expect};
use tokio::sync::oneshot;

use super::*;
use crate::shared::ActKind;
use state::release::Author;

fn order() -> Nudge {
    let (answer, _) = oneshot::channel();
    Nudge::Order(Order {
        stack: "shop".parse().unwrap(),
        act: ActKind::Retry,
        by: Author::Agent,
        reason: None,
        ask: None,
        dump: None,
        database: None,
        env: None,
        answer,
    })
}

fn unreadable() -> Nudge {
    Nudge::Wish(Wish::Unreadable(Vec::new()))
}

#[track_caller]
fn check(nudges: Vec<Nudge>, expected: &Expect) {
    let (give, mut inbox) = Inbox::new();
    let mut text = String::new();
    for nudge in nudges {
        if give.give(nudge).is_err() {
            text.push_str("refused ");
        }
    }
    while let Some(Heard::Nudge(nudge)) = inbox.try_next() {
        text.push_str(match nudge {
            Nudge::Wish(Wish::LetGo) => "let-go ",
            Nudge::Wish(_) => "wish ",
            Nudge::LookAgain => "look ",
            Nudge::Containers => "containers ",
            Nudge::Order(_) => "order ",
        });
    }
    expected.assert_eq(text.trim_end());
}

#[test]
fn what_waits_is_kept_once_and_the_newest_wish_counts() {
    use Nudge::{Containers, LookAgain};
    check(vec![], &expect![""]);
    check(
        vec![Containers, LookAgain, Containers, Containers, LookAgain],
        &expect!["containers look"],
    );
    check(
        vec![Nudge::Wish(Wish::LetGo), order(), unreadable()],
        &expect!["order wish"],
    );
    check(
        vec![order(), Nudge::Wish(Wish::LetGo), order()],
        &expect!["order let-go order"],
    );
}

#[test]
fn too_many_orders_are_given_back_and_a_wish_still_finds_room() {
    let mut all: Vec<Nudge> = (0..=MAX_ORDERS).map(|_| order()).collect();
    all.push(unreadable());
    all.push(Nudge::Containers);
    check(
        all,
        &expect![
            "refused order order order order order order order order order order order order order order order order wish containers"
        ],
    );
}

#[tokio::test]
async fn who_waits_is_woken_and_hears_the_end() {
    let (give, mut inbox) = Inbox::new();
    let other = give.clone();
    let heard = tokio::spawn(async move {
        let mut heard = 0;
        while inbox.next().await.is_some() {
            heard += 1;
        }
        heard
    });
    give.give(Nudge::Containers).unwrap();
    tokio::task::yield_now().await;
    give.give(Nudge::LookAgain).unwrap();
    other.give(order()).unwrap();
    drop((give, other));
    assert_eq!(heard.await.unwrap(), 3);
}
