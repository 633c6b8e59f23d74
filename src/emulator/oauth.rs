//! The sign-in service: authorization code with PKCE, device code, refresh with rotation.
//!
//! What is always true: a code works once and within ten minutes; a refresh token is issued only with
//! `offline_access`; a new refresh token supersedes the old one, which keeps working until the new one
//! has been used, so that a client that lost the new one before it was stored is not signed out; every
//! token begins with `demo-`, so that none of them can be taken for a real service's.
//!
//! Follows the pages on the authorization code flow, the device authorization grant and refresh tokens
//! below <https://learn.microsoft.com/entra/identity-platform/>.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::wire::{Answer, Call, Outcome, Payload, Refusal, encode, pairs, request_id, wire_time};
use super::world::{World, lock};
use crate::base::clock::Timestamp;

const CODE_LIFE: Duration = Duration::from_secs(600);
const DEVICE_LIFE: Duration = Duration::from_secs(900);
const REFRESH_LIFE: Duration = Duration::from_secs(90 * 86_400);

/// A refusal of the token endpoint: `error`, AADSTS number, text.
type TokenError = (&'static str, u32, &'static str);

struct Refresh {
    scope: String,
    expiry: Timestamp,
    revoked: bool,
    /// The token that this one superseded.
    before: Option<String>,
    user: usize,
}

struct Code {
    client: String,
    redirect: String,
    challenge: Option<(String, String)>,
    scope: String,
    expiry: Timestamp,
    user: usize,
}

/// Where a device code stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Consent {
    Pending,
    Approved,
    Declined,
}

struct Device {
    client: String,
    user_code: String,
    scope: String,
    consent: Consent,
    expiry: Timestamp,
    interval: u64,
    last_poll: Option<Timestamp>,
}

/// The state of the sign-in service.
pub(crate) struct OAuth {
    pub(crate) access_life: Duration,
    pub(crate) auto_approve: bool,
    /// Applications that are known; empty: all are.
    pub(crate) clients: Vec<String>,
    /// Redirect URIs registered for them, port aside on loopback.
    pub(crate) redirects: Vec<String>,
    /// Who signs in from now on: the number of a drive.
    pub(crate) user: usize,
    access: HashMap<String, (usize, Timestamp)>,
    refresh: HashMap<String, Refresh>,
    codes: HashMap<String, Code>,
    devices: HashMap<String, Device>,
    issued: u64,
    /// Everything that nobody but the client may see: tokens, codes, verifiers.
    secrets: Vec<String>,
    key: [u8; 32],
}

/// Tokens as a client gets them.
pub(crate) struct Issued {
    pub(crate) access: String,
    pub(crate) refresh: Option<String>,
    pub(crate) expires_in: u64,
    pub(crate) scope: String,
}

impl OAuth {
    pub(crate) fn new(key: [u8; 32], access_life: Duration, auto_approve: bool) -> Self {
        Self {
            access_life,
            auto_approve,
            clients: Vec::new(),
            redirects: [
                "http://localhost",
                "http://127.0.0.1",
                "https://login.microsoftonline.com/common/oauth2/nativeclient",
                "https://login.live.com/oauth20_desktop.srf",
            ]
            .map(str::to_owned)
            .to_vec(),
            user: 0,
            access: HashMap::new(),
            refresh: HashMap::new(),
            codes: HashMap::new(),
            devices: HashMap::new(),
            issued: 0,
            secrets: Vec::new(),
            key,
        }
    }

    fn secret(&mut self, kind: &str) -> String {
        self.issued += 1;
        let digest = Sha256::new().chain_update(self.key).chain_update(format!("{kind}{}", self.issued)).finalize();
        let secret = format!("demo-{kind}-{}", URL_SAFE_NO_PAD.encode(digest));
        // The short code of the device flow is for people to see.
        if kind != "uc" {
            self.remember(secret.clone());
        }
        secret
    }

    fn remember(&mut self, secret: String) {
        if self.secrets.len() < super::world::MOST_SECRETS {
            self.secrets.push(secret);
        }
    }

