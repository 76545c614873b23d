//! What `--help` teaches beside the arguments: of each command an example, what it touches, and how it
//! exits. A test runs every example through the parser.

mod env;
mod init;
mod release;

pub(super) use env::{ENV, ENV_DIFF, ENV_IMPORT, ENV_LIST, ENV_RESTORE, ENV_SHOW};
pub(super) use init::INIT;
pub(super) use release::{RELEASE, RELEASE_BRANCH, RELEASE_HOTFIX, RELEASE_LIST, RELEASE_REVERT_FILE};

/// Of the program.
pub(super) const PROGRAM: &str = "\
Examples:
  steadfast check                     are my files right? (no daemon needed)
  steadfast plan                      what would be done now? (no daemon needed)
  steadfast status                    is it fine, and if not, why not?
  steadfast watch shop                the same live, on the whole terminal
  steadfast pin shop v1.6.0 --wait    deploy, and say how it ended
  steadfast rollback shop             back to the last release that was good

Exit codes:
  0 done    1 failed    2 bad usage or config
  3 daemon or engine not reachable
  4 waiting for an approval    5 refused or held
  6 rolled back: what was asked for is not what runs

`steadfast COMMAND --help` says more, with examples. Every field of --json:
docs/reference/commands.md";

pub(super) const RUN: &str = "\
Examples:
  steadfast run
  steadfast --config ./steadfast.toml run

Under systemd: systemctl enable --now steadfast. It logs to standard error;
STEADFAST_LOG=steadfast=debug says more. SIGHUP: look at everything again.
SIGTERM: finish the step in flight, and stop. One daemon to a state directory.

Touches: the containers, networks and volumes of its stacks (never a volume
that exists, never a container of another project); the state directory; the
socket.

Exit codes:
  0 stopped on request    1 it cannot run    2 bad usage or config";

pub(super) const CHECK: &str = "\
Examples:
  steadfast check
  steadfast --config ./steadfast.toml check
  steadfast check --json

What the files lack for a safe rollback (a tag that reaches an image, a tool for
the schema) is a warning.

Touches: nothing. It reads the files, and asks the Git repositories that they
name whether they answer: no daemon, no engine.

Exit codes:
  0 valid; warnings do not fail    2 something is wrong";

pub(super) const PLAN: &str = "\
Examples:
  steadfast plan                    every stack
  steadfast plan shop               what changes, and why
  steadfast plan shop --steps       every single step
  steadfast plan shop --json

To see a deploy before it happens:
  steadfast pause shop --for 1h --reason 'to look first'
  steadfast pin shop v1.6.0
  steadfast plan shop
  steadfast resume shop
  steadfast resume shop --yes    does not ask

