//! What `--help` teaches of `steadfast env`.

pub(in crate::cli) const ENV: &str = "\
Examples:
  steadfast env list shop
  steadfast env show shop
  steadfast env diff shop 0b6f4e03b952
  steadfast env restore shop 0b6f4e03b952 --wait
  steadfast env import shop .env.backup.20251109

An id is keyed with a secret of this host: nobody can guess a value from it.
Its first eight digits suffice.

Touches: `restore` the env file; `import` the state directory.

Exit codes:
  0 done, or shown    1 failed    2 bad usage, no such stack, or a bad file
  3 the daemon is not reachable
  5 refused, with the reason, or you said no";

pub(in crate::cli) const ENV_LIST: &str = "\
Examples:
  steadfast env list shop
  steadfast env list shop --json

Each version of .env and of the env_files: those of the generations that are
remembered, what is asked for, what was replaced, what you have imported, and
what is in the file now.

Touches: nothing.

Exit codes:
  0 shown    1 they cannot be read    2 no such stack
  3 the daemon is not reachable";

pub(in crate::cli) const ENV_SHOW: &str = "\
Examples:
  steadfast env show shop                          what is asked for
  steadfast env show shop 0b6f4e03b952
  steadfast env show shop 93aa1c77d0e2 --file api.env
  sudo steadfast env show shop 0b6f4e03b952 --reveal

Values are shown to root alone, on a terminal alone; who was shown which
version goes into the record and the log before they are.

Touches: nothing; with --reveal the record.

Exit codes:
  0 shown    1 it cannot be read    2 bad usage, or no such stack
  3 the daemon is not reachable
  5 refused: no such version, it is not kept, you are not root, no terminal";

pub(in crate::cli) const ENV_DIFF: &str = "\
Examples:
  steadfast env diff shop 0b6f4e03b952                 to what is in the file
  steadfast env diff shop 0b6f4e03b952 93aa1c77d0e2
  steadfast env diff shop 0b6f4e03b952 --json

Names only: + is there in the second alone, - in the first alone, ~ has
another value.

Touches: nothing.

Exit codes:
  0 shown, whether or not they differ    1 they cannot be read
  2 bad usage, or no such stack    3 the daemon is not reachable
  5 refused: no such version, or it is not kept";

pub(in crate::cli) const ENV_RESTORE: &str = "\
Examples:
  steadfast env list shop
  steadfast env restore shop 0b6f4e03b952
  steadfast env restore shop 0b6f4e03b952 --yes --wait --reason 'wrong key'

It is as if you had written it with an editor: a new request, tried, judged and
rolled back as any other. The file keeps its owner and mode; what was in it is
kept, and `env list` shows it.

Touches: the env file; then, as with any release, the containers whose
environment it changes.

Exit codes:
  0 written; with --wait: it runs, and is proven good
  1 it cannot be written; --wait: it could not be brought up, or the time was up
  2 bad usage, or no such stack    3 the daemon is not reachable
  4 --wait: it waits for an approval
  5 refused (no such version, something is under way, .env is pinned to another
    one, it was left already), or you said no; with --wait also: held or paused
  6 --wait: rolled back";

pub(in crate::cli) const ENV_IMPORT: &str = "\
Examples:
  steadfast env import shop .env.backup.20251109
  steadfast env import shop ./old.env --file api.env --reason 'of the old host'

The daemon reads the file. One that lies outside of the stack's directory is
taken for root alone. The last twenty are kept.

Touches: the state directory, where the content is kept. Neither that file nor
the stack's own is changed.

Exit codes:
  0 kept: its id is said
  2 no such stack, lines of it make no sense, or it sets no variable
  3 the daemon is not reachable
  5 refused: it cannot be read, or you may not have it read";
