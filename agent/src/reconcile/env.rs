//! What persons ask about versions of env files. What they have put back is their own edit, a request as any other; what
//! was there is kept first. No value of a variable is in any word from here.

use std::path::Path;

use config::env_file::{Format, in_order};
use config::error::with_sources;
use config::read::ReadError;
use state::desired::EnvWish;
use state::env_version::{EnvVersion, Imported, KEPT_IMPORTED, find, forgotten_for, paths, versions, which};
use state::files::{FileOwner, Given, Role};
use state::ledger::LedgerError;
use state::name::{Digest, EnvId};
use state::order::{self, Refused};
use state::record::{Act, Change};
use state::release::Author;

use super::backups::unreached;
use super::{Stack, Stop, Wish};
use crate::shared::{AboutEnv, Order, Refusal};

/// What an order is answered.
type Answered = Result<Result<String, Refusal>, Stop>;

/// So many wrong lines of a file are told.
const TOLD: usize = 10;

impl Stack {
    /// Carries out an order to put a version of an env file back.
    pub(super) async fn order_to_restore_env(&mut self, order: Order, act: Act) {
        let done = self.restore_env_of_ours(&order, act).await;
        self.answer(order, done.unwrap_or_else(|stop| Err(unreached(&stop))));
    }

    /// Nothing of another agent's stack is touched, whoever asks for it.
    async fn restore_env_of_ours(&mut self, order: &Order, act: Act) -> Answered {
        self.reach().await?;
        if !self.own().await? {
            let why = self.waits.last().cloned().unwrap_or_default();
            let refused = Refused::new(format!("it waits for {why}"), "see `steadfast status`");
            return Ok(Err(refused.into()));
        }
        self.restore_env(order, act)
    }

    /// Puts a version of an env file where it belongs.
    fn restore_env(&mut self, order: &Order, act: Act) -> Answered {
        let version = match self.named_version(order) {
            Ok(version) => version,
            Err(refused) => return Ok(Err(refused.into())),
        };
        let path = version.path.display().to_string();
        let there = match self.edges.files.read(&version.path) {
            Ok(bytes) => Some(bytes),
            Err(ReadError::Absent { .. }) => None,
            // What cannot be read cannot be kept.
            Err(error) => return Ok(Err(failed(format!("{path} stays: {}", with_sources(&error))))),
        };
        let from = there.as_deref().map(Digest::of);
        let is_there = from.as_ref() == Some(&version.content);
        let bytes = match self.kept_content(&version)? {
            Err(refused) if !is_there => return Ok(Err(refused.into())),
            kept => kept.ok(),
        };
        let act = Act {
            what: format!("{} {} into {path}", act.what, version.id),
            ..act
        };
        let given = Given {
            path: version.path.clone(),
            role: Role::Env,
            from,
            to: version.content.clone(),
            at: act.at.clone(),
        };
        let is_own = version.path == self.settings.env_file.path();
        let pin = self.pin().filter(|_| is_own);
        let changes = match order::give(&self.record, given, is_own, (&version.id, pin.as_ref()), act) {
            Ok(changes) => changes,
            Err(refused) => return Ok(Err(refused.into())),
        };
        if changes.is_empty() {
            let words = format!("{} is in {path} already, and is what is asked for", version.id);
            return Ok(Ok(words));
        }
        if let Some(bytes) = &there {
            self.edges.store.put_object(bytes)?;
        }
        self.commit(&changes)?;
        if let Some(bytes) = bytes.filter(|_| !is_there) {
            let put = self
                .edges
                .files
                .put(&version.path, Some(&bytes), self.owner_of(&version.path));
            if let Err(error) = put {
                return Ok(Err(failed(with_sources(&error))));
            }
        }
        tracing::info!(stack = %self.settings.name, by = %order.by, "{} is put into {path}", version.id);
        self.look_again();
        Ok(Ok(self.words_of_given(&version, there.as_deref())))
    }

