//! `gustfront completions`: scripts that complete commands and flags in a shell.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::output::show;
use super::{Cli, Exit};

/// Print a completion script.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  gustfront completions bash > ~/.local/share/bash-completion/completions/gustfront")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

/// Runs the command.
pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "gustfront", &mut script);
    show(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
