//! Sign-in of the Live era: `login.live.com/oauth20_*.srf`.
//!
//! What is always true: a code works once and within ten minutes, for the client and redirect it was made for; a
//! refresh token is issued only with `wl.offline_access`; a new refresh token supersedes the old one, which goes on
//! working until the new one is used; tokens are long and contain characters that have to be encoded in a query, and
//! all begin with `demo-`.
//!
//! A client that nobody registered is taken for a desktop application without a secret, provided that its id has the
//! shape of one: 16 hexadecimal digits. Follows the vendor's page "Signing users in with REST" and what client
//! projects report; `fidelity.md` says which is which.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::wire::{Answer, Call, Payload, encode, pairs};
use super::world::{World, lock};
use crate::base::clock::Timestamp;

const CODE_LIFE: Duration = Duration::from_secs(600);
const REFRESH_LIFE: Duration = Duration::from_secs(365 * 86_400);
/// The redirect of desktop applications: an empty page whose address is copied by hand.
const DESKTOP: &str = "https://login.live.com/oauth20_desktop.srf";
/// The page of that redirect, and the emulator's own.
const DESKTOP_PATH: &str = "/oauth20_desktop.srf";

/// An application as its owner registered it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveClient {
    /// Its secret; `None` for one that has none and sends none.
    pub secret: Option<String>,
    /// Whether it is flagged "mobile or desktop client app": it may use the desktop redirect, and refresh without its
    /// secret.
    pub mobile: bool,
    /// Redirects beside the desktop one, compared as they are.
    pub redirects: Vec<String>,
}

/// What a token lets its bearer do.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) scopes: HashSet<String>,
    /// Whose drive it opens.
    pub(crate) drive: usize,
    expiry: Timestamp,
}

impl Access {
    /// That of a request without a token.
    pub(crate) fn nobody() -> Self {
        Self { scopes: HashSet::new(), drive: 0, expiry: Timestamp(i64::MAX) }
    }

    pub(crate) fn may(&self, scope: &str) -> bool {
        self.scopes.contains(scope)
    }
}

/// Why a token is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TokenTrouble {
    /// Nobody issued it.
    Unknown,
    /// Its time is over.
    Expired,
}

struct Refresh {
    client: String,
    redirect: String,
    scope: String,
    drive: usize,
    expiry: Timestamp,
    revoked: bool,
    /// The token that this one superseded.
    before: Option<String>,
}

struct Code {
    client: String,
    redirect: String,
    scope: String,
    drive: usize,
    expiry: Timestamp,
}

/// Tokens as a client gets them.
pub(crate) struct Granted {
    pub(crate) access: String,
    pub(crate) refresh: Option<String>,
    pub(crate) expires_in: u64,
    scope: String,
    drive: usize,
}

/// The state of the sign-in service.
pub(crate) struct LiveOAuth {
    pub(crate) access_life: Duration,
    pub(crate) auto_approve: bool,
    /// Registered applications; empty: every desktop application is known.
    pub(crate) clients: HashMap<String, LiveClient>,
    /// Whose drive those who sign in now have.
    pub(crate) user: usize,
    /// What is granted whatever was asked for.
    pub(crate) granted: Option<String>,
    /// Whether a refresh gives a new refresh token.
    pub(crate) rotates: bool,
    access: HashMap<String, Access>,
    refresh: HashMap<String, Refresh>,
    codes: HashMap<String, Code>,
    issued: u64,
    secrets: Vec<String>,
    key: [u8; 32],
}

