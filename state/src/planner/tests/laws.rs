//! What holds of every plan, for any stack and any state that it may be found in.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::case::{listen, on_data};
use super::world::{Container, World, is_alone, networks_of};
use crate::drift::Wanted;
use crate::fixture::{container, depend, image, service, stack};
use crate::journal::Kind;
use crate::name::{ContainerId, ServiceName};
use crate::naming::{Dialect, aside, container_name};
use crate::observed::ContainerState;
use crate::plan::Plan;
use crate::release::GenerationNumber;
use crate::stack_spec::{
    Attachment, Condition, Deploy, Healthcheck, NamespaceMode, NetworkSpec, Networking, RestartPolicy,
    ServiceSpec, StackSpec, UpdateConfig, UpdateOrder,
};
use crate::step::{Step, Target};

const SERVICES: [&str; 4] = ["db", "redis", "api", "web"];
/// A name of the operator's own, which may wander from one service to another.
const PET: &str = "pet";

/// Throws that were made beforehand, so that a failing case shrinks.
struct Dice<'a>(std::slice::Iter<'a, u8>);

impl Dice<'_> {
    fn below(&mut self, n: u8) -> u8 {
        self.0.next().copied().unwrap_or(0) % n
    }

    /// One time in `n`.
    fn one_in(&mut self, n: u8) -> bool {
        self.below(n) == n - 1
    }
}

fn any_service(dice: &mut Dice<'_>, index: usize) -> ServiceSpec {
    let mut spec = ServiceSpec::default();
    for need in &SERVICES[..index] {
        let conditions = [
            Condition::Started,
            Condition::Healthy,
            Condition::CompletedSuccessfully,
        ];
        if dice.one_in(3) {
            depend(&mut spec, need, conditions[usize::from(dice.below(3))]);
        }
    }
    let attachment = Attachment {
        ipv4_address: dice.one_in(4).then(|| String::from("10.0.0.7")),
        ..Attachment::default()
    };
    spec.networking = Networking::Networks(BTreeMap::from([(String::from("default"), attachment)]));
    if index > 0 && dice.one_in(4) {
        let host = SERVICES[usize::from(dice.below(u8::try_from(index).unwrap()))];
        depend(&mut spec, host, Condition::Started);
        spec.networking = Networking::Mode(NamespaceMode::Service(service(host)));
    }
    if dice.one_in(3) {
        on_data(&mut spec);
    }
    if dice.one_in(3) {
        listen(&mut spec);
    }
    spec.healthcheck = dice.one_in(2).then(Healthcheck::default);
    let policies = [
        RestartPolicy::No,
        RestartPolicy::Always,
        RestartPolicy::UnlessStopped,
    ];
    spec.restart = Some(policies[usize::from(dice.below(3))]);
    let config = UpdateConfig {
        order: dice.one_in(2).then_some(UpdateOrder::StartFirst),
        ..UpdateConfig::default()
    };
    spec.deploy = Some(Deploy {
        replicas: Some(1 + u32::from(dice.below(2))),
        update_config: Some(config),
        ..Deploy::default()
    });
    spec
}

fn any_wanted(dice: &mut Dice<'_>) -> Wanted {
    let mut spec = stack(&[]);
    let network = NetworkSpec {
        name: String::from("shop_default"),
        ..NetworkSpec::default()
    };
    spec.networks.insert(String::from("default"), network);
    let owner = usize::from(dice.below(8));
    for (index, name) in SERVICES.iter().enumerate() {
        let mut one = any_service(dice, index);
        if owner == index {
            one.container_name = Some(String::from(PET));
            if let Some(deploy) = &mut one.deploy {
                deploy.replicas = Some(1);
            }
        }
        spec.services.insert(service(name), one);
    }
    allow_completion(&mut spec);
    let names = || spec.services.keys().cloned();
    Wanted {
        generation: GenerationNumber(2),
        hashes: names().map(|name| (name, String::from("new"))).collect(),
        images: names().map(|name| (name, image(2))).collect(),
        spec: spec.into(),
        files: BTreeMap::new(),
    }
}

