//! Probes asked in the background, their answers taken in the pass, the verdict, and what follows
//! from it. The verdict itself is `state`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use config::settings::{HttpTarget, ProbeKind, ProbeSettings, TcpTarget};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use state::bug::{self, Bug};
use state::decide::{Judgement, judge};
use state::health::{HealthRecord, Overall, Sample};
use state::hold::{Fact, facts};
use state::name::{ContainerId, ImageId, ProbeName, ServiceName};
use state::observed::{ContainerObs, ContainerState, Known};
use state::operation::judged;
use state::policy::ProbePolicy;
use state::record::{Approval, Change};
use state::release::{Author, GenerationNumber, Verdict};
use state::retention::KEPT_GOOD;
use state::rollback::{Failure, Retreat, again, is_unfinished, retreat};
use state::stack_spec::{HealthcheckTest, StackSpec};
use state::time::Moment;

use super::{Stack, Stop};
use crate::probe::{ServiceView, address_of};

/// So many deaths within one trial are a crash loop: a fact that no waiting changes.
const CRASH_LOOP: u32 = 3;
/// How often the health record is made durable while only its spans grow.
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// How long what is known of the schema and of rollback targets is good for.
pub(super) const STALE: Duration = Duration::from_secs(30);

/// The answer of one probe, on its way into the loop.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The probe.
    pub probe: ProbeName,
    /// What it said.
    pub sample: Sample,
    /// When it was asked.
    pub at: Moment,
    /// How long the answer took; only shown.
    pub took: Duration,
    /// The generation that it was asked about; an answer about another one is worth nothing.
    pub generation: Option<GenerationNumber>,
}

impl Stack {
    /// The probes of a stack: those that are configured, and for every service without one its
    /// HEALTHCHECK, or that its containers run.
    pub(super) fn probes_of(&self, spec: &StackSpec) -> Vec<ProbeSettings> {
        let mut probes: Vec<ProbeSettings> = self
            .settings
            .probes
            .iter()
            .filter(|p| spec.services.contains_key(&p.policy.service))
            .cloned()
            .collect();
        let interval = probes.iter().map(|p| p.policy.interval).min();
        let watched: BTreeSet<ServiceName> = probes.iter().map(|p| p.policy.service.clone()).collect();
        for (name, service) in &spec.services {
            if watched.contains(name) || spec.is_one_shot(name) || service.replicas() == 0 {
                continue;
            }
            let Ok(probe) = format!("service-{name}").parse() else {
                continue;
            };
            let mut policy = ProbePolicy::new(probe, name.clone());
            if let Some(interval) = interval {
                policy.interval = interval;
                policy.timeout = policy.timeout.min(interval);
            }
            let check = service
                .healthcheck
                .as_ref()
                .is_some_and(|h| h.test != HealthcheckTest::Disabled);
            let kind = if check {
                ProbeKind::Healthcheck
            } else {
                ProbeKind::Container
            };
            probes.push(ProbeSettings { policy, kind });
        }
        probes
    }

    /// Takes one answer; `true` where it says something new, so that a pass is worth its while.
    pub fn answered(&mut self, answer: Answered) -> bool {
        self.asking.remove(&answer.probe);
        if answer.generation != self.record.current {
            return false;
        }
        let Some(policy) = self.policies.iter().find(|p| p.name == answer.probe) else {
            return false;
        };
        if let Sample::Fail(why) = &answer.sample {
            tracing::debug!(stack = %self.settings.name, probe = %answer.probe, "{why}");
            self.addresses.clear();
        }
        match &answer.sample {
            Sample::Pass | Sample::Fail(_) => self.latencies.insert(answer.probe.clone(), answer.took),
            Sample::Unknown(_) | Sample::Starting(_) => self.latencies.remove(&answer.probe),
        };
        let recent = self.recent.entry(answer.probe.clone()).or_default();
        recent.take(&answer.sample, &answer.at, answer.took, answer.generation);
        let now = self.now();
        let said = |record: &HealthRecord| {
            let probe = record.probes.get(&answer.probe)?;
            let last = probe
                .last
                .as_ref()
                .map(|(_, sample)| std::mem::discriminant(sample));
            // One that is heard again after a silence is news, though it says the same.
            Some((probe.phase, last, probe.is_silent(policy, &now)))
        };
        let before = said(&self.record.health);
        self.record.health.take(policy, answer.sample, &answer.at);
        said(&self.record.health) != before
    }