type TokenError = (&'static str, String);

fn invalid(field: &str) -> TokenError {
    ("invalid_grant", format!("The provided value for the '{field}' parameter is not valid."))
}

impl LiveOAuth {
    pub(crate) fn new(key: [u8; 32], access_life: Duration, auto_approve: bool) -> Self {
        Self {
            access_life,
            auto_approve,
            clients: HashMap::new(),
            user: 0,
            granted: None,
            rotates: true,
            access: HashMap::new(),
            refresh: HashMap::new(),
            codes: HashMap::new(),
            issued: 0,
            secrets: Vec::new(),
            key,
        }
    }

    fn secret(&mut self, kind: &str, lead: &str, length: usize) -> String {
        self.issued += 1;
        let mut text = format!("demo-{kind}-{lead}");
        let mut block = 0u32;
        while text.len() < length {
            let seed = format!("live{kind}{}.{block}", self.issued);
            text.push_str(&STANDARD.encode(Sha256::new().chain_update(self.key).chain_update(seed).finalize()));
            block += 1;
        }
        if self.secrets.len() < super::world::MOST_SECRETS {
            self.secrets.push(text.clone());
        }
        text
    }

    /// What was handed out so far.
    pub(crate) fn secrets(&self) -> Vec<String> {
        self.secrets.clone()
    }

    fn issue(&mut self, grant: Refresh, now: Timestamp) -> Granted {
        // More than 700 characters, with a plus, a slash and padding in them.
        let access = self.secret("at", "EwB4+/", 760);
        let scope = self.granted.clone().unwrap_or_else(|| grant.scope.clone());
        let scopes: HashSet<String> = scope.split_whitespace().map(str::to_owned).collect();
        let offline = scopes.contains("wl.offline_access");
        let drive = grant.drive;
        self.access.insert(access.clone(), Access { scopes, drive, expiry: now.plus(self.access_life) });
        let refresh = offline.then(|| {
            if let Some(old) = grant.before.clone().filter(|_| !self.rotates) {
                return old;
            }
            let token = self.secret("rt", "MCQ5n!*", 100);
            self.refresh.insert(token.clone(), grant);
            token
        });
        Granted { access, refresh, expires_in: self.access_life.as_secs(), scope, drive }
    }

    /// Tokens without a browser.
    pub(crate) fn issue_for(&mut self, client: &str, scope: &str, now: Timestamp) -> Granted {
        let grant = Refresh {
            client: client.to_owned(),
            redirect: DESKTOP.to_owned(),
            scope: scope.to_owned(),
            drive: self.user,
            expiry: now.plus(REFRESH_LIFE),
            revoked: false,
            before: None,
        };
        self.issue(grant, now)
    }

    /// A code without a browser, for the desktop redirect.
    pub(crate) fn consent(&mut self, client: &str, scope: &str, redirect: &str, now: Timestamp) -> String {
        let code = self.secret("code", "M", 40).replace(['+', '/', '='], "-");
        self.secrets.push(code.clone());
        let entry = Code {
            client: client.to_owned(),
            redirect: redirect.to_owned(),
            scope: scope.to_owned(),
            drive: self.user,
            expiry: now.plus(CODE_LIFE),
        };
        self.codes.insert(code.clone(), entry);
        code
    }

    /// What a token is good for.
    pub(crate) fn check(&self, token: &str, now: Timestamp) -> Result<Access, TokenTrouble> {
        match self.access.get(token) {
            None => Err(TokenTrouble::Unknown),
            Some(access) if access.expiry <= now => Err(TokenTrouble::Expired),
            Some(access) => Ok(access.clone()),
        }
    }

    pub(crate) fn expire_access_tokens(&mut self) {
        self.access.values_mut().for_each(|access| access.expiry = Timestamp(i64::MIN));
    }

    pub(crate) fn revoke_refresh(&mut self) {
        self.refresh.values_mut().for_each(|refresh| refresh.revoked = true);
    }

    fn client(&self, id: &str) -> Option<LiveClient> {
        if !self.clients.is_empty() {
            return self.clients.get(id).cloned();
        }
        let shaped = id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit());
        shaped.then(|| LiveClient { secret: None, mobile: true, redirects: Vec::new() })
    }

    fn grant(&mut self, form: &HashMap<String, String>, here: &str, now: Timestamp) -> Result<Granted, TokenError> {
        let get = |key: &str| form.get(key).map(String::as_str).unwrap_or_default();
        let missing = |key: &str| {
            let text = format!("The request body must contain the following parameter: '{key}'.");
            ("invalid_request", text)
        };
        let unknown = || ("unauthorized_client", format!("The client does not exist: '{}'.", get("client_id")));
        let client = self.client(get("client_id")).ok_or_else(unknown)?;
        let desktop = is_desktop(get("redirect_uri"), here);
        let refreshing = get("grant_type") == "refresh_token";
        match (&client.secret, form.get("client_secret")) {
            (None, _) => {}
            (Some(own), Some(given)) if own == given => {}
            (Some(_), None) if client.mobile && desktop && refreshing => {}
            (Some(_), None) => return Err(missing("client_secret")),
            (Some(_), Some(_)) => {
                return Err(("invalid_client", "The provided value for the 'client_secret' is not valid.".into()));
            }
        }
        if get("redirect_uri").is_empty() {
            return Err(missing("redirect_uri"));
        }
        match get("grant_type") {
            "authorization_code" => {
                // Taken out at once: also a failed attempt uses the code up.
                let code = self.codes.remove(get("code")).ok_or_else(|| invalid("code"))?;
                if code.expiry <= now || code.client != get("client_id") {
                    return Err(invalid("code"));
                }
                if code.redirect != get("redirect_uri") {
                    return Err(invalid("redirect_uri"));
                }
                let grant = Refresh {
                    client: code.client,
                    redirect: code.redirect,
                    scope: code.scope,
                    drive: code.drive,
                    expiry: now.plus(REFRESH_LIFE),
                    revoked: false,
                    before: None,
                };
                Ok(self.issue(grant, now))
            }
            "refresh_token" => {
                let token = get("refresh_token").to_owned();
                let refresh = self.refresh.get_mut(&token).ok_or_else(|| invalid("refresh_token"))?;
                if refresh.revoked || refresh.expiry <= now || refresh.client != get("client_id") {
                    return Err(invalid("refresh_token"));
                }
                if refresh.redirect != get("redirect_uri") && !(desktop && is_desktop(&refresh.redirect, here)) {
                    return Err(invalid("redirect_uri"));
                }
                let grant = Refresh {
                    client: refresh.client.clone(),
                    redirect: refresh.redirect.clone(),
                    scope: refresh.scope.clone(),
                    drive: refresh.drive,
                    expiry: now.plus(REFRESH_LIFE),
                    revoked: false,
                    before: Some(token),
                };
                if let Some(before) = refresh.before.take()
                    && let Some(before) = self.refresh.get_mut(&before)
                {
                    before.revoked = true;
                }
                Ok(self.issue(grant, now))
            }
            "" => Err(missing("grant_type")),
            _ => Err(("unsupported_grant_type", "The provided value for 'grant_type' is not supported.".into())),
        }
    }
}

