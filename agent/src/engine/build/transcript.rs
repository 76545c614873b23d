//! What the classic builder says while it builds: the steps for people, the last lines for whoever asks why it failed,
//! and whether the failure says something about what was built. Values of arguments are taken out of all of it. Pure.

use std::collections::VecDeque;

use super::verdict::{exit_code, hint, is_final, is_full_disk};
use crate::engine::without;

/// How many of the last lines are kept, and how many bytes in all.
const LINES: usize = 20;
const BYTES: usize = 4 * 1024;
/// How long one of them is at most, in bytes; and a sentence for people, in characters.
const LINE: usize = 512;
const SENTENCE: usize = 120;
/// What is looked at of one line before it is shortened.
const RAW: usize = 8 * 1024;

/// The step that is being done.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    number: String,
    of: String,
    /// With its arguments; without values of the build's.
    instruction: String,
}

/// What a failure says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum Said {
    /// What was to be built cannot be built.
    Final(String),
    /// Something was in the way, and may go by itself.
    Passing(String),
}

/// What has been said so far.
pub(in crate::engine) struct Transcript<'a> {
    secrets: Vec<&'a str>,
    line: String,
    step: Option<Step>,
    tail: VecDeque<String>,
}

impl<'a> Transcript<'a> {
    /// Nothing was said yet; none of `secrets` will be told.
    pub(in crate::engine) fn new(secrets: impl Iterator<Item = &'a str>) -> Self {
        Self {
            secrets: secrets.collect(),
            line: String::new(),
            step: None,
            tail: VecDeque::new(),
        }
    }

    /// Takes what comes next. A sentence is given where a new step has begun.
    pub(in crate::engine) fn hear(&mut self, text: &str) -> Option<String> {
        let mut begun = None;
        if is_own(text) {
            // What a command wrote last need not end in a line feed.
            let line = std::mem::take(&mut self.line);
            begun = self.close(&line);
        }
        let mut parts = text.split('\n').peekable();
        while let Some(part) = parts.next() {
            self.take(part);
            if parts.peek().is_some() {
                let line = std::mem::take(&mut self.line);
                begun = self.close(&line).or(begun);
            }
        }
        begun
    }

    /// What is being done now, with `detail`, as a sentence.
    pub(in crate::engine) fn sentence(&self, detail: &str) -> String {
        let detail = self.told(detail);
        match &self.step {
            Some(step) if detail.is_empty() => shortened(&step.sentence(), SENTENCE),
            Some(step) => {
                let room = SENTENCE.saturating_sub(detail.chars().count() + 2);
                shortened(
                    &format!("{}: {detail}", shortened(&step.sentence(), room)),
                    SENTENCE,
                )
            }
            None => shortened(&detail, SENTENCE),
        }
    }

    /// What a failure with the builder's `words` says: which step, why, and the last lines before it.
    pub(in crate::engine) fn failed(&mut self, words: &str) -> Said {
        let line = std::mem::take(&mut self.line);
        self.close(&line);
        let instruction = self.step.as_ref().map(|step| step.instruction.as_str());
        let output = self.tail.iter().any(|line| is_full_disk(line));
        let is_final = is_final(instruction, words) && !output;
        let mut message = match &self.step {
            Some(step) => format!(
                "{}: {}",
                shortened(&step.sentence(), SENTENCE),
                self.reason(words)
            ),
            None => self.reason(words),
        };
        if let Some(hint) = hint(words) {
            message.push_str(hint);
        }
        let mut room = BYTES.saturating_sub(message.len());
        let mut last: Vec<&str> = Vec::new();
        for line in self.tail.iter().rev() {
            let Some(left) = room.checked_sub(line.len() + 1) else {
                break;
            };
            room = left;
            last.push(line);
        }
        for line in last.iter().rev() {
            message.push('\n');
            message.push_str(line);
        }
        if is_final {
            Said::Final(message)
        } else {
            Said::Passing(message)
        }
    }

    /// The builder quotes the command of a step, which is named already.
    fn reason(&self, words: &str) -> String {
        match exit_code(words) {
            Some(code) => format!("it ended with exit code {code}"),
            None => cut(&self.told(words), LINE).to_owned(),
        }
    }

    fn take(&mut self, part: &str) {
        let room = RAW.saturating_sub(self.line.len());
        self.line.push_str(cut(part, room));
    }

    /// A line is complete.
    fn close(&mut self, line: &str) -> Option<String> {
        if let Some(step) = step(line) {
            let instruction = self.told(&step.instruction);
            self.step = Some(Step { instruction, ..step });
            self.tail.clear();
            return Some(self.sentence(""));
        }
        if is_own(line) {
            return None;
        }
        let mut told = self.told(line);
        if line.len() >= RAW - 4 {
            // It was cut, and what it ends in may be the beginning of a secret.
            let longest = self.secrets.iter().map(|secret| secret.len()).max().unwrap_or(0);
            told.truncate(cut(&told, told.len().saturating_sub(longest)).len());
        }
        if !told.is_empty() {
            self.tail.push_back(cut(&told, LINE).to_owned());
            if self.tail.len() > LINES {
                self.tail.pop_front();
            }
        }
        None
    }

    /// One line for people, without secrets: also where colours stand in the middle of one.
    fn told(&self, line: &str) -> String {
        let secrets = || self.secrets.iter().copied();
        without(&plain(&without(line, secrets())), secrets())
    }
}

impl Step {
    fn sentence(&self) -> String {
        format!("step {} of {}: {}", self.number, self.of, self.instruction)
    }
}

