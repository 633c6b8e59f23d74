//! Going into the background without lying about it.
//!
//! The prompt must come back only when the mount answers, and with the right exit code when it never will. A process
//! with threads cannot fork, so the program starts itself once more, in a session of its own, with one pipe: the
//! standard output of the new process, on which it writes one line, `Report`, and which it then gives up.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde::{Deserialize, Serialize};

use super::error::{CliError, Kind};
use crate::base::private;

/// The size from which the log of an earlier start is put aside.
const LOG_LIMIT: u64 = 8 << 20;

/// How many lines of the log are shown when the daemon ends without a word.
const LAST_LINES: usize = 5;

/// The one line that the new process writes.
#[derive(Debug, Serialize, Deserialize)]
enum Report {
    Ready,
    Failed { kind: Kind, sentence: String, hints: Vec<String> },
}

/// Runs `command` in the background, with `log` as its standard error, and waits until it reports.
///
/// # Errors
/// What the new process reported; or, if it ended without a report, how it ended and where its log is.
pub fn start(mut command: Command, log: &Path) -> Result<(), CliError> {
    let log_file = open_log(log)
        .map_err(|error| CliError::new(Kind::Disk, format!("cannot write the log {}: {error}", log.display())))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log_file)
        .spawn()
        .map_err(|error| CliError::new(Kind::Other, format!("cannot start the background process: {error}")))?;
    let output = child.stdout.take().expect("invariant: a pipe was asked for");
    let mut line = String::new();
    // Ends with the line, or with the process. Not with a deadline: signing in to a slow service is not a failure,
    // and whoever has enough of it presses Ctrl-C.
    let _ = BufReader::new(output).read_line(&mut line);
    match serde_json::from_str(&line) {
        Ok(Report::Ready) => Ok(()),
        Ok(Report::Failed { kind, sentence, hints }) => Err(CliError { kind, source: sentence.into(), hints }),
        Err(_) => Err(without_a_word(&mut child, log)),
    }
}

/// Makes this process the leader of a session, so that the end of the terminal does not end it, and leaves the
/// current folder, so that it can be unmounted or removed.
pub fn detach() {
    // Fails only for a process that leads a group, and then it has left the terminal's session already.
    let _ = rustix::process::setsid();
    let _ = std::env::set_current_dir("/");
}

/// Tells the waiting parent that all is well, and gives the pipe up.
///
/// # Errors
/// The parent has gone: the person pressed Ctrl-C and does not want this mount any more.
pub fn report_ready() -> io::Result<()> {
    report(&Report::Ready)?;
    // The parent reads one line; a shell that captures its output would wait for the pipe to end. What is said from now on
    // goes to the log.
    Ok(rustix::stdio::dup2_stdout(io::stderr())?)
}

/// Tells the waiting parent why it will never be.
pub fn report_failure(error: &CliError) {
    let failed = Report::Failed { kind: error.kind, sentence: error.source.to_string(), hints: error.hints.clone() };
    // If nobody listens, the log has it.
    let _ = report(&failed);
}

fn report(report: &Report) -> io::Result<()> {
    let line = serde_json::to_string(report).expect("invariant: strings always serialise");
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// Opens the log for appending; a long one is first put aside, replacing the one put aside before.
fn open_log(log: &Path) -> io::Result<File> {
    if let Some(folder) = log.parent() {
        private::folder(folder)?;
    }
    if std::fs::metadata(log).is_ok_and(|metadata| metadata.len() > LOG_LIMIT) {
        std::fs::rename(log, log.with_extension("log.old"))?;
    }
    private::file(log)?;
    OpenOptions::new().append(true).open(log)
}

fn without_a_word(child: &mut Child, log: &Path) -> CliError {
    let how = match child.wait() {
        Ok(status) => match (status.code(), status.signal()) {
            (_, Some(signal)) => format!("was ended by signal {signal}"),
            (Some(code), _) => format!("ended with code {code}"),
            _ => "ended".to_owned(),
        },
        Err(error) => format!("cannot be asked how it ended ({error})"),
    };
    let mut failure = CliError::new(Kind::Other, format!("the background process {how} before the mount was ready"));
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(16 << 10)..]).into_owned();
    let lines: Vec<_> = text.lines().collect();
    for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
        failure = failure.hint(format!("log: {line}"));
    }
    failure.hint(format!("the whole log: {}", log.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str) -> (Result<(), CliError>, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("state/x.log");
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        let result = start(command, &log);
        (result, std::fs::read_to_string(&log).expect("a log"))
    }

    #[test]
    fn the_prompt_comes_back_when_the_child_is_ready_not_when_it_ends() {
        let marker = tempfile::tempdir().expect("a folder");
        let fifo = marker.path().join("fifo");
        // The child stays until somebody reads the pipe file, which happens only after `start` has returned.
        let script = format!(
            "mkfifo {fifo}; echo words >&2; echo '\"Ready\"'; exec >/dev/null; echo stayed > {fifo}",
            fifo = fifo.display()
        );
        let (result, log) = run(&script);
        result.expect("ready");
        assert_eq!(log, "words\n");
        assert_eq!(std::fs::read_to_string(fifo).expect("the child still runs"), "stayed\n");
    }

    #[test]
    fn a_failure_arrives_with_its_code_and_its_advice() {
        let (result, _) =
            run(r#"echo '{"Failed":{"kind":"NotEmpty","sentence":"/m is not empty","hints":["empty it"]}}'; exit 22"#);
        let error = result.expect_err("failed");
        assert_eq!((error.kind, error.hints.len()), (Kind::NotEmpty, 1));
        assert_eq!(error.source.to_string(), "/m is not empty");
    }

    #[test]
    fn a_child_that_dies_without_a_word_is_told_with_its_last_lines() {
        let (result, _) = run("for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; kill -9 $$");
        let text = result.expect_err("dead").to_string();
        assert!(text.contains("was ended by signal 9"), "{text}");
        assert!(text.contains("log: line 7") && !text.contains("log: line 2\n"), "{text}");
        let (result, _) = run("exit 3");
        assert!(result.expect_err("dead").to_string().contains("ended with code 3"));
    }

    #[test]
    fn a_long_log_is_put_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("x.log");
        File::create(&log).and_then(|file| file.set_len(LOG_LIMIT + 1)).expect("a long log");
        assert_eq!(open_log(&log).expect("open").metadata().expect("known").len(), 0);
        assert!(folder.path().join("x.log.old").exists());
    }
}
