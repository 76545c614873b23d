//! Laying one file over another, and a service over the one it extends, by Compose's rules:
//! mappings merge, lists are appended, some are merged by a key, some values are replaced.

use std::collections::HashMap;

use super::context::Context;
use super::mounts;
use super::node::{Entry, Map, MergeTag, Node, Scalar, Value};

/// Lays `over` over `base`, both at `path`.
pub(crate) fn merge(cx: &Context<'_>, base: Node, over: Node, path: &[&str]) -> Node {
    if over.tag == MergeTag::Override {
        return over;
    }
    match path {
        ["services", _, "command" | "entrypoint"] | ["services", _, "healthcheck", "test"] => return over,
        // A name without a value says something: take it from outside, or leave it empty.
        [
            "services",
            _,
            "environment" | "labels" | "annotations" | "sysctls",
            _,
        ]
        | ["services", _, "build", "args" | "labels", _]
        | ["services", _, "deploy", "labels", _]
        | ["networks" | "volumes" | "configs" | "secrets", _, "labels", _] => return over,
        ["services", _, "ulimits", _]
            if !matches!((&base.value, &over.value), (Value::Map(_), Value::Map(_))) =>
        {
            return over;
        }
        // A name without a value is one: it takes the value from outside.
        [
            ..,
            "labels" | "annotations" | "sysctls" | "environment" | "args" | "additional_contexts",
            _,
        ] if path.len() > 3 => {
            return over;
        }
        _ => {}
    }
    if matches!(over.value, Value::Null) {
        return base;
    }
    let (base, over) = match path {
        [.., "labels" | "annotations" | "sysctls" | "environment"]
        | ["services", _, "build", "args" | "additional_contexts"] => (as_pairs(base), as_pairs(over)),
        ["services", _, "extra_hosts"] | ["services", _, "build", "extra_hosts"] => {
            (as_hosts(base), as_hosts(over))
        }
        [
            "services",
            _,
            "dns" | "dns_opt" | "dns_search" | "env_file" | "label_file" | "tmpfs",
        ] => (as_list(base), as_list(over)),
        ["services", _, "depends_on" | "networks" | "models"] => (as_keys(base), as_keys(over)),
        ["services", _, "build"] => (as_build(base), as_build(over)),
        ["services", _, "logging"] if !same_driver(&base, &over) => return over,
        ["networks", _, "ipam", "config"] => return merge_pools(cx, base, over, path),
        _ => (base, over),
    };
    let (mark, tag) = (over.mark, base.tag);
    let value = match (base.value, over.value) {
        (Value::Map(base), Value::Map(over)) => Value::Map(merge_maps(cx, base, over, path)),
        (Value::Seq(mut base), Value::Seq(over)) => {
            base.extend(over);
            Value::Seq(base)
        }
        (Value::Scalar(_) | Value::Null, value) => value,
        (Value::Map(_) | Value::Seq(_), value) => {
            let over = Node { mark, tag, value };
            let message = format!(
                "{} cannot be laid over what another file has here",
                over.describe()
            );
            cx.error(mark, &path.join("."), message);
            return over;
        }
    };
    Node { mark, tag, value }
}

fn merge_maps(cx: &Context<'_>, mut base: Map, over: Map, path: &[&str]) -> Map {
    for (key, entry) in over {
        if entry.node.tag == MergeTag::Reset {
            base.remove(&key);
            continue;
        }
        let merged = match base.remove(&key) {
            None => entry,
            Some(old) => {
                let path: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
                Entry {
                    mark: entry.mark,
                    node: merge(cx, old.node, entry.node, &path),
                }
            }
        };
        base.insert(key, merged);
    }
    base
}

/// Takes out what is tagged `!reset` and had nothing below it.
pub(crate) fn prune(node: &mut Node) {
    match &mut node.value {
        Value::Map(map) => {
            map.retain(|_, entry| entry.node.tag != MergeTag::Reset);
            for entry in map.values_mut() {
                prune(&mut entry.node);
            }
        }
        Value::Seq(nodes) => {
            nodes.retain(|node| node.tag != MergeTag::Reset);
            nodes.iter_mut().for_each(prune);
        }
        _ => {}
    }
}