    /// What was handed out so far, or handed in.
    pub(crate) fn secrets(&self) -> Vec<String> {
        self.secrets.clone()
    }

    /// New tokens for a scope; a refresh token only if the scope asks for offline access.
    pub(crate) fn issue(&mut self, user: usize, scope: &str, before: Option<String>, now: Timestamp) -> Issued {
        let access = self.secret("at");
        self.access.retain(|_, (_, expiry)| *expiry > now);
        self.access.insert(access.clone(), (user, now.plus(self.access_life)));
        let refresh = scope.split(' ').any(|part| part == "offline_access").then(|| {
            let token = self.secret("rt");
            let entry =
                Refresh { scope: scope.to_owned(), expiry: now.plus(REFRESH_LIFE), revoked: false, before, user };
            self.refresh.insert(token.clone(), entry);
            token
        });
        // The service answers with the resource's permissions only.
        let granted: Vec<_> =
            scope.split(' ').filter(|part| !matches!(*part, "" | "offline_access" | "openid" | "profile")).collect();
        Issued { access, refresh, expires_in: self.access_life.as_secs().saturating_sub(1), scope: granted.join(" ") }
    }

    /// Whether a Graph request may go on, and in whose name.
    pub(crate) fn check(&self, call: &Call) -> Result<usize, Refusal> {
        let refuse = |message: &str| {
            Refusal::new(401, "InvalidAuthenticationToken", message).with("www-authenticate", "Bearer realm=\"\"")
        };
        let header = call.header("authorization").ok_or_else(|| refuse("Access token is empty."))?;
        let token = header.strip_prefix("Bearer ").ok_or_else(|| refuse("Access token is empty."))?;
        match self.access.get(token) {
            None => Err(refuse("Access token validation failure. Invalid audience.")),
            Some((_, expiry)) if *expiry <= call.now => {
                Err(refuse("Lifetime validation failed, the token is expired."))
            }
            Some((user, _)) => Ok(*user),
        }
    }

    pub(crate) fn expire_access_tokens(&mut self) {
        self.access.clear();
    }

    pub(crate) fn revoke_refresh(&mut self) {
        self.refresh.values_mut().for_each(|refresh| refresh.revoked = true);
    }

    /// Decides a pending device code; `false` when there is none with this user code.
    pub(crate) fn decide_device(&mut self, user_code: &str, approve: bool) -> bool {
        let consent = if approve { Consent::Approved } else { Consent::Declined };
        let device = self.devices.values_mut().find(|device| device.user_code.eq_ignore_ascii_case(user_code));
        device.map(|device| device.consent = consent).is_some()
    }

    fn knows_client(&self, client: &str) -> bool {
        !client.is_empty() && (self.clients.is_empty() || self.clients.iter().any(|known| known == client))
    }

    /// Whether a redirect URI is registered: on loopback any port is, elsewhere all must be equal.
    fn knows_redirect(&self, uri: &str) -> bool {
        let normal = |uri: &str| {
            let mut url = url::Url::parse(uri).ok()?;
            if url.query().is_some() || url.fragment().is_some() {
                return None;
            }
            if matches!(url.host_str(), Some("localhost" | "127.0.0.1")) {
                url.set_port(None).ok()?;
            }
            Some(url)
        };
        let Some(uri) = normal(uri) else { return false };
        self.redirects.iter().any(|known| normal(known).is_some_and(|known| known == uri))
    }