/// `Step 3/9 : RUN pip install`.
fn step(line: &str) -> Option<Step> {
    let (count, instruction) = line.strip_prefix("Step ")?.split_once(" : ")?;
    let (number, of) = count.split_once('/')?;
    let is_number =
        |text: &str| !text.is_empty() && text.len() < 6 && text.bytes().all(|b| b.is_ascii_digit());
    (is_number(number) && is_number(of)).then(|| Step {
        number: number.to_owned(),
        of: of.to_owned(),
        instruction: instruction.to_owned(),
    })
}

/// What the builder says of itself, and no step wrote.
fn is_own(line: &str) -> bool {
    line.starts_with(" ---> ") || line.starts_with("Removing intermediate container ")
}

/// A line as it would stand on a terminal: what a carriage return wrote over, colours and other controls are gone.
fn plain(line: &str) -> String {
    let line = line.trim_end_matches('\r');
    let line = line.rsplit('\r').next().unwrap_or(line);
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            '\u{1b}' => {
                if chars.next() == Some('[') {
                    chars.by_ref().find(|end| ('@'..='~').contains(end));
                }
            }
            control if control.is_control() => plain.push(' '),
            char => plain.push(char),
        }
    }
    plain.trim_end().to_owned()
}

/// At most so many characters, with a sign that there was more.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// At most so many bytes.
fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn heard<'a>(secrets: &[&'a str], parts: &[&str]) -> (Transcript<'a>, Vec<String>) {
        let mut transcript = Transcript::new(secrets.iter().copied());
        let told = parts.iter().filter_map(|part| transcript.hear(part)).collect();
        (transcript, told)
    }

    #[test]
    fn steps_are_told_and_a_failure_has_its_last_lines() {
        let (mut transcript, told) = heard(
            &["hunter2"],
            &[
                "Step 1/3 : FROM base",
                "\n",
                " ---> ebbeb3e12539\n",
                "Step 2/3 : RUN login hunter2 && \t pip install",
                "\n",
                " ---> Running in b785a88a4e28\n",
                "hi hun",
                "ter2\n10%\r100%\r\n",
                "\u{1b}[91mhun\u{1b}[1mter2 is wrong\n\u{1b}[0m",
                "\u{1b}[91mno end",
                "Removing intermediate container b785a88a4e28\n",
            ],
        );
        assert_eq!(
            told,
            [
                "step 1 of 3: FROM base",
                "step 2 of 3: RUN login … &&   pip install"
            ]
        );
        let said = transcript.failed("The command '/bin/sh -c login hunter2' returned a non-zero code: 3");
        let expected = "step 2 of 3: RUN login … &&   pip install: it ended with exit code 3\nhi …\n100%\n… is wrong\nno end";
        assert_eq!(said, Said::Final(expected.to_owned()));
    }

    #[test]
    fn everything_is_bounded_and_no_cut_shows_half_a_secret() {
        let secret = "s".repeat(300);
        let (mut transcript, told) = heard(&[&secret], &[&format!("Step 1/1 : RUN {}\n", "ä".repeat(500))]);
        assert_eq!(told[0].chars().count(), 120);
        let lines = "0123456789ä".repeat(60);
        for _ in 0..50 {
            transcript.hear(&lines);
            transcript.hear("\n");
        }
        let filler = format!("{secret} ").repeat(40);
        transcript.hear(&format!("{}{filler}\n", "x".repeat(100)));
        let Said::Final(message) = transcript.failed(&"ö".repeat(3000)) else {
            panic!("it is final")
        };
        assert!(message.len() <= BYTES, "{}", message.len());
        assert!(message.lines().count() <= LINES + 1);
        assert!(
            message.trim_end().ends_with('…') && !message.contains("ss"),
            "{message}"
        );
    }

    #[test]
    fn a_detail_has_room_beside_a_long_step() {
        let (transcript, _) = heard(&[], &["Step 1/2 : FROM ", &"b".repeat(300), "\n"]);
        let sentence = transcript.sentence("3 of 7 layers, 20 of 80 MB");
        assert!(sentence.ends_with("…: 3 of 7 layers, 20 of 80 MB"), "{sentence}");
        assert_eq!(sentence.chars().count(), 120);
        let (nothing, _) = heard(&[], &[]);
        assert_eq!(nothing.sentence("sent 3 MB"), "sent 3 MB");
    }

    #[test]
    fn what_needs_buildkit_says_so() {
        let rows = [
            ("the --mount option requires BuildKit. Refer to …", true),
            ("dockerfile parse error line 2: Unknown flag: link", true),
            ("dockerfile parse error line 3: unknown instruction: ECHO", true),
            ("COPY failed: file not found in build context", false),
        ];
        for (words, expected) in rows {
            let (mut transcript, _) = heard(&[], &[]);
            let Said::Final(message) = transcript.failed(words) else {
                panic!("{words}")
            };
            assert_eq!(message.contains("name it with \"image:\""), expected, "{message}");
        }
    }

    #[test]
    fn a_command_that_met_a_full_disk_is_not_to_blame() {
        let (mut transcript, _) = heard(
            &[],
            &[
                "Step 1/1 : RUN x\n",
                "OSError: [Errno 28] No space left on device\n",
                "bye\n",
            ],
        );
        let said = transcript.failed("The command 'x' returned a non-zero code: 1");
        assert!(matches!(said, Said::Passing(_)), "{said:?}");
    }
}