    /// Counts observed time, and makes the record durable now and then.
    pub(super) fn take_health(&mut self) -> Result<(), Stop> {
        if self.record.current().is_none_or(|g| g.applied.is_none()) {
            return Ok(());
        }
        let now = self.now();
        let failing = self.record.health.failing_since.is_some();
        let policies = Arc::clone(&self.policies);
        self.record.health.count(&policies, &now);
        let flipped = failing != self.record.health.failing_since.is_some();
        let stale = self
            .saved
            .as_ref()
            .and_then(|at| now.since(at))
            .is_none_or(|age| age >= SAVE_EVERY);
        // Once a generation is good, only a failure is worth a write.
        let counts = failing || self.record.current().is_some_and(|g| g.verdict == Verdict::Trial);
        if flipped || (stale && counts) {
            let health = Box::new(self.record.health.clone());
            self.saved = Some(now);
            self.commit(&[Change::Health(health)])?;
        }
        Ok(())
    }

    /// Whether there is something that runs and can be asked about.
    pub(super) fn asks(&self) -> bool {
        self.record.current().is_some_and(|g| g.applied.is_some()) && self.engine_info.known().is_some()
    }

    /// Asks every probe that is due, without waiting for the answers.
    pub async fn ask_due(&mut self) {
        if !self.asks() {
            return;
        }
        let now = self.now();
        let all = Arc::clone(&self.probes);
        for (index, probe) in all.iter().enumerate() {
            let name = probe.policy.name.clone();
            if self.asking.contains(&name) || !self.until_due(probe, &now).is_zero() {
                continue;
            }
            self.asked.insert(name.clone(), now.clone());
            self.asking.insert(name.clone());
            let service = &probe.policy.service;
            let containers: Vec<ContainerObs> = self
                .seen
                .iter()
                .filter(|c| c.service == *service && !c.oneoff)
                .cloned()
                .collect();
            let addresses = self.addresses_for(probe, &containers).await;
            let uptime = containers
                .iter()
                .filter_map(|c| self.running_since.get(&c.id).and_then(|at| now.since(at)))
                .min();
            let one_shot = self.wanted.as_ref().is_some_and(|w| w.spec.is_one_shot(service));
            let (prober, clock) = (Arc::clone(&self.edges.prober), Arc::clone(&self.edges.clock));
            let samples = self.inbox.for_answers();
            let (at, generation) = (now.clone(), self.record.current);
            let all = Arc::clone(&all);
            tokio::spawn(async move {
                let view = ServiceView {
                    containers: Known::Known(&containers),
                    addresses: &addresses,
                    one_shot,
                    uptime,
                };
                let sample = prober.probe(&all[index], &view).await;
                // The loop is gone when the daemon stops: nobody wants the answer then.
                let _ = samples.send(Answered {
                    probe: name,
                    sample,
                    took: clock.now().since_or_wall(&at),
                    at,
                    generation,
                });
            });
        }
    }

    async fn addresses_for(
        &mut self,
        probe: &ProbeSettings,
        containers: &[ContainerObs],
    ) -> BTreeMap<ContainerId, IpAddr> {
        let by_port = matches!(
            &probe.kind,
            ProbeKind::Http {
                target: HttpTarget::Container { .. },
                ..
            } | ProbeKind::Tcp {
                target: TcpTarget::Container { .. }
            }
        );
        let mut addresses = BTreeMap::new();
        if by_port {
            for container in containers.iter().filter(|c| c.state.is_running()) {
                if let Some(address) = self.address(&container.id).await {
                    addresses.insert(container.id.clone(), address);
                }
            }
        }
        addresses
    }

