//! A database that is in no container of the stack is dumped by the tools of this host.

use config::settings::{DatabaseAccess, DatabaseSettings, ForeignSessions, MigrationSettings, SecretSource};
use steadfast::backup::{Backups as _, How, Source};
use steadfast::database::Place;

use super::support::{Bench, LONG, PASSWORD, SHOP, ask, failed, quiet, skip};

#[tokio::test]
async fn a_database_by_url_is_dumped_from_here() {
    let Some(bench) = Bench::new("by_url").await else {
        return;
    };
    if !std::path::Path::new("/usr/lib/postgresql/15/bin/pg_dump").exists() {
        return skip("this host has no pg_dump 15");
    }
    bench.sql(SHOP);
    let settings = DatabaseSettings {
        foreign_sessions: ForeignSessions::Hold,
        backup: None,
        manual: std::collections::BTreeMap::new(),
        restore_backup: state::last_resort::RestoreBackup::Ask,
        integrity: Vec::new(),
        count_within: DatabaseSettings::COUNT_WITHIN,
        preserve: Vec::new(),
        access: DatabaseAccess::Url(SecretSource::EnvKey("URL".parse().unwrap())),
        migrations: MigrationSettings::default(),
    };
    let address = bench.server.address();
    let url = |password: &str| {
        let url = format!("postgresql+psycopg2://app:{password}@{address}/by_url?pool_size=5");
        move |key: &str| (key == "URL").then(|| url.clone())
    };
    let (right, wrong) = (url(PASSWORD), url("wrong-pass"));
    let source = |env| Source {
        place: Place {
            settings: &settings,
            address: None,
            env,
        },
        container: None,
        ..bench.source()
    };
    let error = failed(bench.archive.make(source(&wrong), &ask(1), &quiet).await);
    assert!(error.to_string().contains("authentication failed"), "{error}");
    let made = bench.archive.make(source(&right), &ask(1), &quiet).await.unwrap();
    assert_eq!(made.rows(), 2602);
    for how in [How::List, How::Restored] {
        let verified = bench
            .archive
            .verify(source(&right), &made.id, how, &quiet, LONG)
            .await
            .unwrap();
        assert_eq!(verified.tables, 5);
    }
    assert_eq!(bench.left(), "");
}