/// `key=value` items as a mapping. An item with variables keeps its own text for each half.
fn as_pairs(node: Node) -> Node {
    let Value::Seq(items) = node.value else {
        return node;
    };
    let mut map = Map::new();
    for item in items {
        let mark = item.mark;
        let Value::Scalar(scalar) = item.value else {
            // Complained about when it is read: kept as it is under a name of its own.
            map.insert(format!("[{}]", map.len()), Entry { mark, node: item });
            continue;
        };
        let (key, value) = match scalar.text.split_once('=') {
            None => (scalar.text.clone(), Value::Null),
            Some((key, text)) => {
                let raw = scalar.raw.as_deref().and_then(|raw| raw.split_once('='));
                let raw = raw
                    .filter(|(raw_key, _)| *raw_key == key)
                    .map(|(_, raw)| raw.to_owned());
                let kind = scalar.kind;
                (
                    key.to_owned(),
                    Value::Scalar(Scalar {
                        text: text.to_owned(),
                        kind,
                        raw,
                    }),
                )
            }
        };
        map.insert(
            key,
            Entry {
                mark,
                node: Node::new(mark, value),
            },
        );
    }
    Node {
        value: Value::Map(map),
        ..node
    }
}

/// A mapping of hosts as a list of `host=address`.
fn as_hosts(node: Node) -> Node {
    let Value::Map(map) = node.value else { return node };
    let mut items = Vec::new();
    for (host, entry) in map {
        let addresses = match entry.node.value {
            Value::Seq(nodes) => nodes,
            _ => vec![entry.node],
        };
        for address in addresses {
            let text = format!("{host}={}", address.str().unwrap_or_default());
            items.push(Node::text(address.mark, text));
        }
    }
    Node {
        value: Value::Seq(items),
        ..node
    }
}

/// One text as a list of one.
fn as_list(node: Node) -> Node {
    match node.value {
        Value::Scalar(scalar) => {
            let item = Node::new(node.mark, Value::Scalar(scalar));
            Node {
                value: Value::Seq(vec![item]),
                ..node
            }
        }
        _ => node,
    }
}

/// A list of names as a mapping from names to nothing.
fn as_keys(node: Node) -> Node {
    let Value::Seq(items) = node.value else {
        return node;
    };
    let mut map = Map::new();
    for item in items {
        if let Some(name) = item.str() {
            map.insert(
                name.to_owned(),
                Entry {
                    mark: item.mark,
                    node: Node::new(item.mark, Value::Null),
                },
            );
        }
    }
    Node {
        value: Value::Map(map),
        ..node
    }
}

/// A build context alone as a mapping.
fn as_build(node: Node) -> Node {
    match node.value {
        Value::Scalar(scalar) => {
            let context = Node::new(node.mark, Value::Scalar(scalar));
            let map = Map::from([(
                "context".to_owned(),
                Entry {
                    mark: node.mark,
                    node: context,
                },
            )]);
            Node {
                value: Value::Map(map),
                ..node
            }
        }
        _ => node,
    }
}

/// Whether both say nothing of the driver, or the same: only then do the options merge.
fn same_driver(base: &Node, over: &Node) -> bool {
    let (base, over) = (
        base.get("driver").and_then(Node::str),
        over.get("driver").and_then(Node::str),
    );
    base == over || base.is_none() || over.is_none()
}

/// Address pools merge by their subnet. A pool of `base` whose subnet `over` does not name is gone,
/// as in Compose.
fn merge_pools(cx: &Context<'_>, base: Node, over: Node, path: &[&str]) -> Node {
    let (Value::Seq(base_pools), Value::Seq(over_pools)) = (base.value, &over.value) else {
        return over;
    };
    let subnet = |node: &Node| node.get("subnet").and_then(Node::str).map(str::to_owned);
    let mut pools: Vec<Node> = Vec::new();
    for pool in over_pools {
        let base = base_pools.iter().find(|base| subnet(base) == subnet(pool));
        let pool = match base.map(|b| b.value.clone()) {
            Some(Value::Map(base)) => match pool.value.clone() {
                Value::Map(over) => Node {
                    value: Value::Map(merge_maps(cx, base, over, path)),
                    ..pool.clone()
                },
                _ => pool.clone(),
            },
            _ => pool.clone(),
        };
        pools.push(pool);
    }
    Node {
        value: Value::Seq(pools),
        ..over
    }
}

