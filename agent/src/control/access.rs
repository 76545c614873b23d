//! Who is at the other end of the socket, and what they may do. The kernel says who; the users and groups of this host are
//! read anew each time, so that a change of them counts at once.

use std::path::PathBuf;

use config::settings::{Account, ControlSettings, Party};
use state::policy::Severity;
use state::release::Author;

/// A user as the kernel gives them: of the socket's other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Who may do what: root and the daemon's own user all of it, others as `[agent.control]` says. Everybody who can open the
/// socket may read.
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

    /// Whether `peer` may do the act that paths call `act`; `severity`: of the failure that it answers a question about.
    pub(super) fn may(&self, peer: Peer, act: &str, severity: Option<Severity>) -> bool {
        if self.is_own(peer) {
            return true;
        }
        let settings = &self.settings;
        let of_severity = severity.and_then(|severity| settings.severity.get(&severity));
        if let Some(parties) = of_severity.or_else(|| settings.acts.get(act)) {
            return self.is_one_of(peer, parties.iter().cloned());
        }
        let users = settings.act_users.iter().cloned().map(Party::User);
        let groups = settings.act_groups.iter().cloned().map(Party::Group);
        self.is_one_of(peer, users.chain(groups))
    }

    /// Whether who may answer depends on the failure that is asked about.
    pub(super) fn looks_at_severity(&self) -> bool {
        !self.settings.severity.is_empty()
    }

    /// Whether `peer` may do everything: root, and the daemon's own user.
    pub(super) fn is_own(&self, peer: Peer) -> bool {
        peer.uid == 0 || peer.uid == self.own_uid
    }

    fn is_one_of(&self, peer: Peer, parties: impl Iterator<Item = Party>) -> bool {
        let parties: Vec<Party> = parties.collect();
        if parties.is_empty() {
            return false;
        }
        let name = name_of(&read(&self.users), peer.uid);
        let is_user = |account: &Account| match account {
            Account::Id(uid) => *uid == peer.uid,
            Account::Name(user) => name.as_deref() == Some(user.as_str()),
        };
        let groups = read(&self.groups);
        parties.iter().any(|party| match party {
            Party::User(account) => is_user(account),
            Party::Group(group) => is_member(&groups, group, peer, name.as_deref()),
        })
    }
}

/// Whether this host has such a user (or group, by its own file); `None`: the file cannot be read.
pub fn is_known(name: &str, is_group: bool) -> Option<bool> {
    let path = if is_group { "/etc/group" } else { "/etc/passwd" };
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.lines().any(|line| line.split(':').next() == Some(name)))
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
        let settings = ControlSettings {
            act_users: users.iter().map(account).collect(),
            act_groups: groups.iter().map(account).collect(),
            ..ControlSettings::default()
        };
        let access = Access::with_files(settings, passwd, group);
        let (uid, gid) = peer;
        assert_eq!(access.may(Peer { uid, gid }, "retry", None), expected);
    }

    fn account(text: &&str) -> Account {
        match text.parse() {
            Ok(id) => Account::Id(id),
            Err(_) => Account::Name(text.parse().unwrap()),
        }
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

    /// `ada` of the group `ops` may act in general; `bob` may restore and answer about what is high, and nobody may pause.
    #[track_caller]
    fn check_act(uid: u32, act: &str, severity: Option<Severity>, expected: bool) {
        let directory = tempfile::tempdir().unwrap();
        let (passwd, group) = (directory.path().join("passwd"), directory.path().join("group"));
        std::fs::write(&passwd, USERS).unwrap();
        std::fs::write(&group, GROUPS).unwrap();
        let bob = || vec![Party::User(account(&"bob"))];
        let settings = ControlSettings {
            act_groups: vec![account(&"ops")],
            acts: [("restore", bob()), ("pause", Vec::new())].into(),
            severity: [(Severity::High, bob())].into(),
            ..ControlSettings::default()
        };
        let access = Access::with_files(settings, passwd, group);
        assert_eq!(access.may(Peer { uid, gid: uid }, act, severity), expected);
    }

    #[test]
    fn what_is_said_of_one_act_or_severity_counts_instead_of_what_is_said_of_all() {
        let (ada, bob) = (4242, 4243);
        check_act(ada, "rollback", None, true);
        check_act(bob, "rollback", None, false);
        check_act(ada, "restore", None, false);
        check_act(bob, "restore", None, true);
        check_act(ada, "pause", None, false);
        check_act(0, "pause", None, true);
        check_act(ada, "approve", None, true);
        check_act(ada, "approve", Some(Severity::High), false);
        check_act(bob, "approve", Some(Severity::High), true);
        check_act(ada, "approve", Some(Severity::Critical), true);
        check_act(bob, "approve", Some(Severity::Critical), false);
    }
}