    fn grant(&mut self, form: &HashMap<String, String>, now: Timestamp) -> Result<Issued, TokenError> {
        let get = |key: &str| form.get(key).map(String::as_str).unwrap_or_default();
        if !self.knows_client(get("client_id")) {
            return Err(("unauthorized_client", 700_016, "Application with this identifier was not found."));
        }
        if form.contains_key("client_secret") {
            return Err(("invalid_client", 700_025, "Client is public so a client secret must not be presented."));
        }
        match get("grant_type") {
            "authorization_code" => {
                if !get("code_verifier").is_empty() {
                    self.remember(get("code_verifier").to_owned());
                }
                let wrong = ("invalid_grant", 70_000, "The provided value for the 'code' parameter is not valid.");
                // Taken out at once: also a failed attempt uses the code up.
                let code = self.codes.remove(get("code")).ok_or(wrong)?;
                if code.expiry <= now {
                    return Err(("invalid_grant", 70_008, "The provided authorization code is expired."));
                }
                if code.client != get("client_id") || code.redirect != get("redirect_uri") {
                    return Err(("invalid_grant", 50_011, "The redirect URI does not match the one of the request."));
                }
                verify_challenge(code.challenge.as_ref(), get("code_verifier"))?;
                Ok(self.issue(code.user, &code.scope, None, now))
            }
            "refresh_token" => {
                let token = get("refresh_token").to_owned();
                let refresh = match self.refresh.get_mut(&token) {
                    Some(refresh) if !refresh.revoked && refresh.expiry > now => refresh,
                    Some(refresh) if !refresh.revoked => {
                        return Err(("invalid_grant", 700_082, "The refresh token has expired due to inactivity."));
                    }
                    _ => return Err(("invalid_grant", 50_173, "The provided grant has been revoked.")),
                };
                let (user, scope) = (refresh.user, refresh.scope.clone());
                if let Some(before) = refresh.before.take()
                    && let Some(before) = self.refresh.get_mut(&before)
                {
                    before.revoked = true;
                }
                Ok(self.issue(user, &scope, Some(token), now))
            }
            "urn:ietf:params:oauth:grant-type:device_code" => {
                self.poll_device(get("device_code"), get("client_id"), now)
            }
            _ => Err(("unsupported_grant_type", 70_003, "The app requested an unsupported grant type.")),
        }
    }

    fn poll_device(&mut self, code: &str, client: &str, now: Timestamp) -> Result<Issued, TokenError> {
        let unknown = ("bad_verification_code", 70_018, "Invalid verification code.");
        let device = self.devices.get_mut(code).filter(|device| device.client == client).ok_or(unknown)?;
        if device.expiry <= now {
            return Err(("expired_token", 70_020, "The device code has expired."));
        }
        let early = device.last_poll.is_some_and(|last| now < last.plus(Duration::from_secs(device.interval)));
        device.last_poll = Some(now);
        match device.consent {
            Consent::Declined => Err(("authorization_declined", 70_017, "The user declined.")),
            _ if early => {
                device.interval += 5;
                Err(("slow_down", 70_016, "Polling too often."))
            }
            Consent::Pending => Err(("authorization_pending", 70_016, "Authorization is pending.")),
            Consent::Approved => {
                let scope = device.scope.clone();
                self.devices.remove(code);
                Ok(self.issue(self.user, &scope, None, now))
            }
        }
    }
}

fn verify_challenge(challenge: Option<&(String, String)>, verifier: &str) -> Result<(), TokenError> {
    let Some((method, challenge)) = challenge else { return Ok(()) };
    let legal = (43..=128).contains(&verifier.len())
        && verifier.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'));
    let made = match method.as_str() {
        "S256" => URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)),
        _ => verifier.to_owned(),
    };
    if legal && made == *challenge {
        Ok(())
    } else {
        Err(("invalid_grant", 501_481, "The Code_Verifier does not match the code_challenge."))
    }
}

/// Answers a request to the sign-in host.
pub(crate) fn handle(world: &World, call: &Call) -> Outcome {
    let path = call.path.trim_matches('/');
    let (tenant, route) = path.split_once('/').unwrap_or((path, ""));
    match (call.method.as_str(), route) {
        ("GET", "oauth2/v2.0/authorize") => authorize(world, call),
        ("POST", "oauth2/v2.0/token") => Ok(token(world, call)),
        ("POST", "oauth2/v2.0/devicecode") => Ok(device_code(world, call)),
        ("GET", "oauth2/v2.0/logout") => Ok(Answer::html(200, "<html><body>Signed out.</body></html>")),
        ("GET", "v2.0/.well-known/openid-configuration") => {
            let base = format!("{}/{tenant}/oauth2/v2.0", world.graph_url);
            Ok(Answer::json(
                200,
                serde_json::json!({
                    "issuer": format!("{}/{tenant}/v2.0", world.graph_url),
                    "authorization_endpoint": format!("{base}/authorize"),
                    "token_endpoint": format!("{base}/token"),
                    "device_authorization_endpoint": format!("{base}/devicecode"),
                    "end_session_endpoint": format!("{base}/logout"),
                })
                .to_string(),
            ))
        }
        ("GET", "") if tenant == "link" => Ok(link_page(world, call)),
        _ => Err(Refusal::unimplemented("this address of the sign-in host")),
    }
}

