//! What persons ask of one stack over the control socket. Every act is recorded with who, when and why.

use state::journal::Kind;
use state::name::AskId;
use state::operation::not_again;
use state::order::{self, Refused};
use state::record::{Act, Answer, Ask, Change, Pause};
use state::release::{Blame, GenerationNumber, Verdict};
use state::rollback::ordered;

use super::attend::Call;
use super::{Stack, Stop};
use crate::shared::{Accepted, ActKind, Order, Refusal};

/// Why a first deploy cannot be left.
pub(super) const FIRST_DEPLOY: &str = "it is the first deploy: there is nothing to go back to";

/// An order that begins when the operation that it called away has ended. It is answered then: whoever
/// was told that it is done would not ask again when the daemon ends before.
pub(super) struct Called {
    order: Order,
    /// The generation that the operation was to bring up: not to be tried again.
    left: Option<GenerationNumber>,
}

impl Called {
    fn words(&self) -> String {
        format!("{} asked for a {}", self.order.by, self.order.act.as_str())
    }
}

/// Where an order to roll back leads.
struct Way {
    to: GenerationNumber,
    tag: String,
    blame: Blame,
}

impl Stack {
    /// Carries out an order. It is answered when it is done; that it rolls back, when it has begun.
    pub async fn order(&mut self, order: Order) {
        if let Err(stop) = self.be_sure() {
            return self.answer(order, Err::<Accepted, _>(broken(&stop)));
        }
        let act = self.heard_from(&order);
        let schema_fits = match order.act {
            ActKind::Rollback { schema_fits } => schema_fits,
            ActKind::DropRows { of } => return self.order_to_drop_rows(order, act, of),
            ActKind::Backup { .. }
            | ActKind::VerifyBackup { .. }
            | ActKind::PutIn { .. }
            | ActKind::DropBeside => {
                return Box::pin(self.order_about_backups(order, act)).await;
            }
            ActKind::Restore => return Box::pin(self.order_to_restore(order, act)).await,
            ActKind::RestoreEnv => return Box::pin(self.order_to_restore_env(order, act)).await,
            _ => return self.order_now(order, act),
        };
        // One that waits for the engine or the ledger is under way all the same.
        if let Err(refused) = order::unless_busy(&self.record) {
            return self.answer(order, Err::<Accepted, _>(refused.into()));
        }
        match self.way_back(schema_fits).await {
            Ok(Ok(way)) => self.roll_back(order, act, way).await,
            Ok(Err(refused)) => self.answer(order, Err::<Accepted, _>(refused)),
            Err(stop) => self.answer(order, Err::<Accepted, _>(broken(&stop))),
        }
    }

    /// Carries out an order that begins nothing by itself.
    fn order_now(&mut self, order: Order, act: Act) {
        let done = match order.act {
            ActKind::Pause { span } => self.pause(span, &order, act),
            ActKind::Resume => self.resume(act),
            ActKind::Approve => self.decide(Answer::Granted, order.ask.as_ref(), act),
            ActKind::Deny => self.decide(Answer::Denied, order.ask.as_ref(), act),
            ActKind::Retry => self.retry_request(act),
            ActKind::ImportEnv => self.import_env(&order, act),
            ActKind::RevealEnv => self.reveal_env(&order, act),
            ActKind::Rollback { .. }
            | ActKind::Backup { .. }
            | ActKind::VerifyBackup { .. }
            | ActKind::DropBeside
            | ActKind::PutIn { .. }
            | ActKind::DropRows { .. }
            | ActKind::Restore
            | ActKind::RestoreEnv => return,
        };
        self.answer(order, done.unwrap_or_else(|stop| Err(broken(&stop))));
    }

    /// Whoever follows looks as soon as the answer is there. Whoever asked may have hung up: the order
    /// is carried out all the same.
    pub(super) fn answer(&self, order: Order, words: Result<impl Into<Accepted>, Refusal>) {
        self.publish();
        let _ = order.answer.send(words.map(Into::into));
    }

    fn heard_from(&self, order: &Order) -> Act {
        let what = format!("{}{}", order.act.as_str(), about(order));
        // One that was not given is no field.
        let reason = order.reason.as_deref();
        tracing::info!(stack = %self.settings.name, by = %order.by, reason, "{what}");
        Act {
            by: order.by.clone(),
            at: self.now(),
            what,
            why: order.reason.clone(),
        }
    }

