//! Who is at the other end of the socket, and whether they may act. The kernel says who; the users
//! and groups of this host are read anew each time, so that a change of them counts at once.

use std::path::PathBuf;

use config::settings::{Account, ControlSettings};
use state::release::Author;

/// A user as the kernel gives them: of the socket's other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Who may act: root, the daemon's own user, and those in `[agent.control]`. Everybody who can open
/// the socket may read.
#[derive(Debug, Clone)]
pub struct Access {
    settings: ControlSettings,
    own_uid: u32,
    users: PathBuf,
    groups: PathBuf,
}

impl Access {
    /// By the settings. Names are looked up in `/etc/passwd` and `/etc/group`; accounts that live
    /// elsewhere are given by number.
    pub fn new(settings: ControlSettings) -> Self {
        Self::with_files(settings, "/etc/passwd".into(), "/etc/group".into())
    }

    pub(super) fn with_files(settings: ControlSettings, users: PathBuf, groups: PathBuf) -> Self {
        Self {
            settings,
            own_uid: rustix::process::geteuid().as_raw(),
            users,
            groups,
        }
    }

    /// Who `peer` is, for the record.
    pub(super) fn author(&self, peer: Peer) -> Author {
        Author::Person {
            uid: peer.uid,
            name: name_of(&read(&self.users), peer.uid),
        }
    }

    /// Whether `peer` may act.
    pub(super) fn may_act(&self, peer: Peer) -> bool {
        if peer.uid == 0 || peer.uid == self.own_uid {
            return true;
        }
        let settings = &self.settings;
        if settings.act_users.is_empty() && settings.act_groups.is_empty() {
            return false;
        }
        let name = name_of(&read(&self.users), peer.uid);
        let is_user = |account: &Account| match account {
            Account::Id(uid) => *uid == peer.uid,
            Account::Name(user) => name.as_deref() == Some(user.as_str()),
        };
        if settings.act_users.iter().any(is_user) {
            return true;
        }
        let groups = read(&self.groups);
        settings
            .act_groups
            .iter()
            .any(|group| is_member(&groups, group, peer, name.as_deref()))
    }
}

/// An unreadable file names nobody: that can only take rights away.
fn read(path: &std::path::Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// `name:password:uid:…` (passwd(5)).
fn name_of(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// `name:password:gid:member,member` (group(5)); the primary group comes with the peer.
fn is_member(groups: &str, group: &Account, peer: Peer, user: Option<&str>) -> bool {
    if matches!(group, Account::Id(gid) if *gid == peer.gid) {
        return true;
    }
    groups.lines().any(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, gid, members] = fields[..] else {
            return false;
        };
        let Ok(gid) = gid.parse::<u32>() else {
            return false;
        };
        let is_group = match group {
            Account::Id(wanted) => *wanted == gid,
            Account::Name(wanted) => wanted.as_str() == name,
        };
        is_group && (gid == peer.gid || user.is_some_and(|user| members.split(',').any(|m| m == user)))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const USERS: &str = "root:x:0:0::/root:/bin/sh\nada:x:4242:4242::/:/bin/sh\nbob:x:4243:4243::/:/bin/sh\n";
    const GROUPS: &str = "ops:x:500:ada\nada:x:4242:\nempty:x:501:\n+\n";

    #[track_caller]
    fn check(users: &[&str], groups: &[&str], peer: (u32, u32), expected: bool) {
        let directory = tempfile::tempdir().unwrap();
        let (passwd, group) = (directory.path().join("passwd"), directory.path().join("group"));
        std::fs::write(&passwd, USERS).unwrap();
        std::fs::write(&group, GROUPS).unwrap();
        let account = |text: &&str| match text.parse() {
            Ok(id) => Account::Id(id),
            Err(_) => Account::Name(text.parse().unwrap()),
        };
        let settings = ControlSettings {
            act_users: users.iter().map(account).collect(),
            act_groups: groups.iter().map(account).collect(),
        };
        let access = Access::with_files(settings, passwd, group);
        let (uid, gid) = peer;
        assert_eq!(access.may_act(Peer { uid, gid }), expected);
    }

    #[test]
    fn nobody_but_root_and_the_daemon_itself_by_default() {
        check(&[], &[], (0, 0), true);
        check(&[], &[], (rustix::process::geteuid().as_raw(), 4242), true);
        check(&[], &[], (4242, 4242), false);
    }

    #[test]
    fn a_user_by_name_or_number() {
        check(&["ada"], &[], (4242, 4242), true);
        check(&["4242"], &[], (4242, 4242), true);
        check(&["ada"], &[], (4243, 4243), false);
        check(&["nobody-here"], &[], (4243, 4243), false);
    }

    #[test]
    fn a_group_by_its_members_or_as_the_primary_one() {
        check(&[], &["ops"], (4242, 4242), true);
        check(&[], &["500"], (4242, 4242), true);
        check(&[], &["ops"], (4243, 4243), false);
        check(&[], &["ops"], (4243, 500), true);
        check(&[], &["777"], (4243, 777), true);
        check(&[], &["empty"], (4243, 4243), false);
    }
}