fn form(text: &str) -> HashMap<String, String> {
    pairs(text).unwrap_or_default().into_iter().collect()
}

fn authorize(world: &World, call: &Call) -> Outcome {
    let query = form(&call.query);
    let get = |key: &str| query.get(key).map(String::as_str).unwrap_or_default();
    let mut oauth = lock(&world.oauth);
    let redirect = get("redirect_uri");
    // Errors about the client or its redirect are shown to the person, never redirected.
    if !oauth.knows_client(get("client_id")) {
        return Ok(Answer::html(400, "<html><body>AADSTS700016: the application was not found.</body></html>"));
    }
    if !oauth.knows_redirect(redirect) {
        return Ok(Answer::html(400, "<html><body>AADSTS50011: the redirect URI is not registered.</body></html>"));
    }
    let mut target = redirect.to_owned();
    if url::Url::parse(redirect).is_ok_and(|url| url.path() == "/") && !target.ends_with('/') {
        target.push('/');
    }
    let separator = if get("response_mode") == "fragment" { '#' } else { '?' };
    let state = if query.contains_key("state") { format!("&state={}", encode(get("state"))) } else { String::new() };
    let fail = |error: &str, text: &str| {
        Ok(Answer::found(format!("{target}{separator}error={error}&error_description={}{state}", encode(text))))
    };
    if get("response_type") != "code" {
        return fail("unsupported_response_type", "AADSTS700051: response_type is not enabled.");
    }
    if get("scope").trim().is_empty() {
        return fail("invalid_request", "AADSTS900144: the parameter 'scope' is missing.");
    }
    let challenge = match (get("code_challenge"), get("code_challenge_method")) {
        ("", _) => None,
        (challenge, "" | "plain") => Some(("plain".to_owned(), challenge.to_owned())),
        (challenge, "S256") => Some(("S256".to_owned(), challenge.to_owned())),
        _ => return fail("invalid_request", "AADSTS501491: invalid code_challenge_method."),
    };
    match get("decision") {
        "deny" => return fail("access_denied", "AADSTS65004: the user declined to consent."),
        "approve" => {}
        _ if oauth.auto_approve => {}
        _ if get("prompt") == "none" => return fail("login_required", "AADSTS50058: sign-in is required."),
        _ => return Ok(consent_page(world, call, get("scope"))),
    }
    let code = oauth.secret("code");
    let entry = Code {
        client: get("client_id").to_owned(),
        redirect: redirect.to_owned(),
        challenge,
        scope: get("scope").to_owned(),
        expiry: call.now.plus(CODE_LIFE),
        user: oauth.user,
    };
    oauth.codes.insert(code.clone(), entry);
    Ok(Answer::found(format!("{target}{separator}code={code}{state}&session_state=demo")))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

pub(crate) fn consent_page(world: &World, call: &Call, scope: &str) -> Answer {
    let here = escape(&format!("{}?{}", call.path, call.query));
    let scopes: String = scope.split(' ').map(|part| format!("<li>{}</li>", escape(part))).collect();
    Answer::html(
        200,
        format!(
            "<!doctype html><html><head><title>Demo sign-in</title></head><body><h1>Demo sign-in</h1>\
             <p>An application wants to use the demo drive of <b>{}</b>:</p><ul>{scopes}</ul>\
             <p><a href=\"{here}&amp;decision=approve\">Accept</a> <a href=\"{here}&amp;decision=deny\">Cancel</a></p>\
             </body></html>",
            escape(&world.account.name)
        ),
    )
}

fn link_page(world: &World, call: &Call) -> Answer {
    let query = form(&call.query);
    let text = match query.get("user_code") {
        None => "<form><label>Code <input name=\"user_code\"></label> \
                 <button name=\"decision\" value=\"approve\">Accept</button> \
                 <button name=\"decision\" value=\"deny\">Cancel</button></form>"
            .to_owned(),
        Some(code) => {
            let approve = query.get("decision").is_none_or(|decision| decision != "deny");
            let known = lock(&world.oauth).decide_device(code, approve);
            if known { "Done. You may close this page.".into() } else { "That code is not known.".to_owned() }
        }
    };
    Answer::html(200, format!("<!doctype html><html><body><h1>Demo sign-in</h1>{text}</body></html>"))
}

fn token(world: &World, call: &Call) -> Answer {
    if !call.header("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
        return token_error(call, ("invalid_request", 900_144, "The request body must be form encoded."));
    }
    let body = call.body.flat();
    let form = form(&String::from_utf8_lossy(&body));
    let issued = match lock(&world.oauth).grant(&form, call.now) {
        Ok(issued) => issued,
        Err(error) => return token_error(call, error),
    };
    let mut answer = serde_json::json!({
        "token_type": "Bearer",
        "scope": issued.scope,
        "expires_in": issued.expires_in,
        "ext_expires_in": issued.expires_in,
        "access_token": issued.access,
    });
    if let Some(refresh) = issued.refresh {
        answer["refresh_token"] = refresh.into();
        let claims = serde_json::json!({
            "tid": world.account.tenant, "oid": world.account.id, "name": world.account.name,
            "preferred_username": world.account.mail,
        });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        answer["id_token"] = format!("{}.{}.", part(&serde_json::json!({"alg": "none"})), part(&claims)).into();
    }
    no_store(Answer::json(200, answer.to_string()))
}

fn device_code(world: &World, call: &Call) -> Answer {
    let body = call.body.flat();
    let form = form(&String::from_utf8_lossy(&body));
    let get = |key: &str| form.get(key).map(String::as_str).unwrap_or_default();
    let mut oauth = lock(&world.oauth);
    if !oauth.knows_client(get("client_id")) {
        return token_error(call, ("unauthorized_client", 700_016, "Application with this identifier was not found."));
    }
    if get("scope").trim().is_empty() {
        return token_error(call, ("invalid_request", 900_144, "The parameter 'scope' is missing."));
    }
    let code = oauth.secret("dc");
    let user_code: String = oauth.secret("uc").chars().skip(8).filter(char::is_ascii_alphanumeric).take(8).collect();
    let user_code = user_code.to_uppercase();
    let uri = format!("{}/link", world.graph_url);
    let answer = serde_json::json!({
        "device_code": code, "user_code": user_code, "verification_uri": uri,
        "expires_in": DEVICE_LIFE.as_secs(), "interval": 5,
        "message": format!("To sign in, open the page {uri} and enter the code {user_code}."),
    });
    let device = Device {
        client: get("client_id").to_owned(),
        user_code,
        scope: get("scope").to_owned(),
        consent: if oauth.auto_approve { Consent::Approved } else { Consent::Pending },
        expiry: call.now.plus(DEVICE_LIFE),
        interval: 5,
        last_poll: None,
    };
    oauth.devices.insert(code, device);
    no_store(Answer::json(200, answer.to_string()))
}

fn no_store(answer: Answer) -> Answer {
    answer.with("cache-control", "no-store, no-cache").with("pragma", "no-cache")
}

fn token_error(call: &Call, (error, number, text): TokenError) -> Answer {
    let time = wire_time(call.now, 0).replace('T', " ");
    let id = request_id(call.number);
    let body = serde_json::json!({
        "error": error,
        "error_description": format!("AADSTS{number}: {text} Trace ID: {id} Correlation ID: {id} Timestamp: {time}"),
        "error_codes": [number], "timestamp": time, "trace_id": id, "correlation_id": id,
    });
    Answer {
        status: 400,
        headers: vec![("content-type", "application/json; charset=utf-8".into())],
        payload: Payload::Bytes(body.to_string().into()),
    }
}