    /// An order while an operation is open. What begins something calls the operation away; a rollback
    /// comes to its end first.
    pub(super) async fn order_beside(&mut self, order: Order, kind: Kind, call: &Call) {
        let left = match self.record.operation.as_ref() {
            Some(open) if kind == Kind::Deploy => open.operation.generation,
            _ => None,
        };
        let refused = match order.act {
            ActKind::Rollback { .. } if !kind.gives_way() => {
                order::unless_busy(&self.record).err().map(Refusal::from)
            }
            ActKind::Rollback { .. } if left.is_some() => self.nothing_ran_before(),
            ActKind::Rollback { schema_fits } => match self.way_back(schema_fits).await {
                Ok(way) => way.err(),
                Err(stop) => Some(broken(&stop)),
            },
            ActKind::Retry => None,
            // A person's restore is more urgent than anybody's backup.
            ActKind::Restore if kind == Kind::Backup => None,
            ActKind::Backup { .. }
            | ActKind::VerifyBackup { .. }
            | ActKind::DropBeside
            | ActKind::PutIn { .. }
            | ActKind::DropRows { .. }
            | ActKind::Restore => order::unless_busy(&self.record).err().map(Refusal::from),
            // It is an edit of a file: what is to give way to it does, as soon as it is seen.
            ActKind::RestoreEnv => {
                let act = self.heard_from(&order);
                return Box::pin(self.order_to_restore_env(order, act)).await;
            }
            _ => {
                // What has waited for this begins at once.
                if kind == Kind::Backup && matches!(order.act, ActKind::Approve | ActKind::Resume) {
                    call.away(&format!("{} asked for a {}", order.by, order.act.as_str()));
                }
                let act = self.heard_from(&order);
                return self.order_now(order, act);
            }
        };
        if let Some(refused) = refused {
            return self.answer(order, Err::<Accepted, _>(refused));
        }
        let called = Called { order, left };
        if kind.gives_way() {
            call.away(&called.words());
        }
        self.called.push_back(called);
    }

    /// What has been called away before goes on to be, when it is taken up again.
    pub(super) fn call_away_again(&self, kind: Kind, call: &Call) {
        if let Some(called) = self.called.front().filter(|_| kind.gives_way()) {
            call.away(&called.words());
        }
    }

    /// Why a first deploy cannot be left.
    fn nothing_ran_before(&self) -> Option<Refusal> {
        self.record
            .current
            .is_none()
            .then(|| refusal(FIRST_DEPLOY, Some("pin a release that works")))
    }

    /// Carries out the order that has called an operation away, once that has ended: while it is open
    /// its release may still be brought up, and is not to be judged. `false`: there is none to carry out.
    pub(super) async fn order_after(&mut self) -> bool {
        if self.record.operation.is_some() {
            return false;
        }
        let Some(Called { order, left }) = self.called.pop_front() else {
            return false;
        };
        match left {
            Some(left)
                if !matches!(order.act, ActKind::Retry | ActKind::Restore)
                    && self.record.current != Some(left) =>
            {
                let done = self.leave(left, &order);
                let will = "the deploy was taken back; its release is not tried again";
                let done = done.map(|()| will.to_owned());
                self.answer(order, done.map_err(|stop| broken(&stop)));
            }
            _ => self.order(order).await,
        }
        true
    }

    /// A deploy was taken back because a person asked for it: it is not tried again.
    fn leave(&mut self, left: GenerationNumber, order: &Order) -> Result<(), Stop> {
        let act = self.heard_from(order);
        let mut changes = vec![Change::Act(Box::new(act))];
        changes.extend(order::end_of_pause(&self.record));
        let generation = self.record.generation(left);
        if generation.is_some_and(|g| g.verdict == Verdict::Trial) {
            changes.extend(not_again(
                &self.record,
                left,
                &order.by,
                &reason(order),
                &self.now(),
            ));
            changes.push(Change::Approval(None));
        }
        self.commit(&changes)
    }

    fn pause(
        &mut self,
        span: std::time::Duration,
        order: &Order,
        act: Act,
    ) -> Result<Result<String, Refusal>, Stop> {
        let pause = Pause {
            by: order.by.clone(),
            since: act.at.clone(),
            until: act.at.plus(span),
            why: order.reason.clone().unwrap_or_default(),
        };
        self.commit(&[Change::Act(Box::new(act)), Change::Pause(Some(pause))])?;
        let span = state::decide::span(span);
        Ok(Ok(match &self.record.operation {
            None => format!("paused for {span}: nothing is healed, deployed or rolled back"),
            Some(open) => format!(
                "paused for {span}: after the {} under way nothing is healed, deployed or rolled back",
                open.operation.kind
            ),
        }))
    }

    fn resume(&mut self, act: Act) -> Result<Result<String, Refusal>, Stop> {
        if self.record.pause.is_none() {
            return Ok(Err(refusal(
                "the stack is not paused",
                Some("see `steadfast status`"),
            )));
        }
        let mut changes = vec![Change::Act(Box::new(act))];
        changes.extend(order::end_of_pause(&self.record));
        self.commit(&changes)?;
        Ok(Ok(String::from("the pause is over")))
    }

    fn decide(
        &mut self,
        answer: Answer,
        seen: Option<&AskId>,
        act: Act,
    ) -> Result<Result<String, Refusal>, Stop> {
        let changes = match order::answer(&self.record, seen, answer, act) {
            Ok(changes) => changes,
            Err(refused) => return Ok(Err(refused.into())),
        };
        let about = self.record.approval.as_ref().map(|approval| approval.ask.clone());
        self.commit(&changes)?;
        Ok(Ok(match answer {
            Answer::Granted if matches!(about, Some(Ask::Rollback { .. })) => {
                String::from("approved: it begins with the next answer of a probe that is a failure")
            }
            Answer::Granted => String::from("approved: it is done now"),
            Answer::Denied => String::from("denied: nothing is done until there is a new request"),
        }))
    }

