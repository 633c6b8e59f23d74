//! Scripted misfortune: rules that say which requests go wrong, and how.
//!
//! A rule matches by host, method and path; it can spare the first matches, stop after some, or strike
//! by chance from a seed. What it does is tied to one of three moments, because they need different
//! recoveries: before the server acted, half-way through the request, or after the server acted and
//! before its answer arrived. The first rule that matches and strikes decides; rules are asked in the
//! order in which they were added.
//!
//! Told to wait, a client has to wait: requests that come before a `Retry-After` is over are counted,
//! see [`Faults::early_calls`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::ident::mix;
use crate::base::clock::Mono;

/// Which of the emulator's services a request came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Host {
    /// `/v1.0/...`
    Graph,
    /// Sign-in and tokens.
    Login,
    /// Pre-authenticated URLs: downloads, uploads, monitors.
    Storage,
    /// `/v5.0/...`; the method of a request is the one that it means, also where that travels in its query.
    Live,
    /// Uploads by BITS; the method of a request is the name of its packet: `Create-Session`, `Fragment`,
    /// `Close-Session`, `Cancel-Session`, `Ping`.
    Bits,
}

/// When misfortune strikes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum When {
    /// The request had no effect.
    Before,
    /// While the request was being sent; it had no effect. A reset comes after half of its body; an
    /// answer after all of it, since a client that is still sending need not hear it.
    Halfway,
    /// The request took effect; the client does not learn it.
    After,
}

/// The body of a scripted error.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FaultBody {
    /// Graph's error object.
    Json {
        /// `error.code`.
        code: String,
        /// `error.innerError.code`.
        inner: Option<String>,
        /// `error.message`.
        message: String,
    },
    /// A front end's HTML page.
    Html,
    /// Nothing.
    Empty,
    /// This text as `text/plain`.
    Text(String),
}

impl FaultBody {
    /// Graph's error object with a code and no inner code.
    pub fn code(code: &str) -> Self {
        Self::Json { code: code.into(), inner: None, message: "A scripted fault.".into() }
    }
}

/// What goes wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// This answer instead of the real one.
    Answer {
        /// Whether the request takes effect.
        when: When,
        /// HTTP status; any, also 200.
        status: u16,
        /// What the answer carries.
        body: FaultBody,
        /// `Retry-After` as sent.
        retry_after: Option<String>,
        /// `Location` as sent.
        location: Option<String>,
    },
    /// The connection is reset without an answer.
    Reset {
        /// Whether the request takes effect.
        when: When,
    },
    /// The connection is reset after this many bytes of the request's body; no effect.
    ResetUpload {
        /// Bytes read before the reset.
        after: u64,
    },
    /// The answer's body ends after this many bytes, although `Content-Length` is right.
    CutDownload {
        /// Bytes sent.
        after: u64,
        /// Whether the connection is reset instead of closed.
        reset: bool,
    },
    /// Nothing happens for a while, then everything goes on as usual.
    Stall {
        /// `Before` and `Halfway`: before the server acts. `After`: between the act and the headers.
        when: When,
        /// For how long, by the emulator's clock.
        duration: Duration,
    },
    /// The answer's body pauses after this many bytes.
    StallDownload {
        /// Bytes sent before the pause.
        after: u64,
        /// For how long, by the emulator's clock.
        duration: Duration,
    },
    /// The answer's body comes no faster than this.
    Slow {
        /// Bytes in a second of the emulator's clock.
        bytes_per_second: u64,
    },
    /// `Range` is ignored: the whole file with 200.
    IgnoreRange,
    /// One byte of the answer's body is wrong.
    Corrupt {
        /// Its offset in the body.
        at: u64,
    },
    /// The real status and headers with an empty body.
    EmptyBody,
    /// The answer's body is only its beginning, and `Content-Length` agrees: a proxy's half answer.
    Truncate {
        /// Bytes sent.
        to: u64,
    },
    /// The answer's body goes on after its end, and `Content-Length` agrees.
    Lengthen {
        /// Bytes too many.
        by: u64,
    },
    /// One byte of the request's body is wrong when it arrives, and the server acts on it.
    CorruptUpload {
        /// Its offset in the body; the last byte if that is nearer.
        at: u64,
    },
    /// A page of items comes empty, with a link to itself; over Live Connect, where there are no links, only empty.
    EmptyPage,
    /// A page of items names itself as the next one.
    PageLoop,
    /// The items of a page come in reverse order, and then once more in the right one.
    Disorder,
    /// The server acts twice, as when a proxy repeats a request; the second answer is sent.
    Twice,
}

