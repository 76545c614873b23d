//! From what was found to the text of the files, and the list of what is not known.

#![allow(clippy::unwrap_used)]
#![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::compose::Source;
use config::read::ReadError;
use config::settings::EngineAddress;
use expect_test::{Expect, expect};
use state::observed::{ContainerState, DockerHealth};
use state::stack_spec::EnvValue;

use super::found::Kind;
use super::health::{Answers, candidates};
use super::migrations::Inside;
use super::*;
use crate::engine::survey::{Origin, Sighting};

const SECRET: &str = "hunter2-of-these-tests";

/// Files below `/srv/shop`; a directory is `None`.
struct Disk(Vec<(&'static str, Option<String>)>);

impl Source for Disk {
    fn read(&self, path: &Path) -> Result<Vec<u8>, ReadError> {
        let found = self
            .0
            .iter()
            .find(|(name, _)| Path::new("/srv/shop").join(name) == path);
        match found {
            Some((_, Some(text))) => Ok(text.clone().into_bytes()),
            Some((_, None)) => Err(ReadError::NotRegular {
                path: path.to_owned(),
                what: "a directory",
            }),
            None => Err(ReadError::Absent {
                path: path.to_owned(),
            }),
        }
    }
}

fn disk(files: &[(&'static str, &str)]) -> Disk {
    Disk(
        files
            .iter()
            .map(|(name, text)| (*name, Some((*text).to_owned())))
            .collect(),
    )
}

/// A running container of a service of `/srv/shop`.
fn seen(service: &str, image: &str) -> Sighting {
    Sighting {
        id: "a".repeat(64).parse().unwrap(),
        name: format!("shop-{service}-1"),
        origin: Origin {
            project: String::from("shop"),
            directory: Some("/srv/shop".into()),
            files: Some(String::from("/srv/shop/compose.yaml")),
            env_files: None,
        },
        service: service.to_owned(),
        state: ContainerState::Running(None),
        image: image.to_owned(),
        env: BTreeMap::new(),
        words: Vec::new(),
        workdir: String::new(),
        healthcheck: Vec::new(),
        ports: std::collections::BTreeSet::new(),
        address: "172.20.0.3".parse().ok(),
        binds: BTreeMap::new(),
    }
}

fn with_env(mut seen: Sighting, env: &[(&str, &str)]) -> Sighting {
    seen.env = env
        .iter()
        .map(|(k, v)| ((*k).to_owned(), EnvValue::new(*v)))
        .collect();
    seen
}

fn with_ports(mut seen: Sighting, ports: &[u16]) -> Sighting {
    seen.ports = ports.iter().copied().collect();
    seen
}

fn with_check(mut seen: Sighting, test: &[&str]) -> Sighting {
    seen.healthcheck = test.iter().map(|&word| word.to_owned()).collect();
    seen.state = ContainerState::Running(Some(DockerHealth::Healthy));
    seen
}

/// All that would be written and said; services answer where `answers` says so.
fn written(disk: &Disk, seen: Vec<Sighting>, inside: &Inside, answers: &[(&str, u16, &str)]) -> String {
    let read = |path: &Path| {
        disk.read(path)
            .ok()
            .map(|bytes| String::from_utf8(bytes).unwrap())
    };
    let (found, mut questions) = projects(seen, &Asked::default(), &read, &Path::to_owned);
    let mut stacks = Vec::new();
    for project in &found {
        let files = match Files::read(project, disk) {
            Ok(files) => files,
            Err(problems) => panic!("{problems:?}"),
        };
        let mut all = Answers::new();
        for (service, kinds) in candidates(&files) {
            for kind in kinds {
                let passes = answers.iter().any(|(of, port, path)| {
                    let asked = match &kind {
                        Kind::Http { port, path } => (*port, path.clone()),
                        Kind::Tcp(port) => (*port, String::new()),
                        _ => return false,
                    };
                    *of == service.as_str() && asked == (*port, (*path).to_owned())
                });
                all.insert((service.clone(), kind), passes);
            }
        }
        let (stack, more) = choose(&files, inside, &all);
        stacks.push(stack);
        questions.extend(more);
    }
    let places = Places {
        desired: "/etc/steadfast/desired.toml".into(),
        engine: EngineAddress::Unix("/var/run/docker.sock".into()),
    };
    let (toml, wish) = (settings(&stacks, &places), desired(&stacks));
    let (parsed, _) = config::settings::parse(Path::new("steadfast.toml"), &toml).unwrap();
    let read = config::desired_file::parse(Path::new("desired.toml"), &wish, &parsed.stacks).unwrap();
    assert_eq!(differs(&stacks, &parsed, &read), None, "{toml}");
    let body = |text: &str| text.split_once("\n\n").unwrap().1.to_owned();
    let mut text = format!("{}---\n{}", body(&toml), body(&wish));
    for question in questions {
        text.push_str(&format!("? {}\n  {}\n", question.what, question.way_out));
    }
    assert!(!text.contains(SECRET), "{text}");
    text
}

#[track_caller]
fn check(
    disk: &Disk,
    seen: Vec<Sighting>,
    inside: &Inside,
    answers: &[(&str, u16, &str)],
    expected: &Expect,
) {
    expected.assert_eq(&written(disk, seen, inside, answers));
}

/// What is said of tags alone: from `[stack.shop]` to the first probe, and desired.toml.
#[track_caller]
fn check_tags(compose: &str, env: &str, running: &[(&str, &str)], expected: &Expect) {
    let disk = disk(&[("compose.yaml", compose), (".env", env)]);
    let seen = running
        .iter()
        .map(|(service, image)| seen(service, image))
        .collect();
    let text = written(&disk, seen, &Inside::default(), &[]);
    let (toml, wish) = text.split_once("---\n").unwrap();
    let tables = toml.split("\n\n").filter(|part| !part.contains(".probe]]"));
    let wish = wish.split("? ").next().unwrap();
    let told = text
        .split("? ")
        .skip(1)
        .filter(|q| q.contains("tag") || q.contains("latest"));
    let told: String = told
        .map(|q| format!("? {}\n", q.lines().next().unwrap()))
        .collect();
    expected.assert_eq(&format!(
        "{}\n---\n{wish}{told}",
        tables.collect::<Vec<_>>().join("\n\n").trim_end()
    ));
}

const WHOLE: &str = "
services:
  postgres:
    image: postgres:15
    environment: {POSTGRES_USER: shop, POSTGRES_PASSWORD: '${PASSWORD:?}', POSTGRES_DB: '${NAME}'}
    volumes: ['pg:/var/lib/postgresql/data']
  api:
    image: registry.example/shop/api:${TAG}
    depends_on: [postgres]
  frontend:
    image: nginx:1.27
    ports: ['8080:80']
    volumes: ['./nginx/nginx.conf:/etc/nginx/nginx.conf:ro', './certs:/etc/certs:ro']
  redis: {image: 'redis:7'}
volumes: {pg: {}}
";

#[test]
fn a_whole_stack() {
    let mut disk = disk(&[
        ("compose.yaml", WHOLE),
        (".env", &format!("TAG=v1.4.0\nPASSWORD={SECRET}\nNAME=orders\n")),
        ("nginx/nginx.conf", "events {}\n"),
        (
            ".git/config",
            "[remote \"origin\"]\n  url = https://ci:token@git.example/shop.git\n",
        ),
    ]);
    disk.0.push(("certs", None));
    let postgres = with_env(
        seen("postgres", "postgres:15"),
        &[
            ("POSTGRES_USER", "shop"),
            ("POSTGRES_PASSWORD", SECRET),
            ("POSTGRES_DB", "orders"),
            ("PGDATA", "/x"),
        ],
    );
    let mut api = with_ports(seen("api", "registry.example/shop/api:v1.4.0"), &[8000]);
    api.workdir = String::from("/app");
    api.words = vec!["entrypoint.sh".into(), "uvicorn".into()];
    let api = with_check(
        api,
        &["CMD-SHELL", "curl -fs http://localhost:8000/health || exit 1"],
    );
    let running = vec![
        with_check(postgres, &["CMD", "pg_isready"]),
        api,
        with_ports(seen("frontend", "nginx:1.27"), &[80]),
        with_ports(seen("redis", "redis:7"), &[6379]),
    ];
    let inside = Inside {
        files: [("api".parse().unwrap(), String::from("/app/alembic.ini"))].into(),
        scripts: [(
            "api".parse().unwrap(),
            vec![String::from("alembic upgrade head\nexec $@\n")],
        )]
        .into(),
    };
    let answers = [
        ("api", 8000, "/health"),
        ("frontend", 80, "/"),
        ("redis", 6379, ""),
    ];
    check(
        &disk,
        running,
        &inside,
        &answers,
        &expect![[r#"
            [stack.shop]
            directory = "/srv/shop"
            # part of a release, and put back in a rollback
            track     = [{ path = "nginx/nginx.conf", service = "frontend", check = ["nginx", "-t"] }]

            # The directory is a checkout. Where a release is a tag of its repository, and images are built of it:
            # [stack.shop.source]
            # git = "https://git.example/shop.git"

            [[stack.shop.probe]]
            name    = "api"
            service = "api"
            kind    = "http"                            # as its HEALTHCHECK asks; answered just now
            port    = 8000
            path    = "/health"

            [[stack.shop.probe]]
            name    = "frontend"
            service = "frontend"
            kind    = "http"                            # answered just now
            port    = 80
            path    = "/"

            [[stack.shop.probe]]
            name    = "postgres"
            service = "postgres"
            kind    = "healthcheck"                     # what its HEALTHCHECK says

            [[stack.shop.probe]]
            name    = "redis"
            service = "redis"
            kind    = "tcp"                             # a connection opens
            port    = 6379

            # Where the schema stands is part of a release.
            [stack.shop.database]
            service      = "postgres"
            user         = "shop"
            password_env = "PASSWORD"                   # a key of the env file: no secret stands here
            dbname_env   = "NAME"

            [stack.shop.database.migrations]
            tool    = "alembic"                         # /app/alembic.ini is in its image
            service = "api"
            ---
            [shop]
            tag = "v1.4.0"                              # what runs now; wherever TAG was set, this counts
            ? frontend mounts the directory certs: which of its files belong to a release is not known
              add each file to track that a rollback has to put back
            ? frontend has no page that is known to tell its health: / is asked
              name one that says whether your users can work, as path
            ? the script that api starts with speaks of an upgrade of the schema; whether it runs one is not known
              the agent upgrades before it starts; where the containers alone are to do it, write upgrade = "stack"
        "#]],
    );
}

#[test]
fn a_secret_that_nobody_keeps_is_asked_for() {
    let disk = disk(&[(
        "compose.yaml",
        "services: {db: {image: 'postgres:15', environment: {POSTGRES_PASSWORD: hunter2-of-these-tests}}}\n",
    )]);
    let db = with_env(seen("db", "postgres:15"), &[("POSTGRES_PASSWORD", SECRET)]);
    check(
        &disk,
        vec![db],
        &Inside::default(),
        &[],
        &expect![[r#"
        [stack.shop]
        directory = "/srv/shop"

        [[stack.shop.probe]]
        name    = "db"
        service = "db"
        kind    = "container"                       # nothing more is known

        # Not in force: the password of db is neither in /srv/shop/.env nor in a file.
        # [stack.shop.database]
        # service      = "db"
        # password_env = "POSTGRES_PASSWORD"
        ---
        [shop]
        tag = "as-it-is"                            # no image follows it
        ? no image of this stack follows a tag: its tag says nothing, and a rollback changes files alone
          write image: …:${TAG} in the Compose file, or a template in [stack.NAME.images]
        ? db has no HEALTHCHECK and no port that answers: that its container runs is all that is asked
          write a healthcheck into the Compose file (and kind = "healthcheck"), or name a port
        ? the password of db is neither in /srv/shop/.env nor in a file: the schema cannot be looked at
          give it a key of its own there, use it in the Compose file (POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?}), and take the # away before [stack.shop.database]; or write it alone into a file that only root reads, and name that as password_file
        ? no service has alembic.ini or manage.py where it runs: nobody knows what moves the schema
          name the tool in [stack.shop.database.migrations]; until then the schema is watched, and a release that moves it is held instead of taken back
    "#]],
    );
}

#[test]
fn a_secret_in_a_healthcheck_stays_there() {
    let asked = format!("curl -f http://localhost:8000/live/{SECRET}");
    for (line, env, inside) in [
        // In the env file, in the shell alone, in the container alone.
        (
            "curl -f http://localhost:8000/live/${TOKEN}",
            format!("TOKEN={SECRET}\n"),
            None,
        ),
        (
            "[CMD, curl, -f, 'http://localhost:8000/live/${TOKEN:-x}']",
            String::new(),
            None,
        ),
        (
            "curl -f http://localhost:8000/live/$$TOKEN",
            String::new(),
            Some(SECRET),
        ),
    ] {
        let compose =
            format!("services: {{api: {{image: 'shop/api:v1', healthcheck: {{test: {line:?}}}}}}}\n");
        let compose = compose.replace("\"[", "[").replace("]\"", "]");
        let disk = disk(&[("compose.yaml", &compose), (".env", &env)]);
        let mut api = with_check(seen("api", "shop/api:v1"), &["CMD-SHELL", &asked]);
        if let Some(value) = inside {
            api = with_env(api, &[("TOKEN", value)]);
        }
        let path = format!("/live/{SECRET}");
        // That nothing holds the secret is seen to for every text.
        let text = written(&disk, vec![api], &Inside::default(), &[("api", 8000, &path)]);
        assert!(text.contains("kind    = \"healthcheck\""), "{line}: {text}");
    }
}

#[test]
fn a_server_elsewhere_is_known_by_its_url() {
    let url = format!("postgresql+psycopg2://app:{SECRET}@db.example/shop");
    let disk = disk(&[
        (
            "compose.yaml",
            "services: {api: {image: 'shop/api:v1', environment: {DATABASE_URL: '${DB_URL}'}}}\n",
        ),
        (".env", &format!("DB_URL={url}\n")),
    ]);
    let mut api = with_env(seen("api", "shop/api:v1"), &[("DATABASE_URL", &url)]);
    api.words = ["sh", "-c", "python manage.py migrate && gunicorn"]
        .map(str::to_owned)
        .to_vec();
    api.workdir = String::from("/code");
    let inside = Inside {
        files: [("api".parse().unwrap(), String::from("/app/backend/manage.py"))].into(),
        ..Inside::default()
    };
    check(
        &disk,
        vec![api],
        &inside,
        &[],
        &expect![[r#"
        [stack.shop]
        directory = "/srv/shop"

        # How the tag reaches images that no variable leads it to.
        [stack.shop.images]
        api = "shop/api:{tag}"

        [[stack.shop.probe]]
        name    = "api"
        service = "api"
        kind    = "container"                       # nothing more is known

        # Where the schema stands is part of a release.
        [stack.shop.database]
        url_env = "DB_URL"                          # a key of the env file: no secret stands here

        [stack.shop.database.migrations]
        tool    = "django"                          # /app/backend/manage.py is in its image
        service = "api"
        workdir = "/app/backend"
        upgrade = "stack"                           # the stack runs the upgrade itself as it starts
        ---
        [shop]
        tag = "v1"                                  # what runs now
        ? api has no HEALTHCHECK and no port that answers: that its container runs is all that is asked
          write a healthcheck into the Compose file (and kind = "healthcheck"), or name a port
    "#]],
    );
}

#[test]
fn what_migrates_once_and_what_only_a_profile_starts() {
    let disk = disk(&[(
        "compose.yaml",
        "
services:
  db: {image: 'postgres:15', environment: {POSTGRES_PASSWORD_FILE: /run/secrets/pw}, secrets: [pw]}
  migrate: {image: 'shop/api:${TAG}', command: [alembic, upgrade, head], depends_on: [db]}
  api:
    image: shop/api:${TAG}
    depends_on: {migrate: {condition: service_completed_successfully}}
  worker: {image: 'shop/api:${TAG}', profiles: [jobs]}
  debug: {image: 'shop/debug:${TAG}', profiles: [debug]}
secrets: {pw: {file: ./pw.txt}}
",
    )]);
    let mut db = with_env(
        seen("db", "postgres:15"),
        &[("POSTGRES_PASSWORD_FILE", "/run/secrets/pw")],
    );
    db.binds = [(String::from("/run/secrets/pw"), "/srv/shop/pw.txt".into())].into();
    let mut migrate = seen("migrate", "shop/api:v3");
    migrate.state = ContainerState::Exited(Some(0));
    migrate.words = ["alembic", "upgrade", "head"].map(str::to_owned).to_vec();
    let (api, worker) = (seen("api", "shop/api:v3"), seen("worker", "shop/api:v3"));
    let has = |service: &str| (service.parse().unwrap(), String::from("/app/alembic.ini"));
    let inside = Inside {
        files: ["api", "migrate", "worker"].map(has).into(),
        ..Inside::default()
    };
    check(
        &disk,
        vec![db, migrate, api, worker],
        &inside,
        &[],
        &expect![[r#"
            [stack.shop]
            directory = "/srv/shop"
            profiles  = ["jobs"]                        # of what runs

            [[stack.shop.probe]]
            name    = "api"
            service = "api"
            kind    = "container"                       # nothing more is known

            [[stack.shop.probe]]
            name    = "db"
            service = "db"
            kind    = "container"                       # nothing more is known

            [[stack.shop.probe]]
            name    = "worker"
            service = "worker"
            kind    = "container"                       # nothing more is known

            # Where the schema stands is part of a release.
            [stack.shop.database]
            service       = "db"
            password_file = "pw.txt"

            [stack.shop.database.migrations]
            tool    = "alembic"                         # /app/alembic.ini is in its image
            service = "api"
            workdir = "/app"
            upgrade = "stack"                           # the stack runs the upgrade itself as it starts
            ---
            [shop]
            tag = "v3"                                  # what runs now; wherever TAG was set, this counts
            ? api has no HEALTHCHECK and no port that answers: that its container runs is all that is asked
              write a healthcheck into the Compose file (and kind = "healthcheck"), or name a port
            ? db has no HEALTHCHECK and no port that answers: that its container runs is all that is asked
              write a healthcheck into the Compose file (and kind = "healthcheck"), or name a port
            ? worker has no HEALTHCHECK and no port that answers: that its container runs is all that is asked
              write a healthcheck into the Compose file (and kind = "healthcheck"), or name a port
        "#]],
    );
}

#[test]
fn tags_by_a_variable() {
    // In .env, in the shell alone, with something around it.
    check_tags(
        "services: {api: {image: 'shop/api:${TAG}'}, db: {image: 'mongo:6'}}\n",
        "TAG=v2\n",
        &[("api", "shop/api:v2"), ("db", "mongo:6")],
        &expect![[r#"
            [stack.shop]
            directory = "/srv/shop"
            ---
            [shop]
            tag = "v2"                                  # what runs now; wherever TAG was set, this counts
        "#]],
    );
    check_tags(
        "services: {api: {image: '${REGISTRY:?}/api:release-${VERSION:?}-alpine'}}\n",
        "",
        &[("api", "r.example:5000/api:release-1.2-alpine")],
        &expect![[r#"
            [stack.shop]
            directory = "/srv/shop"
            tag_vars  = ["VERSION"]                     # variables that carry the tag
            ---
            [shop]
            tag = "1.2"                                 # what runs now; wherever VERSION was set, this counts
        "#]],
    );
    // Of somebody else's product it is no release; of two of ours one is pinned.
    check_tags(
        "services: {api: {image: 'shop/api:${API_TAG}'}, web: {image: 'shop/web:${WEB_TAG:-v9}'}, job: {image: 'shop/api:${API_TAG}'}, db: {image: 'postgres:${PG}'}}\n",
        "PG=15\nAPI_TAG=v1\n",
        &[
            ("api", "shop/api:v1"),
            ("web", "shop/web:v9"),
            ("job", "shop/api:v1"),
            ("db", "postgres:15"),
        ],
        &expect![[r#"
            [stack.shop]
            directory = "/srv/shop"
            tag_vars  = ["API_TAG", "WEB_TAG"]          # variables that carry the tag

            # Not in force: the password of db is neither in /srv/shop/.env nor in a file.
            # [stack.shop.database]
            # service      = "db"
            # password_env = "POSTGRES_PASSWORD"
            ---
            [shop]
            tag = "v1"                                  # what runs now; wherever API_TAG, WEB_TAG was set, this counts

            # Services that run with another tag.
            [shop.services]
            web = "v9"
            ? several variables carry tags: API_TAG, WEB_TAG
        "#]],
    );
}

#[test]
fn tags_without_a_variable() {
    check_tags(
        "services: {api: {image: 'r.example/api:v1'}, web: {image: 'r.example/web:v2'}, job: {image: 'r.example/api:v1'}}\n",
        "",
        &[
            ("api", "r.example/api:v1"),
            ("web", "r.example/web:v2"),
            ("job", "r.example/api:v1"),
        ],
        &expect![[r#"
            [stack.shop]
            directory = "/srv/shop"

            # How the tag reaches images that no variable leads it to.
            [stack.shop.images]
            api = "r.example/api:{tag}"
            job = "r.example/api:{tag}"
            web = "r.example/web:{tag}"
            ---
            [shop]
            tag = "v1"                                  # what runs now

            # Services that run with another tag.
            [shop.services]
            web = "v2"
        "#]],
    );
    // Built by the second Compose, and by the first.
    check_tags(
        "services: {api: {build: .}}\n",
        "",
        &[("api", "shop-api")],
        &expect![[r#"
        [stack.shop]
        directory = "/srv/shop"
        ---
        [shop]
        tag = "latest"                              # what runs now
        ? what runs is called `latest`, which is another image tomorrow
        ? api is built on this host: a new tag needs an image that is there, or a repository to build it from
    "#]],
    );
    check_tags(
        "services: {api: {build: .}}\n",
        "",
        &[("api", "shop_api")],
        &expect![[r#"
        [stack.shop]
        directory = "/srv/shop"

        # How the tag reaches images that no variable leads it to.
        [stack.shop.images]
        api = "shop_api:{tag}"
        ---
        [shop]
        tag = "latest"                              # what runs now
        ? what runs is called `latest`, which is another image tomorrow
        ? api is built on this host: a new tag needs an image that is there, or a repository to build it from
    "#]],
    );
    check_tags(
        "services: {cache: {image: 'redis:7'}}\n",
        "",
        &[("cache", "redis:7")],
        &expect![[r#"
            [stack.shop]
            directory = "/srv/shop"
            ---
            [shop]
            tag = "as-it-is"                            # no image follows it
            ? no image of this stack follows a tag: its tag says nothing, and a rollback changes files alone
        "#]],
    );
}

#[track_caller]
fn check_projects(seen: Vec<Sighting>, asked: &Asked, expected: &Expect) {
    let there = [
        "/srv/shop/compose.yaml",
        "/srv/shop/prod.yml",
        "/srv/My.Site/docker-compose.yml",
        "/srv/old/shop/compose.yaml",
        "/srv/link/compose.yaml",
        "/srv/a\tb/compose.yaml",
    ];
    let read = |path: &Path| there.iter().any(|p| Path::new(p) == path).then(String::new);
    // `/srv/link` leads to `/srv/shop`.
    let resolved = |path: &Path| match path.to_str() {
        Some("/srv/link") => PathBuf::from("/srv/shop"),
        _ => path.to_owned(),
    };
    let (found, questions) = projects(seen, asked, &read, &resolved);
    let mut text = String::new();
    for project in found {
        let files: Vec<String> = project
            .files
            .iter()
            .map(|file| file.display().to_string())
            .collect();
        let how = if project.searched { " (found)" } else { "" };
        text.push_str(&format!("{}: {}{how}", project.name, files.join(", ")));
        if let Some(env) = project.env_file {
            text.push_str(&format!(", env {}", env.display()));
        }
        text.push_str(&format!(", {} containers\n", project.containers.len()));
    }
    for question in questions {
        text.push_str(&format!("? {}\n  {}\n", question.what, question.way_out));
    }
    expected.assert_eq(&text);
}

fn labelled(project: &str, directory: Option<&str>, files: Option<&str>) -> Sighting {
    let mut sighting = seen("api", "shop/api:v1");
    sighting.origin = Origin {
        project: project.to_owned(),
        directory: directory.map(PathBuf::from),
        files: files.map(str::to_owned),
        env_files: None,
    };
    sighting
}

#[test]
fn which_projects_there_are() {
    let all = Asked::default();
    // The second Compose names files whole, the first as it was given them.
    check_projects(
        vec![
            labelled("shop", Some("/srv/shop"), Some("/srv/shop/compose.yaml")),
            labelled("other", Some("/srv/shop"), Some("prod.yml")),
        ],
        &all,
        &expect![[r#"
            other: /srv/shop/prod.yml, 1 containers
            shop: /srv/shop/compose.yaml (found), 1 containers
        "#]],
    );
    let mut other_env = labelled("shop", Some("/srv/shop"), Some("/srv/shop/prod.yml"));
    other_env.origin.env_files = Some(String::from("/srv/shop/prod.env"));
    check_projects(
        vec![other_env],
        &all,
        &expect![[r#"
        shop: /srv/shop/prod.yml, env /srv/shop/prod.env, 1 containers
    "#]],
    );
    let mut some_env = labelled("shop", Some("/srv/shop"), Some("/srv/shop/prod.yml"));
    some_env.origin.env_files = Some(String::from("/srv/shop/base.env,/srv/shop/prod.env"));
    check_projects(
        vec![some_env],
        &all,
        &expect![[r#"
        shop: /srv/shop/prod.yml, env /srv/shop/prod.env, 1 containers
        ? it was started with several env files, /srv/shop/base.env, /srv/shop/prod.env, and a stack is kept with one: the last is taken
          write into it what only the others set, and `docker compose up -d` once with it alone
    "#]],
    );
    // What cannot be written keeps none of the others out.
    check_projects(
        vec![
            labelled("bent", Some("/srv/sh\nop"), Some("/srv/shop/prod.yml")),
            labelled("half", Some("srv/shop"), Some("prod.yml")),
            labelled("odd", Some("/srv/shop"), Some("pr\u{1b}od.yml")),
            labelled("shop", Some("/srv/shop"), Some("/srv/shop/compose.yaml")),
        ],
        &all,
        &expect![[r#"
            shop: /srv/shop/compose.yaml (found), 1 containers
            ? left out: "/srv/sh\nop" is not absolute, or holds what is no letter in a settings file
              `docker compose up -d` once from a directory and with files of plain names, and init again
            ? left out: "srv/shop" is not absolute, or holds what is no letter in a settings file
              `docker compose up -d` once from a directory and with files of plain names, and init again
            ? left out: "/srv/shop/pr\u{1b}od.yml" is not absolute, or holds what is no letter in a settings file
              `docker compose up -d` once from a directory and with files of plain names, and init again
        "#]],
    );
    check_projects(
        vec![
            labelled("piped", Some("/srv/shop"), Some("-")),
            labelled("old", None, None),
            labelled("Loud", Some("/srv/shop"), None),
        ],
        &all,
        &expect![[r#"
            ? the project "Loud" is left out: "Loud" is not a valid stack name: it starts with a lower-case letter or a digit and holds only those, `-` and `_`
              give it another name: `docker compose -p NAME up -d`
            ? no label of its containers says which directory they are of
              name it: steadfast init --project old DIRECTORY
            ? its Compose file came from a pipe, and is nowhere
              write them into a file in its directory, `docker compose up -d` once from there, and init again
        "#]],
    );
    let mixed = labelled("shop", Some("/srv/shop"), Some("/srv/shop/prod.yml"));
    let most = labelled("shop", Some("/srv/shop"), Some("/srv/shop/compose.yaml"));
    check_projects(
        vec![most.clone(), most, mixed],
        &all,
        &expect![[r#"
        shop: /srv/shop/compose.yaml (found), 3 containers
        ? its containers were made from /srv/shop (/srv/shop/compose.yaml) and, shop-api-1 among them, from /srv/shop (/srv/shop/prod.yml)
          the first is taken; `docker compose up -d` with the right files makes them one, before the first run
    "#]],
    );
}

#[test]
fn which_projects_somebody_asks_for() {
    let running = || {
        vec![labelled(
            "shop",
            Some("/srv/shop"),
            Some("/srv/shop/compose.yaml"),
        )]
    };
    let asked = |projects: &[&str], directories: &[&str], files: &[&str]| Asked {
        projects: projects.iter().map(|name| name.parse().unwrap()).collect(),
        directories: directories.iter().map(PathBuf::from).collect(),
        files: files.iter().map(PathBuf::from).collect(),
    };
    check_projects(
        running(),
        &asked(&["shp"], &[], &[]),
        &expect![[r#"
        ? no container has the label of a project "shp"
          `docker compose ls -a` lists them; of one that does not run, name the directory
    "#]],
    );
    check_projects(
        running(),
        &asked(&[], &["/srv/My.Site"], &[]),
        &expect![[r#"
        mysite: /srv/My.Site/docker-compose.yml (found), 0 containers
    "#]],
    );
    check_projects(
        running(),
        &asked(&[], &["/srv/shop"], &["/srv/shop/prod.yml"]),
        &expect![[r#"
        shop: /srv/shop/prod.yml, 1 containers
    "#]],
    );
    // By any way that leads there; written as Compose was told.
    let linked = labelled("shop", Some("/srv/link"), Some("/srv/link/compose.yaml"));
    check_projects(
        vec![linked.clone()],
        &asked(&[], &["/srv/shop"], &[]),
        &expect![[r#"
        shop: /srv/link/compose.yaml (found), 1 containers
    "#]],
    );
    check_projects(
        vec![linked],
        &asked(&[], &["/srv/shop"], &["/srv/shop/prod.yml"]),
        &expect![[r#"
        shop: /srv/link/prod.yml, 1 containers
    "#]],
    );
    // A second one of that name, and a directory that cannot be written.
    check_projects(
        running(),
        &asked(
            &[],
            &["/srv/shop", "/srv/old/shop", "/srv/My.Site", "/srv/a\tb"],
            &[],
        ),
        &expect![[r#"
        mysite: /srv/My.Site/docker-compose.yml (found), 0 containers
        shop: /srv/shop/compose.yaml (found), 1 containers
        ? /srv/old/shop is left out: /srv/shop has a project "shop" too, and a host has one of each name
          give it another one, by `name: NAME` at the top of its Compose file
        ? left out: "/srv/a\tb" is not absolute, or holds what is no letter in a settings file
          `docker compose up -d` once from a directory and with files of plain names, and init again
    "#]],
    );
    check_projects(
        vec![labelled("old", None, None)],
        &asked(&["old"], &["/srv/shop"], &[]),
        &expect![[r#"
        old: /srv/shop/compose.yaml (found), 1 containers
    "#]],
    );
    check_projects(
        vec![],
        &asked(&[], &["/srv/none"], &[]),
        &expect![[r#"
        ? there is no Compose file in /srv/none
          name it: --file docker-compose.prod.yml
    "#]],
    );
}

#[test]
fn the_drop_in_takes_any_path() {
    let disk = disk(&[("compose.yaml", "services: {cache: {image: 'redis:7'}}\n")]);
    let read = |path: &Path| disk.read(path).ok().map(|_| String::new());
    let (found, _) = projects(
        vec![seen("cache", "redis:7")],
        &Asked::default(),
        &read,
        &Path::to_owned,
    );
    let files = Files::read(&found[0], &disk).unwrap_or_else(|problems| panic!("{problems:?}"));
    let (mut stack, _) = choose(&files, &Inside::default(), &Answers::new());
    stack.writes = ["/srv/shop", "/srv/my shop", "/srv/100%"]
        .map(PathBuf::from)
        .into();
    let text = drop_in(&[stack]);
    expect![[r#"
        ReadWritePaths=-/srv/100%%
        ReadWritePaths="-/srv/my shop"
        ReadWritePaths=-/srv/shop
    "#]]
    .assert_eq(text.split_once("[Service]\n").unwrap().1);
}
