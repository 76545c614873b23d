//! `steadfast plan`: what would be done next, thing by thing, and why.

use state::ledger::LedgerError;
use state::name::StackName;

use super::args::Common;
use super::failure::{Failure, Outcome, chain};
use super::output::{self, BAD, BOLD, BUSY, DIM, GOOD, WARN, paint};
use super::problems::problems;
use super::reader::width;
use super::reading::{Daemon, known, settings};
use super::text::{hanging, paragraph};
use crate::control::client::ClientError;
use crate::preview::{self, PreviewError};
use crate::view::{Action, PlanView};

pub(super) async fn run(common: &Common, stack: Option<StackName>, steps: bool, json: bool) -> Outcome {
    let daemon = Daemon::of(common);
    let plans = match collect(&daemon, stack.as_ref()).await {
        Ok(plans) => plans,
        Err(error @ ClientError::NoDaemon { .. }) => without(common, &error, stack.as_ref()).await?,
        Err(error) => return Err(daemon.failure(error)),
    };
    if json {
        return match (&plans[..], stack) {
            ([plan], Some(_)) => output::json(plan, 0),
            _ => output::json(&plans, 0),
        };
    }
    if plans.is_empty() {
        return Err(Failure::new(3, "the daemon has not looked at any stack yet").way_out("try again"));
    }
    let width = width();
    let mut texts: Vec<String> = plans.iter().map(|plan| render(plan, steps, width)).collect();
    if plans.iter().any(|plan| !plan.daemon) {
        let socket = daemon.client.socket().display();
        let note = format!("No daemon answers at {socket}. This is what one would do:");
        texts.insert(0, paragraph(0, &note, width));
    }
    output::print(&texts.join("\n"))?;
    Ok(0)
}

async fn collect(daemon: &Daemon, stack: Option<&StackName>) -> Result<Vec<PlanView>, ClientError> {
    let names: Vec<String> = match stack {
        Some(stack) => vec![stack.to_string()],
        None => daemon
            .client
            .all()
            .await?
            .stacks
            .into_iter()
            .map(|s| s.stack)
            .collect(),
    };
    let mut plans = Vec::new();
    for name in names {
        plans.push(daemon.client.plan(&name).await?);
    }
    Ok(plans)
}

/// What a daemon would do, found out without one.
async fn without(
    common: &Common,
    daemon: &ClientError,
    stack: Option<&StackName>,
) -> Result<Vec<PlanView>, Failure> {
    let settings = settings(common)?;
    if let Some(stack) = stack {
        known(&settings, stack, &common.config)?;
    }
    crate::probe::install_crypto();
    preview::plans(&settings, stack).await.map_err(|error| {
        let code = match &error {
            PreviewError::Engine(_) | PreviewError::Ledger(LedgerError::Io { .. }) => 3,
            PreviewError::Ledger(_) | PreviewError::Edges(_) => 1,
        };
        let why = format!("{daemon}, and without it: {}", chain(&error));
        Failure::new(code, why).way_out(match &error {
            PreviewError::Engine(_) => {
                "is it running? `systemctl status docker`; its address is `engine` in the settings"
            }
            PreviewError::Ledger(_) => "use sudo, or start the daemon: `systemctl start steadfast`",
            PreviewError::Edges(_) => "start the daemon, and look at its log",
        })
    })
}

/// The plan as text.
pub(super) fn render(plan: &PlanView, steps: bool, width: usize) -> String {
    let indented = |indent, text: &str| paragraph(indent, text, width);
    let head = format!("{} ", paint(BOLD, &format!("{}:", plan.stack)));
    let mut text = hanging(&head, &heading(plan), 2, width);
    text.push_str(&problems(&plan.problems, width));
    if let Some(why) = &plan.why {
        text.push_str(&indented(2, why));
    }
    if let Some(approval) = &plan.approval {
        text.push_str(&indented(2, &approval.question));
        for line in &approval.detail {
            text.push_str(&indented(4, line));
        }
    }
    for wait in &plan.waits {
        text.push_str(&indented(2, &format!("waits for {wait}")));
    }
    if plan.kind.is_none() {
        return text;
    }
    text.push('\n');
    for change in &plan.changes {
        let (style, sign) = sign(change.action);
        let head = format!("  {} {} ", paint(style, sign), change.what);
        text.push_str(&hanging(&head, &change.name, 8, width));
        for line in &change.detail {
            text.push_str(&indented(8, line));
        }
        for line in &change.why {
            text.push_str(&indented(8, &format!("because {line}")));
        }
    }
    if steps {
        text.push_str(&every_step(plan, width));
    }
    if let Some(expected) = &plan.expected {
        let head = format!("\n{} ", paint(BOLD, "Time:"));
        text.push_str(&hanging(&head, &expected.words, 0, width));
    }
    text.push_str(&summary(plan, width));
    text
}

fn every_step(plan: &PlanView, width: usize) -> String {
    let steps = plan.steps.iter().enumerate();
    let lines = steps.map(|(i, step)| hanging(&format!("  {:>2}. ", i + 1), step, 6, width));
    std::iter::once(String::from("\n")).chain(lines).collect()
}

fn heading(plan: &PlanView) -> String {
    let to = plan
        .generation
        .map(|n| format!(" of generation {n}{}", release(plan)));
    let to = to.unwrap_or_default();
    match &plan.kind {
        None if plan.waits.is_empty() && plan.approval.is_none() => "nothing to do".into(),
        None => "nothing to do yet".into(),
        Some(kind) if plan.running => format!("{kind}{to}, under way"),
        Some(kind) if plan.approval.is_some() => format!("{kind}{to}, once you approve"),
        Some(kind) => format!("{kind}{to}, next"),
    }
}

