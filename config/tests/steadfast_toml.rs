//! Rows over `steadfast.toml`: what is read, and what each mistake is told.
// The expectations are written by expect-test, which always puts hashes.
#![allow(
    clippy::unwrap_used,
    clippy::needless_raw_string_hashes,
    clippy::too_many_lines,
    clippy::format_collect
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use expect_test::{Expect, expect};
use state::backup::Proof;
use state::migration_tool::UpgradeBy;
use state::migrations::VersionRows;
use steadfast_config::settings::{
    ComposeFiles, ForeignSessions, MigrationSettings, ProbeKind, Schedule, Settings, load, parse,
};

fn read(text: &str) -> Settings {
    match parse(Path::new("steadfast.toml"), text) {
        Ok((settings, _)) => settings,
        Err(problems) => panic!("{problems}"),
    }
}

/// What is said about `text`: its errors, or its warnings.
#[track_caller]
#[allow(clippy::needless_pass_by_value)]
fn check(text: &str, expected: Expect) {
    let shown = match parse(Path::new("steadfast.toml"), text) {
        Ok((_, warnings)) => format!("read\n{warnings}"),
        Err(problems) => problems.to_string(),
    };
    expected.assert_eq(&shown);
}

/// The same for keys of a stack that is otherwise right, starting in line 4.
#[track_caller]
fn check_stack(keys: &str, expected: Expect) {
    check(
        &format!("[stack.a]\ndirectory = \"/srv/a\"\nprobe = []\n{keys}"),
        expected,
    );
}

/// The same for the keys of a probe, starting in line 6.
#[track_caller]
fn check_probe(keys: &str, expected: Expect) {
    check(
        &format!(
            "[stack.a]\ndirectory = \"/srv/a\"\n[[stack.a.probe]]\nname = \"p\"\nservice = \"api\"\n{keys}"
        ),
        expected,
    );
}

