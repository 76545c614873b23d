//! YAML text → [`Node`]: anchors and merge keys resolved, duplicate keys refused, and everything
//! that could grow without bound is bounded.

use std::collections::{BTreeMap, HashMap};

use granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::fields::join;
use super::node::{Entry, Kind, Map, Mark, MergeTag, Node, Scalar, Value};
use super::scalar;

/// Nodes that a file may have after aliases were copied in. Compose's own limit.
const MAX_NODES: usize = 100_000;
/// Levels that a file may have after aliases were copied in.
const MAX_DEPTH: usize = 64;
/// Bytes that a key may have.
const MAX_KEY: usize = 512;
/// Bytes of text that aliases may copy.
const MAX_COPIED: usize = 16 << 20;

/// What is wrong with the text, at a mark.
#[derive(Debug)]
pub(crate) struct YamlError {
    /// Where.
    pub mark: Mark,
    /// The path of the key, as far as it is known.
    pub path: String,
    /// What, lower case.
    pub message: String,
    /// A way out.
    pub hint: Option<&'static str>,
}

impl YamlError {
    fn new(mark: Mark, message: impl Into<String>) -> Self {
        Self {
            mark,
            path: String::new(),
            message: message.into(),
            hint: None,
        }
    }
}

/// The name of the alias at a line and column, if one stands there: the parser has no words for one
/// without an anchor.
fn alias_at(text: &str, line: usize, column: usize) -> Option<&str> {
    let line = text.lines().nth(line.checked_sub(1)?)?;
    let start = line.char_indices().nth(column)?.0;
    let name = line[start..].strip_prefix('*')?;
    let end = name.find(|c: char| c.is_whitespace() || ",[]{}".contains(c));
    Some(&name[..end.unwrap_or(name.len())])
}

/// The one document of `text`, which is file number `file`. An empty text is `Null`.
/// Errors after which reading could go on (duplicate keys, unknown tags) are put into `errors`.
pub(crate) fn parse(file: usize, text: &str, errors: &mut Vec<YamlError>) -> Result<Node, YamlError> {
    let mut builder = Builder {
        file,
        errors,
        anchors: HashMap::new(),
        nodes: 0,
        copied: 0,
        stack: Vec::new(),
    };
    let mut options = granit_parser::options! {
        block_nesting_limit: MAX_DEPTH, flow_nesting_limit: MAX_DEPTH, emit_unresolved_aliases: true
    };
    options.set_emit_comments(false);
    let mut root = None;
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| {
            let marker = error.marker();
            let mark = mark(file, marker.line(), marker.col());
            if let Some(alias) = alias_at(text, marker.line(), marker.col()) {
                return YamlError::new(
                    mark,
                    format!("the alias \"*{alias}\" has no anchor \"&{alias}\" before it"),
                );
            }
            let mut found = YamlError::new(mark, format!("this is not YAML: {}", error.info()));
            if text.contains('\t') && error.info().contains("tab") {
                found.hint = Some("indent with spaces");
            }
            found
        })?;
        if matches!(event, Event::DocumentStart(..)) && root.is_some() {
            let at = builder.mark(&span);
            return Err(YamlError::new(
                at,
                "a Compose file is one YAML document, here a second one begins",
            ));
        }
        if let Some(node) = builder.event(event, &span)? {
            root = Some(node);
        }
    }
    Ok(root.unwrap_or_else(|| Node::new(mark(file, 1, 0), Value::Null)))
}

fn mark(file: usize, line: usize, column: usize) -> Mark {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Mark {
        file,
        line: narrow(line.max(1)),
        column: narrow(column.saturating_add(1)),
    }
}

/// A collection that is not closed yet.
struct Open {
    mark: Mark,
    tag: MergeTag,
    anchor: usize,
    content: Content,
}

enum Content {
    Seq(Vec<Node>),
    Map {
        map: Map,
        merges: Vec<Node>,
        key: Option<(String, Mark)>,
    },
}

/// A node that aliases may refer to, and what a copy of it costs.
struct Anchor {
    node: Node,
    cost: Cost,
}

#[derive(Clone, Copy, Default)]
struct Cost {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

struct Builder<'e> {
    file: usize,
    errors: &'e mut Vec<YamlError>,
    anchors: HashMap<usize, Anchor>,
    nodes: usize,
    copied: usize,
    stack: Vec<Open>,
}