/// Only what is not restarted, and nobody lives in, can be waited for to complete.
fn allow_completion(stack: &mut StackSpec) {
    let lived_in: BTreeSet<ServiceName> = stack
        .services
        .values()
        .flat_map(|spec| crate::drift::hosts(spec).cloned())
        .collect();
    let lasts: BTreeSet<ServiceName> = stack
        .services
        .iter()
        .filter(|(name, spec)| spec.restart_policy() != RestartPolicy::No || lived_in.contains(*name))
        .map(|(name, _)| name.clone())
        .collect();
    for (on, need) in stack.services.values_mut().flat_map(|spec| &mut spec.depends_on) {
        if lasts.contains(on) && need.condition == Condition::CompletedSuccessfully {
            need.condition = Condition::Started;
        }
    }
}

/// What the stack is found as: right, stopped, of another release, half-replaced, or not there.
fn any_world(dice: &mut Dice<'_>, wanted: &Wanted) -> World {
    let mut world = World {
        containers: BTreeMap::new(),
        networks: BTreeSet::new(),
    };
    if dice.one_in(2) {
        world.networks.insert(String::from("shop_default"));
    }
    let (gone_name, gone) = (
        service("gone"),
        ServiceSpec {
            restart: Some(RestartPolicy::Always),
            ..ServiceSpec::default()
        },
    );
    let there = wanted.spec.services.iter();
    for (name, spec) in there.chain([(&gone_name, &gone)]) {
        for number in 1..=3 {
            for second in [false, true] {
                let state = match dice.below(4) {
                    0 if !second => ContainerState::Running(None),
                    1 => ContainerState::Exited(Some(1)),
                    2 => ContainerState::Created,
                    _ => continue,
                };
                let right = container_name(&wanted.spec.project, name, spec, number, Dialect::Hyphen);
                let pet = dice.one_in(4).then(|| String::from(PET));
                let other = pet.unwrap_or_else(|| format!("shop-{name}-{number}"));
                let (name_of, hash) = match dice.below(3) {
                    _ if second => (aside(&right, 5), "new"),
                    0 => (right, "new"),
                    _ => (other, "old"),
                };
                let host = crate::drift::hosts(spec).next();
                let container_id = container(world.containers.len() as u64 + 1);
                let home = host.and_then(|host| {
                    let mut all = world.containers.iter();
                    all.find(|(_, c)| c.service == *host && c.number == 1 && c.state.is_running())
                        .map(|(id, _)| id.clone())
                });
                let homeless = host.is_some() && home.is_none();
                if homeless || world.containers.values().any(|c| c.name == name_of) {
                    continue;
                }
                let made = Container {
                    name: name_of,
                    service: name.clone(),
                    number,
                    image: image(if hash == "new" { 2 } else { 1 }),
                    hash: hash.to_owned(),
                    state,
                    networks: if second {
                        BTreeSet::new()
                    } else {
                        networks_of(wanted, spec)
                    },
                    restart: if second {
                        RestartPolicy::No
                    } else {
                        spec.restart_policy()
                    },
                    alone: is_alone(spec),
                    lives_in: home,
                };
                world.containers.insert(container_id, made);
            }
        }
    }
    homes_of_before(dice, &mut world);
    world
}

/// Containers of before may live in each other as no file says any more.
fn homes_of_before(dice: &mut Dice<'_>, world: &mut World) {
    let ids: Vec<ContainerId> = world.containers.keys().cloned().collect();
    for id in &ids {
        let lodger = &world.containers[id];
        if lodger.hash != "old" || lodger.lives_in.is_some() || !dice.one_in(3) {
            continue;
        }
        let runs = |home: &&ContainerId| world.containers[*home].state.is_running();
        // Nobody lives in who lives in them.
        let homes = ids
            .iter()
            .filter(runs)
            .filter(|home| !chain(world, home).contains(id));
        let homes: Vec<ContainerId> = homes.cloned().collect();
        let nth = dice.below(u8::try_from(homes.len()).unwrap().max(1));
        if let Some(home) = homes.get(usize::from(nth)) {
            let lodger = world.containers.get_mut(id).unwrap();
            lodger.lives_in = Some(home.clone());
            lodger.networks.clear();
        }
    }
}