fn is_desktop(redirect: &str, here: &str) -> bool {
    redirect == DESKTOP || redirect.strip_prefix(here) == Some(DESKTOP_PATH)
}

/// Whether a path of the sign-in host belongs to this service.
pub(crate) fn serves(path: &str) -> bool {
    path.starts_with("/oauth20_") || path == "/err.srf"
}

/// Answers a request to the sign-in host.
pub(crate) fn handle(world: &World, call: &Call) -> Answer {
    match (call.method.as_str(), call.path.as_str()) {
        ("GET", "/oauth20_authorize.srf") => authorize(world, call),
        ("POST", "/oauth20_token.srf") => token(world, call),
        ("GET", DESKTOP_PATH) => Answer::html(200, "<html><head><title></title></head><body></body></html>"),
        ("GET", "/oauth20_logout.srf") => match form(&call.query).remove("redirect_uri") {
            Some(target) => Answer::found(target),
            None => Answer::html(200, "<html><body>Signed out.</body></html>"),
        },
        ("GET", "/err.srf") => Answer::html(200, "<html><body>We're unable to complete your request.</body></html>"),
        _ => Answer::html(404, "<html><body>Not found.</body></html>"),
    }
}

fn form(text: &str) -> HashMap<String, String> {
    pairs(text).unwrap_or_default().into_iter().collect()
}

