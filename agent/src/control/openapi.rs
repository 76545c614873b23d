//! The document of the interface, made from the table of routes and from the shapes themselves; and whether the committed
//! one is that, whether all that it names is answered, and whether what is answered is as it says.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::{Map, Value, json};
use state::backup::Proof;

use super::protocol::{ActAnswer, ActBody, Branched, ErrorBody, MAX_BODY, ReleaseBody, RevealBody, VERSION};
use super::routes::{ROUTES, Right, Route};
use crate::http::SITUATIONS;
use crate::view::{
    ActList, BackupList, EnvDiff, EnvList, EnvShown, History, Log, PlanView, ReleaseList, Status, StatusList,
    sample,
};

/// How a `backup` or a `verify` makes sure.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum HowProven {
    /// It is restored, and what comes of it counted.
    Restore,
    /// Its table of contents is read, which says nothing about the rows.
    List,
    /// Nobody does.
    None,
}

fn settings() -> SchemaSettings {
    SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    })
}

macro_rules! one_of {
    ($name:expr, $generator:expr, $($shape:ident)*) => {
        match $name {
            $(stringify!($shape) => $generator.subschema_for::<$shape>(),)*
            other => unreachable!("{other} has no shape"),
        }
    };
}

fn answer(name: &str, generator: &mut SchemaGenerator) -> Schema {
    if name == "OpenApi" {
        return schemars::json_schema!({"type": "object"});
    }
    one_of!(name, generator, Status StatusList PlanView History BackupList EnvList EnvShown EnvDiff ReleaseList ActList Log
        Branched ActAnswer ErrorBody)
}

fn body(name: &str, generator: &mut SchemaGenerator) -> Schema {
    one_of!(name, generator, ActBody ReleaseBody RevealBody)
}

fn content(schema: &Schema) -> Value {
    json!({"application/json": {"schema": schema}})
}

fn parameters(route: &Route) -> Vec<Value> {
    let mut all = Vec::new();
    if route.path.contains("{stack}") {
        all.push(json!({
            "name": "stack", "in": "path", "required": true, "schema": {"type": "string"},
            "description": "The name of the stack.",
        }));
    }
    if route.path.contains("{act}") {
        all.push(json!({
            "name": "act", "in": "path", "required": true, "schema": {"type": "string", "enum": route.acts},
        }));
    }
    all.extend(route.query.iter().map(|parameter| {
        let kind = if parameter.is_number { "integer" } else { "string" };
        json!({
            "name": parameter.name, "in": "query", "required": parameter.is_required, "schema": {"type": kind},
            "description": parameter.what,
        })
    }));
    all
}

fn method(route: &Route) -> &'static str {
    if route.right == Right::Read && route.body.is_none() {
        "get"
    } else {
        "post"
    }
}

/// `getStatusOfStack`: what generated clients call it.
fn id(route: &Route) -> String {
    let mut id = method(route).to_owned();
    for part in route.path.split(['/', '.']).skip(2) {
        let (of, word) = match part.strip_prefix('{') {
            Some(name) => ("Of", name.trim_end_matches('}')),
            None => ("", part),
        };
        let (first, rest) = word.split_at(1);
        id.push_str(&format!("{of}{}{rest}", first.to_uppercase()));
    }
    id
}

fn operation(route: &Route, answers: &mut SchemaGenerator, bodies: &mut SchemaGenerator) -> Value {
    let who = match route.right {
        Right::Read => "Whoever can open the socket.",
        Right::Act => "Root, the daemon's own user, and whom [agent.control] of steadfast.toml names.",
        Right::Root => "Root alone.",
    };
    let mut operation = json!({
        "operationId": id(route),
        "summary": route.what,
        "description": who,
        "parameters": parameters(route),
    });
    if let Some(name) = route.body {
        operation["requestBody"] = json!({"content": content(&body(name, bodies))});
    }
    operation["responses"] = json!({
        "200": {"description": "It is so.", "content": content(&answer(route.answer, answers))},
        "default": {"$ref": "#/components/responses/Refused"},
    });
    operation
}

fn document() -> Value {
    let mut answers = SchemaGenerator::new(settings().for_serialize());
    let mut bodies = SchemaGenerator::new(settings().for_deserialize());
    let mut paths = Map::new();
    for route in &ROUTES {
        let operation = operation(route, &mut answers, &mut bodies);
        paths.insert(route.path.to_owned(), json!({method(route): operation}));
    }
    let refused = content(&answer("ErrorBody", &mut answers));
    let mut schemas = answers.take_definitions(true);
    schemas.extend(bodies.take_definitions(true));
    schemas.sort_keys();
    // What leads somewhere in the code leads nowhere here.
    let schemas = json!(schemas)
        .to_string()
        .replace("[`FORMAT`].", "The version of the shapes.");
    let schemas: Value = serde_json::from_str(&schemas).unwrap();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Steadfast",
            "version": VERSION,
            "description": format!(
                "The control socket: HTTP/1.1 over a Unix socket, one request a connection. Who asks is what the kernel \
                 says (SO_PEERCRED). Fields are added, never renamed: ignore those that you do not know. A body has at most \
                 {MAX_BODY} bytes."
            ),
        },
        "servers": [{"url": "http://steadfast", "description": "curl --unix-socket /run/steadfast/steadfast.sock"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {"Refused": {
                "description": "It is not so, with why, the way out, and the exit code of the command. 400: asked wrongly. \
                    403: no right to it, which is on record. 404: there is no such stack or request, or it is of another \
                    version. 408: it did not arrive in time. 409: the daemon refuses. 413: too large. 429: too many ask at \
                    once. 500: it failed. 503: the daemon is stopping. 504: it did not answer in time.",
                "content": refused,
            }},
        },
    })
}