    fn kept_content(&self, version: &EnvVersion) -> Result<Result<Vec<u8>, Refused>, Stop> {
        match self.edges.store.object(&version.content) {
            Ok(Some(bytes)) => Ok(Ok(bytes)),
            Ok(None) | Err(LedgerError::CorruptObject { .. }) => {
                let why = format!("the content of {} is gone from the state directory", version.id);
                let way_out = "`steadfast env list` shows which are kept";
                Ok(Err(Refused::new(why, way_out)))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn words_of_given(&self, version: &EnvVersion, there: Option<&[u8]>) -> String {
        let key = self.edges.store.host_key();
        let before = there.map(|bytes| key.env_id(&Digest::of(bytes)));
        let kept = match before.filter(|before| *before != version.id) {
            Some(before) => format!("; what was there is kept as {before}"),
            None => String::new(),
        };
        let follows = match (version.is_asked_for, &self.record.pause) {
            (true, _) => "it is what is asked for already",
            (false, None) => "it is tried and judged as any other release",
            (false, Some(_)) => "it is tried at the end of the pause",
        };
        let (id, path) = (&version.id, version.path.display());
        format!("{id} is in {path} from here on: {follows}{kept}")
    }

    /// Keeps a file as a version of an env file.
    pub(super) fn import_env(&mut self, order: &Order, act: Act) -> Answered {
        let Some(AboutEnv::File { from, of }) = &order.env else {
            return Ok(Err(nothing_named().into()));
        };
        let known = paths(&self.record, self.settings.env_file.path());
        let looked =
            which(&known, of.as_deref()).and_then(|path| self.may_read(from, &order.by).map(|()| path));
        let path = match looked {
            Ok(path) => path.to_owned(),
            Err(refused) => return Ok(Err(refused.into())),
        };
        let bytes = match self.edges.files.read(from) {
            Ok(bytes) => bytes,
            Err(error) => {
                let why = format!("the daemon cannot read it: {}", with_sources(&error));
                let way_out = "name a file that the daemon's user may read";
                return Ok(Err(Refused::new(why, way_out).into()));
            }
        };
        let variables = match variables(from, &bytes, &|name| self.given_from_outside(name)) {
            Ok(variables) => variables,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let content = self.edges.store.put_object(&bytes)?;
        let key = self.edges.store.host_key();
        let id = key.env_id(&content);
        let imported = Imported {
            path: path.clone(),
            content,
            from: from.clone(),
            by: order.by.clone(),
            at: act.at.clone(),
        };
        let forgotten = forgotten_for(&self.record.imported, &imported);
        let forgotten = forgotten.map(|one| key.env_id(&one.content));
        let act = Act {
            what: format!("{} {id} of {}", act.what, path.display()),
            ..act
        };
        self.commit(&[Change::Act(Box::new(act)), Change::Import(Box::new(imported))])?;
        let (path, from) = (path.display(), from.display());
        tracing::info!(stack = %self.settings.name, by = %order.by, "{from} is imported as {id}, a version of {path}");
        let forgotten = forgotten.map_or_else(String::new, |one| {
            format!("; {one}, the oldest of {KEPT_IMPORTED} imported ones, is not kept for that any more")
        });
        Ok(Ok(format!(
            "{id} is {from}, a version of {path} with {variables} variables{forgotten}"
        )))
    }

    /// Writes down who is shown values, before they are.
    pub(super) fn reveal_env(&mut self, order: &Order, act: Act) -> Answered {
        let version = match self.named_version(order) {
            Ok(version) => version,
            Err(refused) => return Ok(Err(refused.into())),
        };
        let (id, path) = (&version.id, version.path.display());
        let act = Act {
            what: format!("{} {id} of {path}, with its values", act.what),
            ..act
        };
        self.commit(&[Change::Act(Box::new(act))])?;
        tracing::info!(stack = %self.settings.name, by = %order.by, "{id} of {path} is shown, with its values");
        Ok(Ok(format!("{id} of {path} is shown")))
    }

    /// The version that an order names, as things are now.
    fn named_version(&self, order: &Order) -> Result<EnvVersion, Refused> {
        let Some(AboutEnv::Version { id, of }) = &order.env else {
            return Err(nothing_named());
        };
        let own = self.settings.env_file.path();
        let known = paths(&self.record, own);
        let path = which(&known, of.as_deref())?;
        let disk = self.on_disk(known.iter());
        let all = versions(&self.record, own, &self.edges.store.host_key(), &disk);
        find(&all, path, id).cloned()
    }

    /// What desired.toml pins `.env` to, as it is shown.
    fn pin(&self) -> Option<EnvId> {
        let wish = match (&self.wish, &self.record.request) {
            (Wish::Asked(desired), _) => &desired.env,
            (_, Some(request)) => &request.desired.env,
            _ => return None,
        };
        match wish {
            EnvWish::Current => None,
            EnvWish::Sha256(digest) => Some(self.edges.store.host_key().env_id(digest)),
            EnvWish::Short(id) => Some(id.clone()),
        }
    }

    /// A variable that no env file has to set.
    fn given_from_outside(&self, name: &str) -> Option<String> {
        let request = self.record.request.as_ref()?;
        let is_tag = self.settings.tag_vars.iter().any(|var| var.as_str() == name);
        is_tag.then(|| request.desired.tag.as_str().to_owned())
    }

    /// Whose an env file is to be, where there is none yet: whose it was.
    fn owner_of(&self, path: &Path) -> Option<FileOwner> {
        let request = self.record.request.iter().map(|request| &request.files);
        let generations = self.record.generations.iter().rev().map(|g| &g.files);
        let mut files = request.chain(generations);
        files.find_map(|files| files.get(path)?.owner)
    }

    /// Who may act here has no part in what else is on this host, and the daemon reads all of it.
    fn may_read(&self, file: &Path, by: &Author) -> Result<(), Refused> {
        let own = rustix::process::geteuid().as_raw();
        let is_trusted = matches!(by, Author::Person { uid, .. } if *uid == 0 || *uid == own);
        if is_trusted || file.starts_with(&self.settings.directory) {
            return Ok(());
        }
        let directory = self.settings.directory.display();
        Err(Refused::new(
            format!(
                "{} lies outside of {directory}: it is taken for root alone",
                file.display()
            ),
            "use sudo, or copy it there",
        ))
    }
}

/// How many variables a file sets, one at least: what has none is a wrong path more often than a wish. Or all that is wrong
/// with it, by line, and without a value.
fn variables(file: &Path, bytes: &[u8], lookup: &dyn Fn(&str) -> Option<String>) -> Result<usize, Refusal> {
    let mut problems = Vec::new();
    let set = in_order(file, bytes, Format::Dotenv, lookup, &mut problems);
    if problems.is_empty() && set.is_empty() {
        return Err(Refusal {
            why: format!("{} sets no variable", file.display()),
            way_out: Some(String::from(
                "is it the file that was meant? An empty env file is had by emptying it, and what was there is kept",
            )),
            code: 2,
        });
    }
    if problems.is_empty() {
        return Ok(set.len());
    }
    let mut lines: Vec<String> = problems.iter().take(TOLD).map(ToString::to_string).collect();
    if problems.len() > TOLD {
        lines.push(format!("and {} more", problems.len() - TOLD));
    }
    Err(Refusal {
        why: lines.join("\n"),
        way_out: Some(String::from("mend the lines, and import it again")),
        code: 2,
    })
}

fn nothing_named() -> Refused {
    Refused::new("no version is named", "`steadfast env list` shows them")
}

fn failed(why: String) -> Refusal {
    Refusal {
        why,
        way_out: None,
        code: 1,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_told_by_line_and_without_a_value() {
        let file = Path::new("/srv/shop/.env.backup");
        let variables = |bytes: &[u8]| variables(file, bytes, &|name| (name == "TAG").then(|| "v1".into()));
        for empty in [&b""[..], b"\n\n", b"# A=1\n", b"UNSET\n"] {
            let refusal = variables(empty).unwrap_err();
            assert_eq!(
                (refusal.code, refusal.why.as_str()),
                (2, "/srv/shop/.env.backup sets no variable")
            );
        }
        let refusal = variables(b"\x7fELF\x02\x01\x01\x00\xff\xfe").unwrap_err();
        assert_eq!(refusal.code, 2);
        assert_eq!(variables(b"# c\nA=1\nexport B='2'\nA=${TAG:?}\n").unwrap(), 2);
        let refusal = variables(b"A=1\npass word=secret\nB=\"secret\n").unwrap_err();
        assert_eq!(refusal.code, 2);
        assert!(!refusal.why.contains("secret"), "{}", refusal.why);
        assert!(
            refusal.why.starts_with("/srv/shop/.env.backup:2:5: "),
            "{}",
            refusal.why
        );
        assert!(
            refusal.why.contains("\n/srv/shop/.env.backup:3:"),
            "{}",
            refusal.why
        );
        let wrong = "=secret\n".repeat(40);
        let refusal = variables(wrong.as_bytes()).unwrap_err();
        assert!(refusal.why.ends_with("\nand 30 more"), "{}", refusal.why);
    }
}
