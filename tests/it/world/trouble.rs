//! Every way in which network and service fail that we know of, each made by the emulator.
//!
//! A failure to resolve a name has no row of its own: to the client it is a connection that was not made, as
//! `Refused` is, with the same class and advice (the HTTP door's own tests hold that).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use onedrive_mount::auth::{AuthError, TokenSource};
use onedrive_mount::base::secret::Secret;
use onedrive_mount::emulator::{
    DeltaBehaviour, Emulator, Fault, FaultBody, Host, Network, PatchAnswer, ReadLag, Rule, RuleId, When,
};
use onedrive_mount::remote::layers::observe::Operation;
use onedrive_mount::volume::VolumeError;

use super::MANY_FRAGMENTS;
use super::side::Side;

/// Which requests: method, path pattern, host.
pub type Aim = (&'static str, &'static str, Host);

/// How often trouble strikes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// The first request it fits.
    Once,
    /// The first four.
    Several,
    /// Everything, until it is lifted.
    Lasting,
}

pub const EXTENTS: [Extent; 3] = [Extent::Once, Extent::Several, Extent::Lasting];

/// Tokens of the emulator, which a test can take away.
pub struct Issued {
    issue: Box<dyn Fn() -> String + Send + Sync>,
    current: std::sync::Mutex<String>,
    revoked: AtomicBool,
}

impl Issued {
    pub fn new(emulator: &Emulator, side: Side) -> Arc<Self> {
        let issue = side.issuer(emulator);
        let current = std::sync::Mutex::new(issue());
        Arc::new(Self { issue, current, revoked: AtomicBool::new(false) })
    }

    fn current(&self) -> std::sync::MutexGuard<'_, String> {
        self.current.lock().expect("no panic with the lock")
    }
}

#[async_trait]
impl TokenSource for Issued {
    async fn token(&self) -> Result<Secret<String>, AuthError> {
        Ok(Secret::new(self.current().clone()))
    }

    async fn renew(&self, _: &Secret<String>) -> Result<Secret<String>, AuthError> {
        if self.revoked.load(Ordering::SeqCst) {
            return Err(AuthError::SignedOut { reason: "revoked by the test".into() });
        }
        *self.current() = (self.issue)();
        self.token().await
    }
}