/// ` with v1.6.0 (a1b2c3d4e5f6)`, where it comes from a repository.
fn release(plan: &PlanView) -> String {
    match (&plan.tag, &plan.commit) {
        (Some(tag), Some(commit)) => format!(" with {tag} ({commit})"),
        _ => String::new(),
    }
}

fn sign(action: Action) -> (anstyle::Style, &'static str) {
    match action {
        Action::Pull | Action::Build => (BUSY, "<"),
        Action::Create => (GOOD, "+"),
        Action::Replace => (WARN, "~"),
        Action::Update => (WARN, "^"),
        Action::Remove => (BAD, "-"),
    }
}

fn summary(plan: &PlanView, width: usize) -> String {
    let words = [
        (Action::Pull, "to pull"),
        (Action::Build, "to build"),
        (Action::Create, "to create"),
        (Action::Replace, "to replace"),
        (Action::Update, "to start"),
        (Action::Remove, "to remove"),
    ];
    let parts: Vec<String> = words
        .iter()
        .map(|(action, words)| (plan.changes.iter().filter(|c| c.action == *action).count(), words))
        .filter(|(count, _)| *count > 0)
        .map(|(count, words)| format!("{count} {words}"))
        .collect();
    let parts = if parts.is_empty() {
        "no container changes".to_owned()
    } else {
        parts.join(", ")
    };
    let signs = "+ create, ~ replace, - remove, ^ start, < pull; nothing else is touched";
    let steps = plan.steps.len();
    let head = format!("\n{} ", paint(BOLD, "Plan:"));
    let counted = hanging(&head, &format!("{parts}, in {steps} steps."), 0, width);
    format!("{counted}{}\n", paint(DIM, paragraph(0, signs, width).trim_end()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

    use expect_test::{Expect, expect};

    use super::*;
    use crate::view::sample;

    #[track_caller]
    fn check(situation: &str, expected: &Expect) {
        let plan = PlanView::of(&sample::snapshot(situation));
        expected.assert_eq(&anstream::adapter::strip_str(&render(&plan, false, 80)).to_string());
    }

    #[test]
    fn what_is_in_quarantine_is_not_passed_over_in_silence() {
        check(
            "rolled back",
            &expect![[r#"
            shop: nothing to do
              v1.6.0 was asked for; it is in quarantine since generation 3 failed:
              `steadfast retry shop` tries it again
        "#]],
        );
    }

    #[test]
    fn every_step_where_it_is_asked_for() {
        let plan = PlanView::of(&sample::snapshot("deploying"));
        let text = anstream::adapter::strip_str(&render(&plan, true, 80)).to_string();
        expect![[r#"
            shop: deploy of generation 3, under way
              desired.toml asks for v1.6.0

              ~ container api
                    image registry.example/shop/api:v1.5.0 (2e0de819eb89) ->
                    registry.example/shop/api:v1.6.0 (01537f435b1b)
                    because the image is another one

               1. create api-1 from 01537f435b1b
               2. stop api (c7aa851d3bc1), by force after 10 s
               3. start api (new api-1)
               4. wait until api is healthy, at most 60 s
               5. remove c7aa851d3bc1

            Plan: 1 to replace, in 5 steps.
            + create, ~ replace, - remove, ^ start, < pull; nothing else is touched
        "#]]
        .assert_eq(&text);
    }

    #[test]
    fn a_release_of_a_repository_is_named_with_its_commit() {
        let mut plan = PlanView::of(&sample::snapshot("deploying"));
        assert_eq!(
            (plan.tag.as_deref(), plan.commit.as_deref()),
            (Some("v1.6.0"), None)
        );
        assert_eq!(heading(&plan), "deploy of generation 3, under way");
        plan.commit = Some("a1b2c3d4e5f6".to_owned());
        assert_eq!(
            heading(&plan),
            "deploy of generation 3 with v1.6.0 (a1b2c3d4e5f6), under way"
        );
    }

    #[test]
    fn what_fails_is_said() {
        check(
            "failing",
            &expect![[r#"
            shop: nothing to do yet
              waits for 3m10s more of failure: v1.6.0 (generation 3) fails, and then comes a
              rollback to v1.5.0 (generation 2)
        "#]],
        );
    }

    #[test]
    fn nothing_to_do() {
        check(
            "steady",
            &expect![[r#"
            shop: nothing to do
        "#]],
        );
    }

    #[test]
    fn a_deploy_that_is_under_way() {
        check(
            "deploying",
            &expect![[r#"
                shop: deploy of generation 3, under way
                  desired.toml asks for v1.6.0

                  ~ container api
                        image registry.example/shop/api:v1.5.0 (2e0de819eb89) ->
                        registry.example/shop/api:v1.6.0 (01537f435b1b)
                        because the image is another one

                Plan: 1 to replace, in 5 steps.
                + create, ~ replace, - remove, ^ start, < pull; nothing else is touched
            "#]],
        );
    }

    #[test]
    fn a_deploy_that_waits_for_somebody() {
        check(
            "first contact",
            &expect![[r#"
                shop: deploy of generation 2, once you approve
                  the stack was found running something else than v1.5.0
                  something else runs than desired.toml asks for: change it?
                    api would be replaced
                  waits for an approval of the first change

                  ~ container api
                        image 2e0de819eb89 -> 01537f435b1b
                        because the image is another one

                Plan: 1 to replace, in 5 steps.
                + create, ~ replace, - remove, ^ start, < pull; nothing else is touched
            "#]],
        );
    }
}
