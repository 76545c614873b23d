//! A YAML tree in which every value knows its place. Nothing here knows what a key means.

use std::collections::BTreeMap;

/// A place in one of the files that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    /// The file, by number.
    pub file: usize,
    /// 1-based line.
    pub line: u32,
    /// 1-based column.
    pub column: u32,
}

/// What a file asks of the merge, by a tag on the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MergeTag {
    /// Nothing unusual.
    None,
    /// `!reset`: the value is taken out.
    Reset,
    /// `!override`: the value replaces instead of merging.
    Override,
}

/// What a plain scalar stands for by YAML's core schema. Quoted ones are always text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text.
    Text,
    /// `true` or `false`.
    Bool,
    /// An integer; the text is decimal.
    Int,
    /// A number with a fraction; the text is its shortest form.
    Float,
}

/// One scalar.
#[derive(Clone)]
pub(crate) struct Scalar {
    /// The text, after interpolation.
    pub text: String,
    /// What it stands for.
    pub kind: Kind,
    /// The text before interpolation, where variables were put in. Errors quote this one.
    pub raw: Option<String>,
}

/// One value of a mapping.
#[derive(Clone)]
pub(crate) struct Entry {
    /// Where the key is.
    pub mark: Mark,
    /// The value.
    pub node: Node,
}

/// A mapping.
pub(crate) type Map = BTreeMap<String, Entry>;

/// A value.
#[derive(Clone)]
pub(crate) enum Value {
    /// Nothing.
    Null,
    /// A scalar.
    Scalar(Scalar),
    /// A sequence.
    Seq(Vec<Node>),
    /// A mapping.
    Map(Map),
}

/// A value and its place.
#[derive(Clone)]
pub(crate) struct Node {
    /// Where it is.
    pub mark: Mark,
    /// What it asks of the merge.
    pub tag: MergeTag,
    /// What it is.
    pub value: Value,
}

impl Node {
    /// A value at `mark`.
    pub(crate) fn new(mark: Mark, value: Value) -> Self {
        Self {
            mark,
            tag: MergeTag::None,
            value,
        }
    }

    /// Text at `mark`.
    pub(crate) fn text(mark: Mark, text: impl Into<String>) -> Self {
        let scalar = Scalar {
            text: text.into(),
            kind: Kind::Text,
            raw: None,
        };
        Self::new(mark, Value::Scalar(scalar))
    }

    /// The scalar, when it is one.
    pub(crate) fn scalar(&self) -> Option<&Scalar> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// The scalar's text, when it is one.
    pub(crate) fn str(&self) -> Option<&str> {
        self.scalar().map(|s| s.text.as_str())
    }

    /// The mapping, when it is one.
    pub(crate) fn map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The mapping, when it is one.
    pub(crate) fn map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The value under `key`, when it is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.map().and_then(|map| map.get(key)).map(|entry| &entry.node)
    }

    /// What it is, for an error.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.value {
            Value::Null => "nothing",
            Value::Scalar(scalar) => match scalar.kind {
                Kind::Text => "text",
                Kind::Bool => "a boolean",
                Kind::Int | Kind::Float => "a number",
            },
            Value::Seq(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

impl Scalar {
    /// The text as the file has it: what an error may show.
    pub(crate) fn shown(&self) -> &str {
        self.raw.as_deref().unwrap_or(&self.text)
    }
}
