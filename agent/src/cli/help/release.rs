//! What `steadfast release --help` teaches.

pub(in crate::cli) const RELEASE: &str = "\
Examples:
  steadfast release list shop
  steadfast release branch shop v1.4.0 --push
  steadfast release hotfix shop checkout --push
  steadfast release revert-file shop backend/fees.py --push

For stacks with [stack.NAME.source] in steadfast.toml. A release is deployed by
`steadfast pin`, and gone back to by itself or by `steadfast rollback`: these
are for the source code. Nobody's checkout is touched, no branch that is there
is moved but by `revert-file --to` it, and nothing is ever forced.

Touches: a mirror of the repository in the state directory; with --push one
branch of the repository. No container.

Exit codes:
  0 done, or shown    1 failed; nothing is half-done
  2 no such stack, or it has no repository    3 the daemon is not reachable
  5 refused: no such tag, the branch is there already, the origin refuses it";

pub(in crate::cli) const RELEASE_LIST: &str = "\
Examples:
  steadfast release list shop
  steadfast release list shop --json

Asks the repository first; where it is away, this is said, and what it had
before is shown. `moved` says that a tag names another commit than it did when
a generation was made of it, or when it was asked for.

Touches: the mirror of the repository in the state directory.

Exit codes:
  0 shown    1 nothing was ever fetched, and it cannot be
  2 no such stack, or it has no repository    3 the daemon is not reachable";

pub(in crate::cli) const RELEASE_BRANCH: &str = "\
Examples:
  steadfast release branch shop                  at the release that runs
  steadfast release branch shop v1.4.0           rollback/to-v1.4.0
  steadfast release branch shop v1.4.0 --push --reason 'work goes on from here'

Touches: the mirror of the repository in the state directory; with --push that
one branch of the repository. What runs stays: `steadfast pin` deploys.

Exit codes:
  0 it is there    1 failed; nothing is half-done
  2 no such stack, or it has no repository    3 the daemon is not reachable
  5 refused: no such tag, the branch is at another commit already, or the
    origin refuses it";

pub(in crate::cli) const RELEASE_HOTFIX: &str = "\
Examples:
  steadfast release hotfix shop checkout
  steadfast release hotfix shop checkout --push

The branch is at the release that was asked for and failed; where none did, at
the one that is asked for. Mend it there, put a tag on it, and `steadfast pin`
that tag.

Touches: the mirror of the repository in the state directory; with --push that
one branch of the repository.

Exit codes:
  0 it is there    1 failed; nothing is half-done
  2 no such stack, no repository, or no name for a branch
  3 the daemon is not reachable
  5 refused: nothing was asked for, the branch is at another commit already, or
    the origin refuses it";

pub(in crate::cli) const RELEASE_REVERT_FILE: &str = "\
Examples:
  steadfast release revert-file shop backend/fees.py
  steadfast release revert-file shop nginx/nginx.conf --push --reason 'no TLS'
  steadfast release revert-file shop compose.yaml --onto main --to main --push

The file is as in the last release that was proven good, else as in what runs;
where that has none, it is taken out. You are the author of the commit. A tag on
it makes it a release.

Touches: the mirror of the repository in the state directory; with --push that
one branch of the repository. No file of any checkout.

Exit codes:
  0 committed    1 failed; nothing is half-done
  2 no such stack, no repository, or a file outside of it
  3 the daemon is not reachable
  5 refused: no such file, it is as it was, the branch is there already, or the
    origin refuses it";
