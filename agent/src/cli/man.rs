//! `steadfast man`: a manual page of each command, from the same definitions as the parser.

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::args::Arguments;
use super::failure::{Failure, Outcome};

/// Writes them.
pub(super) fn run(directory: &Path) -> Outcome {
    write_all(directory)
        .map_err(|error| Failure::new(1, format!("cannot write into {}: {error}", directory.display())))?;
    Ok(0)
}

fn write_all(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut program = Arguments::command().disable_help_subcommand(true);
    program.build();
    write_below(&program, directory)
}

fn write_below(command: &clap::Command, directory: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_below(below, directory)?;
    }
    let page = Man::new(command.clone())
        .manual("Steadfast")
        .source(concat!("steadfast ", env!("CARGO_PKG_VERSION")));
    fs::write(directory.join(page.get_filename()), text(command, &page)?)
}

fn text(command: &clap::Command, page: &Man) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    let help = command.get_after_help().map(ToString::to_string);
    taught(&help.unwrap_or_default()).to_writer(&mut text)?;
    Ok(text)
}

/// What stands below the arguments in `--help`: its lines are laid out already, and stay as they are.
fn taught(help: &str) -> Roff {
    let mut page = Roff::default();
    let mut is_in = "";
    for block in help.split("\n\n") {
        let (section, body) = match block.split_once(":\n") {
            Some(("Examples", body)) => ("EXAMPLES", body),
            Some(("Exit codes", body)) => ("EXIT STATUS", body),
            _ => ("NOTES", block),
        };
        if section != is_in {
            page.control("SH", [section]);
        }
        is_in = section;
        page.control("nf", []);
        for line in body.lines() {
            page.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
        }
        page.control("fi", []);
        page.control("PP", []);
    }
    page
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn every_command_has_a_page_with_its_examples_as_they_are_typed() {
        let directory = tempfile::TempDir::new().unwrap();
        let into = directory.path().join("man1");
        write_all(&into).unwrap();
        let page = |name: &str| fs::read_to_string(into.join(format!("{name}.1"))).unwrap();
        for name in [
            "steadfast",
            "steadfast-run",
            "steadfast-backup-verify",
            "steadfast-env-diff",
        ] {
            let page = page(name);
            let parts = [
                ".TH ",
                ".SH NAME",
                ".SH SYNOPSIS",
                ".SH EXAMPLES\n.nf\nsteadfast ",
            ];
            for part in parts.into_iter().chain([".SH \"EXIT STATUS\"\n.nf\n0 "]) {
                assert!(page.contains(part), "{name} lacks {part:?}:\n{page}");
            }
        }
        assert!(!into.join("steadfast-man.1").exists(), "it is hidden");
        // Twice is as once.
        write_all(&into).unwrap();
    }

    #[test]
    fn where_nothing_can_be_written_it_says_so() {
        let failure = run(Path::new("/proc/self/man")).unwrap_err();
        assert_eq!(failure.code, 1);
        assert!(failure.why.starts_with("cannot write into /proc/self/man: "));
    }
}