/// In lists whose items have an identity, the last item of each stays, at the first one's position.
pub(crate) fn unique(node: &mut Node, path: &mut Vec<String>) {
    if let Value::Map(map) = &mut node.value {
        for (key, entry) in map {
            path.push(key.clone());
            unique(&mut entry.node, path);
            path.pop();
        }
        return;
    }
    let Value::Seq(items) = &mut node.value else {
        return;
    };
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    let Some(identity) = identity(&parts) else { return };
    let mut positions: HashMap<String, usize> = HashMap::new();
    let mut kept: Vec<Node> = Vec::new();
    for item in std::mem::take(items) {
        let Some(key) = identity(&item) else {
            kept.push(item);
            continue;
        };
        if let Some(&position) = positions.get(&key) {
            kept[position] = item;
        } else {
            positions.insert(key, kept.len());
            kept.push(item);
        }
    }
    *items = kept;
}

type Identity = fn(&Node) -> Option<String>;

fn identity(path: &[&str]) -> Option<Identity> {
    Some(match path {
        ["services", _, "volumes"] => |item| target(item, mounts::short_target),
        ["services", _, "devices"] => |item| {
            target(item, |text| {
                text.split(':').nth(1).or(Some(text)).map(str::to_owned)
            })
        },
        ["services", _, "configs"] => |item| grant(item, ""),
        ["services", _, "secrets"] => |item| grant(item, "/run/secrets"),
        ["services", _, "ports"] => port,
        ["services", _, "env_file"] => |item| {
            item.str()
                .or_else(|| item.get("path").and_then(Node::str))
                .map(str::to_owned)
        },
        ["services", _, "expose"] => |item| item.str().map(str::to_owned),
        [
            "services",
            _,
            "environment" | "labels" | "annotations" | "cap_add" | "cap_drop" | "dns" | "dns_opt"
            | "dns_search" | "links" | "profiles" | "sysctls" | "tmpfs",
        ]
        | [
            "services",
            _,
            "build",
            "args" | "additional_contexts" | "tags" | "labels",
        ]
        | ["services", _, "deploy", "labels"]
        | ["services", _, "networks", _, "aliases" | "link_local_ips"]
        | ["networks", _, "labels"] => |item| item.str().map(|s| s.split('=').next().unwrap_or(s).to_owned()),
        ["services", _, "extra_hosts"] | ["services", _, "build", "extra_hosts"] => {
            |item| item.str().map(str::to_owned)
        }
        _ => return None,
    })
}

fn target(item: &Node, short: fn(&str) -> Option<String>) -> Option<String> {
    match item.str() {
        Some(text) => short(text),
        None => item.get("target").and_then(Node::str).map(str::to_owned),
    }
}

fn grant(item: &Node, default: &str) -> Option<String> {
    let at_default = |source: &str| format!("{default}/{source}");
    match item.str() {
        Some(source) => Some(at_default(source)),
        None => match item.get("target").and_then(Node::str) {
            Some(target) => Some(target.to_owned()),
            None => item.get("source").and_then(Node::str).map(at_default),
        },
    }
}

fn port(item: &Node) -> Option<String> {
    if let Some(text) = item.str() {
        return Some(text.to_owned());
    }
    let part = |key, default: &str| item.get(key).and_then(Node::str).unwrap_or(default).to_owned();
    let target = item.get("target").and_then(Node::str)?;
    Some(format!(
        "{}:{}:{target}/{}",
        part("host_ip", "0.0.0.0"),
        part("published", ""),
        part("protocol", "tcp")
    ))
}
