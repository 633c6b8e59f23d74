//! The person at the terminal, as the sign-in talks to them.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use async_trait::async_trait;
use clap::Args;
use url::Url;

use super::context::Context;
use super::error::CliError;
use super::print::tamed;
use crate::auth::flow::{Dialogue, Method};
use crate::drive::Account;

/// The arguments that choose how to sign in.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Choice {
    /// Sign in with a browser elsewhere: print the address, and take the one that the browser ends up at
    #[arg(long, conflicts_with = "device_code")]
    pub no_browser: bool,

    /// Sign in by typing a short code on another device
    #[arg(long)]
    pub device_code: bool,
}

impl Choice {
    /// The way to sign in, or `None` if nobody is there to do it.
    ///
    /// | asked for | terminal | screen | way |
    /// | --- | --- | --- | --- |
    /// | `--device-code` | any | any | device code |
    /// | `--no-browser` | any | any | paste |
    /// | nothing | no | any | none |
    /// | nothing | yes | yes | browser |
    /// | nothing | yes | no | paste |
    pub fn method(self, has_terminal: bool, has_screen: bool) -> Option<Method> {
        match self {
            Choice { device_code: true, .. } => Some(Method::DeviceCode),
            Choice { no_browser: true, .. } => Some(Method::Paste),
            _ if !has_terminal => None,
            _ if has_screen => Some(Method::Browser),
            _ => Some(Method::Paste),
        }
    }

    /// [`Choice::method`] for the terminal and the screen of this process.
    pub fn method_here(self) -> Option<Method> {
        // A text browser in this terminal would fight with us for it, so a screen is what counts.
        let has_screen = ["DISPLAY", "WAYLAND_DISPLAY", "BROWSER"]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()));
        self.method(io::stdin().is_terminal(), has_screen)
    }
}

/// Talks on standard output and listens on standard input.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal {
    /// Talks on standard error instead, because standard output is for a program.
    pub aside: bool,
}

#[async_trait]
impl Dialogue for Terminal {
    fn say(&mut self, text: &str) {
        if self.aside {
            eprintln!("{text}");
        } else {
            println!("{text}");
        }
    }

    async fn ask(&mut self) -> io::Result<Option<String>> {
        let read = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line).map(|length| (length > 0).then_some(line))
        });
        read.await.map_err(io::Error::other)?
    }

    fn open_browser(&mut self, url: &Url) -> Result<(), String> {
        webbrowser::open_browser_with_options(
            webbrowser::Browser::Default,
            url.as_str(),
            webbrowser::BrowserOptions::new().with_suppress_output(true),
        )
        .map_err(|error| error.to_string())
    }
}

/// How long a person waits to hear whose account it is.
const WHO: Duration = Duration::from_secs(15);

/// Signs the person in. Durable on return. Returns whose drive it is: a browser may be signed in to an account that is
/// not thought of, and what is saved from now on goes there.
///
/// # Errors
/// The sign-in failed; an earlier one still stands.
pub async fn sign_in(context: &Context, method: Method, mut terminal: Terminal) -> Result<Option<String>, CliError> {
    let account = context.account()?;
    account.sign_in(method, &mut terminal).await?;
    Ok(owner(account).await)
}

/// Finishes a sign-in with the address that the browser ended up at.
///
/// # Errors
/// As for [`sign_in`].
pub async fn finish_sign_in(context: &Context, address: &str) -> Result<Option<String>, CliError> {
    let account = context.account()?;
    account.finish_sign_in(address).await?;
    Ok(owner(account).await)
}

/// Whose drive the sign-in is for, if the service says so soon.
async fn owner(account: Account) -> Option<String> {
    let found = tokio::time::timeout(WHO, account.drive.identity()).await.ok();
    let owner = found.and_then(Result::ok).map(|drive| drive.owner.clone()).filter(|owner| !owner.is_empty());
    account.close().await;
    owner
}

/// Whose account it is, as a person is told of it.
pub fn whose(owner: Option<&str>) -> String {
    match owner {
        Some(owner) => {
            format!("It is the OneDrive of {}. If that is not the one you mean: onedrive-cli auth", tamed(owner))
        }
        None => "Whose OneDrive it is could not be asked now; to see it: onedrive-cli user".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_sign_in_follows_the_table() {
        let choice = |no_browser, device_code| Choice { no_browser, device_code };
        for screen in [false, true] {
            for terminal in [false, true] {
                assert_eq!(choice(false, true).method(terminal, screen), Some(Method::DeviceCode));
                assert_eq!(choice(true, false).method(terminal, screen), Some(Method::Paste));
            }
            assert_eq!(choice(false, false).method(false, screen), None);
        }
        assert_eq!(choice(false, false).method(true, true), Some(Method::Browser));
        assert_eq!(choice(false, false).method(true, false), Some(Method::Paste));
    }
}
