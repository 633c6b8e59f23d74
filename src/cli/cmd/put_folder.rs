//! `onedrive-cli put -r`: a local folder with everything in it.

use serde_json::{Value, json};

use super::put::Arguments;
use crate::cli::encoding::{local_path, path_text};
use crate::cli::error::CliError;
use crate::cli::progress::{Board, Progress};
use crate::cli::session::{Session, shown};
use crate::cli::words::files;
use crate::config::size::display_size;
use crate::drive::{DriveError, FolderUpload, own_name};

/// Sends a folder.
///
/// # Errors
/// Whatever cannot be read or sent; the rest is sent all the same.
pub(super) async fn run(arguments: &Arguments, session: &Session) -> Result<(), CliError> {
    let top = &local_path(&arguments.local);
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => {
            own_name(&std::path::absolute(&arguments.local).map_err(|error| DriveError::local("find", top, error))?)?
        }
    };
    let plan = FolderUpload::plan(top);
    let tried = plan.files.len() + plan.folders.len() + 1;
    let into = session.find_folder_to_fill(arguments.folder.as_deref()).await?;
    for other in &plan.others {
        session.out.note(&format!("{} is neither file nor folder; left out", path_text(&top.join(other))));
    }
    let mut result = None;
    if arguments.dry.dry_run {
        let (count, size) = (files(plan.files.len() as u64), display_size(plan.bytes()));
        session.out.would(&format!("send {count} of {size} to \"{name}\" in {}", shown(&into)))?;
    } else {
        let jobs = arguments.jobs.map_or(session.context.config.upload.concurrency, usize::from);
        let board = Board::new(Progress::new(session.out.quiet(), session.clock.clone()), "sent");
        let (how, watch) = (arguments.how(session), |path: &std::path::Path, stage| board.show(path, stage));
        result = Some(plan.carry_out(session, &into, &name, &how, jobs, &watch).await?);
    }
    let mut failed: Vec<CliError> = plan.refused.into_iter().map(CliError::from).collect();
    if let Some(result) = result {
        let there = if result.same > 0 { format!(", {} already there", files(result.same)) } else { String::new() };
        session.out.note(&format!("{} sent{there}", files(result.sent.len() as u64)));
        let sent = result.sent.iter();
        let sent = sent
            .map(|(path, item)| json!({"path": path_text(path), "bytes": item.size, "object": session.object(item)}));
        session.out.done(Value::Array(sent.collect()))?;
        failed.extend(result.failed.into_iter().map(|(path, error)| CliError::from(error).about(&path_text(&path))));
    }
    CliError::of_several(failed, tried)
}
