//! What a person is asked at the terminal before the daemon is asked to act: what would happen, in a line.

use std::time::Duration;

use state::name::StackName;

use super::status::generation;
use super::text::printable;
use crate::view::{Approval, Status, TakesBack};

/// Before a rollback.
pub(super) fn rollback(status: &Status) -> String {
    if let (Some(deploy), Some(to)) = (&status.rollback.takes_back, status.rollback.to) {
        return take_back(status, deploy, to);
    }
    let runs = status.runs.as_ref().map_or_else(
        || "what runs".to_owned(),
        |runs| generation(runs.tag.as_ref(), runs.generation),
    );
    let stack = &status.stack;
    let question = match status.rollback.to {
        Some(to) => format!(
            "{stack}: leave {runs} for {}?",
            generation(status.rollback.tag.as_ref(), to)
        ),
        None => format!("{stack}: leave {runs}, although there seems to be nothing to go back to?"),
    };
    let one_way = status.rollback.one_way.as_ref();
    let one_way = one_way.map(|why| {
        format!(
            " Only a backup leads there, and you are asked about it then: {}.",
            printable(why)
        )
    });
    let taken = taken(&status.rollback.destroys);
    format!(
        "{question}{}{}",
        one_way.unwrap_or_default(),
        taken.unwrap_or_default()
    )
}

/// What it takes out of the database on its way, as far as that fits into a question.
fn taken(destroys: &[String]) -> Option<String> {
    const SHOWN: usize = 3;
    let mut lines: Vec<String> = destroys.iter().take(SHOWN).map(|line| printable(line)).collect();
    if destroys.len() > SHOWN {
        lines.push(format!("and {} more", destroys.len() - SHOWN));
    }
    let lines = lines.join("; ");
    (!lines.is_empty()).then(|| {
        format!(
            " The schema is taken back, and what nothing has a place for any more is kept beside it: {lines}."
        )
    })
}

/// Before a deploy is taken back: `to` has never been left.
fn take_back(status: &Status, deploy: &TakesBack, to: u64) -> String {
    let left = generation(deploy.tag.as_ref(), deploy.generation);
    let to = generation(status.rollback.tag.as_ref(), to);
    let migrates = if deploy.migrates {
        " Once its migrations have run it is left by a rollback from it, with its schema."
    } else {
        ""
    };
    format!(
        "{}: take the deploy of {left} back, and stay with {to}? It is not tried again by itself.{migrates}",
        status.stack
    )
}

/// Before another try.
pub(super) fn retry(status: &Status) -> String {
    let asked = status
        .asked
        .as_ref()
        .map_or("what was asked for", |asked| &asked.tag);
    let mut text = format!("{}: try {asked} again?", status.stack);
    if let Some(gap) = &status.gap {
        text.push_str(&format!(
            " It is in quarantine since generation {} failed: {}.",
            gap.generation,
            printable(&gap.why)
        ));
    }
    if status.pause.is_some() {
        text.push_str(" The pause ends.");
    }
    text
}

/// Before a pause.
pub(super) fn pause(stack: &StackName, span: Duration) -> String {
    let span = config::show_duration(span);
    format!("{stack}: keep hands off for {span}? Nothing is healed, deployed or rolled back meanwhile.")
}

/// Before the end of one.
pub(super) fn resume(status: &Status) -> String {
    let next = status.next.as_ref().map(|next| {
        let why = printable(&next.why);
        format!(" Then a {} begins: {why}.", next.kind)
    });
    format!("{}: end the pause?{}", status.stack, next.unwrap_or_default())
}

/// What the daemon asks, so that it can be read beside the answer.
pub(super) fn open(stack: &str, open: &Approval) -> String {
    let mut text = format!("{stack}: {} ({})\n", printable(&open.question), open.id);
    for line in &open.detail {
        text.push_str(&format!("  {}\n", printable(line)));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use expect_test::{Expect, expect};

    use super::*;
    use crate::view::sample;

    #[track_caller]
    fn check(question: fn(&Status) -> String, situation: &str, expected: &Expect) {
        expected.assert_eq(&question(&sample::status(situation)));
    }

    #[test]
    fn what_would_happen_is_said() {
        check(
            rollback,
            "trial",
            &expect!["shop: leave v1.6.0 (generation 3) for v1.5.0 (generation 2)?"],
        );
        let mut status = sample::status("trial");
        status.rollback.destroys = ["c1", "c2", "c3", "c4"].map(String::from).into();
        expect![
            "shop: leave v1.6.0 (generation 3) for v1.5.0 (generation 2)? The schema is taken back, and what nothing has a place for any more is kept beside it: c1; c2; c3; and 1 more."
        ]
        .assert_eq(&rollback(&status));
        check(
            rollback,
            "held",
            &expect!["shop: leave v1.5.0 (generation 2), although there seems to be nothing to go back to?"],
        );
        check(
            rollback,
            "deploying",
            &expect![
                "shop: take the deploy of v1.6.0 (generation 3) back, and stay with v1.5.0 (generation 2)? It is not tried again by itself."
            ],
        );
        check(
            retry,
            "rolled back",
            &expect![
                "shop: try v1.6.0 again? It is in quarantine since generation 3 failed: api failed for 5m: GET /health answered 500."
            ],
        );
        check(
            retry,
            "paused",
            &expect!["shop: try v1.5.0 again? The pause ends."],
        );
        check(resume, "paused", &expect!["shop: end the pause?"]);
        check(
            resume,
            "first contact",
            &expect![
                "shop: end the pause? Then a deploy begins: the stack was found running something else than v1.5.0."
            ],
        );
        let hour = pause(&"shop".parse().unwrap(), Duration::from_secs(7200));
        expect!["shop: keep hands off for 2h? Nothing is healed, deployed or rolled back meanwhile."]
            .assert_eq(&hour);
    }
}