/// What of `value` is not as `schema` says, with its place.
fn differs(document: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    if let Some(path) = schema["$ref"].as_str() {
        let named = document.pointer(path.trim_start_matches('#')).unwrap();
        return differs(document, named, value, at);
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(all) = schema[key].as_array() {
            let mut why = all.iter().map(|one| differs(document, one, value, at));
            return why
                .find(Option::is_none)
                .unwrap_or_else(|| Some(format!("{at}: none of its shapes")));
        }
    }
    if let Some(only) = schema.get("const") {
        return (only != value).then(|| format!("{at}: {value} is not {only}"));
    }
    if let Some(all) = schema["enum"].as_array() {
        return (!all.contains(value)).then(|| format!("{at}: {value} is none of {all:?}"));
    }
    let kinds = match &schema["type"] {
        Value::String(kind) => vec![kind.as_str()],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return Some(format!("{at}: nothing is said of it")),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !kinds.contains(&kind) {
        return Some(format!("{at}: {value} is no {kinds:?}"));
    }
    match value {
        Value::Array(all) => {
            let mut all = all.iter().enumerate();
            all.find_map(|(i, one)| differs(document, &schema["items"], one, &format!("{at}[{i}]")))
        }
        Value::Object(fields) => {
            let required = schema["required"].as_array().into_iter().flatten();
            let mut missing = required
                .filter_map(Value::as_str)
                .filter(|key| !fields.contains_key(*key));
            if let Some(key) = missing.next() {
                return Some(format!("{at}.{key}: missing"));
            }
            let of = |key: &str| {
                schema["properties"]
                    .get(key)
                    .or_else(|| schema.get("additionalProperties"))
            };
            fields.iter().find_map(|(key, value)| match of(key) {
                Some(schema) => differs(document, schema, value, &format!("{at}.{key}")),
                None => Some(format!("{at}.{key}: nothing is said of it")),
            })
        }
        _ => None,
    }
}

/// Whether `value` is as the document says of `shape`, to the last field.
#[track_caller]
pub(super) fn check_shape(shape: &str, value: &impl Serialize) {
    let document = document();
    let schema = json!({"$ref": format!("#/components/schemas/{shape}")});
    let value = serde_json::to_value(value).unwrap();
    assert_eq!(differs(&document, &schema, &value, shape), None);
}

/// The shape of what `GET path` answers.
pub(super) fn shape_of(path: &str) -> &'static str {
    ROUTES.iter().find(|route| route.path == path).unwrap().answer
}

#[test]
fn the_committed_document_is_that_of_the_table() {
    let text = format!("{}\n", serde_json::to_string_pretty(&document()).unwrap());
    expect_test::expect_file!["../../../docs/reference/api.json"].assert_eq(&text);
}

#[test]
fn every_request_is_in_the_page_for_people() {
    let page = include_str!("../../../docs/reference/commands.md");
    for route in &ROUTES {
        let path = route.path.replace("{stack}", "STACK").replace("{act}", "ACT");
        let row = format!("`{} {path}", method(route).to_uppercase());
        assert!(page.contains(&row), "{row}");
        for act in route.acts {
            assert!(page.contains(&format!("`{act}`")), "{act}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_name_is_one_of_a_kind() {
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(all) => all.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in &found {
        assert!(
            document.pointer(reference.trim_start_matches('#')).is_some(),
            "{reference}"
        );
    }
    assert!(found.len() > 30, "{found:?}");
    let ids: BTreeSet<String> = ROUTES.iter().map(id).collect();
    assert_eq!(ids.len(), ROUTES.len());
}

#[test]
fn how_it_is_proven_is_what_the_daemon_reads() {
    let word = |value: Value| value.as_str().unwrap().to_owned();
    let said = [HowProven::Restore, HowProven::List, HowProven::None];
    let said = said.map(|how| word(json!(how)));
    assert_eq!(
        said,
        [Proof::Restore, Proof::List, Proof::None].map(|how| word(json!(how)))
    );
}

#[test]
fn what_is_shown_of_every_situation_is_as_the_document_says() {
    for situation in SITUATIONS {
        let snapshot = sample::snapshot(situation);
        check_shape("Status", &sample::status(situation));
        check_shape("PlanView", &PlanView::of(&snapshot));
        check_shape("History", &History::of(&snapshot.record, &[], &sample::shared()));
        if let Ok(backups) = BackupList::of(&snapshot) {
            check_shape("BackupList", &backups);
        }
    }
}

#[test]
fn what_is_not_as_the_document_says_is_found() {
    let mut status = serde_json::to_value(sample::status("steady")).unwrap();
    let (document, schema) = (document(), json!({"$ref": "#/components/schemas/Status"}));
    status["invented"] = json!(1);
    let why = differs(&document, &schema, &status, "it");
    assert_eq!(why.as_deref(), Some("it.invented: nothing is said of it"));
    status.as_object_mut().unwrap().remove("invented");
    status["fine"] = json!("yes");
    let why = differs(&document, &schema, &status, "it");
    assert_eq!(why.as_deref(), Some("it.fine: \"yes\" is no [\"boolean\"]"));
    status.as_object_mut().unwrap().remove("fine");
    let why = differs(&document, &schema, &status, "it");
    assert_eq!(why.as_deref(), Some("it.fine: missing"));
}