Touches: nothing. Where no daemon runs it reads the files, the ledger, the
engine and the database itself (as root, or as the daemon's user), and says
what a daemon would do.

Exit codes:
  0 shown    2 no such stack, or bad config
  3 neither daemon nor engine reachable";

pub(super) const STATUS: &str = "\
Examples:
  steadfast status                     every stack
  steadfast status shop                one, in full
  steadfast status shop --json
  steadfast status shop --exit-code    for scripts: 0 only when all is well

Touches: nothing.

Exit codes:
  0 shown    2 no such stack    3 the daemon is not reachable
With --exit-code, the worst one where there are several stacks:
  0 as asked for, and good    1 on its way, or failing
  2 an input file is wrong
  3 the engine is not reachable    4 waits for an approval
  5 held, paused or denied    6 rolled back";

pub(super) const WATCH: &str = "\
Examples:
  steadfast watch                      every stack, the first one in full
  steadfast watch shop
  NO_COLOR=1 steadfast watch shop      without colours

Keys: q or Esc ends it, j and k (or the arrows) choose the stack, ? shows them
all. A daemon that is gone is waited for. It needs a terminal of 40 columns and
10 lines at least; for scripts there are `status --json` and `pin --wait`.

Touches: nothing.

Exit codes:
  0 ended by a key, or by a signal    1 the terminal went away
  2 no terminal, or no such stack
  3 the daemon is not reachable when it begins";

pub(super) const HISTORY: &str = "\
Examples:
  steadfast history shop                  the generations
  steadfast history shop --operations     what was done, with every step
  steadfast history shop --acts           who asked for what, when and why
  steadfast history shop --json           generations and operations

Touches: nothing.

Exit codes:
  0 shown    2 no such stack    3 the daemon is not reachable";

pub(super) const PIN: &str = "\
Examples:
  steadfast pin shop v1.6.0 --wait
  steadfast pin shop v1.4.2 --service frontend    one service by itself
  steadfast pin shop v1.6.0 --unpin frontend      all of them again
  steadfast pin shop v1.6.0 --migration head
  steadfast pin shop v1.6.0 --env current

Touches: desired.toml, and of it the values only: comments and layout stay. The
daemon watches the file, and does the rest. Works without it, but for --wait.

Exit codes:
  0 written; with --wait: it runs, and is proven good
  1 it cannot be written; --wait: it could not be brought up, an image of it
  cannot be fetched for now (the daemon goes on trying), or the time was up
  2 no such stack, or bad config    3 --wait: the daemon is not reachable
  4 --wait: it waits for an approval    5 --wait: held, paused or denied
  6 --wait: rolled back, another release runs";

pub(super) const RETRY: &str = "\
Examples:
  steadfast retry shop
  steadfast retry shop --wait --reason 'the payment provider is back'
  steadfast retry shop --yes                      does not ask

Touches: the quarantine of the release that was asked for: it is lifted, and
its tags are resolved anew. A pause ends. Then the daemon deploys it;
desired.toml stays as it is.

Exit codes:
  0 taken; with --wait: it runs, and is proven good
  1 --wait: it failed again, or the time was up
  2 no such stack    3 the daemon is not reachable
  4 --wait: it waits for an approval
  5 refused (something is under way), or you said no; with --wait also: held
  6 --wait: rolled back again";

pub(super) const ROLLBACK: &str = "\
Examples:
  steadfast rollback shop
  steadfast rollback shop --yes --wait --reason 'checkout is broken'

Touches: the containers: those of the last good generation are made again. What
ran is put into quarantine in your name; a pause ends. desired.toml, .env and
volumes stay as they are. While a deploy is under way it is the deploy that is
taken back and put into quarantine: what runs stays.

Exit codes:
  0 rolled back    1 the rollback failed, or the time was up    2 no such stack
  3 the daemon is not reachable
  5 refused, with the reason (nothing to go back to, the schema does not fit),
  or you said no";

pub(super) const PAUSE: &str = "\
Examples:
  steadfast pause shop --for 2h --reason 'moving the disk'
  steadfast pause shop --for 30m --reason 'a look' --yes    does not ask

While it lasts nothing is healed, deployed or rolled back; `status` and `plan`
go on telling. It ends by itself, so that it is not forgotten, or by `steadfast
resume`.

Touches: no container.

Exit codes:
  0 paused    2 no such stack, or a span that is too long
  3 the daemon is not reachable    5 refused, or you said no";

pub(super) const RESUME: &str = "\
Examples:
  steadfast resume shop

Touches: no container itself. What was put off while the stack was paused
begins: see `steadfast plan shop` before.

Exit codes:
  0 resumed    2 no such stack    3 the daemon is not reachable
  5 refused: it is not paused; or you said no";

pub(super) const APPROVE: &str = "\
Examples:
  steadfast status shop                        what is asked, and since when
  steadfast plan shop                          what would be done
  steadfast approve shop --wait --reason 'seen'
  steadfast approve shop --ask 0b6f4e03b952    this question, and no other

Touches: what the plan shows, as soon as you agree.

Exit codes:
  0 taken; with --wait: done, and proven good
  1 --wait: it failed, or the time was up
  2 no such stack    3 the daemon is not reachable
  5 refused: nothing, or something else, is asked; or you said no
  6 --wait: rolled back";

pub(super) const DENY: &str = "\
Examples:
  steadfast deny shop --reason 'not before the weekend'
  steadfast deny shop --ask 0b6f4e03b952       this question, and no other

Touches: nothing. What was asked for waits for a new request. A stack that was
found running, and that you do not agree to change, is not healed either.

Exit codes:
  0 denied    2 no such stack    3 the daemon is not reachable
  5 refused: nothing, or something else, is asked; or you said no";

pub(super) const BACKUP: &str = "\
Examples:
  steadfast backup shop
  steadfast backup shop --verify list      does not restore it to make sure
  steadfast backup shop --no-wait --reason 'before the move'
  steadfast backup list shop
  steadfast backup verify shop 20261126T191500Z-7

Everything goes on meanwhile. What is more urgent (a rollback, a new release,
something to heal) ends it: ask again then. It may be asked for in a pause.

Touches: the state directory, where the backup is kept; a database beside the
stack's own, into which it is restored once, and which is dropped again.

Exit codes:
  0 done: it is there, and made sure of    1 failed, or it gave way
  2 bad usage, or no such stack
  3 the daemon or the engine is not reachable
  5 refused: something is under way, or there is no database";

pub(super) const BACKUP_LIST: &str = "\
Examples:
  steadfast backup list shop
  steadfast backup list shop --json

Needs neither the engine nor the database.

Touches: nothing.

Exit codes:
  0 shown    1 they cannot be read    2 no such stack
  3 the daemon is not reachable";

pub(super) const BACKUP_VERIFY: &str = "\
Examples:
  steadfast backup verify shop 20261126T191500Z-7
  steadfast backup verify shop 20261126T191500Z-7 --list

Touches: a database beside the stack's own, into which it is restored, and
which is dropped again. The backup stays as it is; one that is found to be
damaged does not count as verified any more.

Exit codes:
  0 it is what was dumped    1 it is not, or it gave way
  2 bad usage, or no such stack
  3 the daemon or the engine is not reachable
  5 refused: something is under way, or there is no such backup";

pub(super) const BACKUP_DROP: &str = "\
Examples:
  steadfast status shop
  steadfast backup drop shop shop_before_20261126T191500Z

Touches: that one database, which carries a mark of Steadfast and is in nobody's
use. It cannot be had back.

Exit codes:
  0 dropped, or gone already    1 failed: it has no mark, or somebody is in it
  2 no such stack    3 the daemon or the engine is not reachable
  5 refused, or you said no";

pub(super) const ROWS_LIST: &str = "\
Examples:
  steadfast rows list shop
  steadfast rows list shop --json

Touches: nothing.

Exit codes:
  0 shown    2 no such stack    3 the daemon is not reachable";

pub(super) const ROWS_PUT_IN: &str = "\
Examples:
  steadfast rows list shop
  steadfast rows put-in shop 12

What is in its place by now is left as it is, and told as a conflict.

Touches: the tables that the rows are of.

Exit codes:
  0 done: `rows list` says what came back    1 failed, or it gave way
  2 no such stack    3 the daemon or the engine is not reachable
  5 refused: something is under way, or nothing is kept of that operation";

pub(super) const ROWS_DROP: &str = "\
Examples:
  steadfast rows list shop
  steadfast rows drop shop 12

Touches: what is kept of that one operation, in the state directory. It cannot
be had back.

Exit codes:
  0 dropped    2 no such stack    3 the daemon is not reachable
  5 refused, or you said no";

pub(super) const ROWS: &str = "\
Examples:
  steadfast rows list shop
  steadfast rows put-in shop 12
  steadfast rows drop shop 12

What has its place again after an upgrade is put back by itself. `put-in` is
for what you have made a place for by hand. What is kept lies in the state
directory, in rows/STACK/OPERATION, as .csv.gz files.

Touches: `put-in` the tables that the rows are of; `drop` those files.

Exit codes:
  0 done, or shown    1 failed    2 no such stack
  3 the daemon or the engine is not reachable
  5 refused (nothing is kept, something is under way), or you said no";

pub(super) const RESTORE: &str = "\
Examples:
  steadfast backup list shop
  steadfast restore shop 20261126T191500Z-7
  steadfast restore shop ./backup.sql --yes --reason 'rows were deleted'

It is restored into a new database first, and the database as it is backed up;
then the services that write stop, the names change hands, and they start again.
What fails is taken back whole: the old database is in use again. It stays
beside as NAME_before_TIME until you drop it.

Touches: the database; the containers of the services that depend on it, which
are stopped and started.

Exit codes:
  0 restored    1 failed, and everything is as before    2 bad usage
  3 the daemon or the engine is not reachable
  5 refused (something is under way, no such backup), or you said no";

pub(super) const DEMO: &str = "\
Examples:
  steadfast demo
  steadfast demo --engine unix:///run/docker.sock

Needs an engine, and the images that `make images` makes. Takes two and a
half minutes.

Touches: what it makes itself, a stack of its own; nothing of it is left
behind.

Exit codes:
  0 all of it really happened    1 something did not
  3 the engine is not reachable";

pub(super) const COMPLETIONS: &str = "\
Examples:
  steadfast completions bash    as /etc/bash_completion.d/steadfast
  steadfast completions zsh     as _steadfast, in a directory of $fpath
  steadfast completions fish    as ~/.config/fish/completions/steadfast.fish

`make install` and the package have put them in their places already.

Touches: nothing.

Exit codes:
  0 printed    2 bad usage";

pub(super) const MAN: &str = "\
Examples:
  steadfast man target/man

`make install` and the package have put them in their places already.

Touches: that directory.

Exit codes:
  0 written    1 they cannot be written    2 bad usage";
