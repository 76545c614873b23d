//! The schema as one number: the same for a database and its copy, another for any change to what
//! the schema says. Nothing of the rows is in it, nor the order of columns, owners or grants.

use std::time::Duration;

use state::name::Digest;

use super::DatabaseError;
use super::link::Link;
use super::login::Login;

/// Schemas of the applications.
pub(crate) const OURS: &str = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
     AND n.nspname NOT LIKE 'pg\\_temp\\_%' AND n.nspname NOT LIKE 'pg\\_toast\\_temp\\_%'";

/// As [`CANONICAL`], in a transaction that may (`READ WRITE`) or may not write.
pub(crate) fn session_forms(access: &str) -> String {
    CANONICAL.replace("READ ONLY", access)
}

/// However the role and the database are set, the same is written in the same way, and the whole of
/// it is of one instant.
pub(super) const CANONICAL: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
     SET LOCAL search_path = pg_catalog; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL TimeZone = 'UTC'; \
     SET LOCAL IntervalStyle = 'postgres'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; \
     SET LOCAL row_security = off; SET LOCAL xmloption = 'content'; \
     SET LOCAL quote_all_identifiers = off; SET LOCAL lc_monetary = 'C'";

/// Each gives one text a row: what it is, whose, and what it says.
const QUESTIONS: [&str; 13] = [
    "SELECT concat_ws(' ', 'schema', quote_ident(n.nspname)) FROM pg_namespace n WHERE {ours}",
    "SELECT concat_ws(' ', 'extension', quote_ident(e.extname), e.extversion, quote_ident(n.nspname)) \
     FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace",
    "SELECT concat_ws(' ', 'relation', c.oid::regclass, c.relkind, c.relpersistence, c.relrowsecurity, \
       c.relforcerowsecurity, array_to_string(c.reloptions, ','), pg_get_partkeydef(c.oid), \
       pg_get_expr(c.relpartbound, c.oid), \
       (SELECT string_agg(i.inhparent::regclass::text, ',' ORDER BY i.inhseqno) \
        FROM pg_inherits i WHERE i.inhrelid = c.oid)) \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE {ours} AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')",
    "SELECT concat_ws(' ', 'column', a.attrelid::regclass, quote_ident(a.attname), \
       format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, \
       (SELECT quote_ident(l.collname) FROM pg_collation l \
        WHERE l.oid = a.attcollation AND l.oid <> t.typcollation), \
       pg_get_expr(d.adbin, d.adrelid)) \
     FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
       JOIN pg_type t ON t.oid = a.atttypid \
       LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
     WHERE {ours} AND a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')",
    "SELECT concat_ws(' ', 'constraint', c.conrelid::regclass, \
       CASE WHEN c.contypid <> 0 THEN c.contypid::regtype END, quote_ident(c.conname), \
       pg_get_constraintdef(c.oid), c.convalidated) \
     FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace WHERE {ours}",
    "SELECT concat_ws(' ', 'index', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisprimary, i.indisclustered) \
     FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE {ours}",
    "SELECT concat_ws(' ', 'view', c.oid::regclass, pg_get_viewdef(c.oid)) \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {ours} AND c.relkind IN ('v', 'm')",
    "SELECT concat_ws(' ', 'function', p.oid::regprocedure, p.prokind, \
       CASE WHEN p.prokind = 'a' THEN format_type(p.prorettype, NULL) ELSE pg_get_functiondef(p.oid) END) \
     FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {ours}",
    "SELECT concat_ws(' ', 'sequence', c.oid::regclass, format_type(s.seqtypid, NULL), s.seqstart, \
       s.seqincrement, s.seqmin, s.seqmax, s.seqcycle) \
     FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE {ours}",
    "SELECT concat_ws(' ', 'type', t.oid::regtype, t.typtype, \
       CASE WHEN t.typbasetype <> 0 THEN format_type(t.typbasetype, t.typtypmod) END, t.typnotnull, t.typdefault, \
       (SELECT string_agg(quote_literal(e.enumlabel), ',' ORDER BY e.enumsortorder) \
        FROM pg_enum e WHERE e.enumtypid = t.oid)) \
     FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE {ours} AND t.typtype IN ('e', 'd', 'r')",
    "SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid), t.tgenabled) \
     FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE {ours} AND NOT t.tgisinternal",
    "SELECT concat_ws(' ', 'rule', pg_get_ruledef(r.oid), r.ev_enabled) \
     FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE {ours} AND r.rulename <> '_RETURN'",
    "SELECT concat_ws(' ', 'policy', p.polrelid::regclass, quote_ident(p.polname), p.polcmd, p.polpermissive, \
       (SELECT string_agg(CASE r WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(r)) END, ',' ORDER BY r) \
        FROM unnest(p.polroles) r), \
       pg_get_expr(p.polqual, p.polrelid), '/', pg_get_expr(p.polwithcheck, p.polrelid)) \
     FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE {ours}",
];

pub(super) async fn fingerprint(login: &Login, within: Duration) -> Result<Digest, DatabaseError> {
    let link = Link::to(login, within).await?;
    link.run(CANONICAL).await?;
    let mut lines = Vec::new();
    for question in QUESTIONS {
        for row in link.rows(&question.replace("{ours}", OURS)).await? {
            lines.push(row.get(0).unwrap_or_default().to_owned());
        }
    }
    link.end().await;
    // Not the server's order: that is its collation's.
    lines.sort_unstable();
    let mut canonical = Vec::new();
    for line in &lines {
        canonical.extend_from_slice(format!("{}:{line}\n", line.len()).as_bytes());
    }
    Ok(Digest::of(&canonical))
}
