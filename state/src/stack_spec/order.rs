//! In which order services start.

use std::collections::{BTreeMap, BTreeSet};

use super::{ServiceSpec, StackSpec};
use crate::name::ServiceName;

/// Services that wait for each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("these services depend on each other: {}", .0.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(" → "))]
pub struct DependencyCycle(
    /// The circle; its first service comes again at the end.
    pub Vec<ServiceName>,
);

impl StackSpec {
    /// The services in layers: each needs only services of earlier layers. Stopping goes backwards.
    pub fn start_order(&self) -> Result<Vec<Vec<ServiceName>>, DependencyCycle> {
        let mut waiting: BTreeMap<&ServiceName, BTreeSet<&ServiceName>> = self
            .services
            .iter()
            .map(|(name, spec)| {
                let known = spec.dependencies().filter(|d| self.services.contains_key(*d));
                (name, known.collect())
            })
            .collect();
        let mut layers = Vec::new();
        while !waiting.is_empty() {
            let ready: Vec<&ServiceName> = waiting
                .iter()
                .filter(|(_, needs)| needs.is_empty())
                .map(|(name, _)| *name)
                .collect();
            if ready.is_empty() {
                return Err(circle(&waiting));
            }
            for name in &ready {
                waiting.remove(name);
            }
            for needs in waiting.values_mut() {
                needs.retain(|need| !ready.contains(need));
            }
            layers.push(ready.into_iter().cloned().collect());
        }
        Ok(layers)
    }

    /// These services and all that they depend on, however far away.
    pub fn with_dependencies<'a>(
        &'a self,
        services: impl IntoIterator<Item = &'a ServiceName>,
    ) -> BTreeSet<&'a ServiceName> {
        let mut reach = BTreeSet::new();
        let mut next: Vec<&ServiceName> = services.into_iter().collect();
        while let Some(service) = next.pop() {
            if reach.insert(service) {
                let spec = self.services.get(service);
                next.extend(spec.into_iter().flat_map(ServiceSpec::dependencies));
            }
        }
        reach
    }
}

/// One circle in what is left when every remaining service waits for another one.
fn circle(waiting: &BTreeMap<&ServiceName, BTreeSet<&ServiceName>>) -> DependencyCycle {
    let mut path: Vec<&ServiceName> = Vec::new();
    let mut next = waiting.keys().next().copied();
    while let Some(name) = next {
        if let Some(start) = path.iter().position(|seen| *seen == name) {
            let ring = path[start..].iter().copied().chain([name]);
            return DependencyCycle(ring.cloned().collect());
        }
        path.push(name);
        next = waiting.get(name).and_then(|needs| needs.iter().next().copied());
    }
    DependencyCycle(path.into_iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::stack_spec::{Dependency, ServiceSpec};

    fn stack(edges: &[(&str, &[&str])]) -> StackSpec {
        let mut stack = StackSpec::new("shop".parse().unwrap());
        for (name, needs) in edges {
            let spec = ServiceSpec {
                depends_on: needs
                    .iter()
                    .map(|need| {
                        let dependency = Dependency {
                            condition: super::super::Condition::Started,
                            restart: false,
                            required: true,
                        };
                        (need.parse().unwrap(), dependency)
                    })
                    .collect(),
                ..ServiceSpec::default()
            };
            stack.services.insert(name.parse().unwrap(), spec);
        }
        stack
    }

    #[track_caller]
    fn check(edges: &[(&str, &[&str])], expected: &expect_test::Expect) {
        let text = match stack(edges).start_order() {
            Ok(layers) => layers
                .iter()
                .map(|layer| {
                    layer
                        .iter()
                        .map(ServiceName::as_str)
                        .collect::<Vec<_>>()
                        .join(" ")
                })
                .collect::<Vec<_>>()
                .join(" | "),
            Err(cycle) => cycle.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn layers() {
        use expect_test::expect;
        check(&[], &expect![""]);
        check(&[("b", &[]), ("a", &[])], &expect!["a b"]);
        check(
            &[
                ("api", &["db", "redis"]),
                ("web", &["api"]),
                ("db", &[]),
                ("redis", &[]),
            ],
            &expect!["db redis | api | web"],
        );
        check(&[("api", &["outside"])], &expect!["api"]);
        check(
            &[("a", &["a"])],
            &expect!["these services depend on each other: a → a"],
        );
        check(
            &[("a", &["b"]), ("b", &["c"]), ("c", &["b"]), ("d", &[])],
            &expect!["these services depend on each other: b → c → b"],
        );
    }
}
