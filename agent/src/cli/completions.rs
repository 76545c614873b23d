//! `steadfast completions`: what makes a shell complete our words, from the same definitions as the parser.

use clap::CommandFactory as _;
use clap_complete::{generate, shells};

use super::args::{Arguments, Shell};
use super::failure::Outcome;
use super::output;

/// Prints them.
pub(super) fn run(shell: Shell) -> Outcome {
    output::print(&script(shell))?;
    Ok(0)
}

fn script(shell: Shell) -> String {
    let (mut program, mut script) = (Arguments::command(), Vec::new());
    match shell {
        Shell::Bash => generate(shells::Bash, &mut program, "steadfast", &mut script),
        Shell::Zsh => generate(shells::Zsh, &mut program, "steadfast", &mut script),
        Shell::Fish => generate(shells::Fish, &mut program, "steadfast", &mut script),
    }
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of every command that is shown, of those below others too.
    fn words(command: &clap::Command) -> Vec<String> {
        let shown = command.get_subcommands().filter(|below| !below.is_hide_set());
        shown
            .flat_map(|below| std::iter::once(below.get_name().to_owned()).chain(words(below)))
            .collect()
    }

    #[test]
    fn every_shell_knows_every_command() {
        let all = words(&Arguments::command());
        assert!(all.len() > 30, "{all:?}");
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = script(shell);
            let is_part = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
            let known: std::collections::BTreeSet<&str> = script.split(|c| !is_part(c)).collect();
            for word in &all {
                assert!(known.contains(word.as_str()), "{shell:?} does not know {word}");
            }
        }
    }
}