/// Scopes as a list with single spaces; commas were accepted too.
fn scopes(text: &str) -> String {
    text.split([' ', ',']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
}

fn authorize(world: &World, call: &Call) -> Answer {
    let query = form(&call.query);
    let get = |key: &str| query.get(key).map(String::as_str).unwrap_or_default();
    let here = world.graph_url.as_str();
    let astray = |error: &str, text: &str| {
        Answer::found(format!("{here}/err.srf?lc=1033#error={error}&error_description={}", encode(text)))
    };
    let mut oauth = lock(&world.live_oauth);
    let redirect = get("redirect_uri").to_owned();
    let Some(client) = oauth.client(get("client_id")) else {
        return astray(
            "unauthorized_client",
            "The client does not exist. If you are the application developer, configure a new application.",
        );
    };
    let desktop = client.mobile && is_desktop(&redirect, here);
    if !desktop && !client.redirects.contains(&redirect) {
        return astray("invalid_request", "The provided value for the input parameter 'redirect_uri' is not valid.");
    }
    let mark = if get("response_type") == "token" { '#' } else { '?' };
    let state = if query.contains_key("state") { format!("&state={}", encode(get("state"))) } else { String::new() };
    let back = |text: String| Answer::found(format!("{redirect}{mark}{text}{state}"));
    let fail = |error: &str, text: &str| back(format!("error={error}&error_description={}", encode(text)));
    let scope = scopes(get("scope"));
    if scope.is_empty() {
        return fail("invalid_request", "The request must contain the input parameter 'scope'.");
    }
    if let Some(odd) = scope.split(' ').find(|scope| !scope.starts_with("wl.") && !scope.starts_with("office.")) {
        return fail(
            "invalid_scope",
            &format!("The provided value for the input parameter 'scope' is not valid: {odd}"),
        );
    }
    if !matches!(get("response_type"), "code" | "token") {
        return fail("unsupported_response_type", "The provided value for 'response_type' is not valid.");
    }
    match get("decision") {
        "deny" => return fail("access_denied", "The user has denied access to the scope requested by the client."),
        "approve" => {}
        _ if oauth.auto_approve => {}
        _ if get("display") == "none" => return fail("user_interaction_required", "The user has to consent."),
        _ => return super::oauth::consent_page(world, call, &scope),
    }
    if get("response_type") == "code" {
        let code = oauth.consent(get("client_id"), &scope, &redirect, call.now);
        return back(format!("code={code}&lc=1033"));
    }
    // No refresh token ever comes this way.
    let scope = scope.split(' ').filter(|scope| *scope != "wl.offline_access").collect::<Vec<_>>().join(" ");
    let issued = oauth.issue_for(get("client_id"), &scope, call.now);
    let fields = [
        ("access_token", issued.access.as_str()),
        ("authentication_token", "eyJhbGciOiJub25lIn0.e30."),
        ("token_type", "bearer"),
        ("scope", &issued.scope),
        ("user_id", &user_id(world, issued.drive)),
    ];
    let text: Vec<_> = fields.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect();
    back(format!("{}&expires_in={}", text.join("&"), issued.expires_in))
}

/// The number that sign-in gives a user: not the CID.
fn user_id(world: &World, drive: usize) -> String {
    let name = world.drive(drive).map(|cell| cell.identity.guid(u32::MAX)).unwrap_or_default();
    name.replace('-', "").to_lowercase()
}

fn token(world: &World, call: &Call) -> Answer {
    let answer = |status, value: serde_json::Value| Answer {
        status,
        headers: vec![("content-type", "application/json".into()), ("cache-control", "no-store".into())],
        payload: Payload::Bytes(value.to_string().into()),
    };
    let refuse = |(error, text): TokenError| answer(400, json!({"error": error, "error_description": text}));
    if !call.header("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
        return refuse(("invalid_request", "The request body must be a form.".into()));
    }
    let body = call.body.flat();
    let form = form(&String::from_utf8_lossy(&body));
    let granted = match lock(&world.live_oauth).grant(&form, &world.graph_url, call.now) {
        Ok(granted) => granted,
        Err(error) => return refuse(error),
    };
    // The order of scopes is not the order in which they were asked for.
    let scope: Vec<_> = granted.scope.split(' ').rev().collect();
    let mut fields = json!({
        "token_type": "bearer",
        "expires_in": granted.expires_in,
        "scope": scope.join(" "),
        "access_token": granted.access,
        "authentication_token": "eyJhbGciOiJub25lIn0.e30.",
        "user_id": user_id(world, granted.drive),
    });
    if let Some(refresh) = granted.refresh {
        fields["refresh_token"] = refresh.into();
    }
    answer(200, fields)
}
