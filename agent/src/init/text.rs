//! The text of the files: minimal, and with a comment where somebody may want to know why. Pure.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use config::settings::{AgentSettings, EngineAddress};

use super::found::{Access, Database, Kind, Migrations, Named, Password, Probe, Stack, Tracked};

/// Where comments begin.
const COMMENT: usize = 44;

/// What the files say of the agent itself.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// Where desired.toml is.
    pub(crate) desired: PathBuf,
    /// Where the engine is.
    pub(crate) engine: EngineAddress,
}

/// `steadfast.toml`.
pub(crate) fn settings(stacks: &[Stack], places: &Places) -> String {
    let mut text = String::from(
        "# The stacks that Steadfast keeps. Written by `steadfast init` of what ran on this host; it is yours from here on.
# After an edit: `steadfast check`, then `systemctl restart steadfast`. Every key: docs/reference/configuration.md
",
    );
    let default = AgentSettings::default();
    let mut agent = Table::new("[agent]");
    if places.desired != default.desired {
        agent.set("desired", &path(&places.desired));
    }
    if places.engine != default.engine {
        agent.set("engine", &quoted(&address(&places.engine)));
    }
    if !agent.lines.is_empty() {
        text.push_str(&format!("\n{}", agent.text()));
    }
    for stack in stacks {
        text.push_str(&format!("\n{}", of_stack(stack)));
    }
    text
}

/// `desired.toml`.
pub(crate) fn desired(stacks: &[Stack]) -> String {
    let mut text = String::from(
        "# What is to run. A deploy is an edit of this file, or `steadfast pin STACK TAG`, which edits it.
",
    );
    for stack in stacks {
        let tags = &stack.tags;
        let mut table = Table::new(&format!("[{}]", stack.name));
        let why = match (&tags.vars[..], tags.follow.is_empty()) {
            (_, true) => String::from("no image follows it"),
            ([], false) => String::from("what runs now"),
            (vars, false) => format!("what runs now; wherever {} was set, this counts", vars.join(", ")),
        };
        table.set_with("tag", &quoted(tags.tag.as_str()), &why);
        text.push_str(&format!("\n{}", table.text()));
        if !tags.pins.is_empty() {
            let mut pins = Table::new(&format!("[{}.services]", stack.name));
            for (service, tag) in &tags.pins {
                pins.set(&key(service.as_str()), &quoted(tag.as_str()));
            }
            text.push_str(&format!(
                "\n# Services that run with another tag.\n{}",
                pins.text()
            ));
        }
    }
    text
}

/// The drop-in of the unit: where the daemon may write beside its own directories.
pub(crate) fn drop_in(stacks: &[Stack]) -> String {
    let mut text = String::from(
        "# Where Steadfast puts files back in a rollback; all else on this host is read-only for it.
# Written by `steadfast init`. After an edit: systemctl daemon-reload && systemctl restart steadfast
[Service]
",
    );
    let all: BTreeSet<&PathBuf> = stacks.iter().flat_map(|stack| &stack.writes).collect();
    for directory in all {
        text.push_str(&format!("ReadWritePaths={}\n", unit_path(directory)));
    }
    text
}

/// As systemd takes a path in a list: `%` is its own sign, and blanks part what is not quoted. `-`: a directory that is
/// away keeps one stack's files from being put back, and not the daemon from all stacks.
fn unit_path(path: &Path) -> String {
    let text = format!("-{}", path.display()).replace('%', "%%");
    if text.contains([' ', '"', '\'', '\\']) {
        return format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    }
    text
}

/// The lines of one table, their `=` below each other.
struct Table {
    head: String,
    lines: Vec<(String, String, Option<String>)>,
}

impl Table {
    fn new(head: &str) -> Self {
        Self {
            head: head.to_owned(),
            lines: Vec::new(),
        }
    }

    fn set(&mut self, key: &str, value: &str) {
        self.lines.push((key.to_owned(), value.to_owned(), None));
    }