    pub(super) async fn address(&mut self, id: &ContainerId) -> Option<IpAddr> {
        if let Some(address) = self.addresses.get(id) {
            return Some(*address);
        }
        let detail = self.edges.engine.container(id.as_str()).await.ok()??;
        let address = address_of(&detail)?;
        self.addresses.insert(id.clone(), address);
        Some(address)
    }

    /// Which good generations could be restored now: their images here, their content whole.
    pub(super) async fn check_availability(&mut self) -> Result<(), Stop> {
        let now = self.now();
        let kept = self.record.good().take(KEPT_GOOD);
        let numbers: BTreeSet<GenerationNumber> = kept.map(|g| g.number).collect();
        let known: BTreeSet<GenerationNumber> = self.available.keys().copied().collect();
        let fresh = self
            .available_at
            .as_ref()
            .and_then(|at| now.since(at))
            .is_some_and(|age| age < STALE);
        if fresh && numbers == known {
            return Ok(());
        }
        self.refresh_availability().await
    }

    pub(super) async fn refresh_availability(&mut self) -> Result<(), Stop> {
        self.available_at = Some(self.now());
        let mut available = BTreeMap::new();
        let good: Vec<_> = self.record.good().take(KEPT_GOOD).cloned().collect();
        let images = good.iter().flat_map(|g| g.release.images.values().cloned());
        let gone = self.gone(images.collect()).await?;
        let mut whole = BTreeSet::new();
        for generation in &good {
            let mut verdict = Ok(());
            for (service, image) in &generation.release.images {
                if gone.contains(image) {
                    verdict = Err(format!(
                        "the image {} of {service} is gone from this host",
                        image.short()
                    ));
                }
            }
            let files = generation.files.values().filter_map(|file| file.content.as_ref());
            for content in [&generation.spec].into_iter().chain(files) {
                if whole.contains(content) {
                    continue;
                }
                match self.edges.store.object(content) {
                    Ok(Some(_)) => drop(whole.insert(content.clone())),
                    Ok(None) => verdict = Err(String::from("its content is gone from the state directory")),
                    Err(error) => verdict = Err(error.to_string()),
                }
            }
            let verdict = verdict.and_then(|()| self.can_be_put(&generation.files));
            available.insert(generation.number, verdict);
        }
        self.available = available;
        Ok(())
    }

    /// Those of `images` that are not on this host.
    async fn gone(&self, images: BTreeSet<ImageId>) -> Result<BTreeSet<ImageId>, Stop> {
        let looked = images.into_iter().map(|image| {
            let engine = Arc::clone(&self.edges.engine);
            async move { Ok::<_, Stop>((engine.image(image.as_str()).await?, image)) }
        });
        let looked: Vec<_> = looked.collect();
        let mut all = stream::iter(looked).buffered(super::AT_ONCE);
        let mut gone = BTreeSet::new();
        while let Some((there, image)) = all.try_next().await? {
            if there.is_none() && !bug::is(Bug::TargetIsNotThere) {
                gone.insert(image);
            }
        }
        Ok(gone)
    }

    /// Services that die again and again, while the generation is on trial.
    fn crash_loop(&self) -> Option<(ServiceName, String)> {
        let restarted = self.seen.iter().find_map(|c| {
            // What it went through before this trial is not this release's doing.
            let before = self.restarts_before.get(&c.id).copied().unwrap_or(0);
            let restarts = c.restarts?.checked_sub(before).filter(|n| *n >= CRASH_LOOP)?;
            matches!(c.state, ContainerState::Restarting | ContainerState::Running(_)).then(|| {
                (
                    c.service.clone(),
                    format!("crashes again and again ({restarts} restarts)"),
                )
            })
        });
        restarted.or_else(|| {
            self.healing.iter().find_map(|((service, _), healing)| {
                (healing.tries > CRASH_LOOP).then(|| {
                    (
                        service.clone(),
                        format!("died {} times after it was healed", healing.tries - 1),
                    )
                })
            })
        })
    }

