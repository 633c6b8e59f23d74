//! `onedrive-cli doctor`: looks at everything that a mount and the other commands need, and says what to do.

use std::path::Path;

use serde_json::{Value, json};

use crate::auth::TokenSource as _;
use crate::base::clock::{Clock as _, SystemClock};
use crate::cli::context::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::options::Global;
use crate::cli::print::{Output, tamed};
use crate::cli::words::span;
use crate::cli::{block_on, daemons, mountpoint};
use crate::config::size::display_size;
use crate::remote::http::greeting::time_of;

/// From here on a wrong clock breaks things: sign-ins are valid for five minutes less than they say.
const CLOCK_IS_WRONG: u64 = 300;

/// What was found out about one thing.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Finding {
    what: &'static str,
    state: State,
    sentence: String,
    advice: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Good,
    /// Some things will not work, others will.
    Odd,
    Bad(Kind),
}

impl Finding {
    fn good(what: &'static str, sentence: impl Into<String>) -> Self {
        Self { what, state: State::Good, sentence: sentence.into(), advice: None }
    }

    fn odd(what: &'static str, sentence: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what, state: State::Odd, sentence: sentence.into(), advice: Some(advice.into()) }
    }

    fn bad(what: &'static str, error: &CliError) -> Self {
        let advice = (!error.hints.is_empty()).then(|| error.hints.join("; "));
        Self { what, state: State::Bad(error.kind), sentence: error.source.to_string(), advice }
    }

    fn word(&self) -> &'static str {
        match self.state {
            State::Good => "good",
            State::Odd => "odd",
            State::Bad(_) => "bad",
        }
    }
}

/// Looks, and prints a line for each thing.
///
/// # Errors
/// The first that is bad, with its exit code, after all were looked at. Odd things are no error.
pub fn run(global: &Global) -> Result<(), CliError> {
    let out = Output::new(global)?;
    let context = Context::open(&global.selection());
    let mut findings = Vec::new();
    match &context {
        Ok(context) if context.places.settings.exists() => {
            let mut sentence = context.places.settings.display().to_string();
            if let Some(lcrc) = &context.config.lcrc {
                sentence.push_str(", a file of python-onedrive");
                for key in lcrc.left_alone() {
                    sentence.push_str(&format!("; without effect: {}", key.sentence));
                }
            }
            findings.push(Finding::good("settings", sentence));
        }
        Ok(context) => {
            let sentence = format!("{} does not exist, so all is as usual", context.places.settings.display());
            findings.push(Finding::good("settings", sentence));
        }
        Err(error) => findings.push(Finding::bad("settings", error)),
    }
    findings.push(match mountpoint::fuse_works() {
        Ok(()) => Finding::good("FUSE", "drives can be mounted"),
        Err(error) => Finding::bad("FUSE", &error),
    });
    if let Ok(context) = &context {
        for (what, folder) in [("state", &context.places.state), ("cache", &context.places.cache)] {
            findings.push(disk(what, folder, context));
        }
        findings.extend(block_on(async { Ok(cloud(context).await) })?);
    }
    findings.push(mounts());
    if out.json() {
        let values: Vec<Value> = findings
            .iter()
            .map(|f| json!({"what": f.what, "state": f.word(), "sentence": f.sentence, "advice": f.advice}))
            .collect();
        out.data(Value::Array(values))?;
    } else {
        for finding in &findings {
            out.line(&format!("{:<4}  {:<9} {}", finding.word(), finding.what, tamed(&finding.sentence)))?;
            if let Some(advice) = &finding.advice {
                out.line(&format!("{:<15} what to do: {}", "", tamed(advice)))?;
            }
        }
    }
    let mut bad = findings.iter().filter_map(|finding| match finding.state {
        State::Bad(kind) => Some((kind, finding.what)),
        _ => None,
    });
    match bad.next() {
        None => Ok(()),
        Some((kind, what)) => {
            let more = bad.count();
            let others = if more > 0 { format!(", and {more} more") } else { String::new() };
            Err(CliError::new(kind, format!("something is wrong: {what}{others}")))
        }
    }
}

