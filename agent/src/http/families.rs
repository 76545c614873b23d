//! Every family that is told, in one place. `docs/reference/metrics.md` says the same at more length, and a test compares them.

use super::exposition::{Family, Type};

/// A row of the table below.
macro_rules! families {
    ($($id:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) static $id: Family = Family {
            name: $name,
            kind: Type::$kind,
            help: $help,
            labels: &[$($label),*],
        };)*
        /// Each of them.
        #[cfg(test)]
        pub(super) static ALL: &[&Family] = &[$(&$id),*];
    };
}

families! {
    APPROVAL: Gauge "steadfast_approval_pending" ["stack"]
        "Whether a person is asked to agree to something and has not answered.";
    BACKUP_FAILED: Gauge "steadfast_backup_failed" ["stack"]
        "Whether the last backup that nobody asked for failed.";
    BACKUP_NEWEST: Gauge "steadfast_backup_newest_timestamp_seconds" ["stack"]
        "When the newest backup was begun. Absent while there is none.";
    BACKUP_PROVEN: Gauge "steadfast_backup_proven_timestamp_seconds" ["stack"]
        "When the newest backup was begun that was restored to make sure of it. Absent while there is none.";
    BACKUPS: Gauge "steadfast_backups" ["stack", "state"]
        "How many backups there are, proven, not proven, or damaged. Absent while they cannot be listed.";
    BUILD: Info "steadfast_build_info" ["version"]
        "The daemon that answers.";
    CONTAINERS: Gauge "steadfast_containers" ["stack", "service", "state"]
        "How many containers of a service are in a state. Absent while the engine is away.";
    DATABASE_SIZE: Gauge "steadfast_database_size_bytes" ["stack"]
        "The size of the database on its server's disk, as last seen.";
    DESIRED: Info "steadfast_desired_release_info" ["stack", "tag", "generation"]
        "What was asked for last; the generation is empty until there is one.";
    DRIFT: Gauge "steadfast_drift_differences" ["stack"]
        "How much differs between the effective target and what was seen.";
    EFFECTIVE: Info "steadfast_effective_release_info" ["stack", "tag", "generation", "verdict"]
        "What the stack is kept at; the tag is empty where it was found running.";
    ENGINE: Gauge "steadfast_engine_up" ["stack"]
        "Whether the engine answered when the stack was last looked at.";
    FAILING: Gauge "steadfast_failing_seconds" ["stack"]
        "For how much observed time what runs has failed its probes; 0 while it does not.";
    HELD: Gauge "steadfast_held" ["stack"]
        "Whether the agent does no more by itself until a person acts, or what it waits for comes about.";
    MATCHES: Gauge "steadfast_release_as_asked" ["stack"]
        "Whether what was asked for is what runs.";
    OPERATION: Gauge "steadfast_operation_running" ["stack", "kind"]
        "Whether an operation of a kind is under way.";
    OPERATION_BEGUN: Gauge "steadfast_operation_begun_timestamp_seconds" ["stack", "kind"]
        "When the operation that is under way was begun. Absent while there is none.";
    OPERATION_STEP: Gauge "steadfast_operation_step" ["stack", "kind"]
        "Which step the operation that is under way is at, from 1. Absent while there is none.";
    OPERATION_STEPS: Gauge "steadfast_operation_steps" ["stack", "kind"]
        "How many steps it has. Absent while there is none.";
    OPERATION_DURATION: Summary "steadfast_operation_duration_seconds" ["stack", "kind"]
        "How long operations took that have ended since the daemon was started, whatever they came to.";
    OPERATION_PHASE: Summary "steadfast_operation_phase_duration_seconds" ["stack", "kind", "phase"]
        "How long parts of operations took that have come to a good end since the daemon was started.";
    OPERATIONS: Counter "steadfast_operations_total" ["stack", "kind", "outcome"]
        "How many operations have ended since the daemon was started.";
    PASS: Gauge "steadfast_last_pass_timestamp_seconds" ["stack"]
        "When what is told here of the stack was seen.";
    PAUSED: Gauge "steadfast_paused" ["stack"]
        "Whether the agent keeps its hands off for a while.";
    PROBE: Gauge "steadfast_probe_state" ["stack", "probe", "service", "required", "state"]
        "1 for the state that the probe is in.";
    PROBE_DURATION: Gauge "steadfast_probe_duration_seconds" ["stack", "probe", "service"]
        "How long the probe's last answer took. Absent while it has none.";
    PROBLEMS: Gauge "steadfast_input_problems" ["stack", "gravity"]
        "How much is wrong with the input files; the last valid ones are in force.";
    QUARANTINE: Gauge "steadfast_quarantined_releases" ["stack"]
        "How many releases are in quarantine.";
    READY: Gauge "steadfast_rollback_ready" ["stack"]
        "Whether the stack could be rolled back right now.";
    ROLLBACK_IN: Gauge "steadfast_rollback_remaining_seconds" ["stack"]
        "How much more failing time it takes until the stack is rolled back. Absent while nothing leads there.";
    ROLLBACK_TO: Info "steadfast_rollback_target_info" ["stack", "tag", "generation"]
        "The generation that a rollback would go back to. Absent while there is none.";
    STARTED: Gauge "steadfast_start_time_seconds" []
        "When the daemon was started.";
    STATE: Gauge "steadfast_stack_state" ["stack", "state"]
        "1 for the state that the stack is in.";
    WINDOW: Gauge "steadfast_failing_window_seconds" ["stack"]
        "For how much observed time a stack may fail before that is acted on.";
}