    /// Judges what runs, and acts on the verdict.
    pub(super) async fn judge(&mut self) -> Result<(), Stop> {
        if self.record.operation.is_some() {
            return Ok(());
        }
        let policies = Arc::clone(&self.policies);
        let overall = self.record.health.overall(&policies, &self.now());
        let crash = self.crash_loop();
        self.end_hold(&overall, crash.is_some())?;
        if self.unfinished_rollback().await? {
            return Ok(());
        }
        self.hold_where_the_schema_was_moved().await?;
        let now = self.now();
        match judge(&self.record, &overall, &self.settings.trial, crash.as_ref()) {
            Judgement::Open => {
                let proven = self.record.current().is_some_and(|g| g.verdict == Verdict::Good);
                if let (Overall::Undecided(why), true) = (&overall, proven) {
                    self.waits.push(format!("an answer about health: {why}"));
                }
                if let Overall::Failing { probes, .. } = &overall
                    && self.record.health.failing_for() > self.settings.trial.window
                {
                    let names: Vec<&str> = probes.iter().map(|(name, ..)| name.as_str()).collect();
                    self.waits.push(format!(
                        "the next answer of {}: the window is over, and it did not fail when it was last asked",
                        names.join(", ")
                    ));
                }
                self.remember_schema(&overall)?;
                self.recovered(&overall)
            }
            Judgement::Good(why) => self.proven(&why, &now).await,
            Judgement::Unclear(why) => self.hold(
                &why,
                "look at the host and the probes; then `steadfast retry` or `steadfast rollback`",
                [Fact::Proven].into(),
            ),
            Judgement::Bad {
                why,
                services,
                severity,
                ..
            } => self.failed(&why, &services, severity, &now).await,
        }
    }

    /// A hold whose reason is gone ends.
    fn end_hold(&mut self, overall: &Overall, crash: bool) -> Result<(), Stop> {
        let facts = facts(
            &self.record,
            overall,
            self.settings.trial.good_after,
            crash,
            &self.available,
            self.schema.as_ref(),
        );
        match &self.record.hold {
            Some(hold) if hold.is_over(&facts) && !bug::is(Bug::HoldOutlivesItsReason) => {
                tracing::info!(stack = %self.settings.name, "no longer held: {}", hold.why);
                self.commit(&[Change::Hold(None)])
            }
            _ => Ok(()),
        }
    }

    async fn proven(&mut self, why: &str, now: &Moment) -> Result<(), Stop> {
        let Some(current) = self.record.current().cloned() else {
            return Ok(());
        };
        self.see_schema_anew(now).await;
        let mut changes = vec![judged(&current, Verdict::Good, now, why)];
        if let Some(Known::Known(head)) = &self.schema {
            changes.push(Change::Schema(current.number, head.clone()));
        }
        tracing::info!(stack = %self.settings.name, "generation {} is good: {why}", current.number);
        self.commit(&changes)
    }

    /// A good generation whose schema could not be seen when it was proven.
    fn remember_schema(&mut self, overall: &Overall) -> Result<(), Stop> {
        let Some(current) = self.record.current() else {
            return Ok(());
        };
        let open = current.verdict == Verdict::Good && current.schema.is_none();
        match &self.schema {
            Some(Known::Known(head)) if open && *overall == Overall::Healthy => {
                let change = Change::Schema(current.number, head.clone());
                self.commit(&[change])
            }
            _ => Ok(()),
        }
    }

    /// A consent that was asked for is moot when the failure is over: after so much health as proves a release, so
    /// that of a service that comes and goes a person is asked once.
    fn recovered(&mut self, overall: &Overall) -> Result<(), Stop> {
        let proves = self.settings.trial.good_after;
        let is_over = *overall == Overall::Healthy && self.record.health.healthy_for() >= proves;
        let asks = self
            .record
            .approval
            .as_ref()
            .is_some_and(|approval| matches!(approval.ask, state::record::Ask::Rollback { .. }));
        if asks && is_over {
            return self.commit(&[Change::Approval(None)]);
        }
        Ok(())
    }

