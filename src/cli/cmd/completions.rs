//! `onedrive-cli completions` and `onedrive-cli man`: what shells and `man` know of the programs, made from the same
//! description of the arguments that parses them.

use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::Shell;

use crate::cli::error::{CliError, Kind};
use crate::cli::print::write_out;

/// Arguments of `completions`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Args, Debug)]
pub struct ManArguments {
    /// Where to put the pages; made if it is missing
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Prints the completions of both programs for a shell.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(arguments: &Arguments, programs: Vec<clap::Command>) -> Result<(), CliError> {
    let mut text = Vec::new();
    for mut program in programs {
        let name = program.get_name().to_owned();
        clap_complete::generate(arguments.shell, &mut program, name, &mut text);
    }
    write_out(&String::from_utf8_lossy(&text))
}

/// Writes a manual page for each program and for each command.
///
/// # Errors
/// The folder cannot be written.
pub fn run_man(arguments: &ManArguments, programs: Vec<clap::Command>) -> Result<(), CliError> {
    let folder = &arguments.folder;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| CliError::new(Kind::LocalFile, format!("cannot write {}: {error}", path.display()))
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    for mut program in programs {
        program.build();
        pages(&program, folder)?;
    }
    Ok(())
}

fn pages(command: &clap::Command, folder: &Path) -> Result<(), CliError> {
    let man = clap_mangen::Man::new(command.clone()).date("");
    let path = folder.join(man.get_filename());
    man.generate_to(folder)
        .map_err(|error| CliError::new(Kind::LocalFile, format!("cannot write {}: {error}", path.display())))?;
    command.get_subcommands().filter(|command| !command.is_hide_set()).try_for_each(|command| pages(command, folder))
}
