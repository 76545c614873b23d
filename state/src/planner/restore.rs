//! The plan of a restore: what nobody notices first, and the services that write down for no longer than the names
//! change hands. Whatever fails, the database that was in use is in use again.

use crate::backup::{Dumped, Proof};
use crate::integrity::When;
use crate::name::ServiceName;
use crate::observed::ContainerDetail;
use crate::plan::Plan;
use crate::stack_spec::{DependencyCycle, StackSpec};
use crate::step::Step;

use super::schema::{Looks, give_back, start_writer, stop_writer};

/// What is known of the ground that a restore is planned for.
#[derive(Debug, Clone, Copy)]
pub struct Restoring<'a> {
    /// What runs.
    pub spec: &'a StackSpec,
    /// Its containers that run.
    pub running: &'a [ContainerDetail],
    /// The service that the database runs as; `None`: it is outside of the stack, and any service may write to it.
    pub database: Option<&'a ServiceName>,
    /// The service whose image has the migrations.
    pub migrates: Option<&'a ServiceName>,
    /// Whether sessions of whoever is no service of the stack are ended too.
    pub end_foreign: bool,
    /// What is looked at before anybody notices.
    pub looks: Looks<'a>,
}

/// Plans a restore. It is restored before the present database is backed up: what cannot be restored costs nothing.
pub fn restore(dump: Dumped, ground: &Restoring<'_>) -> Result<Plan, DependencyCycle> {
    let layers = ground.spec.start_order()?;
    let of = |service: &ServiceName| {
        let writes = writes(service, ground);
        let running = ground.running.iter().filter(move |_| writes);
        let service = service.clone();
        running.filter(move |detail| detail.summary.service == service)
    };
    let writers: Vec<&ContainerDetail> = layers.iter().flatten().flat_map(of).collect();
    let mut steps = vec![
        Step::RestoreBeside { dump },
        Step::Backup {
            proof: Proof::Restore,
            copy: None,
        },
    ];
    steps.extend(ground.looks.step(When::Restored));
    let last_first = writers.iter().rev();
    steps.extend(last_first.flat_map(|writer| stop_writer(ground.spec, writer)));
    steps.extend([
        Step::CloseDatabase {
            end_foreign: ground.end_foreign,
        },
        Step::TakePlace,
        Step::OpenDatabase,
    ]);
    steps.extend(
        writers
            .iter()
            .flat_map(|writer| start_writer(ground.spec, writer, true)),
    );
    steps.extend(writers.iter().filter_map(|writer| give_back(writer)));
    Ok(Plan::of(steps))
}

fn writes(service: &ServiceName, ground: &Restoring<'_>) -> bool {
    let Some(database) = ground.database else {
        return true;
    };
    let reach = ground.spec.with_dependencies([service]);
    service != database && (ground.migrates == Some(service) || reach.contains(database))
}

#[cfg(test)]
mod tests;