/// How trouble is made.
#[derive(Clone)]
pub enum Means {
    Network(Network),
    /// On the requests that an operation is about.
    Fault(Fault),
    /// On these requests, whatever the operation, after sparing the first so many.
    At(Fault, &'static [Aim], u64),
    /// A new place each time, so that no two damages are alike.
    Corrupt,
    CorruptUp,
    Delta(DeltaBehaviour),
    ReadLag,
    PatchIgnored,
    TokensExpired,
    TokensRevoked,
    RedirectLoop,
}

/// One kind of trouble.
pub struct Trouble {
    pub name: &'static str,
    pub means: Means,
    /// Whether an error of a call that needs the network fits this trouble.
    pub fits: fn(&VolumeError) -> bool,
    /// Whether what is sent may wait for the user.
    pub parks: bool,
    /// Whether bytes may be wrong while it lasts: of a part that is read nobody but TLS can tell, and what the
    /// service stored wrong stays in its history.
    pub damages: bool,
}

fn html(status: u16) -> Fault {
    Fault::Answer { when: When::Before, status, body: FaultBody::Html, retry_after: None, location: None }
}

fn json(status: u16, code: &str) -> Fault {
    Fault::status(When::Before, status, code)
}

const STORAGE: &[Aim] = &[("GET", "*", Host::Storage)];
const FRAGMENTS: &[Aim] = &[("PUT", "*", Host::Storage)];
/// How many fragments of what the matrix sends in fragments come before the last.
const LAST_FRAGMENT: u64 = (LARGE as u64).div_ceil(MANY_FRAGMENTS.fragment_size) - 1;
/// The length of what goes in fragments.
pub const LARGE: usize = 5 << 20;
const BITS_FRAGMENTS: &[Aim] = &[("Fragment", "*", Host::Bits)];
const BITS_CLOSE: &[Aim] = &[("Close-Session", "*", Host::Bits)];

/// Whatever is asked for.
pub const EVERYTHING: &[Aim] =
    &[("*", "*", Host::Graph), ("*", "*", Host::Storage), ("*", "*", Host::Live), ("*", "*", Host::Bits)];

fn offline(error: &VolumeError) -> bool {
    matches!(error, VolumeError::Offline | VolumeError::TimedOut)
}

fn ill(error: &VolumeError) -> bool {
    matches!(error, VolumeError::TimedOut | VolumeError::Offline | VolumeError::Failed(_))
}

fn trouble(name: &'static str, means: Means, fits: fn(&VolumeError) -> bool) -> Trouble {
    Trouble { name, means, fits, parks: false, damages: false }
}

fn parking(name: &'static str, means: Means, fits: fn(&VolumeError) -> bool) -> Trouble {
    Trouble { parks: true, ..trouble(name, means, fits) }
}

fn html_after(status: u16) -> Fault {
    Fault::Answer { when: When::After, status, body: FaultBody::Html, retry_after: None, location: None }
}

/// What the network does, and front ends that speak no protocol in particular.
fn everywhere() -> Vec<Trouble> {
    let mut all = vec![
        trouble("connection refused", Means::Network(Network::Refusing), offline),
        trouble("packets vanish", Means::Network(Network::Vanishing), offline),
        trouble("connections reset", Means::Network(Network::Resetting), offline),
        trouble("reset before the service acted", Means::Fault(Fault::Reset { when: When::Before }), offline),
        trouble("reset half-way through the request", Means::Fault(Fault::Reset { when: When::Halfway }), offline),
        trouble("answer lost after the service acted", Means::Fault(Fault::Reset { when: When::After }), offline),
        trouble("upload cut mid-body", Means::Fault(Fault::ResetUpload { after: 1000 }), offline),
        trouble("download cut mid-body, reset", Means::Fault(Fault::CutDownload { after: 500, reset: true }), offline),
        trouble(
            "download cut mid-body, closed",
            Means::Fault(Fault::CutDownload { after: 500, reset: false }),
            offline,
        ),
        trouble("truncated body, good status", Means::Fault(Fault::Truncate { to: 300 }), ill),
        trouble("empty body, good status", Means::Fault(Fault::EmptyBody), ill),
        trouble("body too long", Means::Fault(Fault::Lengthen { by: 100 }), ill),
        trouble("service acts twice", Means::Fault(Fault::Twice), |_| false),
        trouble("504 page after the service acted", Means::Fault(html_after(504)), ill),
        trouble("401 expired token", Means::TokensExpired, |_| false),
        trouble("401 revoked", Means::TokensRevoked, |error| matches!(error, VolumeError::SignedOut)),
        trouble("what was before our own change, 404 right after create", Means::ReadLag, |_| false),
        trouble("429 without Retry-After", Means::Fault(html(429)), ill),
        trouble("509", Means::Fault(html(509)), ill),
        trouble("vanished download URL", Means::At(html(404), STORAGE, 0), ill),
        trouble("redirect loop", Means::RedirectLoop, ill),
        trouble("items twice and out of order", Means::Fault(Fault::Disorder), |_| false),
    ];
    for (name, status) in [("500 page", 500), ("502 page", 502), ("503 page", 503), ("504 page", 504)] {
        all.push(trouble(name, Means::Fault(html(status)), ill));
    }
    all
}

/// All that can befall a drive behind Graph.
pub fn all() -> Vec<Trouble> {
    use VolumeError as E;
    let mut all = everywhere();
    all.extend([
        Trouble { damages: true, ..trouble("corrupt bytes down", Means::Corrupt, ill) },
        Trouble { damages: true, ..trouble("corrupt bytes up", Means::CorruptUp, |_| false) },
        trouble("502 after the service acted", Means::Fault(Fault::status(When::After, 502, "UnknownError")), ill),
        parking("401 from the service for good", Means::Fault(json(401, "unauthenticated")), |error| {
            matches!(error, E::Denied(_))
        }),
        parking("403", Means::Fault(json(403, "accessDenied")), |error| matches!(error, E::Denied(_))),
        parking("404", Means::Fault(json(404, "itemNotFound")), |error| {
            matches!(error, E::NotFound | E::Stale | E::TimedOut)
        }),
        trouble("409", Means::Fault(json(409, "nameAlreadyExists")), |error| {
            matches!(error, E::Exists | E::Stale | E::Failed(_))
        }),
        trouble("410", Means::Fault(json(410, "resyncRequired")), ill),
        trouble("412", Means::Fault(json(412, "preconditionFailed")), |error| matches!(error, E::Stale)),
        trouble("416", Means::Fault(json(416, "invalidRange")), ill),
        trouble("423", Means::Fault(json(423, "resourceLocked")), |error| matches!(error, E::Busy)),
        trouble("429 with Retry-After", Means::Fault(Fault::throttled(4)), ill),
        parking("507", Means::Fault(json(507, "insufficientStorage")), |error| matches!(error, E::QuotaFull)),
        trouble("expired download URL", Means::At(json(401, "unauthenticated"), STORAGE, 0), |error| {
            matches!(error, E::Denied(_) | E::TimedOut)
        }),
        trouble("expired upload session", Means::At(json(404, "itemNotFound"), FRAGMENTS, 1), |_| false),
        trouble(
            "upload session 404 after the commit",
            Means::At(Fault::status(When::After, 404, "itemNotFound"), FRAGMENTS, LAST_FRAGMENT),
            |_| false,
        ),
        trouble("PATCH 204 that changed nothing", Means::PatchIgnored, |_| false),
        trouble("nextLink loop", Means::Fault(Fault::PageLoop), ill),
        trouble("empty page with a nextLink", Means::Fault(Fault::EmptyPage), ill),
        trouble(
            "delta repeats, shuffles, empty pages",
            Means::Delta(DeltaBehaviour {
                repeat_every: 1,
                shuffle: Some(7),
                empty_page_every: 2,
                ..DeltaBehaviour::default()
            }),
            |_| false,
        ),
        trouble(
            "delta lags a minute",
            Means::Delta(DeltaBehaviour { lag: Duration::from_secs(60), ..DeltaBehaviour::default() }),
            |_| false,
        ),
    ]);
    all
}

/// All that can befall a drive behind Live Connect, in its statuses and codes. Damaged content has no row: the service
/// tells no hash, so that nobody but TLS can know.
pub fn live() -> Vec<Trouble> {
    use VolumeError as E;
    let mut all = everywhere();
    all.extend([
        trouble(
            "500 after the service acted",
            Means::Fault(Fault::status(When::After, 500, "server_internal_error")),
            ill,
        ),
        parking("401 from the service for good", Means::Fault(json(401, "request_token_invalid")), |error| {
            matches!(error, E::Denied(_))
        }),
        parking("403", Means::Fault(json(403, "request_token_unauthorized")), |error| matches!(error, E::Denied(_))),
        parking("404", Means::Fault(json(404, "resource_not_found")), |error| {
            matches!(error, E::NotFound | E::Stale | E::TimedOut)
        }),
        trouble("408", Means::Fault(html(408)), ill),
        trouble("409", Means::Fault(json(409, "resource_already_exists")), |error| {
            matches!(error, E::Exists | E::Stale | E::Failed(_))
        }),
        trouble("416", Means::Fault(html(416)), ill),
        trouble("420 throttled, without a time", Means::Fault(Fault::throttled_live()), ill),
        trouble("423", Means::Fault(html(423)), |error| matches!(error, E::Busy)),
        trouble("499", Means::Fault(html(499)), ill),
        parking("507", Means::Fault(json(507, "resource_quota_exceeded")), |error| matches!(error, E::QuotaFull)),
        // The user sees an empty folder; nothing may be concluded from it.
        Trouble { damages: true, ..trouble("empty listing", Means::Fault(Fault::EmptyPage), |_| false) },
        trouble("upload session gone on the way", Means::At(html(404), BITS_FRAGMENTS, 1), |_| false),
        trouble("no word of the commit", Means::At(Fault::Reset { when: When::After }, BITS_CLOSE, 0), |_| false),
        trouble(
            "500 in place of the commit",
            Means::At(Fault::status(When::Before, 500, "server_internal_error"), BITS_CLOSE, 0),
            |_| false,
        ),
    ]);
    all
}

/// Trouble that was made.
pub struct Made {
    rules: Vec<RuleId>,
    standing: bool,
}

impl Trouble {
    /// Whether any of these calls, made while it lasted, can have met it. What strikes single requests tells itself.
    pub fn meets(&self, asked: &[Operation]) -> bool {
        asked.iter().any(|asked| match self.means {
            Means::Delta(_) => *asked == Operation::Changes,
            Means::PatchIgnored => *asked == Operation::Change,
            Means::ReadLag => matches!(asked, Operation::Stat | Operation::List | Operation::Changes),
            _ => true,
        })
    }