    fn set_with(&mut self, key: &str, value: &str, why: &str) {
        let line = (key.to_owned(), value.to_owned(), Some(why.to_owned()));
        self.lines.push(line);
    }

    fn text(&self) -> String {
        let wide = self.lines.iter().map(|(key, ..)| key.len()).max().unwrap_or(0);
        let mut text = format!("{}\n", self.head);
        for (key, value, why) in &self.lines {
            let line = format!("{key:wide$} = {value}");
            let why = why.as_deref().map(comment);
            let line = match why {
                // A comment beside it would be out of sight.
                Some(why) if line.chars().count() > COMMENT - 2 => format!("# {why}\n{line}"),
                Some(why) => format!("{line:<COMMENT$}# {why}"),
                None => line,
            };
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn of_stack(stack: &Stack) -> String {
    let name = &stack.name;
    let mut text = own_table(stack);
    if let Some(git) = &stack.git {
        text.push_str(&format!(
            "
# The directory is a checkout. Where a release is a tag of its repository, and images are built of it:
# [stack.{name}.source]
# git = {}
",
            quoted(git)
        ));
    }
    if !stack.tags.templates.is_empty() {
        let mut images = Table::new(&format!("[stack.{name}.images]"));
        for (service, template) in &stack.tags.templates {
            images.set(&key(service.as_str()), &quoted(template));
        }
        text.push_str(&format!(
            "\n# How the tag reaches images that no variable leads it to.\n{}",
            images.text()
        ));
    }
    for probe in &stack.probes {
        text.push_str(&format!("\n{}", of_probe(name.as_str(), probe)));
    }
    if let Some(database) = &stack.database {
        let table = of_database(name.as_str(), database, &stack.directory);
        text.push_str(&format!("\n{table}"));
    }
    text
}

/// `[stack.NAME]` itself.
fn own_table(stack: &Stack) -> String {
    let base = &stack.directory;
    let mut table = Table::new(&format!("[stack.{}]", stack.name));
    table.set("directory", &path(base));
    if let Some(files) = &stack.compose {
        table.set(
            "compose",
            &list(files.iter().map(|file| path(&below(base, file)))),
        );
    }
    if let Some(file) = &stack.env_file {
        table.set("env_file", &path(&below(base, file)));
    }
    if !stack.profiles.is_empty() {
        let profiles = list(stack.profiles.iter().map(|p| quoted(p)));
        table.set_with("profiles", &profiles, "of what runs");
    }
    if !stack.tags.vars.is_empty() && stack.tags.vars != ["TAG"] {
        let vars = list(stack.tags.vars.iter().map(|v| quoted(v)));
        table.set_with("tag_vars", &vars, "variables that carry the tag");
    }
    if !stack.track.is_empty() {
        let track = tracked(&stack.track, base);
        table.set_with("track", &track, "part of a release, and put back in a rollback");
    }
    table.text()
}

fn tracked(all: &[Tracked], base: &Path) -> String {
    list(all.iter().map(|file| {
        let at = path(&below(base, &file.path));
        match &file.check {
            None => at,
            Some((service, words)) => format!(
                "{{ path = {at}, service = {}, check = {} }}",
                quoted(service.as_str()),
                list(words.iter().map(|word| quoted(word)))
            ),
        }
    }))
}

fn of_probe(stack: &str, probe: &Probe) -> String {
    let service = probe.service.as_str();
    let mut table = Table::new(&format!("[[stack.{stack}.probe]]"));
    // A service may begin with a dot, and a probe may not.
    table.set("name", &quoted(service.trim_start_matches(['.', '-'])));
    table.set("service", &quoted(service));
    let kind = match &probe.kind {
        Kind::Http { .. } | Kind::Url(_) => "http",
        Kind::Tcp(_) => "tcp",
        Kind::Healthcheck => "healthcheck",
        Kind::Container => "container",
    };
    table.set_with("kind", &quoted(kind), &probe.why);
    match &probe.kind {
        Kind::Http { port, path } => {
            table.set("port", &port.to_string());
            table.set("path", &quoted(path));
        }
        Kind::Url(url) => table.set("url", &quoted(url)),
        Kind::Tcp(port) => table.set("port", &port.to_string()),
        Kind::Healthcheck | Kind::Container => {}
    }
    table.text()
}

fn of_database(stack: &str, database: &Database, base: &Path) -> String {
    let mut table = Table::new(&format!("[stack.{stack}.database]"));
    match &database.access {
        Access::Url(key) => table.set_with(
            "url_env",
            &quoted(key),
            "a key of the env file: no secret stands here",
        ),
        Access::Service {
            service,
            user,
            dbname,
            password,
        } => {
            table.set("service", &quoted(service.as_str()));
            set_name(&mut table, "user", user);
            match password {
                Password::None => {}
                Password::Key(key) => {
                    table.set_with(
                        "password_env",
                        &quoted(key),
                        "a key of the env file: no secret stands here",
                    );
                }
                Password::File(file) => table.set("password_file", &path(&below(base, file))),
                Password::Unknown => table.set("password_env", &quoted("POSTGRES_PASSWORD")),
            }
            set_name(&mut table, "dbname", dbname);
        }
    }
    let mut text = table.text();
    if let Some(migrations) = &database.migrations {
        text.push_str(&format!("\n{}", of_migrations(stack, migrations)));
    }
    match &database.lacks {
        None => format!("# Where the schema stands is part of a release.\n{text}"),
        Some(lacks) => {
            let lines = text
                .lines()
                .map(|line| format!("# {line}").trim_end().to_owned() + "\n");
            let lacks = comment(lacks);
            format!("# Not in force: {lacks}.\n{}", lines.collect::<String>())
        }
    }
}

fn set_name(table: &mut Table, key: &str, name: &Named) {
    match name {
        Named::Default => {}
        Named::Plain(name) => table.set(key, &quoted(name)),
        Named::Key(name) => table.set(&format!("{key}_env"), &quoted(name)),
    }
}

fn of_migrations(stack: &str, migrations: &Migrations) -> String {
    let mut table = Table::new(&format!("[stack.{stack}.database.migrations]"));
    table.set_with("tool", &quoted(migrations.tool), &migrations.why);
    table.set("service", &quoted(migrations.service.as_str()));
    if let Some(workdir) = &migrations.workdir {
        table.set("workdir", &quoted(workdir));
    }
    if migrations.by_the_stack {
        table.set_with(
            "upgrade",
            &quoted("stack"),
            "the stack runs the upgrade itself as it starts",
        );
    }
    table.text()
}

/// A comment is one line, whatever a path or a name in it holds.
fn comment(text: &str) -> String {
    text.replace(char::is_control, "?")
}

/// A path as it is written below the directory.
fn below(base: &Path, file: &Path) -> PathBuf {
    file.strip_prefix(base).unwrap_or(file).to_owned()
}

fn address(engine: &EngineAddress) -> String {
    match engine {
        EngineAddress::Unix(path) => format!("unix://{}", path.display()),
        EngineAddress::Tcp { host, port } => format!("tcp://{host}:{port}"),
    }
}

fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    format!("[{}]", items.join(", "))
}

/// A key, in quotes where TOML wants that.
fn key(text: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if text.chars().all(bare) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_one_line() {
        let mut table = Table::new("[t]");
        table.set_with("short", "1", "beside\nb = 2");
        table.set_with("long", &quoted(&"x".repeat(COMMENT)), "above\r\u{7f}\nc = 3");
        let text = table.text();
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.contains("# beside?b = 2\n"), "{text}");
        assert!(text.contains("\n# above???c = 3\n"), "{text}");
    }

    #[test]
    fn what_lacks_is_one_line() {
        let database = Database {
            access: Access::Url(String::from("DB_URL")),
            migrations: None,
            lacks: Some(String::from("no\nd = 4")),
        };
        let text = of_database("shop", &database, Path::new("/srv/shop"));
        assert!(text.lines().all(|line| line.starts_with('#')), "{text}");
    }
}