impl Builder<'_> {
    /// The path of the value that is being read, or of `key` in the mapping that is.
    fn path(&self, key: &str) -> String {
        let mut path = String::new();
        for open in &self.stack {
            match &open.content {
                Content::Seq(nodes) => path = format!("{path}[{}]", nodes.len()),
                Content::Map {
                    key: Some((key, _)), ..
                } => path = join(&path, key),
                Content::Map { .. } => {}
            }
        }
        if key.is_empty() { path } else { join(&path, key) }
    }

    /// Notes an error after which reading goes on.
    fn complain(&mut self, mark: Mark, key: &str, message: impl Into<String>, hint: Option<&'static str>) {
        let path = self.path(key);
        self.errors.push(YamlError {
            mark,
            path,
            message: message.into(),
            hint,
        });
    }

    fn mark(&self, span: &Span) -> Mark {
        mark(self.file, span.start.line(), span.start.col())
    }

    /// Takes one event; the root when it is complete.
    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<Option<Node>, YamlError> {
        let at = self.mark(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_deref();
                let value = self.scalar(&text, style, tag, at);
                let node = Node {
                    mark: at,
                    tag: self.merge_tag(tag, at),
                    value,
                };
                self.complete(node, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(at, anchor, tag.as_deref(), Content::Seq(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                let content = Content::Map {
                    map: BTreeMap::new(),
                    merges: Vec::new(),
                    key: None,
                };
                self.open(at, anchor, tag.as_deref(), content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::UnresolvedAlias(name) => {
                let message = format!("there is no anchor \"&{name}\" before this alias");
                self.complain(at, "", message, None);
                self.complete(Node::new(at, Value::Null), 0)
            }
            Event::Alias(id) => {
                let node = self.copy(id, at)?;
                self.complete(node, 0)
            }
            _ => Ok(None),
        }
    }

    fn open(
        &mut self,
        mark: Mark,
        anchor: usize,
        tag: Option<&Tag>,
        content: Content,
    ) -> Result<Option<Node>, YamlError> {
        if let Some(Open {
            content: Content::Map { key: None, .. },
            ..
        }) = self.stack.last()
        {
            return Err(YamlError::new(mark, "a key must be text, not a collection"));
        }
        let tag = self.merge_tag(tag, mark);
        self.stack.push(Open {
            mark,
            tag,
            anchor,
            content,
        });
        Ok(None)
    }

    fn close(&mut self) -> Result<Option<Node>, YamlError> {
        let Some(open) = self.stack.pop() else {
            return Ok(None);
        };
        let value = match open.content {
            Content::Seq(nodes) => Value::Seq(nodes),
            Content::Map { mut map, merges, .. } => {
                for merge in merges {
                    self.merge_into(&mut map, merge);
                }
                Value::Map(map)
            }
        };
        self.complete(
            Node {
                mark: open.mark,
                tag: open.tag,
                value,
            },
            open.anchor,
        )
    }

    /// Puts a complete node where it belongs.
    fn complete(&mut self, node: Node, anchor: usize) -> Result<Option<Node>, YamlError> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err(YamlError::new(
                node.mark,
                format!("the file has more than {MAX_NODES} values"),
            ));
        }
        if anchor != 0 {
            let cost = cost(&node);
            self.copied += cost.bytes;
            self.anchors.insert(
                anchor,
                Anchor {
                    node: node.clone(),
                    cost,
                },
            );
        }
        let Some(open) = self.stack.last_mut() else {
            return Ok(Some(node));
        };
        match &mut open.content {
            Content::Seq(nodes) => nodes.push(node),
            Content::Map { map, merges, key } => match key.take() {
                None => *key = Some(key_of(node)?),
                Some((text, _)) if text == "<<" => merges.push(node),
                Some((text, mark)) => match map.get(&text) {
                    None => {
                        map.insert(text, Entry { mark, node });
                    }
                    Some(first) => {
                        let message = format!("\"{text}\" is here twice, first in line {}", first.mark.line);
                        self.complain(mark, &text, message, None);
                    }
                },
            },
        }
        Ok(None)
    }

    /// A copy of the anchored node, within the limits.
    fn copy(&mut self, id: usize, at: Mark) -> Result<Node, YamlError> {
        let Some(anchor) = self.anchors.get(&id) else {
            return Err(YamlError::new(
                at,
                "this alias refers to the collection that it is in",
            ));
        };
        self.nodes += anchor.cost.nodes;
        self.copied += anchor.cost.bytes;
        let too_deep = anchor.cost.depth + self.stack.len() > MAX_DEPTH;
        if self.nodes > MAX_NODES || self.copied > MAX_COPIED || too_deep {
            return Err(YamlError::new(
                at,
                "the aliases of this file unfold to more than Steadfast is willing to read",
            ));
        }
        Ok(anchor.node.clone())
    }

    fn merge_into(&mut self, map: &mut Map, merge: Node) {
        match merge.value {
            Value::Map(other) => {
                for (key, entry) in other {
                    map.entry(key).or_insert(entry);
                }
            }
            Value::Seq(nodes) => {
                for node in nodes {
                    if matches!(node.value, Value::Map(_)) {
                        self.merge_into(map, node);
                    } else {
                        self.not_mergeable(node.mark);
                    }
                }
            }
            Value::Null => {}
            Value::Scalar(_) => self.not_mergeable(merge.mark),
        }
    }

    fn not_mergeable(&mut self, mark: Mark) {
        self.complain(mark, "<<", "this takes a mapping or a list of mappings", None);
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, at: Mark) -> Value {
        let as_text = || {
            Value::Scalar(Scalar {
                text: text.to_owned(),
                kind: Kind::Text,
                raw: None,
            })
        };
        match tag.and_then(Tag::core_suffix) {
            Some("str") => as_text(),
            Some("null") => Value::Null,
            Some(wanted @ ("int" | "float" | "bool")) => {
                let value = scalar::resolve(text);
                let kind = match &value {
                    Value::Scalar(scalar) => scalar.kind,
                    _ => Kind::Text,
                };
                let fits = match wanted {
                    "int" => kind == Kind::Int,
                    "float" => matches!(kind, Kind::Int | Kind::Float),
                    _ => kind == Kind::Bool,
                };
                if !fits {
                    self.complain(at, "", format!("this is tagged !!{wanted} and is none"), None);
                }
                value
            }
            _ if style == ScalarStyle::Plain => scalar::resolve(text),
            _ => as_text(),
        }
    }

    fn merge_tag(&mut self, tag: Option<&Tag>, at: Mark) -> MergeTag {
        let Some(tag) = tag else { return MergeTag::None };
        match (tag.handle(), tag.suffix()) {
            ("!", "reset") => MergeTag::Reset,
            ("!", "override") => MergeTag::Override,
            ("!", "") => MergeTag::None,
            _ if tag.is_yaml_core_schema() => MergeTag::None,
            (handle, suffix) => {
                let message = format!("the tag \"{handle}{suffix}\" is not known");
                self.complain(at, "", message, Some("Compose knows !reset and !override"));
                MergeTag::None
            }
        }
    }
}

fn key_of(node: Node) -> Result<(String, Mark), YamlError> {
    match node.value {
        Value::Scalar(scalar) if scalar.text.len() > MAX_KEY => {
            let message = format!("a key is longer than {MAX_KEY} bytes");
            Err(YamlError::new(node.mark, message))
        }
        Value::Scalar(scalar) => Ok((scalar.text, node.mark)),
        Value::Null => Err(YamlError::new(node.mark, "a key must be text, not nothing")),
        _ => Err(YamlError::new(node.mark, "a key must be text, not a collection")),
    }
}

/// What a copy of `node` costs. Its depth is bounded, so is this recursion's.
fn cost(node: &Node) -> Cost {
    let mut total = Cost {
        nodes: 1,
        bytes: 0,
        depth: 1,
    };
    let mut add = |child: Cost, key: usize| {
        total.nodes += child.nodes;
        total.bytes += child.bytes + key;
        total.depth = total.depth.max(child.depth + 1);
    };
    match &node.value {
        Value::Null => {}
        Value::Scalar(scalar) => total.bytes = scalar.text.len(),
        Value::Seq(nodes) => nodes.iter().for_each(|child| add(cost(child), 0)),
        Value::Map(map) => map
            .iter()
            .for_each(|(key, entry)| add(cost(&entry.node), key.len())),
    }
    total
}
