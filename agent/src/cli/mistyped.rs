//! What was meant where a subcommand is mistyped, and its place may be that of a stack: of every other the parser itself
//! says what is near.

use clap::CommandFactory as _;

use super::args::Arguments;

/// A subcommand that is near to the word in its place, where that word is no subcommand but could be a stack: `backup lst`.
pub(super) fn meant(line: impl IntoIterator<Item = String>) -> Option<String> {
    let program = Arguments::command();
    let mut command = &program;
    let mut path = vec![String::from("steadfast")];
    let mut words = line.into_iter().skip(1);
    while let Some(word) = words.next() {
        if word.starts_with('-') {
            // What follows is a file.
            if matches!(word.as_str(), "--config" | "--socket") {
                words.next();
            }
        } else if let Some(next) = command.find_subcommand(&word) {
            command = next;
            path.push(word);
        } else {
            let has_stack = command.get_positionals().next().is_some();
            let names = command.get_subcommands().map(clap::Command::get_name);
            let near = config::error::nearest(&word, names.filter(|_| has_stack));
            return near
                .first()
                .map(|near| format!("did you mean `{} {near}`?", path.join(" ")));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

    use clap::Parser as _;
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &Expect) {
        let words = || line.split(' ').map(str::to_owned);
        let said = match Arguments::try_parse_from(words()) {
            Ok(_) => String::from("taken\n"),
            Err(error) => {
                let text = error.to_string();
                let told = text.lines().map(str::trim_start);
                let told = told.filter(|line| line.starts_with("error:") || line.starts_with("tip:"));
                told.map(|line| format!("{line}\n")).collect()
            }
        };
        let meant = meant(words()).unwrap_or_else(|| String::from("-"));
        expected.assert_eq(&format!("{said}{meant}"));
    }

    #[test]
    fn what_is_mistyped_is_answered_with_what_is_near() {
        check(
            "steadfast stauts",
            &expect![[r#"
                error: unrecognized subcommand 'stauts'
                tip: some similar subcommands exist: 'pause', 'status'
                -"#]],
        );
        check(
            "steadfast env lst shop",
            &expect![[r#"
                error: unrecognized subcommand 'lst'
                tip: a similar subcommand exists: 'list'
                -"#]],
        );
        check(
            "steadfast --config x.toml backup lst",
            &expect![[r#"
                taken
                did you mean `steadfast backup list`?"#]],
        );
        check(
            "steadfast backup lst shop",
            &expect![[r#"
                error: the subcommand 'shop' cannot be used with '<STACK>'
                did you mean `steadfast backup list`?"#]],
        );
        check(
            "steadfast backup list shop",
            &expect![[r#"
                taken
                -"#]],
        );
        check(
            "steadfast backup shop",
            &expect![[r#"
                taken
                -"#]],
        );
    }
}
