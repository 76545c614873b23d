-- Version 1 of the ledger. An operator may read it with `sqlite3`; only the agent writes it.
-- `value` is the whole of a row as JSON in the given `format`; the columns beside it are for people
-- and for indexes, and the agent never reads them back, keys apart. Times are UTC.

CREATE TABLE meta (
  name  TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

CREATE TABLE counter (
  name TEXT    NOT NULL PRIMARY KEY,
  last INTEGER NOT NULL
) STRICT;
INSERT INTO counter VALUES ('operation', 0);

-- What was asked for, and what keeps it from happening.
CREATE TABLE stack (
  name     TEXT    NOT NULL PRIMARY KEY,
  tag      TEXT,
  request  TEXT,
  standing TEXT    NOT NULL,
  current  INTEGER,
  hold     TEXT,
  paused_until TEXT,
  asks     TEXT,
  format   INTEGER NOT NULL,
  value    TEXT    NOT NULL
) STRICT;

CREATE TABLE generation (
  stack    TEXT    NOT NULL REFERENCES stack (name),
  number   INTEGER NOT NULL,
  verdict  TEXT    NOT NULL,
  tag      TEXT,
  release  TEXT    NOT NULL,
  begun    TEXT,
  applied  TEXT,
  judged   TEXT,
  why      TEXT    NOT NULL,
  format   INTEGER NOT NULL,
  value    TEXT    NOT NULL,
  PRIMARY KEY (stack, number)
) STRICT;

CREATE TABLE quarantine (
  stack      TEXT    NOT NULL REFERENCES stack (name),
  position   INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  tag        TEXT,
  blame      TEXT    NOT NULL,
  by         TEXT    NOT NULL,
  at         TEXT,
  why        TEXT    NOT NULL,
  format     INTEGER NOT NULL,
  value      TEXT    NOT NULL,
  PRIMARY KEY (stack, position)
) STRICT;

-- How healthy the current generation has been; the one row that changes all the time.
CREATE TABLE health (
  stack         TEXT    NOT NULL PRIMARY KEY REFERENCES stack (name),
  failing_ms    INTEGER NOT NULL,
  healthy_ms    INTEGER NOT NULL,
  watched_ms    INTEGER NOT NULL,
  failing_since TEXT,
  format        INTEGER NOT NULL,
  value         TEXT    NOT NULL
) STRICT;

-- Rollbacks that count against the budget.
CREATE TABLE rollback (
  stack    TEXT    NOT NULL REFERENCES stack (name),
  position INTEGER NOT NULL,
  request  TEXT    NOT NULL,
  at       TEXT,
  format   INTEGER NOT NULL,
  value    TEXT    NOT NULL,
  PRIMARY KEY (stack, position)
) STRICT;

-- Containers that were found and match, and the spec hash that they count as having.
CREATE TABLE adopted (
  stack     TEXT NOT NULL REFERENCES stack (name),
  container TEXT NOT NULL,
  hash      TEXT NOT NULL,
  PRIMARY KEY (stack, container)
) STRICT;

-- The anonymous volumes that hold the rows of each replica, by service/number:target.
CREATE TABLE carried (
  stack  TEXT NOT NULL REFERENCES stack (name),
  place  TEXT NOT NULL,
  volume TEXT NOT NULL,
  PRIMARY KEY (stack, place)
) STRICT;

-- What image references of the request in force were resolved to.
CREATE TABLE resolved (
  stack     TEXT NOT NULL REFERENCES stack (name),
  reference TEXT NOT NULL,
  image     TEXT NOT NULL,
  PRIMARY KEY (stack, reference)
) STRICT;

CREATE TABLE operation (
  id         INTEGER NOT NULL PRIMARY KEY,
  stack      TEXT    NOT NULL REFERENCES stack (name),
  kind       TEXT    NOT NULL,
  generation INTEGER,
  steps      INTEGER NOT NULL,
  by         TEXT    NOT NULL,
  begun      TEXT,
  ended      TEXT,
  why        TEXT    NOT NULL,
  format     INTEGER NOT NULL,
  value      TEXT    NOT NULL
) STRICT;
CREATE INDEX operation_of_stack ON operation (stack, id);
-- At most one operation per stack is open.
CREATE UNIQUE INDEX operation_open ON operation (stack) WHERE ended IS NULL;

CREATE TABLE journal (
  operation INTEGER NOT NULL REFERENCES operation (id) ON DELETE CASCADE,
  position  INTEGER NOT NULL,
  written   TEXT    NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  event     TEXT    NOT NULL,
  step      TEXT,
  format    INTEGER NOT NULL,
  value     TEXT    NOT NULL,
  PRIMARY KEY (operation, position)
) STRICT;

CREATE TABLE act (
  id     INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
  stack  TEXT    NOT NULL REFERENCES stack (name),
  by     TEXT    NOT NULL,
  at     TEXT,
  what   TEXT    NOT NULL,
  why    TEXT,
  format INTEGER NOT NULL,
  value  TEXT    NOT NULL
) STRICT;
CREATE INDEX act_of_stack ON act (stack, id);

-- The last valid content of watched files, as objects.
CREATE TABLE kept (
  what    TEXT NOT NULL PRIMARY KEY,
  digest  TEXT NOT NULL,
  written TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;