impl Fault {
    /// An error answer with Graph's error object.
    pub fn status(when: When, status: u16, code: &str) -> Self {
        Self::Answer { when, status, body: FaultBody::code(code), retry_after: None, location: None }
    }

    /// 429 with `Retry-After` in seconds, before the server acts.
    pub fn throttled(seconds: u64) -> Self {
        Self::Answer {
            when: When::Before,
            status: 429,
            body: FaultBody::Json {
                code: "activityLimitReached".into(),
                inner: Some("throttledRequest".into()),
                message: "The request has been throttled".into(),
            },
            retry_after: Some(seconds.to_string()),
            location: None,
        }
    }

    /// Live Connect's throttling: 420 without a time to wait, before the server acts.
    pub fn throttled_live() -> Self {
        Self::Answer {
            when: When::Before,
            status: 420,
            body: FaultBody::Json {
                code: "request_throttled".into(),
                inner: None,
                message: "The request was throttled.".into(),
            },
            retry_after: None,
            location: None,
        }
    }
}

/// Which requests, how often, and what then.
#[derive(Clone, Debug)]
pub struct Rule {
    method: Option<String>,
    host: Option<Host>,
    path: String,
    skip: u64,
    times: Option<u64>,
    chance: Option<(f64, u64)>,
    fault: Fault,
}

impl Rule {
    /// A rule that strikes once. `method` may be `*`. `path` is compared with the request's path and
    /// query as sent; `*` in it stands for any run of characters.
    pub fn once(method: &str, path: &str, fault: Fault) -> Self {
        Self {
            method: (method != "*").then(|| method.to_owned()),
            host: None,
            path: path.to_owned(),
            skip: 0,
            times: Some(1),
            chance: None,
            fault,
        }
    }

    /// A rule that strikes every time.
    pub fn always(method: &str, path: &str, fault: Fault) -> Self {
        Self { times: None, ..Self::once(method, path, fault) }
    }

    /// Only on this host.
    #[must_use]
    pub fn on(mut self, host: Host) -> Self {
        self.host = Some(host);
        self
    }

    /// Spares the first `count` matches.
    #[must_use]
    pub fn skip(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Strikes this many times, then never again.
    #[must_use]
    pub fn times(mut self, count: u64) -> Self {
        self.times = Some(count);
        self
    }

    /// Strikes with this probability (0 to 1); which matches are struck follows from the seed.
    #[must_use]
    pub fn chance(mut self, probability: f64, seed: u64) -> Self {
        self.chance = Some((probability, seed));
        self
    }
}

/// Names a rule that was added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RuleId(usize);

struct Active {
    rule: Rule,
    seen: u64,
    struck: u64,
    removed: bool,
}

#[derive(Default)]
struct State {
    rules: Vec<Active>,
    /// Since when, and until when, clients are told to wait.
    wait: Option<(Mono, Mono)>,
    /// All Graph requests are refused until then.
    throttled_until: Option<Mono>,
    early: u64,
}

/// The rules in force; cheap to clone, all clones are the same set.
#[derive(Clone, Default)]
pub struct Faults {
    state: Arc<Mutex<State>>,
}

/// A request that was sent before the client could know that it has to wait is not held against it.
const GRACE: Duration = Duration::from_millis(500);

impl Faults {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a rule.
    pub fn add(&self, rule: Rule) -> RuleId {
        let mut state = self.lock();
        state.rules.push(Active { rule, seen: 0, struck: 0, removed: false });
        RuleId(state.rules.len() - 1)
    }

    /// Takes a rule back; its counts stay readable.
    pub fn remove(&self, id: RuleId) {
        if let Some(active) = self.lock().rules.get_mut(id.0) {
            active.removed = true;
        }
    }

    /// Takes all rules back and ends all throttling. Counts stay readable.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.rules.iter_mut().for_each(|active| active.removed = true);
        state.wait = None;
        state.throttled_until = None;
    }

    /// How often a rule has struck.
    pub fn struck(&self, id: RuleId) -> u64 {
        self.lock().rules.get(id.0).map_or(0, |active| active.struck)
    }

    /// Requests that came while the client had been told to wait, half a second of grace aside.
    pub fn early_calls(&self) -> u64 {
        self.lock().early
    }