    /// Begins it, on the requests of an operation or, if it lasts, on all.
    pub fn begin(&self, emulator: &Emulator, tokens: &Issued, aims: &[Aim], extent: Extent) -> Made {
        let mut made = Made { rules: Vec::new(), standing: false };
        let aims = if extent == Extent::Lasting { EVERYTHING } else { aims };
        let mut add = |fault: &Fault, aims: &[Aim], skip: u64| {
            for (method, path, host) in aims {
                let rule = match extent {
                    Extent::Once => Rule::once(method, path, fault.clone()),
                    Extent::Several => Rule::once(method, path, fault.clone()).times(4),
                    Extent::Lasting => Rule::always(method, path, fault.clone()),
                };
                made.rules.push(emulator.faults().add(rule.on(*host).skip(skip)));
            }
        };
        match &self.means {
            Means::Fault(fault) => add(fault, aims, 0),
            Means::At(fault, aims, skip) => add(fault, aims, *skip),
            Means::RedirectLoop => {
                // Of whichever host sends it.
                let location = Some("/v1.0/round/and/round".into());
                let fault = Fault::Answer {
                    when: When::Before,
                    status: 302,
                    body: FaultBody::Empty,
                    retry_after: None,
                    location,
                };
                add(&fault, aims, 0);
            }
            Means::Corrupt => {
                let count = match extent {
                    Extent::Once => 1,
                    Extent::Several => 4,
                    Extent::Lasting => 400,
                };
                for number in 0..count {
                    for (method, path, host) in aims {
                        // Metadata is damaged where it cannot be taken for something else.
                        let at = if matches!(host, Host::Graph | Host::Live) { 0 } else { 10 + number * 13 % 900 };
                        let rule = Rule::once(method, path, Fault::Corrupt { at }).on(*host);
                        made.rules.push(emulator.faults().add(rule));
                    }
                }
            }
            Means::CorruptUp => {
                let count = match extent {
                    Extent::Once => 1,
                    Extent::Several => 4,
                    Extent::Lasting => 400,
                };
                for number in 0..count {
                    for host in [Host::Graph, Host::Storage] {
                        let rule = Rule::once("PUT", "*", Fault::CorruptUpload { at: 10 + number * 13 % 900 });
                        made.rules.push(emulator.faults().add(rule.on(host)));
                    }
                }
            }
            Means::Network(network) => {
                emulator.set_network(*network);
                made.standing = true;
            }
            Means::Delta(behaviour) => {
                emulator.drive().set_delta(behaviour.clone());
                made.standing = true;
            }
            Means::ReadLag => {
                let lag = Duration::from_secs(5);
                emulator.drive().set_read_lag(ReadLag::everywhere(lag));
                made.standing = true;
            }
            Means::PatchIgnored => {
                emulator.set_strict(|strict| strict.patch_answer = PatchAnswer::EmptyIgnored);
                made.standing = true;
            }
            Means::TokensExpired => {
                emulator.oauth().expire_access_tokens();
                made.standing = true;
            }
            Means::TokensRevoked => {
                tokens.revoked.store(true, Ordering::SeqCst);
                emulator.oauth().expire_access_tokens();
                made.standing = true;
            }
        }
        made
    }
}

impl Made {
    /// Whether it has met anything.
    pub fn struck(&self, emulator: &Emulator) -> bool {
        self.standing || self.rules.iter().any(|rule| emulator.faults().struck(*rule) > 0)
    }

    /// Ends it; says whether it met anything.
    pub fn end(self, emulator: &Emulator, tokens: &Issued) -> bool {
        let struck = self.struck(emulator);
        emulator.faults().clear();
        emulator.set_network(Network::Up);
        emulator.drive().set_delta(DeltaBehaviour::default());
        emulator.drive().set_read_lag(ReadLag::default());
        emulator.set_strict(|strict| strict.patch_answer = PatchAnswer::Item);
        tokens.revoked.store(false, Ordering::SeqCst);
        struck
    }
}
