-- A ledger of version 1 with the life of a stack in it.
PRAGMA application_id = 1398031940;
PRAGMA user_version = 1;
CREATE TABLE meta (
  name  TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;
CREATE TABLE counter (
  name TEXT    NOT NULL PRIMARY KEY,
  last INTEGER NOT NULL
) STRICT;
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
CREATE TABLE health (
  stack         TEXT    NOT NULL PRIMARY KEY REFERENCES stack (name),
  failing_ms    INTEGER NOT NULL,
  healthy_ms    INTEGER NOT NULL,
  watched_ms    INTEGER NOT NULL,
  failing_since TEXT,
  format        INTEGER NOT NULL,
  value         TEXT    NOT NULL
) STRICT;
CREATE TABLE rollback (
  stack    TEXT    NOT NULL REFERENCES stack (name),
  position INTEGER NOT NULL,
  request  TEXT    NOT NULL,
  at       TEXT,
  format   INTEGER NOT NULL,
  value    TEXT    NOT NULL,
  PRIMARY KEY (stack, position)
) STRICT;
CREATE TABLE adopted (
  stack     TEXT NOT NULL REFERENCES stack (name),
  container TEXT NOT NULL,
  hash      TEXT NOT NULL,
  PRIMARY KEY (stack, container)
) STRICT;
CREATE TABLE carried (
  stack  TEXT NOT NULL REFERENCES stack (name),
  place  TEXT NOT NULL,
  volume TEXT NOT NULL,
  PRIMARY KEY (stack, place)
) STRICT;
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
CREATE TABLE kept (
  what    TEXT NOT NULL PRIMARY KEY,
  digest  TEXT NOT NULL,
  written TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;
INSERT INTO meta VALUES ('identity', '00112233445566778899aabbccddeeff');
INSERT INTO counter VALUES ('operation', 7);
INSERT INTO stack VALUES ('shop', 'v1.2.0', '0ce5e65b202f7416a913b8f12b6f56ca83a8ba5e2654b3c954b67d427af8f673', 'left, generation 2 is in quarantine', 1, 'it fails too', NULL, 'granted', 1, '{"request":{"desired":{"tag":"v1.2.0","migration":{"revision":"ab12"},"env":"current","services":{"frontend":"v1.0.0"}},"env":"b77349bf1fa9b26d45d545d7d64dad96737e9cfbb3cbb5f5d10fb77b0fcc44ad","config":"b79606fb3afea5bd1609ed40b622142f1c98125abcfe89a76a661b0e8e343910","spec":"d4f02eaafd1a9e9de7d10972ca8e47fa7a985825c3c9c1e249c72683cb3e4f19","accepted":{"wall_ms":1700000002000,"boot_ms":2000,"boot_id":"5d1b"},"retries":1},"standing":{"quarantined":2},"hold":{"since":{"wall_ms":1700000062000,"boot_ms":62000,"boot_id":"5d1b"},"why":"it fails too","way_out":"steadfast retry shop","until":["healthy","target"]},"pause":null,"approval":{"ask":{"rollback":{"from":2,"to":1}},"request":"0ce5e65b202f7416a913b8f12b6f56ca83a8ba5e2654b3c954b67d427af8f673","asked":{"wall_ms":1700000003000,"boot_ms":3000,"boot_id":"5d1b"},"detail":["stop api"],"answer":["granted",{"person":{"uid":1000,"name":"ann"}}]},"restored":{"from":2,"to":1,"at":{"wall_ms":1700000061000,"boot_ms":61000,"boot_id":"5d1b"},"request":"0ce5e65b202f7416a913b8f12b6f56ca83a8ba5e2654b3c954b67d427af8f673"},"let_go":{"wall_ms":1700000065000,"boot_ms":65000,"boot_id":"5d1b"}}');
INSERT INTO generation VALUES ('shop', 1, 'good', 'v1.1.0', 'b80f50bcfbe626f4f36fd5a8a07afb41e3af187243164fc328bea024bcda1be0', '2023-11-14T22:13:30Z', '2023-11-14T22:13:40Z', '2023-11-14T22:14:10Z', 'five minutes of it', 1, '{"number":1,"release":{"tag":"v1.1.0","pins":{"frontend":"v1.0.0"},"images":{"api":"sha256:0000000000000000000000000000000000000000000000000000000000000001"},"migration":"head","env":null,"config":"b79606fb3afea5bd1609ed40b622142f1c98125abcfe89a76a661b0e8e343910"},"release_id":"b80f50bcfbe626f4f36fd5a8a07afb41e3af187243164fc328bea024bcda1be0","request":"bb7a7123a148f7701c483c44832e60441b191ed902a22cc24e1925c4c65f4769","spec":"d4f02eaafd1a9e9de7d10972ca8e47fa7a985825c3c9c1e249c72683cb3e4f19","hashes":{"api":"1-ff"},"verdict":"good","begun":{"wall_ms":1700000010000,"boot_ms":10000,"boot_id":"5d1b"},"applied":{"wall_ms":1700000020000,"boot_ms":20000,"boot_id":"5d1b"},"judged":{"wall_ms":1700000050000,"boot_ms":50000,"boot_id":"5d1b"},"why":"five minutes of it","schema":{"at":["ab12","cd34"]},"adopted":true,"not_restorable":"found by the way"}');
INSERT INTO generation VALUES ('shop', 2, 'bad', 'v1.2.0', '70fb2867f13da3a5e530071b3f03700dd61b86356422f7a2ea363e5fe372632b', '2023-11-14T22:13:40Z', NULL, '2023-11-14T22:14:10Z', 'five minutes of it', 1, '{"number":2,"release":{"tag":"v1.2.0","pins":{"frontend":"v1.0.0"},"images":{"api":"sha256:0000000000000000000000000000000000000000000000000000000000000002"},"migration":"head","env":null,"config":"b79606fb3afea5bd1609ed40b622142f1c98125abcfe89a76a661b0e8e343910"},"release_id":"70fb2867f13da3a5e530071b3f03700dd61b86356422f7a2ea363e5fe372632b","request":"0ce5e65b202f7416a913b8f12b6f56ca83a8ba5e2654b3c954b67d427af8f673","spec":"d4f02eaafd1a9e9de7d10972ca8e47fa7a985825c3c9c1e249c72683cb3e4f19","hashes":{"api":"1-ff"},"verdict":"bad","begun":{"wall_ms":1700000020000,"boot_ms":20000,"boot_id":"5d1b"},"applied":null,"judged":{"wall_ms":1700000050000,"boot_ms":50000,"boot_id":"5d1b"},"why":"five minutes of it","schema":"no_table","adopted":false,"not_restorable":null}');
INSERT INTO quarantine VALUES ('shop', 0, 2, 'v1.2.0', 'the env file', 'steadfast', '2023-11-14T22:13:22Z', 'api answered 503 for five minutes', 1, '{"generation":2,"release":"70fb2867f13da3a5e530071b3f03700dd61b86356422f7a2ea363e5fe372632b","tag":"v1.2.0","blame":{"configuration":{"env":null,"config":null}},"by":"agent","at":{"wall_ms":1700000002000,"boot_ms":2000,"boot_id":"5d1b"},"why":"api answered 503 for five minutes"}');
INSERT INTO health VALUES ('shop', 8, 0, 8, '2023-11-14T22:13:28Z', 1, '{"probes":{"http":{"phase":"failing","fails":3,"passes":0,"failing_since":{"wall_ms":1700000008000,"boot_ms":8000,"boot_id":"5d1b"},"known_since":{"wall_ms":1700000001000,"boot_ms":1000,"boot_id":"5d1b"},"last":[{"wall_ms":1700000008000,"boot_ms":8000,"boot_id":"5d1b"},{"fail":"503"}],"known_at":{"wall_ms":1700000008000,"boot_ms":8000,"boot_id":"5d1b"},"deaths":2,"complaint":"503"}},"failing_ms":8,"healthy_ms":0,"watched_ms":8,"looked_ms":8,"counted":{"wall_ms":1700000008000,"boot_ms":8000,"boot_id":"5d1b"},"failing_since":{"wall_ms":1700000008000,"boot_ms":8000,"boot_id":"5d1b"}}');
INSERT INTO rollback VALUES ('shop', 0, '0ce5e65b202f7416a913b8f12b6f56ca83a8ba5e2654b3c954b67d427af8f673', '2023-11-14T22:14:20Z', 1, '{"wall_ms":1700000060000,"boot_ms":60000,"boot_id":"5d1b"}');
INSERT INTO adopted VALUES ('shop', '0000000000000000000000000000000000000000000000000000000000000001', '1-aa');
INSERT INTO carried VALUES ('shop', 'db/1:/data', 'abababababababababababababababababababababababababababababababab');
INSERT INTO operation VALUES (1, 'shop', 'deploy', 1, 3, 'steadfast', '2023-11-14T22:13:21Z', 'succeeded', 'drift', 1, '{"id":1,"kind":"deploy","generation":1,"request":"bb7a7123a148f7701c483c44832e60441b191ed902a22cc24e1925c4c65f4769","by":"agent","why":"drift","begun":{"wall_ms":1700000001000,"boot_ms":1000,"boot_id":"5d1b"},"plan":{"steps":[{"create":{"service":"api","number":1,"name":"shop-api-1","image":"sha256:0000000000000000000000000000000000000000000000000000000000000001","hash":"1-ff","carried":[{"target":"/data","volume":"v"}]}},{"detach":{"target":{"existing":"0000000000000000000000000000000000000000000000000000000000000001"},"from":[{"network":"shop_default","aliases":["api"],"fixed_ipv4":null,"fixed_ipv6":null,"address":"172.20.0.2"}]}},{"stop":{"target":{"existing":"0000000000000000000000000000000000000000000000000000000000000001"},"service":"api","grace":{"secs":1,"nanos":500000000},"ran":true}}],"on_failure":{"api":"pause"}}}');
INSERT INTO operation VALUES (4, 'shop', 'deploy', 1, 3, 'steadfast', '2023-11-14T22:13:24Z', 'undone', 'drift', 1, '{"id":4,"kind":"deploy","generation":1,"request":"bb7a7123a148f7701c483c44832e60441b191ed902a22cc24e1925c4c65f4769","by":"agent","why":"drift","begun":{"wall_ms":1700000004000,"boot_ms":4000,"boot_id":"5d1b"},"plan":{"steps":[{"create":{"service":"api","number":1,"name":"shop-api-1","image":"sha256:0000000000000000000000000000000000000000000000000000000000000004","hash":"1-ff","carried":[{"target":"/data","volume":"v"}]}},{"detach":{"target":{"existing":"0000000000000000000000000000000000000000000000000000000000000001"},"from":[{"network":"shop_default","aliases":["api"],"fixed_ipv4":null,"fixed_ipv6":null,"address":"172.20.0.2"}]}},{"stop":{"target":{"existing":"0000000000000000000000000000000000000000000000000000000000000001"},"service":"api","grace":{"secs":1,"nanos":500000000},"ran":true}}],"on_failure":{"api":"pause"}}}');
INSERT INTO operation VALUES (7, 'shop', 'deploy', 1, 3, 'steadfast', '2023-11-14T22:13:27Z', NULL, 'drift', 1, '{"id":7,"kind":"deploy","generation":1,"request":"bb7a7123a148f7701c483c44832e60441b191ed902a22cc24e1925c4c65f4769","by":"agent","why":"drift","begun":{"wall_ms":1700000007000,"boot_ms":7000,"boot_id":"5d1b"},"plan":{"steps":[{"create":{"service":"api","number":1,"name":"shop-api-1","image":"sha256:0000000000000000000000000000000000000000000000000000000000000007","hash":"1-ff","carried":[{"target":"/data","volume":"v"}]}},{"detach":{"target":{"existing":"0000000000000000000000000000000000000000000000000000000000000001"},"from":[{"network":"shop_default","aliases":["api"],"fixed_ipv4":null,"fixed_ipv6":null,"address":"172.20.0.2"}]}},{"stop":{"target":{"existing":"0000000000000000000000000000000000000000000000000000000000000001"},"service":"api","grace":{"secs":1,"nanos":500000000},"ran":true}}],"on_failure":{"api":"pause"}}}');
INSERT INTO journal VALUES (1, 0, '2026-11-26T08:53:33.219Z', 'started', 'create api-1 from 000000000000, taking over the volume at /data', 1, '{"at_ms":1700000010000,"started":{"index":0}}');
INSERT INTO journal VALUES (1, 1, '2026-11-26T08:53:33.219Z', 'done', 'create api-1 from 000000000000, taking over the volume at /data', 1, '{"at_ms":1700000011000,"done":{"index":0,"outcome":{"created":"0000000000000000000000000000000000000000000000000000000000000002"}}}');
INSERT INTO journal VALUES (1, 2, '2026-11-26T08:53:33.219Z', 'started', 'take 000000000000 out of its networks', 1, '{"at_ms":1700000012000,"started":{"index":1}}');
INSERT INTO journal VALUES (1, 3, '2026-11-26T08:53:33.219Z', 'done', 'take 000000000000 out of its networks', 1, '{"at_ms":1700000013000,"done":{"index":1,"outcome":"done"}}');
INSERT INTO journal VALUES (1, 4, '2026-11-26T08:53:33.219Z', 'started', 'stop api (000000000000), by force after 1 s', 1, '{"at_ms":1700000014000,"started":{"index":2}}');
INSERT INTO journal VALUES (1, 5, '2026-11-26T08:53:33.219Z', 'done', 'stop api (000000000000), by force after 1 s', 1, '{"at_ms":1700000015000,"done":{"index":2,"outcome":"done"}}');
INSERT INTO journal VALUES (1, 6, '2026-11-26T08:53:33.219Z', 'ended', NULL, 1, '{"at_ms":1700000016000,"ended":"succeeded"}');
INSERT INTO journal VALUES (4, 0, '2026-11-26T08:53:33.223Z', 'started', 'create api-1 from 000000000000, taking over the volume at /data', 1, '{"at_ms":1700000010000,"started":{"index":0}}');
INSERT INTO journal VALUES (4, 1, '2026-11-26T08:53:33.223Z', 'failed', 'create api-1 from 000000000000, taking over the volume at /data', 1, '{"at_ms":1700000011000,"failed":{"index":0,"why":"no such image","passing":true}}');
INSERT INTO journal VALUES (4, 2, '2026-11-26T08:53:33.223Z', 'undo started', 'create api-1 from 000000000000, taking over the volume at /data', 1, '{"at_ms":1700000012000,"undo_started":{"index":0}}');
INSERT INTO journal VALUES (4, 3, '2026-11-26T08:53:33.223Z', 'undo done', 'create api-1 from 000000000000, taking over the volume at /data', 1, '{"at_ms":1700000013000,"undo_done":{"index":0}}');
INSERT INTO journal VALUES (4, 4, '2026-11-26T08:53:33.223Z', 'ended', NULL, 1, '{"at_ms":1700000014000,"ended":{"undone":{"why":"no such image","passing":true}}}');
INSERT INTO journal VALUES (7, 0, '2026-11-26T08:53:33.230Z', 'started', 'create api-1 from 000000000000, taking over the volume at /data', 1, '{"at_ms":1700000070000,"started":{"index":0}}');
INSERT INTO act VALUES (1, 'shop', 'ann', '2023-11-14T22:13:29Z', 'pause', 'because', 1, '{"by":{"person":{"uid":1000,"name":"ann"}},"at":{"wall_ms":1700000009000,"boot_ms":9000,"boot_id":"5d1b"},"what":"pause","why":"because"}');
INSERT INTO act VALUES (2, 'shop', 'ann', '2023-11-14T22:13:29Z', 'rollback', 'because', 1, '{"by":{"person":{"uid":1000,"name":"ann"}},"at":{"wall_ms":1700000009000,"boot_ms":9000,"boot_id":"5d1b"},"what":"rollback","why":"because"}');
