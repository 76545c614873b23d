//! What is tolerated, for how long, and what is then done: the numbers by which the judge judges.
//! Plain values with the documented defaults; how they are spelt in a file belongs to `config`,
//! what follows from them to `health` and `decide`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::{ProbeName, Role, ServiceName};

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

/// How bad a failure is, from the least to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Can wait for the next sprint.
    Low,
    /// To be fixed forward.
    Medium,
    /// A major feature is broken.
    High,
    /// The system is down. The default of a probe.
    #[default]
    Critical,
}

impl Severity {
    /// All of them, the worst first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Medium, Self::Low];

    /// The word in files and in output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// When one probe counts as failing, and what its failure means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbePolicy {
    /// Its name, one of a kind in its stack.
    pub name: ProbeName,
    /// The service whose failure it shows; invariant 7 asks whether *this* differs in the target.
    pub service: ServiceName,
    /// From the start of one sample to the start of the next. Default 10 s.
    pub interval: Duration,
    /// After this long a sample without an answer is a failed one. Default 3 s.
    pub timeout: Duration,
    /// So many consecutive fails make it failing. Default 3.
    pub fail_after: u32,
    /// So many consecutive passes make it passing again. Default 2.
    pub pass_after: u32,
    /// How bad its failure is. Default critical.
    pub severity: Severity,
    /// Whether it judges a release (true, the default) or only reports.
    pub required: bool,
    /// From the start of its container, during which a fail is no failure. Default 0.
    pub start_period: Duration,
}

impl ProbePolicy {
    /// A probe of `service` with every default.
    pub fn new(name: ProbeName, service: ServiceName) -> Self {
        Self {
            name,
            service,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(3),
            fail_after: 3,
            pass_after: 2,
            severity: Severity::default(),
            required: true,
            start_period: Duration::ZERO,
        }
    }
}

/// How a new generation is watched, and how often the agent may go back by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialPolicy {
    /// Failing for this long, unbroken and observed, is `bad`. Default 5 min.
    pub window: Duration,
    /// Healthy for this long, unbroken and observed, is `good`. Default 5 min.
    pub good_after: Duration,
    /// A trial that is still undecided ends after this long. Default 30 min.
    pub trial_max: Duration,
    /// Good for this long is settled: a later failure is less likely the release's. Default 24 h.
    pub settled_after: Duration,
    /// So many automatic rollbacks per request are allowed within `budget_per`. Default 2.
    pub budget: u32,
    /// The span that `budget` counts over. Default 1 h.
    pub budget_per: Duration,
}

impl Default for TrialPolicy {
    fn default() -> Self {
        Self {
            window: minutes(5),
            good_after: minutes(5),
            trial_max: minutes(30),
            settled_after: minutes(24 * 60),
            budget: 2,
            budget_per: minutes(60),
        }
    }
}

/// What is done about a failure that has lasted for the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FailureAction {
    /// Back to the newest good, restorable generation.
    Rollback,
    /// Fix forward: say so, and change nothing.
    Notify,
}

/// Whether somebody has to agree before the action.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Approval {
    /// Nobody.
    None,
    /// Somebody in this role.
    By(Role),
}

/// What happens when an approval has not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnTimeout {
    /// The action is taken all the same.
    Act,
    /// The stack is held, and asks on.
    Hold,
}

/// One step of an escalation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EscalationStep {
    /// Who is asked.
    pub to: Role,
    /// How long after the approval was first asked for.
    pub after: Duration,
}

/// One row of the severity matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeverityPolicy {
    /// How long an approval may take, counted from when it is asked for: what has not come by then has
    /// timed out. `None`: the stack's own window, for `critical`; no term at all, for `low`.
    pub respond: Option<Duration>,
    /// What is done.
    pub action: FailureAction,
    /// Who has to agree.
    pub approval: Approval,
    /// Who else is asked, and when; by `after`, ascending.
    pub escalation: Vec<EscalationStep>,
    /// What happens when nobody agreed in time.
    pub on_timeout: OnTimeout,
}

/// The severity matrix: one row for each severity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeverityMatrix {
    /// System down. Default: rollback when the window has passed, no approval.
    pub critical: SeverityPolicy,
    /// Major feature broken. Default: rollback within 30 min, approved by the lead.
    pub high: SeverityPolicy,
    /// Default: notify, 2 h.
    pub medium: SeverityPolicy,
    /// Default: notify, no term.
    pub low: SeverityPolicy,
}

impl SeverityMatrix {
    /// The row of `severity`.
    pub fn row(&self, severity: Severity) -> &SeverityPolicy {
        match severity {
            Severity::Critical => &self.critical,
            Severity::High => &self.high,
            Severity::Medium => &self.medium,
            Severity::Low => &self.low,
        }
    }

    /// The row of `severity`, to be changed.
    pub fn row_mut(&mut self, severity: Severity) -> &mut SeverityPolicy {
        match severity {
            Severity::Critical => &mut self.critical,
            Severity::High => &mut self.high,
            Severity::Medium => &mut self.medium,
            Severity::Low => &mut self.low,
        }
    }
}

impl Default for SeverityMatrix {
    fn default() -> Self {
        let row = |respond, action, approval| SeverityPolicy {
            respond,
            action,
            approval,
            escalation: Vec::new(),
            on_timeout: OnTimeout::Hold,
        };
        Self {
            critical: row(None, FailureAction::Rollback, Approval::None),
            high: SeverityPolicy {
                escalation: default_escalation(),
                ..row(
                    Some(minutes(30)),
                    FailureAction::Rollback,
                    Approval::By(role("lead")),
                )
            },
            medium: row(Some(minutes(120)), FailureAction::Notify, Approval::None),
            low: row(None, FailureAction::Notify, Approval::None),
        }
    }
}

/// Who is asked when nobody answers: the lead after 15 min, the `DevOps` lead after 30, the CTO after 60.
pub fn default_escalation() -> Vec<EscalationStep> {
    [("lead", 15), ("devops-lead", 30), ("cto", 60)]
        .map(|(to, after)| EscalationStep {
            to: role(to),
            after: minutes(after),
        })
        .into()
}

fn role(text: &str) -> Role {
    text.parse().expect("a role written in this file is a valid one")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_matrix_is_the_one_of_the_guide() {
        let matrix = SeverityMatrix::default();
        let rows: Vec<String> = Severity::ALL
            .iter()
            .map(|&severity| {
                let row = matrix.row(severity);
                format!(
                    "{severity:<8} {:?} {:?} {:?}",
                    row.respond, row.action, row.approval
                )
            })
            .collect();
        expect_test::expect![[r#"
            critical None Rollback None
            high     Some(1800s) Rollback By(Role("lead"))
            medium   Some(7200s) Notify None
            low      None Notify None"#]]
        .assert_eq(&rows.join("\n"));
    }

    #[test]
    fn the_worst_severity_is_the_greatest() {
        assert!(Severity::ALL.is_sorted_by(|a, b| a > b));
    }

    #[test]
    fn policies_survive_being_written_and_read() {
        let matrix = SeverityMatrix::default();
        let text = serde_json::to_string(&matrix).unwrap();
        assert_eq!(serde_json::from_str::<SeverityMatrix>(&text).unwrap(), matrix);
        let probe = ProbePolicy::new("api".parse().unwrap(), "api".parse().unwrap());
        let text = serde_json::to_string(&probe).unwrap();
        assert_eq!(serde_json::from_str::<ProbePolicy>(&text).unwrap(), probe);
    }
}