    fn retry_request(&mut self, act: Act) -> Result<Result<String, Refusal>, Stop> {
        let changes = match order::retry(&self.record, act) {
            Ok(changes) => changes,
            Err(refused) => return Ok(Err(refused.into())),
        };
        let over = self.words_of_pause();
        self.commit(&changes)?;
        self.retry = None;
        self.healing.clear();
        let tag = self.record.request.as_ref().map(|r| r.desired.tag.as_str());
        Ok(Ok(format!("{over}{} is tried again", tag.unwrap_or_default())))
    }

    /// What an order that ends a pause says of it.
    fn words_of_pause(&self) -> &'static str {
        match self.record.pause {
            Some(_) => "the pause is over; ",
            None => "",
        }
    }

    /// Where `rollback` leads: to the newest good generation before what runs, as things are now.
    async fn way_back(&mut self, schema_fits: bool) -> Result<Result<Way, Refusal>, Stop> {
        let Some(current) = self.record.current().cloned() else {
            return Ok(Err(refusal(
                "nothing is deployed",
                Some("see what it waits for: `steadfast status`"),
            )));
        };
        self.schema_at = None;
        if let Err(stop) = self.observe().await {
            return Ok(Err(Refusal {
                code: 3,
                ..broken(&stop)
            }));
        }
        self.refresh_availability().await?;
        let schema = self.schema.as_ref();
        let target = match ordered(&self.record, &self.available, schema, self.tool(), schema_fits) {
            Ok(target) => target,
            Err(refused) => return Ok(Err(refused.into())),
        };
        let tag = target.release.tag.as_ref();
        Ok(Ok(Way {
            to: target.number,
            tag: tag.map(|tag| format!(" ({tag})")).unwrap_or_default(),
            blame: Blame::between(&current.release, Some(&target.release)),
        }))
    }

    /// Leaves the present release, in the operator's name. What comes of it is in `status`.
    async fn roll_back(&mut self, order: Order, act: Act, way: Way) {
        let (by, why) = (order.by.clone(), reason(&order));
        let over = self.words_of_pause();
        let mut changes = vec![Change::Act(Box::new(act))];
        changes.extend(order::end_of_pause(&self.record));
        if let Err(stop) = self.commit(&changes) {
            return self.answer(order, Err::<Accepted, _>(broken(&stop)));
        }
        match self.begin_to_go_back(way.to, way.blame, by, &why).await {
            // Whoever follows must see it under way: what was before may look like its end.
            Ok(true) => {
                let will = format!(
                    "{over}goes back to generation {}{}; desired.toml is untouched",
                    way.to, way.tag
                );
                self.answer(order, Ok(will));
                if let Err(stop) = self.finish_going_back().await {
                    tracing::error!(stack = %self.settings.name, "rollback: {stop}");
                }
                self.publish();
            }
            Ok(false) if self.is_backup_agreed_to() == Some(true) => {
                let will = format!(
                    "{over}nothing takes the schema back, so a backup takes the database's place: goes back to generation {}{}",
                    way.to, way.tag
                );
                self.answer(order, Ok(will));
            }
            Ok(false) => {
                let asks = self.is_backup_agreed_to().is_some();
                let hold = self.record.hold.as_ref().map(|hold| hold.why.clone());
                let why = hold.or_else(|| self.waits.last().cloned());
                let why = why.unwrap_or_else(|| String::from("it could not be begun"));
                let refused = Refusal {
                    why: format!("{over}{why}"),
                    way_out: Some(String::from(if asks {
                        "`steadfast status` says what would be lost; then `steadfast approve`, or `steadfast deny`"
                    } else {
                        "see `steadfast status`"
                    })),
                    code: if asks { 4 } else { 1 },
                };
                self.answer(order, Err::<Accepted, _>(refused));
            }
            Err(stop) => self.answer(order, Err::<Accepted, _>(broken(&stop))),
        }
    }
}

fn reason(order: &Order) -> String {
    let words = order.reason.clone();
    words.unwrap_or_else(|| format!("{} asked for it", order.by))
}

fn broken(stop: &Stop) -> Refusal {
    Refusal {
        why: stop.to_string(),
        way_out: None,
        code: 1,
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self {
            why: refused.why,
            way_out: refused.way_out,
            code: 5,
        }
    }
}

fn refusal(why: &str, way_out: Option<&str>) -> Refusal {
    Refusal {
        why: why.to_owned(),
        way_out: way_out.map(str::to_owned),
        code: 5,
    }
}

/// What an order is about, behind its name in the record.
fn about(order: &Order) -> String {
    match (order.act, &order.dump, &order.database) {
        (ActKind::PutIn { of } | ActKind::DropRows { of }, ..) => format!(" of operation {of}"),
        (ActKind::Pause { span }, ..) => format!(" for {}", config::show_duration(span)),
        (ActKind::Restore | ActKind::VerifyBackup { .. }, Some(dump), _) => format!(" {dump}"),
        (ActKind::DropBeside, _, Some(name)) => format!(" {name}"),
        _ => String::new(),
    }
}
