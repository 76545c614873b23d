//! `[policy.SEVERITY]`: what is done about a failure of each severity, and who has to agree.

use std::time::Duration;

use state::name::Role;
use state::policy::{
    Approval, EscalationStep, FailureAction, OnTimeout, Severity, SeverityMatrix, SeverityPolicy,
};

use crate::fragment::{Fault, Item, Table};
use crate::validate::{choice, duration, name};

const DAY: Duration = Duration::from_secs(86400);
const SECOND: Duration = Duration::from_secs(1);

pub(super) fn read(table: Option<Table<'_>>) -> SeverityMatrix {
    let mut matrix = SeverityMatrix::default();
    let Some(mut table) = table else { return matrix };
    for severity in Severity::ALL {
        if let Some(row) = table.table(severity.as_str()) {
            read_row(row, matrix.row_mut(severity));
        }
    }
    table.finish();
    matrix
}

fn read_row(mut table: Table<'_>, row: &mut SeverityPolicy) {
    if let Some(respond) = table.get("respond", duration(SECOND, 90 * DAY)) {
        row.respond = Some(respond);
    }
    if let Some(action) = table.get("action", action) {
        row.action = action;
    }
    if let Some(approval) = table.get("approval", approval) {
        row.approval = approval;
    }
    if table.has("escalation") {
        row.escalation = table.tables("escalation").into_iter().filter_map(step).collect();
    }
    if !row.escalation.is_sorted_by(|a, b| a.after < b.after) {
        let fault = Fault::new("the steps are not in the order of their times");
        table.fault_at(
            "escalation",
            fault.hint("each \"after\" is longer than the one before"),
        );
    }
    if let Some(on_timeout) = table.get(
        "on_timeout",
        choice(&[("act", OnTimeout::Act), ("hold", OnTimeout::Hold)]),
    ) {
        row.on_timeout = on_timeout;
    }
    check_row(&table, row);
    table.finish();
}

/// Keys that would say nothing without an approval to wait for are errors: they look as if they did.
fn check_row(table: &Table<'_>, row: &mut SeverityPolicy) {
    let asks = row.action == FailureAction::Rollback && row.approval != Approval::None;
    for key in ["escalation", "on_timeout"] {
        if !asks && table.has(key) {
            let fault = Fault::new(format!("\"{key}\" without an approval to wait for"));
            table.fault_at(
                key,
                fault.hint("set action = \"rollback\" and approval = \"lead\", or take it out"),
            );
        }
    }
    if row.action == FailureAction::Notify {
        if table.has("approval") && row.approval != Approval::None {
            let fault = Fault::new("\"notify\" changes nothing, so nobody has to approve it");
            table.fault_at(
                "approval",
                fault.hint("set action = \"rollback\", or take it out"),
            );
        }
        row.approval = Approval::None;
    }
    if !asks {
        row.escalation.clear();
    } else if row.respond.is_none() {
        let fault = Fault::new("an approval without a term to give it in");
        table.fault_at("approval", fault.hint("add respond = \"30m\""));
    }
}

fn action(item: &Item<'_>) -> Result<FailureAction, Fault> {
    if item.text()? == "emergency" {
        let fault = Fault::new("the action \"emergency\" is not supported yet");
        return Err(fault.hint("write \"rollback\""));
    }
    choice(&[
        ("rollback", FailureAction::Rollback),
        ("notify", FailureAction::Notify),
    ])(item)
}

fn approval(item: &Item<'_>) -> Result<Approval, Fault> {
    if item.text()? == "none" {
        return Ok(Approval::None);
    }
    name::<Role>(item).map(Approval::By)
}

fn step(mut table: Table<'_>) -> Option<EscalationStep> {
    let to = table.require("to", "\"lead\"", name::<Role>);
    let after = table.require("after", "\"15m\"", duration(SECOND, 90 * DAY));
    table.finish();
    Some(EscalationStep {
        to: to?,
        after: after?,
    })
}