/// Room on the disk of a folder, and whether it can be written.
fn disk(what: &'static str, folder: &Path, context: &Context) -> Finding {
    let Some(existing) = folder.ancestors().find(|folder| folder.exists()) else {
        return Finding::odd(
            what,
            format!("{} cannot be looked at", folder.display()),
            "see whether its disk is there",
        );
    };
    let at = folder.display();
    if rustix::fs::access(existing, rustix::fs::Access::WRITE_OK).is_err() {
        let error = CliError::new(Kind::Disk, format!("{} cannot be written", existing.display()))
            .hint("see whose it is, and whether its disk is read-only");
        return Finding::bad(what, &error);
    }
    let Ok(space) = rustix::fs::statvfs(existing) else {
        return Finding::odd(what, format!("{at}: the disk does not say how much room it has"), "look with: df");
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let wanted = context.config.cache.min_free.of(space.f_blocks.saturating_mul(space.f_frsize));
    let sentence = format!("{at}: {} free", display_size(free));
    if free >= wanted {
        return Finding::good(what, sentence);
    }
    // Uploads wait in the state folder and may use the space that the cache leaves, but not the last quarter.
    if free < wanted / 4 {
        let error = CliError::new(Kind::Disk, format!("{sentence}; nothing can be written to a mount"))
            .hint(format!("free some space, or lower cache.min_free, which is {}", display_size(wanted)));
        return Finding::bad(what, &error);
    }
    Finding::odd(
        what,
        format!("{sentence}; nothing that is downloaded can be kept"),
        format!("free some space, or lower cache.min_free, which is {}", display_size(wanted)),
    )
}

/// Network, clock, sign-in, service: each needs those before it.
async fn cloud(context: &Context) -> Vec<Finding> {
    let clock = SystemClock::new();
    let mut findings = Vec::new();
    let mut reached = true;
    for (what, origin) in [("service", context.config.service_url()), ("sign-in", context.config.login_url())] {
        match time_of(&origin, &clock).await {
            Ok(theirs) => {
                findings.push(Finding::good("network", format!("{origin} answers")));
                if let (Some(theirs), "service") = (theirs, what) {
                    findings.push(clock_against(theirs.seconds(), clock.now().seconds()));
                }
            }
            Err(error) => {
                reached = false;
                let error =
                    CliError::from(error).hint("see whether this machine is online; behind a proxy, set HTTPS_PROXY");
                findings.push(Finding::bad("network", &error));
            }
        }
    }
    match context.vault().load() {
        Ok(None) => {
            let error = CliError::new(Kind::SignInNeeded, "nobody is signed in").hint("onedrive-cli auth");
            findings.push(Finding::bad("sign-in", &error));
            return findings;
        }
        Err(error) => {
            findings.push(Finding::bad("sign-in", &CliError::from(crate::auth::AuthError::from(error))));
            return findings;
        }
        Ok(Some(_)) if !reached => {
            findings.push(Finding::odd(
                "sign-in",
                "cannot be tried without the network",
                "look again when it is there",
            ));
            return findings;
        }
        Ok(Some(_)) => {}
    }
    findings.push(match token(context).await {
        Ok(()) => {
            let vault = context.vault();
            let place = vault.path().map_or("kept nowhere".to_owned(), |path| path.display().to_string());
            Finding::good("sign-in", format!("valid; {place}"))
        }
        Err(error) => Finding::bad("sign-in", &error),
    });
    findings
}

async fn token(context: &Context) -> Result<(), CliError> {
    let tokens = context.tokens(std::sync::Arc::new(SystemClock::new()))?;
    tokens.token().await?;
    Ok(())
}

fn clock_against(theirs: i64, ours: i64) -> Finding {
    let off = ours - theirs;
    match off.unsigned_abs() {
        0..=30 => Finding::good("clock", "right"),
        wrong => {
            let side = if off > 0 { "ahead of" } else { "behind" };
            let sentence = format!("{} {side} the service's", span(off.abs()));
            let advice = "set it: sudo timedatectl set-ntp true";
            if wrong < CLOCK_IS_WRONG {
                Finding::odd("clock", sentence, advice)
            } else {
                Finding::bad("clock", &CliError::new(Kind::Other, sentence).hint(advice))
            }
        }
    }
}

fn mounts() -> Finding {
    match daemons::all() {
        Ok(found) if !found.silent.is_empty() => {
            let all: Vec<&str> = found.silent.iter().map(|silent| silent.profile.as_str()).collect();
            let sentence = format!("no answer from the daemon of the profile {}", all.join(", "));
            Finding::odd("mounts", sentence, "what that means, and what to do: onedrive-cli status")
        }
        Ok(found) if found.running.is_empty() => Finding::good("mounts", "none"),
        Ok(found) => {
            let all: Vec<String> = found
                .running
                .iter()
                .map(|daemon| format!("{} ({})", daemon.status.mountpoint.display(), daemon.status.state))
                .collect();
            Finding::good("mounts", all.join(", "))
        }
        Err(error) => Finding::bad("mounts", &error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_right_odd_or_wrong() {
        assert_eq!(clock_against(1000, 1030).state, State::Good);
        let odd = clock_against(1000, 1031);
        assert!(odd.state == State::Odd && odd.sentence == "31 s ahead of the service's", "{odd:?}");
        let bad = clock_against(10_000, 1000);
        assert!(matches!(bad.state, State::Bad(_)) && bad.sentence.contains("behind"), "{bad:?}");
    }
}
