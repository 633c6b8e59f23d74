//! The desk of a lab: requests to the proxy itself, by which a measurement prepares the drive and reads the meters.
//!
//! | request | does |
//! | --- | --- |
//! | `GET /ca.pem` | the throw-away authority, for `SSL_CERT_FILE` |
//! | `POST /tokens` | signs in: `{"access", "refresh", "expires_in", "drive", "root"}` |
//! | `POST /link?rtt_ms=&bytes_per_second=` | changes the line; without parameters there is none |
//! | `POST /etag?on=` | whether the content host sends `ETag` (1) or not (0) |
//! | `POST /tree?path=&folders=&files=&size=` | makes so many folders of so many generated files |
//! | `POST /file?path=&size=` | makes a generated file |
//! | `POST /remove?path=` | removes an item |
//! | `GET /wait?path=&files=&bytes=&seconds=` | answers when so many files with so many bytes in all are in a folder, with the time that took in milliseconds; 408 if they do not come |
//! | `GET /meter` | since the last reset: requests by kind, bytes in and out |
//! | `POST /reset` | sets the meters to nought |
//!
//! No request here passes the simulated line or is counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use hyper::body::Incoming;

use super::super::link::Link;
use super::super::wire::pairs;
use super::super::world::World;
use super::super::{DriveHandle, OAuthHandle};
use super::Lab;

/// How often a wait looks at the drive.
const LOOK: Duration = Duration::from_millis(5);

/// A plain answer.
pub(super) fn text(status: u16, text: String) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// The desk.
pub(super) struct Desk {
    world: Arc<World>,
    drive: DriveHandle,
    oauth: OAuthHandle,
    lab: Lab,
}

/// The parameters of a request.
struct Wish(BTreeMap<String, String>);

impl Wish {
    fn path(&self) -> Result<&str, String> {
        self.0.get("path").map(String::as_str).ok_or_else(|| "path is missing\n".to_owned())
    }

    fn number(&self, name: &str, otherwise: u64) -> Result<u64, String> {
        self.0.get(name).map_or(Ok(otherwise), |text| text.parse().map_err(|_| format!("{name} is no number\n")))
    }
}

impl Desk {
    pub(super) fn new(world: Arc<World>, drive: DriveHandle, oauth: OAuthHandle, lab: Lab) -> Self {
        Self { world, drive, oauth, lab }
    }

    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let query = pairs(request.uri().query().unwrap_or_default()).unwrap_or_default();
        let wish = Wish(query.into_iter().collect());
        let asked = (request.method().as_str(), request.uri().path());
        let answer = match asked {
            ("GET", "/ca.pem") => Ok(self.lab.authority().to_owned()),
            ("POST", "/tokens") => Ok(self.tokens()),
            ("POST", "/link") => self.link(&wish),
            ("POST", "/etag") => wish.number("on", 1).map(|on| {
                self.world.set_strict(|strict| strict.content_etag = on != 0);
                String::new()
            }),
            ("POST", "/tree") => self.tree(&wish),
            ("POST", "/file") => self.file(&wish),
            ("POST", "/remove") => wish.path().map(|path| format!("{}\n", self.drive.remove(path))),
            ("GET", "/wait") => match self.wait(&wish).await {
                Ok(None) => return text(408, "they did not come\n".into()),
                Ok(Some(took)) => Ok(format!("{}\n", took.as_secs_f64() * 1000.0)),
                Err(error) => Err(error),
            },
            ("GET", "/meter") => Ok(self.meter()),
            ("POST", "/reset") => {
                self.world.forget_requests();
                Ok(String::new())
            }
            _ => return text(404, "the desk does not know this\n".into()),
        };
        answer.map_or_else(|error| text(400, error), |body| text(200, body))
    }

    fn tokens(&self) -> String {
        let tokens = self.oauth.issue_tokens();
        let text = serde_json::json!({
            "access": tokens.access, "refresh": tokens.refresh, "expires_in": tokens.expires_in,
            "drive": self.drive.drive_id(), "root": self.drive.root_id(),
        });
        text.to_string()
    }

    fn link(&self, wish: &Wish) -> Result<String, String> {
        let link = Link {
            rtt: Duration::from_millis(wish.number("rtt_ms", 0)?),
            bytes_per_second: wish.number("bytes_per_second", 0)?,
        };
        let none = link.rtt.is_zero() && link.bytes_per_second == 0;
        self.world.link().set((!none).then_some(link));
        Ok(String::new())
    }

    fn tree(&self, wish: &Wish) -> Result<String, String> {
        let (folders, files) = (wish.number("folders", 1)?, wish.number("files", 1)?);
        let (path, size) = (wish.path()?.trim_end_matches('/'), wish.number("size", 1024)?);
        for folder in 0..folders {
            for file in 0..files {
                let path = format!("{path}/folder-{folder:03}/file-{file:04}.txt");
                self.drive.create_generated(&path, folder << 20 | file, size);
            }
        }
        Ok(String::new())
    }

    fn file(&self, wish: &Wish) -> Result<String, String> {
        let (path, size) = (wish.path()?, wish.number("size", 0)?);
        Ok(format!("{}\n", self.drive.create_generated(path, size ^ 0x51ab, size)))
    }

    async fn wait(&self, wish: &Wish) -> Result<Option<Duration>, String> {
        let (path, files, bytes) = (wish.path()?, wish.number("files", 0)?, wish.number("bytes", 0)?);
        let clock = self.world.clock();
        let (begun, patience) = (clock.monotonic(), Duration::from_secs(wish.number("seconds", 60)?));
        loop {
            let took = clock.monotonic().since(begun);
            let listed = self.drive.list(path);
            let found = listed.iter().filter(|item| !item.is_folder);
            let (count, sum) = found.fold((0, 0), |(count, sum), item| (count + 1, sum + item.size));
            if count >= files && sum >= bytes && (files > 0 || !listed.is_empty()) {
                return Ok(Some(took));
            }
            if took > patience {
                return Ok(None);
            }
            clock.sleep(LOOK).await;
        }
    }

    fn meter(&self) -> String {
        let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
        let (mut received, mut sent) = (0, 0);
        let requests = self.world.requests();
        for request in &requests {
            let status = request.status.map_or_else(|| "cut".to_owned(), |status| status.to_string());
            *kinds.entry(format!("{:?} {} {status}", request.host, request.method)).or_default() += 1;
            received += request.bytes_in;
            sent += request.bytes_out;
        }
        let text = serde_json::json!({
            "requests": requests.len(), "kinds": kinds, "received": received, "sent": sent,
        });
        text.to_string()
    }
}