/// A container, that in which it lives, and so on.
fn chain(world: &World, of: &ContainerId) -> Vec<ContainerId> {
    let next = |id: &ContainerId| world.containers[id].lives_in.clone();
    std::iter::successors(Some(of.clone()), next).collect()
}

fn any_case(throws: &[u8]) -> (Wanted, World, Plan) {
    let mut dice = Dice(throws.iter());
    let wanted = any_wanted(&mut dice);
    let world = any_world(&mut dice, &wanted);
    let kinds = [Kind::Deploy, Kind::Heal, Kind::Rollback];
    let plan = world.plan(&wanted, kinds[usize::from(dice.below(3))]).unwrap();
    (wanted, world, plan)
}

/// Runs `steps`; what an engine refuses fails the test.
fn run_all<'a>(world: &mut World, steps: impl IntoIterator<Item = &'a Step>, wanted: &Wanted) {
    for step in steps {
        if let Err(error) = world.run(step, wanted) {
            panic!("{error}\n{}", world.picture());
        }
    }
}

fn throws() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_whole_plan_leaves_no_drift_and_the_right_names(throws in throws()) {
        let (wanted, mut world, plan) = any_case(&throws);
        run_all(&mut world, &plan.steps, &wanted);
        prop_assert_eq!(world.drift(&wanted), Vec::new(), "{}", plan);
        for (id, c) in &world.containers {
            let spec = &wanted.spec.services[&c.service];
            let name = container_name(&wanted.spec.project, &c.service, spec, c.number, Dialect::Hyphen);
            prop_assert_eq!(&c.name, &name);
            prop_assert_eq!(c.restart, spec.restart_policy(), "{}", name);
            prop_assert_eq!(&c.networks, &networks_of(&wanted, spec), "{}", name);
            if let Some(home) = &c.lives_in {
                prop_assert!(world.containers.contains_key(home), "{} of {} lives nowhere", id, name);
            }
        }
        // Nothing is left to do, and nothing is done twice.
        let again = world.plan(&wanted, Kind::Heal).unwrap();
        prop_assert_eq!(again.steps, Vec::new());
    }

    #[test]
    fn every_step_may_be_done_twice(throws in throws()) {
        let (wanted, mut world, plan) = any_case(&throws);
        for step in &plan.steps {
            run_all(&mut world, [step], &wanted);
            let once = world.clone();
            run_all(&mut world, [step], &wanted);
            prop_assert_eq!(&once, &world, "{}", step);
        }
    }

    /// From every step up to the first that is final, whether it took effect or not.
    #[test]
    fn every_prefix_can_be_taken_back(throws in throws()) {
        let (wanted, start, plan) = any_case(&throws);
        let first_final = plan.steps.iter().position(Step::is_final);
        for failed in 0..first_final.unwrap_or(plan.steps.len()) {
            for took_effect in [false, true] {
                let mut world = start.clone();
                let done = if took_effect { failed + 1 } else { failed };
                run_all(&mut world, &plan.steps[..done], &wanted);
                for undo in plan.steps[..=failed].iter().rev().filter_map(Step::undo) {
                    run_all(&mut world, [&undo, &undo], &wanted);
                }
                prop_assert_eq!(
                    world.picture(), start.picture(), "step {} of\n{}", failed + 1, plan
                );
            }
        }
    }

    #[test]
    fn nothing_stops_that_could_come_back_and_nothing_goes_before_the_new_has_stood(throws in throws()) {
        let (wanted, mut world, plan) = any_case(&throws);
        let stood = plan.steps.iter().rposition(|s| matches!(s, Step::Await { .. } | Step::Watch { .. }));
        for (index, step) in plan.steps.iter().enumerate() {
            if let Step::Stop { target: Target::Existing(id), .. } = step {
                prop_assert_eq!(world.containers[id].restart, RestartPolicy::No, "{}", plan);
            }
            if let Step::Remove { target } = step {
                prop_assert!(matches!(target, Target::Existing(_)));
                prop_assert!(stood.is_none_or(|stood| stood < index), "{}", plan);
            }
            run_all(&mut world, [step], &wanted);
        }
    }
}