    /// Refuses every Graph request with 429 until `until`.
    pub(crate) fn throttle_until(&self, until: Mono) {
        self.lock().throttled_until = Some(until);
    }

    /// What happens to this request, if anything.
    pub(crate) fn strike(&self, host: Host, method: &str, target: &str, now: Mono) -> Option<Fault> {
        let mut state = self.lock();
        if matches!(host, Host::Live | Host::Bits) && state.throttled_until.is_some_and(|until| now < until) {
            return Some(Fault::throttled_live());
        }
        if host == Host::Graph {
            if let Some((since, until)) = state.wait
                && now > since.plus(GRACE)
                && now < until
            {
                state.early += 1;
            }
            if let Some(until) = state.throttled_until.filter(|&until| now < until) {
                if state.wait.is_none_or(|(_, told)| told < until) {
                    state.wait = Some((now, until));
                }
                return Some(Fault::throttled(until.since(now).as_secs().max(1)));
            }
        }
        let fault = state.rules.iter_mut().find_map(|active| active.strike(host, method, target))?;
        if let Fault::Answer { status: 429 | 503, retry_after: Some(seconds), .. } = &fault
            && host == Host::Graph
            && let Ok(seconds) = seconds.parse()
        {
            state.wait = Some((now, now.plus(Duration::from_secs(seconds))));
        }
        Some(fault)
    }
}

impl Active {
    fn strike(&mut self, host: Host, method: &str, target: &str) -> Option<Fault> {
        let rule = &self.rule;
        let matches = !self.removed
            && rule.host.is_none_or(|only| only == host)
            && rule.method.as_deref().is_none_or(|only| only.eq_ignore_ascii_case(method))
            && glob(&rule.path, target);
        if !matches || rule.times.is_some_and(|times| self.struck >= times) {
            return None;
        }
        self.seen += 1;
        if self.seen <= rule.skip {
            return None;
        }
        if let Some((probability, seed)) = rule.chance {
            let drawn = (mix(seed ^ mix(self.seen)) >> 11) as f64 / (1u64 << 53) as f64;
            if drawn >= probability {
                return None;
            }
        }
        self.struck += 1;
        Some(rule.fault.clone())
    }
}

/// Whether a text matches a pattern in which `*` stands for any run of characters.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono(seconds * 1_000_000_000)
    }

    #[test]
    fn patterns_match_as_file_globs_do() {
        assert!(glob("*/content", "/v1.0/drives/d/items/1/content"));
        assert!(glob("*", ""));
        assert!(glob("/a*b*c", "/a-b-b-c"));
        assert!(!glob("/a*b", "/a-b-c"));
        assert!(!glob("/exact", "/exactly"));
    }

    #[test]
    fn a_rule_spares_strikes_and_stops() {
        let faults = Faults::default();
        let rule = faults.add(Rule::once("PUT", "*x*", Fault::EmptyBody).skip(1).times(2).on(Host::Graph));
        let strikes: Vec<bool> = (0..5).map(|_| faults.strike(Host::Graph, "put", "/x", at(0)).is_some()).collect();
        assert_eq!(strikes, [false, true, true, false, false]);
        assert_eq!(faults.struck(rule), 2);
        assert!(faults.strike(Host::Storage, "PUT", "/x", at(0)).is_none());
    }

    #[test]
    fn calls_during_a_wait_are_counted_after_the_grace() {
        let faults = Faults::default();
        faults.add(Rule::once("*", "*", Fault::throttled(10)));
        assert!(faults.strike(Host::Graph, "GET", "/", at(100)).is_some());
        assert!(faults.strike(Host::Graph, "GET", "/", at(100)).is_none());
        assert_eq!(faults.early_calls(), 0);
        faults.strike(Host::Graph, "GET", "/", at(105));
        assert_eq!(faults.early_calls(), 1);
        faults.strike(Host::Graph, "GET", "/", at(110));
        assert_eq!(faults.early_calls(), 1);
    }

    #[test]
    fn chance_follows_from_its_seed() {
        let run = |seed| {
            let faults = Faults::default();
            faults.add(Rule::always("*", "*", Fault::EmptyBody).chance(0.5, seed));
            (0..64).map(|_| faults.strike(Host::Login, "GET", "/", at(0)).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert!(run(3).contains(&true) && run(3).contains(&false));
    }
}