#[test]
fn the_least_that_is_enough_has_every_default() {
    let settings = read("[stack.a]\ndirectory = \"/srv/a\"");
    let mut stack = settings.stacks.into_values().next().unwrap();
    assert_eq!(stack.compose, ComposeFiles::Search("/srv/a".into()));
    stack.mentions.clear();
    expect![[r#"
        AgentSettings {
            state_dir: "/var/lib/steadfast",
            desired: "/etc/steadfast/desired.toml",
            socket: "/run/steadfast/steadfast.sock",
            engine: Unix(
                "/var/run/docker.sock",
            ),
            settle: 5s,
            resync: 60s,
            log: Human,
            http: Some(
                Loopback(
                    127.0.0.1:7878,
                ),
            ),
            control: ControlSettings {
                act_users: [],
                act_groups: [],
                acts: {},
                severity: {},
                named: [],
            },
        }
        StackSettings {
            name: StackName(
                "a",
            ),
            directory: "/srv/a",
            compose: Search(
                "/srv/a",
            ),
            env_file: Optional(
                "/srv/a/.env",
            ),
            profiles: [],
            tag_vars: [
                VarName(
                    "TAG",
                ),
            ],
            track: [],
            track_below: [],
            file_checks: [],
            file_actions: [],
            images: {},
            trial: TrialPolicy {
                window: 300s,
                good_after: 300s,
                trial_max: 1800s,
                settled_after: 86400s,
                budget: 2,
                budget_per: 3600s,
            },
            probes: [],
            source: None,
            database: None,
            mentions: [],
        }"#]]
    .assert_eq(&format!("{:#?}\n{stack:#?}", settings.agent));
}

#[test]
fn every_key_of_the_full_example_is_read_without_a_word() {
    for name in ["steadfast.toml", "minimal.toml"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
        let (settings, warnings) = load(&path).unwrap();
        assert_eq!(warnings.to_string(), "", "{name}");
        assert_eq!(settings.stacks.len(), 1, "{name}");
    }
}

#[test]
fn the_full_example_writes_the_defaults_of_the_policy() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/steadfast.toml");
    let (settings, _) = load(&path).unwrap();
    assert_eq!(settings.policy, state::policy::SeverityMatrix::default());
    assert_eq!(
        settings.stacks.into_values().next().unwrap().trial,
        state::policy::TrialPolicy::default()
    );
}

#[test]
fn all_mistakes_are_told_at_once_and_in_the_order_of_the_file() {
    check(
        r#"[agent]
stat_dir = "/var/lib/x"
settle = 5
log = "jason"
[agent.control]
act_users = "deploy"
[stacks.bybit]
directory = "/srv/bybit"
[stack.Bybit]
directory = "srv/bybit"
[stack.b]
tag_vars = ["TAG", "A-B", 3]
[policy.critcal]
"#,
        expect![[r#"
            steadfast.toml:2:1: agent.stat_dir: unknown key "stat_dir" (did you mean "state_dir"?)
            steadfast.toml:3:10: agent.settle: expected a duration, found the integer 5 (write it with its unit, in quotes: "5s")
            steadfast.toml:4:7: agent.log: "jason" is not one of the possible values (did you mean "json"?)
            steadfast.toml:6:13: agent.control.act_users: expected an array, found the string "deploy" (write act_users = ["deploy"])
            steadfast.toml:7:2: stacks: unknown key "stacks" (did you mean "stack"?)
            steadfast.toml:9:8: stack.Bybit: "Bybit" is not a valid stack name: it starts with a lower-case letter or a digit and holds only those, `-` and `_`
            steadfast.toml:11:1: stack.b: the key "directory" is missing (add directory = "/srv/b")
            steadfast.toml:11:1: stack.b.probe: no probe: only the state of the containers will judge a release (add [[stack.NAME.probe]] with name, service and kind)
            steadfast.toml:12:20: stack.b.tag_vars[1]: "A-B" is not a valid variable name: it starts with a letter or `_` and holds only letters, digits and `_`
            steadfast.toml:12:27: stack.b.tag_vars[2]: expected a string, found the integer 3 (put it in quotes: "3")
            steadfast.toml:13:9: policy.critcal: unknown key "critcal" (did you mean "critical"?)"#]],
    );
}

#[test]
fn the_agent() {
    check(
        "",
        expect![[
            r#"steadfast.toml:1:1: there is no stack (add [stack.NAME] with directory = "/srv/NAME"; NAME is the Compose project's name)"#
        ]],
    );
    check(
        "[agent]\ndesired = \"/var/lib/steadfast/desired.toml\"\n[stack.a]\ndirectory = \"/a\"\nprobe = []",
        expect![
            "steadfast.toml:2:1: agent.desired: it lies in the state directory /var/lib/steadfast (the daemon watches its directory and writes to that one: keep them apart)"
        ],
    );
    check(
        "[agent]\nengine = \"ssh://host\"\nsocket = \"run/s\"\nresync = \"0s\"\nhttp = 1\n[stack.a]\ndirectory = \"/a\"",
        expect![[r#"
            steadfast.toml:2:10: agent.engine: an engine is not reached by "ssh" (write "unix:///var/run/docker.sock" or "tcp://host:2375")
            steadfast.toml:3:10: agent.socket: "run/s" is not an absolute path (write the path from the root: "/…")
            steadfast.toml:4:10: agent.resync: "0s" is out of range (it can be "1s" to "24h")
            steadfast.toml:5:8: agent.http: expected an address, found the integer 1 (write "127.0.0.1:7878", or false for none)
            steadfast.toml:6:1: stack.a.probe: no probe: only the state of the containers will judge a release (add [[stack.NAME.probe]] with name, service and kind)"#]],
    );
    check(
        "[agent]\nengine = \"tcp://10.0.0.1:2375\"\n[stack.a]\ndirectory = \"/a\"\nprobe = []",
        expect![[r#"
            read
            steadfast.toml:2:1: agent.engine: an engine on TCP without TLS (whoever reaches that port is root on its host: use the Unix socket)"#]],
    );
    check(
        "[agent]\nengine = \"tcp://127.0.0.1\"\n[stack.a]\ndirectory = \"/a\"\nprobe = []",
        expect![[r#"
            read
        "#]],
    );
    check(
        "[agent]\nstate_dir = \"/a/../b\"\n[agent.control]\nact_users = [\"ok\", \"a b\", 1000, -1]\n[stack.a]\ndirectory = \"/a\"",
        expect![[r#"
            steadfast.toml:2:13: agent.state_dir: "/a/../b" has ".." in it (write the path without it)
            steadfast.toml:4:20: agent.control.act_users[1]: "a b" is not a valid user or group name: it starts with a letter or `_` and holds only letters, digits, `_`, `.` and `-`
            steadfast.toml:4:33: agent.control.act_users[3]: -1 is out of range (it is a whole number, 0 to 4294967294, without quotes)
            steadfast.toml:5:1: stack.a.probe: no probe: only the state of the containers will judge a release (add [[stack.NAME.probe]] with name, service and kind)"#]],
    );
}

#[test]
fn who_may_act_is_said_for_each_act_and_each_severity() {
    let check_control = |keys: &str, expected| {
        let stack = "[stack.a]\ndirectory = \"/a\"\nprobe = []";
        check(&format!("[agent.control]\n{keys}\n{stack}"), expected);
    };
    let read = "[agent.control]\nact_groups = [\"ops\"]\n\
        [agent.control.acts]\nrestore = [\"@dba\", \"anna\", 1000, \"@500\"]\nput-in = []\n\
        [agent.control.severity]\nhigh = [\"@leads\"]\n[stack.a]\ndirectory = \"/a\"";
    let control = self::read(read).agent.control;
    let words: Vec<_> = control.acts.keys().copied().collect();
    assert_eq!(
        (words, control.acts["restore"].len()),
        (vec!["put-in", "restore"], 4)
    );
    assert!(control.acts["put-in"].is_empty());
    let named = control.named.iter().map(|named| {
        let sign = if named.is_group { "@" } else { "" };
        format!("{} {}{}", named.place, sign, named.name)
    });
    assert_eq!(
        named.collect::<Vec<_>>(),
        [
            "steadfast.toml:2:1 @ops",
            "steadfast.toml:4:1 @dba",
            "steadfast.toml:4:1 anna",
            "steadfast.toml:7:1 @leads"
        ]
    );
    check_control(
        "[agent.control.acts]\nrestoer = []\nrollback = \"@ops\"\nretry = [\"@a b\", true]",
        expect![[r#"
            steadfast.toml:3:1: agent.control.acts.restoer: unknown key "restoer" (did you mean "restore"?)
            steadfast.toml:4:12: agent.control.acts.rollback: expected an array, found the string "@ops" (write rollback = ["@ops"])
            steadfast.toml:5:10: agent.control.acts.retry[0]: "a b" is not a valid user or group name: it starts with a letter or `_` and holds only letters, digits, `_`, `.` and `-` (write a group as "@ops", or by its number: "@500")
            steadfast.toml:5:18: agent.control.acts.retry[1]: expected a string, found the boolean true (put it in quotes: "true")"#]],
    );
    check_control(
        "[agent.control.severity]\ncritical = [\"@oncall\"]",
        expect![[r#"
            steadfast.toml:3:1: agent.control.severity.critical: nobody is asked about a failure that is critical (set approval = "lead" in [policy.critical], or rollback_schema = "ask" for the database of a stack, or take it out)"#]],
    );
    check_control(
        "[agent.control.severity]\ncritical = [\"@oncall\"]\n[policy.critical]\naction = \"notify\"",
        expect![[r#"
            steadfast.toml:3:1: agent.control.severity.critical: nobody is asked about a failure that is critical (set action = "rollback" and approval = "lead" in [policy.critical], or take it out)"#]],
    );
    // Who says so of the schema, or of one revision, is asked whatever the failure is.
    let asks = "[stack.a]\ndirectory = \"/a\"\nprobe = []\n[stack.a.database]\nservice = \"db\"\n{}\
        [stack.a.database.migrations]\ntool = \"alembic\"\nservice = \"api\"\n";
    for (of_all, of_one) in [
        ("rollback_schema = \"ask\"\n", ""),
        (
            "",
            "[stack.a.database.manual.\"0003\"]\nrollback_schema = \"ask\"\n",
        ),
    ] {
        let stack = asks.replace("{}", of_all);
        let control = format!("[agent.control.severity]\ncritical = [\"@oncall\"]\n{stack}{of_one}");
        assert_eq!(self::read(&control).agent.control.severity.len(), 1, "{control}");
    }
}

#[test]
fn a_path_that_no_socket_can_have_is_an_error() {
    let path = format!("/run/{}", "s".repeat(103));
    check(
        &format!("[agent]\nsocket = \"{path}\"\n[stack.a]\ndirectory = \"/a\"\nprobe = []"),
        expect![[r#"
            steadfast.toml:2:10: agent.socket: a socket's path has at most 107 bytes, and this one has 108 (write a shorter one: "/run/steadfast/steadfast.sock")"#]],
    );
}

#[test]
fn metrics_are_told_on_the_loopback_alone() {
    let check_http = |http: &str, expected| {
        let stack = "[stack.a]\ndirectory = \"/a\"\nprobe = []";
        check(&format!("[agent]\nhttp = {http}\n{stack}"), expected);
    };
    for good in ["false", "\"127.0.0.1:7878\"", "\"127.1.2.3:0\"", "\"[::1]:9000\""] {
        check_http(
            good,
            expect![[r#"
            read
        "#]],
        );
    }
    check_http(
        "true",
        expect![[
            r#"steadfast.toml:2:8: agent.http: expected an address, found the boolean true (write "127.0.0.1:7878", or false for none)"#
        ]],
    );
    check_http(
        "\"localhost:7878\"",
        expect![[
            r#"steadfast.toml:2:8: agent.http: "localhost:7878" is not an address and a port (write "127.0.0.1:7878", or false for none)"#
        ]],
    );
    check_http(
        "\"0.0.0.0:7878\"",
        expect![[
            r#"steadfast.toml:2:8: agent.http: 0.0.0.0:7878 can be reached from other hosts (what runs here is told to whoever asks: keep it on 127.0.0.1, and let a reverse proxy or a tunnel lead there)"#
        ]],
    );
    let of = |http: &str| {
        let text = format!("[agent]\n{http}\n[stack.a]\ndirectory = \"/a\"\nprobe = []");
        read(&text).agent.http.map(|at| at.get().to_string())
    };
    assert_eq!(of("").as_deref(), Some("127.0.0.1:7878"));
    assert_eq!(of("http = false"), None);
}

#[test]
fn a_stack() {
    check(
        "[stack.a]\n",
        expect![[r#"
        steadfast.toml:1:1: stack.a: the key "directory" is missing (add directory = "/srv/a")
        steadfast.toml:1:1: stack.a.probe: no probe: only the state of the containers will judge a release (add [[stack.NAME.probe]] with name, service and kind)"#]],
    );
    check(
        "stack = 1\n",
        expect![
            "steadfast.toml:1:9: stack: expected a table, found the integer 1 (write [stack] on a line of its own, with its keys below)"
        ],
    );
    check(
        "[[stack]]\ndirectory = \"/a\"\n",
        expect![
            "steadfast.toml:1:1: stack: expected a table, found an array of tables (write [stack] in single brackets, once)"
        ],
    );
    check(
        "[stack]\na = \"/srv/a\"\n",
        expect![[
            r#"steadfast.toml:2:5: stack.a: expected a table, found the string "/srv/a" (write [stack.a] on a line of its own, with its keys below)"#
        ]],
    );
    check_stack(
        "compose = []\nenv_file = \"~/.env\"\ntrack = [\"conf/*.conf\", { file = \"x\", check = \"nginx -t\" }]",
        expect![[r#"
            steadfast.toml:4:1: stack.a.compose: no Compose file at all (name at least one, or take the key out: then compose.yaml is found)
            steadfast.toml:5:12: stack.a.env_file: "~/.env" would need a shell (write the path out: no ~ and no variables)
            steadfast.toml:6:10: stack.a.track[0]: "conf/*.conf" is a pattern (patterns are not supported: list the files)
            steadfast.toml:6:25: stack.a.track[1]: the key "path" is missing (add path = "nginx.conf")
            steadfast.toml:6:27: stack.a.track[1].file: unknown key "file" (known keys here: action, check, path, service)
            steadfast.toml:6:39: stack.a.track[1].check: "check" without "service" (add service = "frontend": it is run in a container of that service, as the new release has it)
            steadfast.toml:6:47: stack.a.track[1].check: expected a list of words, found the string "nginx -t" (no shell takes it apart: write check = ["nginx", "-t"])"#]],
    );
    check_stack(
        "track = [\"a\", { path = \"b\" }, { path = \"c\", service = \"web\", check = [\"nginx\", \"-t\"] }]",
        expect![[r#"
            read
        "#]],
    );
    check_stack(
        "track = [\"./\", \"/\", \"conf/../\", \"conf/\", { path = \"monitoring/\" }]",
        expect![[r#"
            steadfast.toml:4:10: stack.a.track[0]: /srv/a holds more than a release (name the directories that hold configuration, as "nginx/")
            steadfast.toml:4:16: stack.a.track[1]: / holds more than a release (name the directories that hold configuration, as "nginx/")
            steadfast.toml:4:21: stack.a.track[2]: /srv/a/conf/.. holds more than a release (name the directories that hold configuration, as "nginx/")"#]],
    );
    check_stack(
        "track = [\n{ path = \"a\", action = \"reload\" },\n{ path = \"b\", action = \"signal:KILL\" },\n{ path = \"c/\", action = \"signal:SIGUSR2\" },\n]",
        expect![[r#"
            steadfast.toml:5:24: stack.a.track[0].action: "reload" is no action (write "recreate", "restart" or "signal:HUP")
            steadfast.toml:6:24: stack.a.track[1].action: "signal:KILL" is no signal that a program reads its files for (HUP, USR1, USR2 or WINCH)"#]],
    );
    check_stack(
        "track = [\n{ path = \"b/*\", service = \"web\" },\n{ path = \"c\", service = \"a b\", check = [] },\n]",
        expect![[r#"
            steadfast.toml:5:10: stack.a.track[0].path: "b/*" is a pattern (patterns are not supported: list the files)
            steadfast.toml:5:17: stack.a.track[0].service: "service" without "check" (add check = ["nginx", "-t"], or write the path alone)
            steadfast.toml:6:25: stack.a.track[1].service: "a b" is not a valid service name: it holds only letters, digits, `.`, `_` and `-`
            steadfast.toml:6:32: stack.a.track[1].check: there is no program (write check = ["nginx", "-t"], or take it out)"#]],
    );
    check_stack(
        "compose = \"docker-compose.prod.yml\"\nprofiles = [\"-x\"]\nnotify = { url = \"/x\" }",
        expect![[r#"
            steadfast.toml:4:11: stack.a.compose: expected an array, found the string "docker-compose.prod.yml" (write compose = ["docker-compose.prod.yml"])
            steadfast.toml:5:13: stack.a.profiles[0]: "-x" is not a valid profile: it starts with a letter or a digit and holds only those, `.`, `_` and `-`
            steadfast.toml:6:1: stack.a.notify: "notify" is not supported yet (take it out: this version would not act on it)"#]],
    );
    check_stack(
        "images = { api = \"reg/api:latest\", web = \"reg/web:{tag} x\", \"a b\" = \"x:{tag}\", ok = \"reg:5000/ok:{tag}\" }",
        expect![[r#"
            steadfast.toml:4:18: stack.a.images.api: "reg/api:latest" has no place for the tag (write it as "registry.example/app/api:{tag}")
            steadfast.toml:4:42: stack.a.images.web: "reg/web:{tag} x" is not an image reference (write it as "registry.example/app/api:{tag}")
            steadfast.toml:4:61: stack.a.images.a b: "a b" is not a valid service name: it holds only letters, digits, `.`, `_` and `-`"#]],
    );
}

#[test]
fn a_trial() {
    check_stack(
        "[stack.a.trial]\nwindow = \"5\"\ngood_after = 300\nbudget = \"two\"\nsettled_after = \"1.5h\"",
        expect![[r#"
            steadfast.toml:5:10: stack.a.trial.window: "5" is not a duration: a unit is missing (write it with its unit: "5s" or "5m")
            steadfast.toml:6:14: stack.a.trial.good_after: expected a duration, found the integer 300 (write it with its unit, in quotes: "300s")
            steadfast.toml:7:10: stack.a.trial.budget: expected a number, found the string "two" (it is a whole number, 0 to 100, without quotes)
            steadfast.toml:8:17: stack.a.trial.settled_after: "1.5h" is not a duration: a unit is missing (write it as "30s", "5m", "1h30m" or "24h")"#]],
    );
    check_stack(
        "[stack.a.trial]\ntrial_max = \"1m\"\nbudget = 101\nbudget_per = \"400d\"",
        expect![[r#"
            steadfast.toml:5:1: stack.a.trial.trial_max: trial_max (1m) is shorter than window (5m) (make it at least as long: a verdict needs that time)
            steadfast.toml:5:1: stack.a.trial.trial_max: trial_max (1m) is shorter than good_after (5m) (make it at least as long: a verdict needs that time)
            steadfast.toml:6:10: stack.a.trial.budget: 101 is out of range (it is a whole number, 0 to 100, without quotes)
            steadfast.toml:7:14: stack.a.trial.budget_per: "400d" is out of range (it can be "1s" to "720h")"#]],
    );
    check_stack(
        "[stack.a.trial]\nwindow = \"1h\"\ntrial_max = \"2h\"",
        expect![[r#"
            read
        "#]],
    );
    check_stack(
        "[policy.critical]\nrespond = \"30m\"\n[stack.a.trial]\nwindow = \"1h\"\ntrial_max = \"2h\"",
        expect![
            "steadfast.toml:6:10: stack.a.trial: the window is 1h, and policy.critical.respond is 30m: the rollback would come later (shorten trial.window, or lengthen respond)"
        ],
    );
}

#[test]
fn a_probe() {
    check_probe(
        "",
        expect![[r#"steadfast.toml:3:1: stack.a.probe[0]: the key "kind" is missing (add kind = "http")"#]],
    );
    check_probe(
        "kind = \"htp\"",
        expect![[
            r#"steadfast.toml:6:8: stack.a.probe[0].kind: "htp" is not one of the possible values (did you mean "http"?)"#
        ]],
    );
    check_probe(
        "kind = \"sql\"\nquery = \"select 1\"",
        expect![[r#"
        steadfast.toml:6:8: stack.a.probe[0].kind: probes of the kind "sql" are not supported yet (the kinds are "http", "tcp", "container" and "healthcheck")
        steadfast.toml:7:1: stack.a.probe[0].query: "query" is not supported yet (take it out: this version would not act on it)"#]],
    );
    check_probe(
        "kind = \"http\"",
        expect![[
            r#"steadfast.toml:3:1: stack.a.probe[0]: an HTTP probe without a target (add url = "http://localhost:8000/health", or port = 8000 and path = "/health")"#
        ]],
    );
    check_probe(
        "kind = \"http\"\nurl = \"localhost:8000/health\"",
        expect![[
            r#"steadfast.toml:7:7: stack.a.probe[0].url: "localhost:8000/health" is not a valid URL: it is http://host[:port]/path or https://…, without user, password and fragment (did you mean "http://localhost:8000/health"?)"#
        ]],
    );
    check_probe(
        "kind = \"http\"\nurl = \"http://admin:hunter2@localhost/\"",
        expect![
            "steadfast.toml:7:7: stack.a.probe[0].url: a user or password in the URL (probe a path that needs none: what stands here is shown in status and logs)"
        ],
    );
    check_probe(
        "kind = \"http\"\nurl = \"http://localhost/\"\nport = 8000",
        expect![
            "steadfast.toml:7:1: stack.a.probe[0].url: both a URL and a port or path (a URL stands alone; port and path are for the container's own address)"
        ],
    );
    check_probe(
        "kind = \"http\"\nport = 80000\npath = \"health\"\nstatus = \"ok\"\nbody = \"\"",
        expect![[r#"
            steadfast.toml:7:8: stack.a.probe[0].port: 80000 is out of range (it is a whole number, 1 to 65535, without quotes)
            steadfast.toml:8:8: stack.a.probe[0].path: "health" is not the path of a URL (it begins with a slash: "/health")
            steadfast.toml:9:10: stack.a.probe[0].status: "ok" is not a set of HTTP statuses (write 200, "2xx" or [200, 204, "3xx"])
            steadfast.toml:10:8: stack.a.probe[0].body: the text is empty"#]],
    );
    check_probe(
        "kind = \"http\"\nport = 80\nstatus = [200, 999]",
        expect![[
            r#"steadfast.toml:8:10: stack.a.probe[0].status: [200, 999] is not a set of HTTP statuses (write 200, "2xx" or [200, 204, "3xx"])"#
        ]],
    );
    check_probe(
        "kind = \"tcp\"\naddress = \"localhost\"",
        expect![[
            r#"steadfast.toml:7:11: stack.a.probe[0].address: "localhost" is not an address (write "host:port")"#
        ]],
    );
    check_probe(
        "kind = \"tcp\"\nurl = \"http://x/\"",
        expect![[r#"
        steadfast.toml:3:1: stack.a.probe[0]: a TCP probe without a target (give address = "host:port", or port = 5432 for the container's own address)
        steadfast.toml:7:1: stack.a.probe[0].url: "url" does not belong to this kind of probe (it goes with kind = "http")"#]],
    );
    check_probe(
        "kind = \"container\"\nport = 80\ninterval = \"1s\"\ntimeout = \"2s\"\nfail_after = 0\nrequired = \"yes\"\nseverity = \"critcal\"",
        expect![[r#"
            steadfast.toml:7:1: stack.a.probe[0].port: "port" does not belong to this kind of probe (it goes with kind = "http" or "tcp")
            steadfast.toml:9:1: stack.a.probe[0].timeout: the time-out 2s is longer than the interval 1s (one sample ends before the next begins)
            steadfast.toml:10:14: stack.a.probe[0].fail_after: 0 is out of range (it is a whole number, 1 to 1000, without quotes)
            steadfast.toml:11:12: stack.a.probe[0].required: expected true or false, found the string "yes" (write true or false, without quotes)
            steadfast.toml:12:12: stack.a.probe[0].severity: "critcal" is not one of the possible values (did you mean "critical"?)"#]],
    );
    check_probe(
        "kind = \"container\"\ninterval = \"10m\"",
        expect![[r#"
        read
        steadfast.toml:7:1: stack.a.probe[0].interval: probe "p" takes 30m to be failing, and the window is 5m (shorten its interval, or lengthen trial.window)"#]],
    );
    check_probe(
        "kind = \"container\"\n[[stack.a.probe]]\nname = \"slow\"\nservice = \"s\"\nkind = \"container\"\nfail_after = 31",
        expect![[r#"
        read
        steadfast.toml:11:1: stack.a.probe[1].fail_after: probe "slow" takes 5m10s to be failing, and the window is 5m (shorten its interval, or lengthen trial.window)"#]],
    );
    check_probe(
        "kind = \"container\"\n[[stack.a.probe]]\nname = \"p\"\nservice = \"a b\"\nkind = \"container\"",
        expect![[r#"
            steadfast.toml:8:1: stack.a.probe[1].name: a second probe with the name "p" (every probe of a stack has its own name)
            steadfast.toml:9:11: stack.a.probe[1].service: "a b" is not a valid service name: it holds only letters, digits, `.`, `_` and `-`"#]],
    );
    check_stack(
        "",
        expect![[r#"
        read
    "#]],
    );
    check(
        "[stack.a]\ndirectory = \"/srv/a\"\nprobe = [{ name = \"\"\"a\nb\"\"\", service = \"s\", kind = \"tcp\", port = 1 }]",
        expect![[
            r#"steadfast.toml:3:19: stack.a.probe[0].name: "a…" is not a valid probe name: it starts with a letter, a digit or `_` and holds only those, `.` and `-`"#
        ]],
    );
    check(
        "[stack.a]\ndirectory = \"/srv/a\"\n[stack.a.probe]\nname = \"x\"",
        expect![
            "steadfast.toml:3:1: stack.a.probe: expected an array of tables, found a table (write [[stack.a.probe]] in double brackets)"
        ],
    );
}

#[test]
fn a_short_interval_takes_the_default_time_out_with_it() {
    let text = "[stack.a]\ndirectory = \"/a\"\n[[stack.a.probe]]\nname = \"p\"\nservice = \"s\"\nkind = \"http\"\nport = 80\ninterval = \"1s\"\nstatus = [200, \"3xx\"]";
    let probe = read(text).stacks.into_values().next().unwrap().probes.remove(0);
    assert_eq!(probe.policy.timeout, Duration::from_secs(1));
    let ProbeKind::Http { status, .. } = probe.kind else {
        panic!("not http")
    };
    assert_eq!(
        [199, 200, 204, 302, 400].map(|code| status.contains(code)),
        [false, true, false, true, false]
    );
    assert_eq!(status.to_string(), "200, 3xx");
}

#[test]
fn a_database_never_has_its_password_here_and_none_is_repeated() {
    check_stack(
        "[stack.a.database]\nservice = \"db\"\npassword = \"hunter2\"\nurl = \"postgres://u:hunter2@h/d\"",
        expect![[r#"
            steadfast.toml:5:1: stack.a.database.service: "service" beside a URL, which says it already (keep one of the two)
            steadfast.toml:6:1: stack.a.database.password: a password does not belong in this file (use password_env = "POSTGRES_PASSWORD" (a key of the stack's .env) or password_file = "/path")
            steadfast.toml:7:1: stack.a.database.url: a database URL holds a password, and does not belong in this file (use url_env = "DATABASE_URL" (a key of the stack's .env) or url_file = "/path")"#]],
    );
    check_stack(
        "[stack.a.database]\nservice = \"db\"\npassword_env = \"hunter 2\"\npassword_file = 12345",
        expect![[r#"
            steadfast.toml:6:16: stack.a.database.password_env: this is not the name of a key of the stack's .env (the value is not shown: it may be a secret)
            steadfast.toml:7:1: stack.a.database.password_file: both "password_env" and "password_file" (keep one of the two)
            steadfast.toml:7:17: stack.a.database.password_file: this is not the path of a file (the value is not shown: it may be a secret)"#]],
    );
    check_stack(
        "[stack.a.database]\n",
        expect![[
            r#"steadfast.toml:4:1: stack.a.database: nothing says where the database is (add service = "postgres", or url_env = "DATABASE_URL")"#
        ]],
    );
    check_stack(
        "[stack.a.database]\nurl_env = \"DATABASE_URL\"\nservice = \"db\"\nuser_env = \"U\"",
        expect![[r#"
            steadfast.toml:6:1: stack.a.database.service: "service" beside a URL, which says it already (keep one of the two)
            steadfast.toml:7:1: stack.a.database.user_env: "user_env" beside a URL, which says it already (keep one of the two)"#]],
    );
    check_stack(
        "[stack.a.database]\nservice = \"db\"\nuser = \"u\"\nuser_env = \"U\"\npasword_env = \"P\"\n[stack.a.database.migrations]\nupgrade = \"x\"\nschema = \"\"",
        expect![[r#"
            steadfast.toml:7:1: stack.a.database.user_env: both "user" and "user_env" (keep one of the two)
            steadfast.toml:8:1: stack.a.database.pasword_env: unknown key "pasword_env" (did you mean "password_env"?)
            steadfast.toml:10:1: stack.a.database.migrations.upgrade: "upgrade" without a tool (add tool = "alembic", or take it out)
            steadfast.toml:10:11: stack.a.database.migrations.upgrade: "x" is not one of the possible values (it is one of "agent", "stack")
            steadfast.toml:11:10: stack.a.database.migrations.schema: "" is not a valid Postgres name: it has 1 to 63 bytes and no control characters"#]],
    );
}

#[test]
fn backups_have_a_schedule_a_term_and_somebody_who_takes_them_away() {
    let of = |keys: &str| {
        let text = format!(
            "[stack.a]\ndirectory = \"/a\"\nprobe = []\n[stack.a.database]\nservice = \"db\"\n[stack.a.database.backup]\n{keys}"
        );
        read(&text)
            .stacks
            .into_values()
            .next()
            .unwrap()
            .database
            .unwrap()
            .backup
            .unwrap()
    };
    let plain = of("");
    assert_eq!(
        (plain.schedule, plain.verify, plain.keep),
        (None, Proof::Restore, 10)
    );
    assert_eq!(
        (plain.max_age, plain.after),
        (Duration::from_secs(7 * 86_400), None)
    );
    let full = of(
        "schedule = \"daily 03:05\"\nverify = \"off\"\nkeep = 3\nmax_age = \"0s\"\n\
         after_backup = [\"/bin/copy\", \"to there\"]\nafter_backup_timeout = \"5m\"",
    );
    assert_eq!(full.schedule, Some(Schedule::Daily { hour: 3, minute: 5 }));
    assert_eq!(
        (full.verify, full.keep, full.max_age),
        (Proof::None, 3, Duration::ZERO)
    );
    let after = full.after.unwrap();
    assert_eq!((after.command.len(), after.within), (2, Duration::from_secs(300)));
    let every = of("schedule = \"1h30m\"\nverify = \"list\"");
    assert_eq!(every.schedule, Some(Schedule::Every(Duration::from_secs(5400))));
    assert_eq!(every.verify, Proof::List);

    check_stack(
        "[stack.a.database]\nservice = \"db\"\n[stack.a.database.backup]\nschedule = \"daily 3:00\"\nverify = \"no\"\n\
         keep = 0\nmax_age = 7\nafter_backup = []\nafter_backup_timeout = \"0s\"\nretain = 3",
        expect![[r#"
            steadfast.toml:7:12: stack.a.database.backup.schedule: "daily 3:00" is no schedule (write it as "daily 03:00", by the host's clock, or as an interval: "6h")
            steadfast.toml:8:10: stack.a.database.backup.verify: "no" is not one of the possible values (it is one of "restore", "list", "off")
            steadfast.toml:9:8: stack.a.database.backup.keep: 0 is out of range (it is a whole number, 1 to 1000, without quotes)
            steadfast.toml:10:11: stack.a.database.backup.max_age: expected a duration, found the integer 7 (write it with its unit, in quotes: "7s")
            steadfast.toml:11:1: stack.a.database.backup.after_backup: there is no program (write after_backup = ["/usr/local/bin/take-away"], or take it out)
            steadfast.toml:12:24: stack.a.database.backup.after_backup_timeout: "0s" is out of range (it can be "1s" to "24h")
            steadfast.toml:13:1: stack.a.database.backup.retain: unknown key "retain" (known keys here: after_backup, after_backup_timeout, keep, max_age, schedule, verify)"#]],
    );
    check_stack(
        "[stack.a.database]\nservice = \"db\"\n[stack.a.database.backup]\nschedule = \"5m\"\nafter_backup_timeout = \"5m\"",
        expect![[r#"
            steadfast.toml:7:12: stack.a.database.backup.schedule: "5m" is out of range (it can be "10m" to "720h")
            steadfast.toml:8:1: stack.a.database.backup.after_backup_timeout: "after_backup_timeout" without a command (add after_backup = ["…"], or take it out)"#]],
    );
}

#[test]
fn queries_of_the_operators_are_queries() {
    let text = "[stack.a]\ndirectory = \"/a\"\nprobe = []\n[stack.a.database]\nservice = \"db\"\n[stack.a.database.preserve]\n\
        all = \"\"\"\nselect *\nfrom t;\n\"\"\"\ncounted = \"WITH x AS (SELECT 1) SELECT * FROM x\"";
    let database = read(text).stacks.into_values().next().unwrap().database.unwrap();
    let queries: Vec<_> = database
        .preserve
        .iter()
        .map(|own| (own.name.as_str(), own.query.as_str()))
        .collect();
    assert_eq!(
        queries,
        [
            ("all", "select *\nfrom t"),
            ("counted", "WITH x AS (SELECT 1) SELECT * FROM x")
        ]
    );

    check_stack(
        "[stack.a.database]\nservice = \"db\"\n[stack.a.database.preserve]\na = \"DELETE FROM t\"\nb = \"\"\nc = 3",
        expect![[r#"
            steadfast.toml:7:5: stack.a.database.preserve.a: this is no query (write a SELECT: what it gives is kept)
            steadfast.toml:8:5: stack.a.database.preserve.b: this is no query (write a SELECT: what it gives is kept)
            steadfast.toml:9:5: stack.a.database.preserve.c: expected a string, found the integer 3 (put it in quotes: "3")"#]],
    );
}

#[test]
fn what_moves_a_schema_is_said_whole_or_not_at_all() {
    let text = "[stack.a]\ndirectory = \"/a\"\nprobe = []\n[stack.a.database]\nservice = \"db\"\nforeign_sessions = \"end\"\n\
        [stack.a.database.migrations]\ntool = \"alembic\"\nservice = \"api\"\nprogram = [\"python3\", \"-m\", \"alembic\"]\n\
        workdir = \"/app\"\ntimeout = \"2m\"\nlock_timeout = \"3s\"\nupgrade = \"stack\"";
    let stack = read(text).stacks.into_values().next().unwrap();
    let mentioned: Vec<_> = stack
        .mentions
        .iter()
        .map(|mention| (mention.key.as_str(), mention.service.as_str()))
        .collect();
    let expected = [
        ("stack.a.database.service", "db"),
        ("stack.a.database.migrations.service", "api"),
    ];
    assert_eq!(mentioned, expected);
    let database = stack.database.unwrap();
    assert_eq!(database.foreign_sessions, ForeignSessions::End);
    let tool = database.migrations.tool.unwrap();
    assert_eq!(
        tool.commands.history,
        ["python3", "-m", "alembic", "history", "--verbose"]
    );
    assert_eq!(tool.workdir.as_deref(), Some("/app"));
    assert_eq!(
        (tool.timeout, tool.lock_timeout),
        (Duration::from_secs(120), Duration::from_secs(3))
    );
    assert_eq!(tool.upgrade, UpgradeBy::Stack);
    let alone = "[stack.a.database]\nservice = \"db\"\n[stack.a.database.migrations]\nservice = \"api\"\nlock_timeout = \"1s\"";
    check_stack(
        alone,
        expect![[r#"
        steadfast.toml:7:1: stack.a.database.migrations.service: "service" without a tool (add tool = "alembic", or take it out)
        steadfast.toml:8:1: stack.a.database.migrations.lock_timeout: "lock_timeout" without a tool (add tool = "alembic", or take it out)"#]],
    );
    let nobodys = "[stack.a.database]\nservice = \"db\"\n[stack.a.database.migrations]\ntool = \"alembc\"\nprogram = []\nworkdir = \"app\"";
    check_stack(
        nobodys,
        expect![[r#"
        steadfast.toml:7:1: stack.a.database.migrations.tool: nothing says whose image has the migrations (add service = "api")
        steadfast.toml:7:8: stack.a.database.migrations.tool: "alembc" is not one of the possible values (did you mean "alembic"?)
        steadfast.toml:8:1: stack.a.database.migrations.program: there is no program (write program = ["python3", "-m", "alembic"])
        steadfast.toml:9:11: stack.a.database.migrations.workdir: "app" is not an absolute path (write the path from the root: "/…")"#]],
    );
}

/// The migrations of a stack whose table for them has these keys.
fn migrations(keys: &str) -> MigrationSettings {
    let text = format!(
        "[stack.a]\ndirectory = \"/a\"\nprobe = []\n[stack.a.database]\nservice = \"db\"\n\
         [stack.a.database.migrations]\n{keys}"
    );
    let stack = read(&text).stacks.into_values().next().unwrap();
    stack.database.unwrap().migrations
}

#[test]
fn a_tool_that_is_known_by_name_needs_no_more_than_its_service() {
    for (name, table, command) in [
        ("alembic", "alembic_version", "alembic downgrade {revision}"),
        ("django", "django_migrations", "python3 manage.py shell -v 0 -c"),
        (
            "sqlx",
            "_sqlx_migrations",
            "sqlx migrate revert --target-version {revision} --source migrations",
        ),
        (
            "flyway",
            "flyway_schema_history",
            "flyway -locations=filesystem:/flyway/sql -table=flyway_schema_history -target={revision} undo",
        ),
    ] {
        let read = migrations(&format!("tool = \"{name}\"\nservice = \"api\""));
        assert_eq!(read.version_table.as_str(), table);
        let tool = read.tool.unwrap();
        assert!(tool.commands.downgrade.join(" ").starts_with(command), "{tool:?}");
        assert_eq!(tool.commands.version, read.version);
        assert!(read.version.query.contains("{table}"));
    }
    let read = migrations(
        "tool = \"sqlx\"\nservice = \"api\"\nprogram = [\"/usr/local/bin/sqlx\"]\ndirectory = \"/app/db\"\n\
         version_table = \"applied\"",
    );
    assert_eq!(read.version_table.as_str(), "applied");
    let commands = read.tool.unwrap().commands;
    assert_eq!(
        commands.upgrade.unwrap().join(" "),
        "/usr/local/bin/sqlx migrate run --source /app/db"
    );
    assert_eq!(commands.history, ["ls", "-1", "/app/db"]);
    check_stack(
        "[stack.a.database]\nservice = \"db\"\n[stack.a.database.migrations]\ntool = \"django\"\nservice = \"api\"\n\
         directory = \"x\"\nhistory = [\"ls\"]\nupgrade = [\"up\"]\nheads = 3",
        expect![[r#"
            steadfast.toml:9:1: stack.a.database.migrations.directory: "directory" means nothing to tool = "django" (take it out)
            steadfast.toml:10:1: stack.a.database.migrations.history: "history" means nothing to tool = "django" (write tool = "custom", with all of its commands; or take it out)
            steadfast.toml:11:1: stack.a.database.migrations.upgrade: tool = "django" knows its own command (write "agent" or "stack"; or tool = "custom")
            steadfast.toml:12:1: stack.a.database.migrations.heads: "heads" is not supported yet (take it out: this version would not act on it)"#]],
    );
}

#[test]
fn a_tool_of_ones_own_says_all_of_it() {
    let own = "tool = \"custom\"\nservice = \"api\"\ncurrent = \"SELECT max(v) FROM {table};\"\n\
               history = [\"m\", \"history\"]\ndowngrade = [\"m\", \"down\", \"{revision}\"]\n";
    let read = migrations(&format!(
        "{own}upgrade = [\"m\", \"up\"]\nrows = \"applied\"\nsql = [\"m\", \"sql\"]"
    ));
    assert_eq!(read.version.query, "SELECT max(v) FROM {table}");
    assert_eq!(read.version.rows, VersionRows::Applied);
    assert_eq!(read.version_table.as_str(), "schema_migrations");
    let tool = read.tool.unwrap();
    assert_eq!(tool.upgrade, UpgradeBy::Agent);
    assert_eq!(
        (tool.commands.upgrade_to, tool.commands.upgrade.unwrap().len()),
        (None, 2)
    );
    assert_eq!(tool.commands.way_back.unwrap(), ["m", "sql"]);
    let tool = migrations(&format!("{own}upgrade = [\"m\", \"up\", \"{{revision}}\"]"))
        .tool
        .unwrap();
    assert_eq!(tool.commands.upgrade, tool.commands.upgrade_to);
    let tool = migrations(&format!("{own}upgrade = \"stack\"")).tool.unwrap();
    assert_eq!((tool.upgrade, tool.commands.upgrade), (UpgradeBy::Stack, None));

    let begun = "[stack.a.database]\nservice = \"db\"\n[stack.a.database.migrations]\ntool = \"custom\"\nservice = \"api\"\n";
    check_stack(
        begun,
        expect![[r#"
        steadfast.toml:7:1: stack.a.database.migrations.tool: nothing says how the database is asked where its schema stands (add current = "SELECT version FROM {table}")
        steadfast.toml:7:1: stack.a.database.migrations.tool: nothing says what revisions an image has (add history = ["/app/migrate.sh", "history"])
        steadfast.toml:7:1: stack.a.database.migrations.tool: nothing says how the schema is taken back (add downgrade = ["/app/migrate.sh", "down", "{revision}"])
        steadfast.toml:7:1: stack.a.database.migrations.tool: nothing says how the schema is brought up (add upgrade = ["/app/migrate.sh", "up", "{revision}"]; or "stack", where the services do it)"#]],
    );
    check_stack(
        &format!(
            "{begun}program = [\"m\"]\ncurrent = \"DELETE FROM t\"\nhistory = []\ndowngrade = [\"m\"]\n\
             upgrade = \"agent\"\nrows = \"all\""
        ),
        expect![[r#"
            steadfast.toml:9:1: stack.a.database.migrations.program: "program" means nothing to tool = "custom" (take it out)
            steadfast.toml:10:11: stack.a.database.migrations.current: this is no query (write one SELECT with one column: a row for each revision)
            steadfast.toml:11:1: stack.a.database.migrations.history: there is no program (write history = ["/app/migrate.sh"])
            steadfast.toml:12:1: stack.a.database.migrations.downgrade: nothing in it says where to (write {revision} where the revision is to stand)
            steadfast.toml:13:1: stack.a.database.migrations.upgrade: nothing says how the schema is brought up (add upgrade = ["/app/migrate.sh", "up", "{revision}"]; or "stack", where the services do it)
            steadfast.toml:14:8: stack.a.database.migrations.rows: "all" is not one of the possible values (it is one of "heads", "applied")"#]],
    );
    check_stack(
        &format!(
            "{begun}current = \"SELECT 1; SELECT 2\"\nhistory = \"m\"\ndowngrade = [\"m {{revision}}\"]\nupgrade = []"
        ),
        expect![[r#"
            steadfast.toml:9:11: stack.a.database.migrations.current: this is no query (write one SELECT with one column: a row for each revision)
            steadfast.toml:10:11: stack.a.database.migrations.history: expected an array, found the string "m" (write history = ["m"])
            steadfast.toml:12:1: stack.a.database.migrations.upgrade: there is no program (write upgrade = ["/app/migrate.sh"])"#]],
    );
}

/// With a database whose schema is moved; the keys begin in line 9.
#[track_caller]
#[allow(clippy::needless_pass_by_value)]
fn check_manual(keys: &str, expected: Expect) {
    let before = "[stack.a.database]\nservice = \"db\"\n[stack.a.database.migrations]\ntool = \"alembic\"\nservice = \"api\"";
    check_stack(&format!("{before}\n{keys}"), expected);
}

#[test]
fn sql_of_the_operators_is_what_one_transaction_takes() {
    let text = "[stack.a]\ndirectory = \"/a\"\nprobe = []\n[stack.a.database]\nservice = \"db\"\n\
        [stack.a.database.migrations]\ntool = \"alembic\"\nservice = \"api\"\n\
        [stack.a.database.manual.\"0003\"]\ndowngrade = \"\"\"\nALTER TABLE a DROP b;\nDROP TABLE c\n\"\"\"";
    let database = read(text).stacks.into_values().next().unwrap().database.unwrap();
    let (revision, sql) = database.manual.iter().next().unwrap();
    assert_eq!(revision.as_str(), "0003");
    assert_eq!(sql.as_str(), "ALTER TABLE a DROP b;\nDROP TABLE c\n");
    let of = |sql: &str| format!("[stack.a.database.manual.\"0003\"]\ndowngrade = \"\"\"\n{sql}\"\"\"");
    check_manual(
        &of(" \n"),
        expect![
            "steadfast.toml:10:13: stack.a.database.manual.0003.downgrade: the SQL is empty (write statements that can be run one after the other, without BEGIN and COMMIT)"
        ],
    );
    check_manual(
        &of("-- nothing\n"),
        expect![
            "steadfast.toml:10:13: stack.a.database.manual.0003.downgrade: line 1 of the SQL has nothing that could be run (write statements that can be run one after the other, without BEGIN and COMMIT)"
        ],
    );
    check_manual(
        &of("SELECT 'hunter2';\nCOMMIT;\n"),
        expect![
            "steadfast.toml:10:13: stack.a.database.manual.0003.downgrade: line 2 of the SQL has a COMMIT of its own: it runs in one transaction with the version table (write statements that can be run one after the other, without BEGIN and COMMIT)"
        ],
    );
    check_manual(
        &of("SELECT 'hunter2\\u0000'"),
        expect![
            "steadfast.toml:10:13: stack.a.database.manual.0003.downgrade: the SQL has a NUL in it (write statements that can be run one after the other, without BEGIN and COMMIT)"
        ],
    );
    check_manual(
        &of("CREATE INDEX CONCURRENTLY i ON a (b)"),
        expect![
            "steadfast.toml:10:13: stack.a.database.manual.0003.downgrade: line 1 of the SQL has a CONCURRENTLY, which no transaction takes (write statements that can be run one after the other, without BEGIN and COMMIT)"
        ],
    );
    check_manual(
        &of("SELECT 'hunter2"),
        expect![
            "steadfast.toml:10:13: stack.a.database.manual.0003.downgrade: line 1 of the SQL begins a text, a name or a comment that has no end (write statements that can be run one after the other, without BEGIN and COMMIT)"
        ],
    );
    check_manual(
        "[stack.a.database.manual.\"0003\"]\ndowngrade = \"SELECT 1\"\ndowngrade_file = \"/no/such.sql\"\n\
         [stack.a.database.manual.\"0004\"]\n[stack.a.database.manual.\"0 5\"]\ndowngrade = 5\nupgrade = \"SELECT 1\"",
        expect![[r#"
            steadfast.toml:11:1: stack.a.database.manual.0003.downgrade_file: both "downgrade" and "downgrade_file" (keep one of the two)
            steadfast.toml:11:18: stack.a.database.manual.0003.downgrade_file: /no/such.sql does not exist (name a file of SQL that the daemon may read)
            steadfast.toml:12:1: stack.a.database.manual.0004: nothing says how this revision is taken back (add downgrade = "ALTER TABLE …", or downgrade_file = "down.sql", or rollback_schema = "keep")
            steadfast.toml:13:26: stack.a.database.manual.0 5: "0 5" is not a valid revision: it holds only letters, digits, `_`, `.` and `-`"#]],
    );
    check_manual(
        "[stack.a.database.manual.\"0003\"]\ndowngrade = \"SELECT 1\"\n[stack.b]\ndirectory = \"/b\"\nprobe = []\n\
         [stack.b.database]\nservice = \"db\"\nrestore_backup = \"yes\"",
        expect![[
            r#"steadfast.toml:16:18: stack.b.database.restore_backup: "yes" is not one of the possible values (it is one of "ask", "allow", "never")"#
        ]],
    );
    check_stack(
        "[stack.a.database]\nservice = \"db\"\nmanual.\"0003\".downgrade = \"SELECT 1\"",
        expect![[
            r#"steadfast.toml:6:1: stack.a.database.manual: "manual" without a tool: nothing is taken back (add tool = "alembic" to the migrations, or take it out)"#
        ]],
    );
}

#[test]
fn what_a_rollback_leaves_of_the_schema() {
    let text = "[stack.a]\ndirectory = \"/a\"\nprobe = []\n[stack.a.database]\nservice = \"db\"\nrollback_schema = \"keep\"\n\
        [stack.a.database.migrations]\ntool = \"alembic\"\nservice = \"api\"\n\
        [stack.a.database.manual.\"0003\"]\nrollback_schema = \"ask\"\n\
        [stack.a.database.manual.\"0004\"]\nrollback_schema = \"downgrade\"\ndowngrade = \"SELECT 1\"";
    let database = read(text).stacks.into_values().next().unwrap().database.unwrap();
    assert_eq!(database.manual.len(), 1);
    let declared = database.migrations.tool.unwrap().declared;
    let said: Vec<String> = ["0002", "0003", "0004"]
        .iter()
        .map(|name| format!("{:?}", declared.of(&name.parse().unwrap())))
        .collect();
    assert_eq!(said, ["Keep", "Ask", "Downgrade"]);
    check_manual(
        "[stack.a.database.manual.\"0003\"]\nrollback_schema = \"stay\"",
        expect![[
            r#"steadfast.toml:10:19: stack.a.database.manual.0003.rollback_schema: "stay" is not one of the possible values (it is one of "downgrade", "keep", "ask")"#
        ]],
    );
    check_stack(
        "[stack.a.database]\nservice = \"db\"\nrollback_schema = \"keep\"",
        expect![[
            r#"steadfast.toml:6:1: stack.a.database.rollback_schema: "rollback_schema" without a tool: the schema is not moved (add tool = "alembic" to the migrations, or take it out)"#
        ]],
    );
}

#[test]
fn integrity_checks() {
    let of = |checks: &str| {
        format!("[stack.a]\ndirectory = \"/a\"\nprobe = []\n[stack.a.database]\nservice = \"db\"\n{checks}")
    };
    let text = of(
        "[[stack.a.database.integrity]]\nname = \"orders\"\nquery = \"SELECT count(*) > 0 FROM orders; -- all\"\n\
         expect = true\ntimeout = \"2s\"\non = [\"upgrade\"]\n\
         [[stack.a.database.integrity]]\nname = \"sum\"\nquery = \"WITH a AS (SELECT 1) TABLE a\"\nexpect = 1_000\n",
    );
    let database = read(&text).stacks.into_values().next().unwrap().database.unwrap();
    let checks: Vec<String> = database
        .integrity
        .iter()
        .map(|c| {
            format!(
                "{}: {} = {} in {:?} on {:?}",
                c.name, c.query, c.expect, c.timeout, c.on
            )
        })
        .collect();
    assert_eq!(
        checks,
        [
            "orders: SELECT count(*) > 0 FROM orders = true in 2s on [Upgrade]",
            "sum: WITH a AS (SELECT 1) TABLE a = 1000 in 5s on [Upgrade, Downgrade, Restore]"
        ]
    );
    assert_eq!(database.count_within, Duration::from_secs(10));
    let check_one = |check: &str, expected: Expect| {
        let problems = parse(
            Path::new("steadfast.toml"),
            &of(&format!("[[stack.a.database.integrity]]\n{check}")),
        );
        expected.assert_eq(&problems.unwrap_err().to_string());
    };
    check_one(
        "",
        expect![[r#"
        steadfast.toml:6:1: stack.a.database.integrity[0]: the key "name" is missing (add name = "orders")
        steadfast.toml:6:1: stack.a.database.integrity[0]: the key "query" is missing (add query = "SELECT count(*) > 0 FROM orders")
        steadfast.toml:6:1: stack.a.database.integrity[0]: the key "expect" is missing (add expect = true)"#]],
    );
    check_one(
        "name = \"a\"\nquery = \"SELECT 'hunter2'; SELECT 2\"\nexpect = 2",
        expect![[
            r#"steadfast.toml:8:9: stack.a.database.integrity[0].query: 2 statements, and a check is one (write one SELECT that gives one value, as "SELECT count(*) > 0 FROM orders")"#
        ]],
    );
    check_one(
        "name = \"a\"\nquery = \"DELETE FROM hunter2\"\nexpect = 1.5\non = [\"deploy\"]\ntimeout = \"0s\"",
        expect![[r#"
            steadfast.toml:8:9: stack.a.database.integrity[0].query: this is no query (write one SELECT that gives one value, as "SELECT count(*) > 0 FROM orders")
            steadfast.toml:9:10: stack.a.database.integrity[0].expect: expected one value, found the number 1.5 (write it as text, as Postgres does: expect = "12.50")
            steadfast.toml:10:1: stack.a.database.integrity[0].on: a check that is never asked (write on = ["upgrade"], or take the check out)
            steadfast.toml:10:7: stack.a.database.integrity[0].on[0]: "deploy" is not one of the possible values (it is one of "upgrade", "downgrade", "restore")
            steadfast.toml:11:11: stack.a.database.integrity[0].timeout: "0s" is out of range (it can be "100ms" to "10m")"#]],
    );
    check_one(
        "name = \"a\"\nquery = \"SELECT 1; COMMIT\"\nexpect = \"1\"\non = []\n[[stack.a.database.integrity]]\nname = \"a\"\nquery = \"SELECT 'a\"\nexpect = \"1\"\nexpected = 1",
        expect![[r#"
            steadfast.toml:8:9: stack.a.database.integrity[0].query: line 1 of the SQL has a COMMIT of its own: it runs in one transaction with the version table (write one SELECT that gives one value, as "SELECT count(*) > 0 FROM orders")
            steadfast.toml:10:1: stack.a.database.integrity[0].on: a check that is never asked (write on = ["upgrade"], or take the check out)
            steadfast.toml:12:1: stack.a.database.integrity[1].name: a second check with the name "a" (every check of a stack has its own name)
            steadfast.toml:13:9: stack.a.database.integrity[1].query: line 1 of the SQL begins a text, a name or a comment that has no end (write one SELECT that gives one value, as "SELECT count(*) > 0 FROM orders")
            steadfast.toml:15:1: stack.a.database.integrity[1].expected: unknown key "expected" (did you mean "expect"?)"#]],
    );
}

#[test]
fn sql_of_the_operators_may_stand_in_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let text = format!(
        "[stack.a]\ndirectory = \"{}\"\nprobe = []\n[stack.a.database]\nservice = \"db\"\n\
         [stack.a.database.migrations]\ntool = \"alembic\"\nservice = \"api\"\n\
         [stack.a.database.manual.\"0003\"]\ndowngrade_file = \"down.sql\"",
        directory.path().display()
    );
    let write = |sql: &[u8]| {
        std::fs::write(directory.path().join("down.sql"), sql).unwrap();
        let read = parse(Path::new("steadfast.toml"), &text);
        read.map_err(|problems| {
            problems
                .to_string()
                .replace(&*directory.path().to_string_lossy(), "/a")
        })
    };
    let (settings, _) = write(b"DROP TABLE a;\n").unwrap();
    let database = settings.stacks.into_values().next().unwrap().database.unwrap();
    assert_eq!(
        database.manual.values().next().unwrap().as_str(),
        "DROP TABLE a;\n"
    );
    expect!["steadfast.toml:10:18: stack.a.database.manual.0003.downgrade_file: /a/down.sql: line 3 of the SQL has a ROLLBACK of its own: it runs in one transaction with the version table (write statements that can be run one after the other, without BEGIN and COMMIT)"].assert_eq(&write(b"DROP TABLE a;\n\nROLLBACK").unwrap_err());
    expect![
        "steadfast.toml:10:18: stack.a.database.manual.0003.downgrade_file: /a/down.sql: it is no UTF-8 text"
    ]
    .assert_eq(&write(b"\xff").unwrap_err());
}

#[test]
fn a_policy() {
    check_stack(
        "[policy.critical]\nrespond = \"1m\"",
        expect![
            "steadfast.toml:1:1: stack.a.trial: the window is 5m, and policy.critical.respond is 1m: the rollback would come later (shorten trial.window, or lengthen respond)"
        ],
    );
    check_stack(
        "[policy.critical]\naction = \"emergency\"\n[policy.high]\non_timeout = \"wait\"\n[policy.low]\nescalation = [{ to = \"cto\", after = \"1h\" }]",
        expect![[r#"
            steadfast.toml:5:10: policy.critical.action: the action "emergency" is not supported yet (write "rollback")
            steadfast.toml:7:14: policy.high.on_timeout: "wait" is not one of the possible values (it is one of "act", "hold")
            steadfast.toml:9:1: policy.low.escalation: "escalation" without an approval to wait for (set action = "rollback" and approval = "lead", or take it out)"#]],
    );
    check_stack(
        "[policy.critical]\napproval = \"on-call\"\n[policy.medium]\napproval = \"lead\"",
        expect![[r#"
            steadfast.toml:5:1: policy.critical.approval: an approval without a term to give it in (add respond = "30m")
            steadfast.toml:7:1: policy.medium.approval: "notify" changes nothing, so nobody has to approve it (set action = "rollback", or take it out)"#]],
    );
    check_stack(
        "[[policy.high.escalation]]\nto = \"cto\"\nafter = \"1h\"\n[[policy.high.escalation]]\nto = \"lead\"",
        expect![[
            r#"steadfast.toml:7:1: policy.high.escalation[1]: the key "after" is missing (add after = "15m")"#
        ]],
    );
}

#[test]
fn what_is_not_toml_is_said_without_repeating_a_value() {
    check(
        "[stack.a]\ndirectory = /srv/a\n[stack.b\npassword = hunter2 2\n",
        expect![[r#"
            steadfast.toml:2:13: not TOML: string values must be quoted, expected literal string, at `directory =` (texts stand in quotes: key = "value")
            steadfast.toml:3:9: not TOML: unclosed table, expected `]`, at `[stack.b`"#]],
    );
    check(
        "[stack.a]\ndirectory = \"/srv/a\"\ndirectory = \"/srv/b\"\n[stack.a]\n",
        expect![[r#"
            steadfast.toml:3:1: not TOML: duplicate key, at `directory =` (it is there twice: keep one of the two)
            steadfast.toml:4:8: not TOML: duplicate key, at `[stack.a]` (it is there twice: keep one of the two)"#]],
    );
    check(
        "[stack.a]\ndirectory = \"/sr",
        expect![[
            r#"steadfast.toml:2:17: not TOML: invalid basic string, expected `"`, at `directory =` (the file ends too early: was it saved half-way?)"#
        ]],
    );
    check(
        "<<<<<<< HEAD\n[stack.a]\n",
        expect![
            "steadfast.toml:1:1: not TOML: invalid unquoted key, expected letters, numbers, `-`, `_`, at `<<<<<<<` (a merge conflict was left in the file)"
        ],
    );
    check(
        "stack:\n  a:\n    directory: /srv/a\n",
        expect![[r#"
        steadfast.toml:1:6: not TOML: invalid unquoted key, expected letters, numbers, `-`, `_`, at `stack` (TOML has key = "value", not key: value)
        steadfast.toml:2:5: not TOML: key with no value, expected `=`, at `a` (TOML has key = "value", not key: value)
        steadfast.toml:3:16: not TOML: key with no value, expected `=`, at `directory` (TOML has key = "value", not key: value)"#]],
    );
}

#[test]
fn services_are_compared_with_those_of_the_compose_file() {
    let text = "[stack.a]\ndirectory = \"/a\"\n[stack.a.images]\napi = \"r/api:{tag}\"\n[[stack.a.probe]]\nname = \"p\"\nservice = \"fronted\"\nkind = \"container\"\n[stack.a.database]\nservice = \"db\"";
    let known: BTreeSet<_> = ["api", "frontend", "postgres"]
        .map(|name| name.parse().unwrap())
        .into();
    expect![[r#"
        steadfast.toml:7:1: stack.a.probe[0].service: the Compose file has no service "fronted" (did you mean "frontend"?)
        steadfast.toml:10:1: stack.a.database.service: the Compose file has no service "db" (its services: api, frontend, postgres)"#]].assert_eq(
        &read(text)
            .stacks
            .into_values()
            .next()
            .unwrap()
            .unknown_services(&known)
            .to_string(),
    );
}

#[test]
fn compose_files_are_searched_as_compose_does() {
    let dir = tempfile::tempdir().unwrap();
    let search = ComposeFiles::Search(dir.path().to_owned());
    let found = || {
        search
            .paths()
            .iter()
            .map(|p| p.file_name().unwrap().to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(found().is_empty());
    let touch = |name: &str| std::fs::write(dir.path().join(name), "").unwrap();
    touch("docker-compose.override.yml");
    assert!(found().is_empty());
    touch("docker-compose.yml");
    assert_eq!(found(), ["docker-compose.yml", "docker-compose.override.yml"]);
    touch("compose.yml");
    touch("compose.override.yaml");
    assert_eq!(found(), ["compose.yml", "compose.override.yaml"]);
}

#[test]
fn a_file_full_of_mistakes_is_told_in_bounded_time_and_length() {
    let keys: String = (0..60_000).map(|i| format!("k{i} = 1\n")).collect();
    let deep = format!("{}x = 1", "a.".repeat(500_000));
    for text in [
        keys,
        deep,
        "[".repeat(500_000),
        "[[a]]\n".repeat(100_000),
        "\"".repeat(500_000),
    ] {
        let start = Instant::now();
        let problems = parse(Path::new("s"), &text).unwrap_err();
        assert!(problems.0.len() <= 101, "{}", problems.0.len());
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".*") {
        let _ = parse(Path::new("s"), &text);
    }

    #[test]
    fn no_mutilation_of_the_example_makes_it_panic(cut in 0_usize..6000, len in 0_usize..40, put in ".{0,6}") {
        let example = include_str!("../examples/steadfast.toml");
        let at = |i: usize| (0..=i.min(example.len())).rev().find(|&i| example.is_char_boundary(i)).unwrap();
        let (start, end) = (at(cut), at(cut + len));
        let _ = parse(Path::new("s"), &format!("{}{put}{}", &example[..start], &example[end..]));
    }
}

#[test]
fn a_tracked_directory_ends_with_a_slash() {
    let settings = read(
        "[stack.a]\ndirectory = \"/srv/a\"\n\
         track = [\"nginx.conf\", \"monitoring/prometheus/\", { path = \"conf.d/\", service = \"web\", check = [\"nginx\"] }]",
    );
    let stack = settings.stacks.values().next().unwrap();
    assert_eq!(stack.track, [Path::new("/srv/a/nginx.conf")]);
    let below = ["/srv/a/monitoring/prometheus", "/srv/a/conf.d"].map(Path::new);
    assert_eq!(stack.track_below, below);
    for (path, is) in [
        ("nginx.conf", true),
        ("conf.d", false),
        ("conf.d/a", true),
        ("conf.d/deep/.a", true),
        ("conf.data/a", false),
        ("monitoring/a", false),
    ] {
        assert_eq!(stack.tracks(&Path::new("/srv/a").join(path)), is, "{path}");
    }
    // Of a directory a service may see a part.
    let mut spec = state::stack_spec::StackSpec::new("a".parse().unwrap());
    let part = state::stack_spec::Mount::Bind(state::stack_spec::Bind {
        source: "/srv/a/conf.d/deep".into(),
        ..state::stack_spec::Bind::default()
    });
    let web = state::stack_spec::ServiceSpec {
        volumes: vec![part],
        ..state::stack_spec::ServiceSpec::default()
    };
    spec.services.insert("web".parse().unwrap(), web);
    assert!(stack.unseen_files(&spec).0.is_empty());
}

#[test]
fn a_signal_is_refused_where_the_container_would_keep_the_old_file() {
    use state::files::{Action, Signal};
    let settings = read(
        "[stack.a]\ndirectory = \"/srv/a\"\n\
         track = [{ path = \"site.conf\", action = \"signal:HUP\" }, { path = \"conf.d/\", action = \"signal:HUP\" }, { path = \"conf.d/own.conf\", action = \"restart\" }]",
    );
    let stack = settings.stacks.values().next().unwrap();
    for (path, action) in [
        ("site.conf", Action::Signal(Signal::Hup)),
        ("conf.d/deep/a.conf", Action::Signal(Signal::Hup)),
        ("conf.d/own.conf", Action::Restart),
        ("other", Action::Recreate),
    ] {
        assert_eq!(stack.action_of(&Path::new("/srv/a").join(path)), action, "{path}");
    }
    let mut spec = state::stack_spec::StackSpec::new("a".parse().unwrap());
    spec.services
        .insert("web".parse().unwrap(), state::stack_spec::ServiceSpec::default());
    let is_file = |path: &Path| path.extension().is_some_and(|extension| extension == "conf");
    let mut said = |source: &str| {
        let bind = state::stack_spec::Bind {
            source: source.into(),
            ..state::stack_spec::Bind::default()
        };
        let web = spec.services.values_mut().next().unwrap();
        web.volumes = vec![state::stack_spec::Mount::Bind(bind)];
        stack.unread_files(&spec, &is_file).to_string()
    };
    expect![[r#"
        steadfast.toml:3:32: stack.a.track[0].action: web mounts the file /srv/a/site.conf itself: a file is replaced by a rename, and a signal leaves the container with the old one (mount the directory that it is in, or write action = "restart")"#]]
    .assert_eq(&said("/srv/a/site.conf"));
    assert!(said("/srv/a/conf.d/a.conf").contains("track[1].action"));
    for source in ["/srv/a", "/srv/a/conf.d", "/srv/a/conf.d/deep"] {
        assert_eq!(said(source), "", "{source}");
    }
}

#[test]
fn a_check_of_a_file_is_in_a_service_that_sees_it() {
    let settings = read(
        "[stack.a]\ndirectory = \"/srv/a\"\n\
         track = [{ path = \"conf/site.conf\", service = \"web\", check = [\"nginx\", \"-t\"] }]",
    );
    let stack = settings.stacks.values().next().unwrap();
    assert_eq!(stack.track, [Path::new("/srv/a/conf/site.conf")]);
    assert_eq!(stack.file_checks[0].check.command, ["nginx", "-t"]);
    let known: BTreeSet<_> = ["api".parse().unwrap()].into();
    expect![[r#"
        steadfast.toml:3:37: stack.a.track[0].service: the Compose file has no service "web" (its services: api)"#]]
    .assert_eq(&stack.unknown_services(&known).to_string());
    let mut spec = state::stack_spec::StackSpec::new("a".parse().unwrap());
    assert!(stack.unseen_files(&spec).0.is_empty());
    spec.services
        .insert("web".parse().unwrap(), state::stack_spec::ServiceSpec::default());
    expect![[r#"
        steadfast.toml:3:54: stack.a.track[0].check: web does not mount /srv/a/conf/site.conf, and cannot check it (name the service that has it among its `volumes`, or mount it in web)"#]]
    .assert_eq(&stack.unseen_files(&spec).to_string());
    for source in ["/srv/a/conf", "/srv/a/conf/site.conf"] {
        let bind = state::stack_spec::Bind {
            source: source.into(),
            ..state::stack_spec::Bind::default()
        };
        let web = spec.services.values_mut().next().unwrap();
        web.volumes = vec![state::stack_spec::Mount::Bind(bind)];
        assert!(stack.unseen_files(&spec).0.is_empty(), "{source}");
    }
}
