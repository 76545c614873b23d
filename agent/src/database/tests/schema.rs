//! The fingerprint of a schema: every change shows, and nothing else does.

use std::collections::BTreeSet;

use super::super::Maintenance as _;
use super::server::{Bench, LONG, SHOP};

#[tokio::test(flavor = "current_thread")]
async fn every_change_of_the_schema_shows_and_no_change_of_the_rows() {
    let Some(bench) = Bench::new("schema").await else {
        return;
    };
    bench.sql(SHOP).await;
    bench
        .sql(
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
             CREATE TABLE parts (id int, day date) PARTITION BY RANGE (day); \
             CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int)",
        )
        .await;
    let fingerprint = async || bench.postgres.fingerprint(bench.place(), LONG).await.unwrap();
    let first = fingerprint().await;
    for same in [
        "INSERT INTO customers (t) VALUES ('new'); DELETE FROM alembic_version; ANALYZE; SELECT f.* FROM customers f",
        "ALTER DATABASE schema SET search_path = 'odd \"one'; ALTER DATABASE schema SET DateStyle = 'German'",
        "ALTER TABLE public.customers ADD COLUMN there int; ALTER TABLE public.customers DROP COLUMN there",
        "ALTER TABLE public.customers OWNER TO pg_monitor; GRANT SELECT ON public.customers TO PUBLIC",
    ] {
        bench.sql(same).await;
        assert_eq!(fingerprint().await, first, "{same}");
    }
    let mut seen = BTreeSet::from([first]);
    for change in [
        "CREATE SCHEMA more",
        "CREATE TABLE more.t ()",
        "ALTER TABLE public.customers ADD COLUMN added int",
        "ALTER TABLE public.customers ALTER added TYPE bigint",
        "ALTER TABLE public.customers ALTER added SET DEFAULT 4",
        "UPDATE public.customers SET added = 4; ALTER TABLE public.customers ALTER added SET NOT NULL",
        "ALTER TABLE \"odd \"\"one\".\"Orders\" ALTER note TYPE text COLLATE \"C\"",
        "ALTER TABLE public.customers RENAME added TO renamed",
        "ALTER TABLE public.customers ADD CONSTRAINT few CHECK (id < 9999999)",
        "ALTER TABLE public.customers ADD CONSTRAINT one UNIQUE (id, renamed)",
        "CREATE INDEX by_t ON public.customers (t)",
        "CREATE INDEX by_t2 ON public.customers (t) WHERE id > 5",
        "ALTER TYPE public.mood ADD VALUE 'calm' BEFORE 'glad'",
        "CREATE DOMAIN public.small AS int CHECK (VALUE < 9)",
        "CREATE TYPE public.pair AS (a int, b int)",
        "ALTER TYPE public.pair ADD ATTRIBUTE c int",
        "CREATE OR REPLACE VIEW public.glad AS SELECT * FROM public.customers WHERE mood <> 'glad'",
        "CREATE MATERIALIZED VIEW public.kept AS SELECT 1 AS one",
        "CREATE OR REPLACE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'",
        "CREATE AGGREGATE public.total (bigint) (SFUNC = int8pl, STYPE = bigint)",
        "CREATE SEQUENCE public.s",
        "ALTER SEQUENCE public.s INCREMENT 5",
        "CREATE TRIGGER changed BEFORE UPDATE ON public.customers FOR EACH ROW EXECUTE FUNCTION public.f()",
        "ALTER TABLE public.customers DISABLE TRIGGER changed",
        "CREATE TABLE public.parts_1 PARTITION OF public.parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
        "CREATE RULE no AS ON DELETE TO more.t DO INSTEAD NOTHING",
        "ALTER TABLE more.t ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY mine ON more.t USING (true)",
        "CREATE EXTENSION pgcrypto",
        "ALTER TABLE more.t SET UNLOGGED",
        "ALTER TABLE public.customers DROP COLUMN ratio CASCADE",
    ] {
        bench.sql(change).await;
        assert!(seen.insert(fingerprint().await), "{change} does not show");
    }
}