    /// What to do about a failure, from what is known now.
    fn choice(
        &mut self,
        services: &[ServiceName],
        severity: state::policy::Severity,
        now: &Moment,
    ) -> Result<Option<Retreat>, Stop> {
        let wanted = self.wanted()?;
        Ok(wanted.map(|wanted| {
            retreat(&Failure {
                record: &self.record,
                spec: &wanted.spec,
                services,
                available: &self.available,
                schema: self.schema.as_ref(),
                tool: self.tool(),
                trial: &self.settings.trial,
                row: self.matrix.row(severity),
                now,
            })
        }))
    }

    /// Whether the agent would go back by itself if nothing else were under way, and why.
    pub(super) fn would_go_back(&mut self) -> Result<Option<String>, Stop> {
        if self.record.hold.is_some() || self.is_paused() || self.is_let_go() || self.backing_off() {
            return Ok(None);
        }
        let policies = Arc::clone(&self.policies);
        let overall = self.record.health.overall(&policies, &self.now());
        let crash = self.crash_loop();
        let Judgement::Bad {
            why,
            services,
            severity,
            ..
        } = judge(&self.record, &overall, &self.settings.trial, crash.as_ref())
        else {
            return Ok(None);
        };
        let now = self.now();
        let choice = self.choice(&services, severity, &now)?;
        Ok(matches!(choice, Some(Retreat::To { .. })).then_some(why))
    }

    async fn failed(
        &mut self,
        why: &str,
        services: &[ServiceName],
        severity: state::policy::Severity,
        now: &Moment,
    ) -> Result<(), Stop> {
        if self.record.hold.is_some() || self.backing_off() {
            return Ok(());
        }
        self.refresh_availability().await?;
        self.see_schema_anew(now).await;
        let Some(choice) = self.choice(services, severity, now)? else {
            return Ok(());
        };
        match choice {
            Retreat::To { target, blame } => self.go_back(target, blame, Author::Agent, why).await,
            Retreat::Ask { ask, detail } => {
                let Some(request) = self.record.request.as_ref().map(state::release::Request::id) else {
                    return Ok(());
                };
                let approval = Approval {
                    ask,
                    request,
                    asked: now.clone(),
                    detail,
                    answer: None,
                };
                tracing::warn!(stack = %self.settings.name, "{why}; an approval is needed for the rollback");
                self.waits.push(self.an_approval());
                self.commit(&[Change::Approval(Some(Box::new(approval)))])
            }
            Retreat::Wait(what) => {
                self.waits.push(what);
                Ok(())
            }
            Retreat::Hold {
                why: because,
                way_out,
                until,
            } => self.hold(&format!("{why}; {because}"), &way_out, until),
            Retreat::Report => {
                self.waits.push(format!("a fix forward ({severity}): {why}"));
                Ok(())
            }
        }
    }

    /// A rollback that was taken back for a reason that may pass is tried again.
    pub(super) async fn unfinished_rollback(&mut self) -> Result<bool, Stop> {
        let Some(current) = self.record.current().cloned() else {
            return Ok(false);
        };
        if !is_unfinished(&self.record) {
            return Ok(false);
        }
        if self.record.hold.is_some() {
            self.offer_backup().await?;
        }
        if self.record.hold.is_some() {
            return Ok(false);
        }
        if self.backing_off() || self.go_back_to_backup().await? {
            return Ok(true);
        }
        self.refresh_availability().await?;
        self.schema_at = None;
        let now = self.now();
        self.see_schema(&now).await;
        match again(&self.record, &self.available, self.schema.as_ref(), self.tool()) {
            Retreat::To { target, blame } => {
                self.go_back(target, blame, Author::Agent, &current.why).await?;
            }
            Retreat::Hold { why, way_out, until } => self.hold(&why, &way_out, until)?,
            Retreat::Wait(what) => self.waits.push(what),
            Retreat::Ask { .. } | Retreat::Report => {}
        }
        Ok(true)
    }
}
