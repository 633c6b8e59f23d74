//! A service that has gone mad, or is somebody else: whatever it answers, nothing leaves the mount, nothing crashes,
//! nothing fills the memory, and one good answer later everything works again.
//!
//! One table. A row is what is answered in place of the truth, what the user does meanwhile, and what the user sees.
//! Each row has a drive of its own: index, cache, journal and volume as the daemon has them, behind a real HTTP client.
//! After each row the service tells the truth, and the drive has to list, read, save and follow changes as ever.

use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use onedrive_mount::auth::StaticToken;
use onedrive_mount::base::clock::{Clock, Mono, Sleep, Timestamp};
use onedrive_mount::base::tasks::TaskGroup;
use onedrive_mount::daemon::core::Core;
use onedrive_mount::emulator::Flavour;
use onedrive_mount::remote::http::{Patience, system_entropy};
use onedrive_mount::remote::stack::{self, RemoteOptions};
use onedrive_mount::volume::VolumeError;
use serde_json::{Value, json};

use crate::world::mount::{Start, require_fuse};
use crate::world::proxy::{Door, Lie, Proxy, Told};
use crate::world::service::{Service, places};
use crate::world::{Running, User, World};

/// What the user does while the service lies.
#[derive(Clone, Copy, Debug)]
enum Does {
    /// Lists `/docs`, which was not listed before.
    List,
    /// Reads `/docs/a.txt`, which is not cached.
    Read,
    /// Waits for changes made elsewhere: `/docs/elsewhere.txt` is new.
    Follow,
    /// Saves a small file, `/docs/new.txt`.
    Save,
    /// Saves a file that needs an upload session, `/docs/large.bin`.
    SaveLarge,
}

/// What the user then sees.
#[derive(Clone, Copy, Debug)]
enum Sees {
    /// These names in `/docs`, each of which can be opened.
    Names(&'static [&'static str]),
    /// One of these errors of [`VolumeError`].
    Error(&'static [&'static str]),
    /// The changes are refused as a whole; what was known stays.
    NoNews,
    /// The changes are taken, as far as they make sense: `/docs` holds what it held.
    News,
    /// The file is not in the cloud and not lost: it waits, or is parked with a reason, and arrives when the service
    /// has come to its senses.
    Waits,
    /// The file arrived in spite of it.
    Arrives,
    /// Nothing in particular, as long as it ends.
    AnEnd,
}

struct Row {
    name: &'static str,
    told: Box<dyn Fn(&Proxy) -> Told + Send + Sync>,
    does: Does,
    sees: Sees,
}

fn row(name: &'static str, does: Does, sees: Sees, told: impl Fn(&Proxy) -> Told + Send + Sync + 'static) -> Row {
    Row { name, told: Box::new(told), does, sees }
}

fn told(door: Door, method: &'static str, part: &str, lie: Lie) -> Told {
    Told { door, method, part: part.into(), lie }
}

/// A lie in the listing of `/docs`.
fn listing(name: &'static str, sees: Sees, lie: impl Fn(&Proxy) -> Lie + Send + Sync + 'static) -> Row {
    row(name, Does::List, sees, move |proxy| told(Door::Graph, "GET", "/children", lie(proxy)))
}

/// A listing of `/docs` in which `b.txt` has another name.
fn name(case: &'static str, sees: &'static [&'static str], name: impl Fn() -> Value + Send + Sync + 'static) -> Row {
    let name = Arc::new(name);
    listing(case, Sees::Names(sees), move |_| {
        let name = name.clone();
        Lie::edit(move |page| named(page, "b.txt")["name"] = name())
    })
}

/// A listing of `/docs` in which `b.txt` has another member.
fn member(case: &'static str, sees: Sees, key: &'static str, value: impl Fn() -> Value + Send + Sync + 'static) -> Row {
    let value = Arc::new(value);
    listing(case, sees, move |_| {
        let value = value.clone();
        Lie::edit(move |page| named(page, "b.txt")[key] = value())
    })
}

/// A lie in the feed of changes.
fn feed(name: &'static str, sees: Sees, lie: impl Fn(&Proxy) -> Lie + Send + Sync + 'static) -> Row {
    row(name, Does::Follow, sees, move |proxy| told(Door::Graph, "GET", "/delta?", lie(proxy)))
}

/// A lie about where the content of a file is.
fn address(name: &'static str, sees: Sees, url: impl Fn(&Proxy) -> String + Send + Sync + 'static) -> Row {
    row(name, Does::Read, sees, move |proxy| {
        let url = url(proxy);
        let lie = Lie::edit(move |item| item["@microsoft.graph.downloadUrl"] = json!(url));
        told(Door::Graph, "GET", "downloadUrl", lie)
    })
}

/// A lie of the storage host.
fn content(name: &'static str, sees: Sees, lie: impl Fn(&Proxy) -> Lie + Send + Sync + 'static) -> Row {
    row(name, Does::Read, sees, move |proxy| told(Door::Storage, "GET", "/download", lie(proxy)))
}

/// A lie about where an upload goes.
fn session(
    name: &'static str,
    sees: Sees,
    key: &'static str,
    value: impl Fn(&Proxy) -> Value + Send + Sync + 'static,
) -> Row {
    row(name, Does::SaveLarge, sees, move |proxy| {
        let value = value(proxy);
        let lie = Lie::edit(move |session| session[key] = value.clone());
        told(Door::Graph, "POST", "createUploadSession", lie)
    })
}

/// An answer to a fragment.
fn fragment(name: &'static str, sees: Sees, lie: impl Fn(&Proxy) -> Lie + Send + Sync + 'static) -> Row {
    row(name, Does::SaveLarge, sees, move |proxy| told(Door::Storage, "PUT", "", lie(proxy)))
}

/// The item of this name in a page.
fn named<'a>(page: &'a mut Value, name: &str) -> &'a mut Value {
    let items = page["value"].as_array_mut().expect("a page");
    items.iter_mut().find(|item| item["name"] == name).expect("an item of that name")
}

/// A copy of the item of this name, added to the page after a change.
fn another(page: &mut Value, name: &str, change: impl FnOnce(&mut Value)) {
    let mut copy = named(page, name).clone();
    change(&mut copy);
    page["value"].as_array_mut().expect("a page").push(copy);
}

fn nested(depth: usize, open: &str, close: &str) -> String {
    open.repeat(depth) + &close.repeat(depth)
}

/// A page whose JSON this function writes.
fn page(items: &str) -> Vec<u8> {
    format!("{{\"value\":[{items}]}}").into_bytes()
}

fn head(more: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n{more}\r\n").into_bytes()
}

const BOTH: &[&str] = &["a.txt", "b.txt"];
const ONE: &[&str] = &["a.txt"];
const A: &[u8] = b"alpha";
const FAILED: Sees = Sees::Error(&["Failed"]);
const BROKEN: Sees = Sees::Error(&["Failed", "Offline", "TimedOut"]);

fn names() -> Vec<Row> {
    vec![
        name("a name that climbs out", ONE, || json!("../../etc/passwd")),
        name("an absolute name", ONE, || json!("/etc/passwd")),
        name("a name with a slash in it", ONE, || json!("b/c")),
        name("the folder itself", ONE, || json!(".")),
        name("the folder above", ONE, || json!("..")),
        name("no name", ONE, || json!("")),
        name("null for a name", ONE, || Value::Null),
        name("a NUL in a name", ONE, || json!("b\0c")),
        name("a name of a megabyte", ONE, || json!("x".repeat(1 << 20))),
        name("a name of a thousand bytes", ONE, || json!("x".repeat(1000))),
        name("a name that turns the writing", &["a.txt", "exe\u{202E}gpj.b"], || json!("exe\u{202E}gpj.b")),
        name("a name that clears the screen", &["\u{1b}[2J", "a.txt"], || json!("\u{1b}[2J")),
        name("a line break in a name", &["a.txt", "b\nc"], || json!("b\nc")),
        name("a colon that the service refuses", &["a.txt", "b:c"], || json!("b:c")),
        name("a leading tilde", &["a.txt", "~b"], || json!("~b")),
        name("a trailing dot", &["a.txt", "b."], || json!("b.")),
        name("a leading space", &[" b", "a.txt"], || json!(" b")),
        name("a backslash", &["a.txt", "b\\c"], || json!("b\\c")),
        name("a reserved word", &["CON", "a.txt"], || json!("CON")),
        name("the sign that quotes", &["a.txt", "b\u{201B}c"], || json!("b\u{201B}c")),
        name("that sign at the end", &["a.txt", "b\u{201B}"], || json!("b\u{201B}")),
        name("unpaired letters", &["a.txt", "e\u{301}"], || json!("e\u{301}")),
        listing("a number for a name", FAILED, |_| Lie::edit(|page| named(page, "b.txt")["name"] = json!(7))),
        listing("two items of one name", Sees::Names(ONE), |_| {
            Lie::edit(|page| named(page, "b.txt")["name"] = json!("a.txt"))
        }),
        listing("two names that differ in case", Sees::Names(&["A.TXT"]), |_| {
            Lie::edit(|page| named(page, "b.txt")["name"] = json!("A.TXT"))
        }),
        listing("two names that are shown as one", Sees::Names(&["x:y"]), |_| {
            Lie::edit(|page| {
                named(page, "a.txt")["name"] = json!("x:y");
                named(page, "b.txt")["name"] = json!("x\u{FF1A}y");
            })
        }),
    ]
}

fn identities() -> Vec<Row> {
    vec![
        member("no id", Sees::Names(ONE), "id", || Value::Null),
        member("an empty id", Sees::Names(ONE), "id", || json!("")),
        member("an id that climbs", Sees::Names(ONE), "id", || json!("..")),
        member("an id with a path in it", Sees::Names(ONE), "id", || json!("x/../../../me/messages")),
        member("an id with a line break", Sees::Names(ONE), "id", || json!("X\nY")),
        member("an id of a megabyte", Sees::Names(ONE), "id", || json!("x".repeat(1 << 20))),
        member("a drive that climbs", Sees::Names(ONE), "parentReference", || json!({"driveId": "..", "id": "x"})),
        member("a parent that climbs", Sees::Names(ONE), "parentReference", || json!({"id": "../.."})),
        member("a tag of a megabyte", Sees::Names(ONE), "eTag", || json!("x".repeat(1 << 20))),
        member("a tag that splits headers", Sees::Names(ONE), "eTag", || json!("x\r\nauthorization: y")),
        listing("one id twice", Sees::Names(&["b.txt"]), |_| {
            Lie::edit(|page| {
                let id = named(page, "a.txt")["id"].clone();
                named(page, "b.txt")["id"] = id;
            })
        }),
        listing("the folder in itself", Sees::Names(BOTH), |_| {
            Lie::edit(|page| {
                let parent = named(page, "b.txt")["parentReference"]["id"].clone();
                another(page, "b.txt", |copy| {
                    copy["id"] = parent;
                    copy["name"] = json!("itself");
                    copy["folder"] = json!({});
                });
            })
        }),
        listing("a second root", Sees::Names(BOTH), |_| {
            Lie::edit(|page| {
                another(page, "b.txt", |copy| {
                    copy["id"] = json!("SECOND!1");
                    copy["root"] = json!({});
                })
            })
        }),
        member("a shortcut in a shortcut in a shortcut", Sees::Names(BOTH), "remoteItem", || {
            (0..60).fold(json!({"id": "X!1"}), |inner, _| json!({"remoteItem": inner}))
        }),
    ]
}

fn values() -> Vec<Row> {
    let size = |case, value: Value| member(case, Sees::Names(BOTH), "size", move || value.clone());
    let mut rows = vec![
        size("a negative size", json!(-5)),
        size("the largest size", json!(i64::MAX)),
        size("a size beyond all numbers", json!(1e300)),
        size("a size in words", json!("many")),
        size("a size that is a list", json!([[1, 2], {"a": 3}])),
        size("a size that is yes", json!(true)),
        size("half a byte", json!(0.5)),
        row("the largest size is read", Does::Read, Sees::Error(&["Failed", "Stale", "TimedOut"]), |_| {
            let lie = Lie::edit(|page| {
                for item in page["value"].as_array_mut().expect("a page") {
                    item["size"] = json!(i64::MAX);
                }
            });
            told(Door::Graph, "GET", "/children", lie)
        }),
    ];
    for (case, date) in [
        ("the year 9999", "9999-12-31T23:59:59.9999999Z"),
        ("the year 0", "0000-00-00T00:00:00Z"),
        ("a year before all years", "-262144-01-01T00:00:00Z"),
        ("a year of a hundred digits", "1".repeat(100).leak()),
        ("no date at all", "yesterday, after lunch"),
        ("a leap second", "2016-12-31T23:59:60Z"),
        ("an offset of a day", "2020-01-01T00:00:00+23:59"),
    ] {
        rows.push(member(
            case,
            Sees::Names(BOTH),
            "fileSystemInfo",
            move || json!({"lastModifiedDateTime": date, "createdDateTime": date}),
        ));
    }
    rows
}

fn bodies() -> Vec<Row> {
    vec![
        listing("deep nesting in place of a page", FAILED, |_| Lie::json(nested(200_000, "[", "]"))),
        listing("deep nesting in place of the items", BROKEN, |_| {
            Lie::json(format!("{{\"value\":{}}}", nested(100_000, "[", "]")))
        }),
        listing("deep nesting where nobody looks", Sees::AnEnd, |_| {
            Lie::json(format!("{{\"value\":[],\"x\":{}}}", nested(100_000, "{\"a\":", "}").replacen('}', "1}", 1)))
        }),
        listing("shortcuts nested ten thousand times", BROKEN, |_| {
            Lie::json(page(&format!("{}{{}}{}", "{\"id\":\"1\",\"remoteItem\":".repeat(10_000), "}".repeat(10_000))))
        }),
        listing("ten million items in thirty megabytes", FAILED, |_| {
            Lie::json(page(&("{},".repeat(10_000_000) + "{}")))
        }),
        listing("a size of ten million numbers", Sees::Names(&[]), |_| {
            Lie::json(page(&format!("{{\"id\":\"1\",\"size\":[{}0]}}", "0,".repeat(10_000_000))))
        }),
        listing("a page of a hundred megabytes", FAILED, |_| {
            Lie::Endless(head("content-length: 104857600\r\n"), vec![b' '; 1 << 20])
        }),
        listing("a body without end", FAILED, |_| Lie::Endless(head(""), vec![b' '; 1 << 20])),
        listing("chunks without end", FAILED, |_| {
            let mut chunk = format!("{:x}\r\n", 1 << 20).into_bytes();
            chunk.extend_from_slice(&vec![b' '; 1 << 20]);
            chunk.extend_from_slice(b"\r\n");
            Lie::Endless(head("transfer-encoding: chunked\r\n"), chunk)
        }),
        listing("a compressed bomb", FAILED, |_| {
            Lie::status("200 OK", &[("content-type", "application/json"), ("content-encoding", "gzip")], &bomb())
        }),
        listing("a body that drips", BROKEN, |_| {
            Lie::Drip(head("content-length: 1000000\r\n"), Duration::from_millis(100))
        }),
        listing("headers that drip", BROKEN, |_| {
            Lie::Drip(b"HTTP/1.1 200 OK\r\nx: ".to_vec(), Duration::from_millis(100))
        }),
        listing("headers without end", BROKEN, |_| {
            Lie::Endless(
                b"HTTP/1.1 200 OK\r\n".to_vec(),
                b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(1000),
            )
        }),
        listing("one header without end", BROKEN, |_| {
            Lie::Endless(b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'y'; 1 << 16])
        }),
        listing("more promised than sent", BROKEN, |_| {
            let mut bytes = head("content-length: 5000\r\n");
            bytes.extend_from_slice(b"{\"value\":[]}");
            Lie::raw(bytes)
        }),
        listing("less promised than sent", BROKEN, |_| {
            let mut bytes = head("content-length: 5\r\n");
            bytes.extend_from_slice(b"{\"value\":[]}");
            Lie::raw(bytes)
        }),
        listing("two lengths", BROKEN, |_| {
            let mut bytes = head("content-length: 5\r\ncontent-length: 12\r\n");
            bytes.extend_from_slice(b"{\"value\":[]}");
            Lie::raw(bytes)
        }),
        listing("a negative length", BROKEN, |_| {
            let mut bytes = head("content-length: -1\r\n");
            bytes.extend_from_slice(b"{\"value\":[]}");
            Lie::raw(bytes)
        }),
        listing("no HTTP at all", BROKEN, |_| Lie::raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(50))),
        listing("a status of no class", BROKEN, |_| Lie::status("999 What", &[], b"{}")),
        listing("a status below all", BROKEN, |_| Lie::raw(b"HTTP/1.1 000 Zero\r\n\r\n".to_vec())),
        listing("a page of HTML", BROKEN, |_| Lie::json("<html><script>alert(1)</script></html>")),
        listing("half a page", BROKEN, |_| Lie::json("{\"value\":[{\"id\":\"1\",\"na")),
        listing("nothing", BROKEN, |_| Lie::json("")),
        listing("bytes that are no text", BROKEN, |_| {
            Lie::json(
                page("{\"id\":\"1\",\"name\":\"\u{0}\"}")
                    .into_iter()
                    .map(|byte| if byte == 0 { 0xff } else { byte })
                    .collect::<Vec<u8>>(),
            )
        }),
        listing("half a surrogate", BROKEN, |_| Lie::json(page("{\"id\":\"1\",\"name\":\"\\ud800\"}"))),
        listing("one member twice", BROKEN, |_| Lie::json("{\"value\":[],\"value\":[]}")),
        listing("no items", FAILED, |_| Lie::json("{}")),
        listing("null for items", FAILED, |_| Lie::json("{\"value\":null}")),
        listing("an object for items", FAILED, |_| Lie::json("{\"value\":{\"a\":1}}")),
        listing("an error of a megabyte", Sees::Error(&["Denied"]), |_| {
            let body = json!({"error": {"code": "x".repeat(1 << 19), "message": "y".repeat(1 << 19)}}).to_string();
            Lie::status("403 No", &[("content-type", "application/json")], body.as_bytes())
        }),
        listing("an error nested without end", Sees::Error(&["Denied"]), |_| {
            Lie::status("403 No", &[], format!("{{\"error\":{}", "{\"innerError\":".repeat(4000)).as_bytes())
        }),
    ]
}

fn links() -> Vec<Row> {
    let next = |case, sees, link: fn(&Proxy) -> String| {
        listing(case, sees, move |proxy| {
            let link = link(proxy);
            Lie::edit(move |page| page["@odata.nextLink"] = json!(link))
        })
    };
    let redirect = |case, to: fn(&Proxy) -> String| {
        listing(case, FAILED, move |proxy| Lie::status("302 Found", &[("location", &to(proxy))], b""))
    };
    vec![
        listing("a next page that is the first", FAILED, |proxy| {
            Lie::json(format!("{{\"value\":[],\"@odata.nextLink\":\"{}/v1.0/x/children\"}}", proxy.graph))
        }),
        next("a next page of somebody else", FAILED, |proxy| format!("{}/v1.0/next", proxy.elsewhere)),
        next("a next page on the storage host", FAILED, |proxy| format!("{}/next", proxy.storage)),
        next("a next page on this disk", FAILED, |_| "file:///etc/passwd".into()),
        next("a next page without encryption", FAILED, |_| "http://graph.example.org/next".into()),
        next("a next page in a private network", FAILED, |_| "https://192.168.0.1/next".into()),
        next("a next page with a user name", FAILED, |proxy| proxy.graph.replace("://", "://user:word@") + "/v1.0/x"),
        next("a next page that is no address", FAILED, |_| "next, please".into()),
        next("a next page of a megabyte", FAILED, |proxy| format!("{}/{}", proxy.graph, "x".repeat(1 << 20))),
        redirect("a redirect to this disk", |_| "file:///etc/passwd".into()),
        redirect("a redirect to somebody else", |proxy| proxy.elsewhere.clone()),
        redirect("a redirect to a private network", |_| "https://10.0.0.1/".into()),
        redirect("a redirect to itself", |proxy| format!("{}/v1.0/drives/x/items/y/children", proxy.graph)),
        listing("patience for a thousand years", Sees::Error(&["TimedOut"]), |_| {
            Lie::status("429 Slow", &[("retry-after", "31536000000")], b"{}")
        }),
        listing("patience beyond all numbers", Sees::Error(&["TimedOut"]), |_| {
            Lie::status("503 Slow", &[("retry-after", "99999999999999999999999999")], b"{}")
        }),
        listing("patience until the year 9999", Sees::Error(&["TimedOut"]), |_| {
            Lie::status("429 Slow", &[("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")], b"{}")
        }),
        listing("negative patience", Sees::Error(&["TimedOut"]), |_| {
            Lie::status("429 Slow", &[("retry-after", "-1")], b"{}")
        }),
    ]
}

fn feeds() -> Vec<Row> {
    let link = |case, key: &'static str, link: fn(&Proxy) -> String| {
        feed(case, Sees::NoNews, move |proxy| {
            let link = link(proxy);
            Lie::edit(move |page| {
                page.as_object_mut().expect("a page").remove("@odata.deltaLink");
                page[key] = json!(link);
            })
        })
    };
    let change = |case, sees, change: fn(&mut Value)| feed(case, sees, move |_| Lie::edit(change));
    vec![
        change("the root is deleted", Sees::News, |page| {
            another(page, "root", |copy| {
                copy["deleted"] = json!({"state": "deleted"});
            });
        }),
        change("the root is a file", Sees::News, |page| {
            another(page, "root", |copy| {
                copy.as_object_mut().expect("an item").remove("folder");
                copy.as_object_mut().expect("an item").remove("root");
                copy["file"] = json!({});
                copy["eTag"] = json!("mad");
            });
        }),
        change("the root is a shortcut", Sees::News, |page| {
            another(page, "root", |copy| {
                copy["remoteItem"] =
                    json!({"id": "X!1", "folder": {}, "parentReference": {"driveId": "0123456789abcdef"}});
                copy["eTag"] = json!("mad");
            });
        }),
        change("the root lies in a folder", Sees::News, |page| {
            let docs = named(page, "elsewhere.txt")["parentReference"]["id"].clone();
            another(page, "root", |copy| {
                copy.as_object_mut().expect("an item").remove("root");
                copy["parentReference"]["id"] = docs;
                copy["eTag"] = json!("mad");
            });
        }),
        change("a folder in itself", Sees::News, |page| {
            let docs = named(page, "elsewhere.txt")["parentReference"]["id"].clone();
            another(page, "elsewhere.txt", |copy| {
                copy["id"] = docs.clone();
                copy["name"] = json!("docs");
                copy.as_object_mut().expect("an item").remove("file");
                copy["folder"] = json!({});
                copy["parentReference"]["id"] = docs;
            });
        }),
        change("two folders in each other", Sees::News, |page| {
            let docs = named(page, "elsewhere.txt")["parentReference"]["id"].clone();
            another(page, "elsewhere.txt", |copy| {
                copy["id"] = json!("CYCLE!1");
                copy["name"] = json!("inner");
                copy.as_object_mut().expect("an item").remove("file");
                copy["folder"] = json!({});
            });
            another(page, "inner", |copy| {
                copy["id"] = docs;
                copy["name"] = json!("docs");
                copy["parentReference"]["id"] = json!("CYCLE!1");
            });
        }),
        change("a ring of a thousand folders", Sees::News, |page| {
            for number in 0..1000 {
                another(page, "elsewhere.txt", |copy| {
                    copy["id"] = json!(format!("RING!{number}"));
                    copy["name"] = json!(format!("ring {number}"));
                    copy.as_object_mut().expect("an item").remove("file");
                    copy["folder"] = json!({});
                    copy["parentReference"]["id"] = json!(format!("RING!{}", (number + 1) % 1000));
                });
            }
        }),
        change("a file in a file", Sees::News, |page| {
            let file = named(page, "elsewhere.txt")["id"].clone();
            another(page, "elsewhere.txt", |copy| {
                copy["id"] = json!("INSIDE!1");
                copy["parentReference"]["id"] = file;
            });
        }),
        change("one item in two folders", Sees::News, |page| {
            another(page, "elsewhere.txt", |copy| copy["parentReference"]["id"] = json!("NOWHERE!1"));
            another(page, "elsewhere.txt", |_| {});
        }),
        change("a name that climbs out", Sees::News, |page| {
            another(page, "elsewhere.txt", |copy| {
                copy["id"] = json!("CLIMB!1");
                copy["name"] = json!("../../../tmp/climbed");
            });
        }),
        change("the deletion of what never was", Sees::News, |page| {
            another(page, "elsewhere.txt", |copy| {
                copy["id"] = json!("NEVER!1");
                copy["deleted"] = json!({});
            });
        }),
        change("an item of another drive", Sees::News, |page| {
            another(page, "elsewhere.txt", |copy| {
                copy["id"] = json!("OTHER!1");
                copy["parentReference"]["driveId"] = json!("fedcba9876543210");
            });
        }),
        change("an item that is file, folder and package", Sees::News, |page| {
            another(page, "elsewhere.txt", |copy| {
                copy["id"] = json!("CHIMERA!1");
                copy["name"] = json!("chimera");
                copy["folder"] = json!({});
                copy["package"] = json!({"type": "oneNote"});
            });
        }),
        change("no link at all", Sees::NoNews, |page| {
            page.as_object_mut().expect("a page").remove("@odata.deltaLink");
        }),
        feed("a next page that is this one", Sees::NoNews, |proxy| {
            Lie::json(format!("{{\"value\":[],\"@odata.nextLink\":\"{}/v1.0/x/delta?token=1\"}}", proxy.graph))
        }),
        link("a next page of somebody else", "@odata.nextLink", |proxy| format!("{}/delta?token=x", proxy.elsewhere)),
        link("a next page of a megabyte", "@odata.nextLink", |proxy| {
            format!("{}/delta?token={}", proxy.graph, "x".repeat(1 << 20))
        }),
        link("a position of a megabyte", "@odata.deltaLink", |proxy| {
            format!("{}/delta?token={}", proxy.graph, "x".repeat(1 << 20))
        }),
        feed("ten million changes", Sees::NoNews, |_| {
            Lie::json(format!("{{\"value\":[{}{{}}],\"@odata.deltaLink\":\"x\"}}", "{},".repeat(10_000_000)))
        }),
        feed("a feed without end", Sees::NoNews, |_| Lie::Endless(head(""), vec![b' '; 1 << 20])),
        feed("a redirect to somebody else", Sees::NoNews, |proxy| {
            Lie::status("302 Found", &[("location", &proxy.elsewhere)], b"")
        }),
    ]
}

fn contents() -> Vec<Row> {
    let redirected = |case, to: fn(&Proxy) -> String| {
        content(case, BROKEN, move |proxy| Lie::status("302 Found", &[("location", &to(proxy))], b""))
    };
    vec![
        address("content on this disk", FAILED, |_| "file:///etc/passwd".into()),
        address("content without encryption", FAILED, |_| "http://example.org/a".into()),
        address("content in a private network", FAILED, |_| "https://192.168.0.1/a".into()),
        address("content at the door of a cloud machine", FAILED, |_| "http://169.254.169.254/latest".into()),
        address("content by another protocol", FAILED, |_| "ftp://example.org/a".into()),
        address("content in the address itself", FAILED, |_| "data:text/plain,alpha".into()),
        address("content with a user name", FAILED, |proxy| proxy.storage.replace("://", "://user:word@") + "/a"),
        address("content at an address of a megabyte", FAILED, |proxy| {
            format!("{}/{}", proxy.storage, "x".repeat(1 << 20))
        }),
        address("content at no address", FAILED, |_| "over there".into()),
        address("content of somebody else", BROKEN, |proxy| format!("{}/download/a", proxy.elsewhere)),
        redirected("content moved to this disk", |_| "file:///etc/passwd".into()),
        redirected("content moved to a private network", |_| "https://10.1.2.3/".into()),
        redirected("content moved in a circle", |proxy| format!("{}/download/again", proxy.storage)),
        redirected("content moved back to the service", |proxy| format!("{}/v1.0/me", proxy.graph)),
        content("another range", BROKEN, |_| Lie::status("206 Part", &[("content-range", "bytes 1-5/6")], A)),
        content("a range that is none", BROKEN, |_| Lie::status("206 Part", &[("content-range", "bytes */*")], A)),
        content("a range beyond all numbers", BROKEN, |_| {
            Lie::status("206 Part", &[("content-range", "bytes 0-18446744073709551615/18446744073709551615")], A)
        }),
        content("a negative range", BROKEN, |_| Lie::status("206 Part", &[("content-range", "bytes -5-0/5")], A)),
        content("a file that is larger than all disks", BROKEN, |_| {
            Lie::status("206 Part", &[("content-range", "bytes 0-4/9223372036854775807")], A)
        }),
        content("a file that is shorter than it says", BROKEN, |_| {
            Lie::status("206 Part", &[("content-range", "bytes 0-1/2")], b"al")
        }),
        content("fewer bytes than promised", BROKEN, |_| {
            let head = "HTTP/1.1 206 P\r\ncontent-length: 5\r\ncontent-range: bytes 0-4/5\r\n\r\nal";
            Lie::raw(head.as_bytes().to_vec())
        }),
        content("bytes without end", Sees::AnEnd, |_| {
            Lie::Endless(b"HTTP/1.1 206 P\r\ncontent-range: bytes 0-4/5\r\n\r\nalpha".to_vec(), vec![b'x'; 1 << 20])
        }),
        content("the whole of a file without end", Sees::AnEnd, |_| {
            Lie::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 1 << 20])
        }),
        content("a page of HTML", BROKEN, |_| {
            Lie::status("200 OK", &[("content-type", "text/html")], b"<html>sign in</html>")
        }),
        content("bytes that drip", BROKEN, |_| {
            Lie::Drip(
                b"HTTP/1.1 206 P\r\ncontent-length: 5\r\ncontent-range: bytes 0-4/5\r\n\r\nal".to_vec(),
                Duration::from_secs(1),
            )
        }),
        content("nothing there, and a length beyond all numbers", BROKEN, |_| {
            Lie::status("416 No", &[("content-range", "bytes */18446744073709551615")], b"")
        }),
        content("compressed without being asked", Sees::AnEnd, |_| {
            Lie::status("206 P", &[("content-range", "bytes 0-4/5"), ("content-encoding", "gzip")], A)
        }),
    ]
}

fn uploads() -> Vec<Row> {
    vec![
        session("an upload to this disk", Sees::Waits, "uploadUrl", |_| json!("file:///tmp/x")),
        session("an upload without encryption", Sees::Waits, "uploadUrl", |_| json!("http://example.org/up")),
        session("an upload into a private network", Sees::Waits, "uploadUrl", |_| json!("https://10.0.0.1/up")),
        session("an upload to nowhere", Sees::Waits, "uploadUrl", |_| Value::Null),
        session("an upload to an address of a megabyte", Sees::Waits, "uploadUrl", |proxy| {
            json!(format!("{}/{}", proxy.storage, "x".repeat(1 << 20)))
        }),
        session("an upload to somebody else", Sees::Waits, "uploadUrl", |proxy| {
            json!(format!("{}/up", proxy.elsewhere))
        }),
        session("a session until the year 9999", Sees::Arrives, "expirationDateTime", |_| {
            json!("9999-12-31T23:59:59Z")
        }),
        session("a session that ended in the stone age", Sees::Arrives, "expirationDateTime", |_| {
            json!("0001-01-01T00:00:00Z")
        }),
        fragment("beginning beyond the end", Sees::Waits, |_| {
            Lie::status("202 Go", &[], br#"{"nextExpectedRanges":["18446744073709551615-"]}"#)
        }),
        fragment("always from the start", Sees::Waits, |_| {
            Lie::status("202 Go", &[], br#"{"nextExpectedRanges":["0-"]}"#)
        }),
        fragment("a range that is none", Sees::Waits, |_| {
            Lie::status("202 Go", &[], br#"{"nextExpectedRanges":["-5--1","x"]}"#)
        }),
        fragment("a million ranges", Sees::Waits, |_| {
            let ranges = "\"0-\",".repeat(150_000);
            Lie::status("202 Go", &[], format!("{{\"nextExpectedRanges\":[{ranges}\"0-\"]}}").as_bytes())
        }),
        fragment("done, says nobody", Sees::Waits, |_| Lie::status("201 Made", &[], b"{}")),
        fragment("done, and it is another file", Sees::Waits, |_| {
            Lie::status("201 Made", &[], br#"{"id":"X!1","name":"../../x","size":-1,"file":{}}"#)
        }),
        fragment("an answer without end", Sees::Waits, |_| Lie::Endless(head(""), vec![b' '; 1 << 20])),
        fragment("moved to somebody else", Sees::Waits, |proxy| {
            Lie::status("307 Go", &[("location", &proxy.elsewhere)], b"")
        }),
        row("a small file, and the answer is another file", Does::Save, Sees::Waits, |_| {
            told(
                Door::Graph,
                "PUT",
                ":/content",
                Lie::status("201 Made", &[], br#"{"id":"..","name":"../x","size":-1,"file":{}}"#),
            )
        }),
        row("a small file, and the answer has no end", Does::Save, Sees::Waits, |_| {
            told(Door::Graph, "PUT", ":/content", Lie::Endless(head(""), vec![b' '; 1 << 20]))
        }),
        row("a small file moved to somebody else", Does::Save, Sees::Waits, |proxy| {
            told(Door::Graph, "PUT", ":/content", Lie::status("308 Go", &[("location", &proxy.elsewhere)], b""))
        }),
    ]
}

/// Two hundred megabytes of zeros, compressed: two hundred kilobytes.
fn bomb() -> Vec<u8> {
    let mut gzip = std::process::Command::new("gzip")
        .arg("-9c")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip is part of every system");
    let mut input = gzip.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || {
        for _ in 0..200 {
            std::io::Write::write_all(&mut input, &vec![b' '; 1 << 20]).expect("gzip reads");
        }
    });
    let output = gzip.wait_with_output().expect("gzip ends");
    writer.join().expect("written");
    assert!(output.stdout.len() < 1 << 20, "{}", output.stdout.len());
    output.stdout
}

/// A clock that can be put forward: the longest pause that a service may impose is an hour, and no test waits for it.
struct Jumping {
    real: Arc<dyn Clock>,
    by: Arc<AtomicU64>,
}

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        self.real.now().plus(Duration::from_nanos(self.by.load(Ordering::Relaxed)))
    }

    fn monotonic(&self) -> Mono {
        self.real.monotonic().plus(Duration::from_nanos(self.by.load(Ordering::Relaxed)))
    }

    fn sleep(&self, by: Duration) -> Sleep {
        self.real.sleep(by)
    }
}

/// A drive behind a service that lies.
struct Bench {
    /// Nanoseconds by which the world's clock is ahead.
    jump: Arc<AtomicU64>,
    world: World,
    proxy: Proxy,
    running: Running,
}

impl Bench {
    async fn new() -> Self {
        let mut world = World::new(Flavour::PersonalNew).await;
        let jump = Arc::new(AtomicU64::new(0));
        world.clock = Arc::new(Jumping { real: world.clock.clone(), by: jump.clone() });
        let drive = world.emulator.drive();
        drive.create_file("/safe.txt", "safe");
        drive.create_file("/docs/a.txt", A);
        drive.create_file("/docs/b.txt", "beta");
        let proxy = Proxy::start(&world.emulator).await;
        let token = world.emulator.oauth().issue_tokens().access;
        let short = Duration::from_secs(2);
        let options = RemoteOptions {
            patience: Patience { connect: short, headers: short, idle: short },
            ..RemoteOptions::new(proxy.graph.clone())
        };
        let tokens = Arc::new(StaticToken::new(token));
        let remote = stack::open(&options, tokens, world.clock.clone(), system_entropy()).expect("opens").remote;
        let core = world.open_on(remote, world.home.path()).await;
        core.prepare().await;
        // The root is known, `/docs` is not.
        User(&core).list("/").await.expect("the root");
        let tasks = TaskGroup::new(world.clock.clone());
        Self { jump, world, proxy, running: Running { core, tasks } }
    }

    fn core(&self) -> &Core {
        &self.running.core
    }

    /// What the user does, in the words of the table.
    async fn run(&self, does: Does) -> Result<Vec<u8>, VolumeError> {
        let user = User(self.core());
        match does {
            Does::List => user.list("/docs").await.map(|names| names.join("\n").into_bytes()),
            Does::Read => user.read("/docs/a.txt").await,
            Does::Follow => {
                self.world.emulator.drive().write_file("/docs/elsewhere.txt", "news");
                let polled = self.core().poller.poll_now().await;
                polled.map(|_| Vec::new()).map_err(|trouble| VolumeError::Failed(trouble.to_string()))
            }
            Does::Save => user.write("/docs/new.txt", b"new").await.map(|()| Vec::new()),
            Does::SaveLarge => user.write("/docs/large.bin", &large()).await.map(|()| Vec::new()),
        }
    }

    /// The service tells the truth: everything works.
    async fn truth(&self) -> Result<(), String> {
        let user = User(self.core());
        let drive = self.world.emulator.drive();
        let said = |what: &'static str| move |error: VolumeError| format!("afterwards, {what}: {error:?}");
        drive.write_file("/docs/fresh.txt", "fresh");
        // What expired is listed anew by the task that follows changes.
        self.core().poller.poll_now().await.map_err(|error| format!("afterwards, following: {error}"))?;
        let root = user.list("/").await.map_err(said("listing the root"))?;
        if !["docs", "safe.txt"].iter().all(|name| root.iter().any(|known| known == name)) {
            return Err(format!("afterwards, the root holds {root:?}"));
        }
        let safe = user.read("/safe.txt").await.map_err(said("reading"))?;
        if safe != b"safe" {
            return Err(format!("afterwards, a file holds {safe:?}"));
        }
        user.list("/docs").await.map_err(said("listing the folder"))?;
        let mut fresh = Err(VolumeError::NotFound);
        for _ in 0..500 {
            fresh = user.read("/docs/fresh.txt").await;
            if fresh.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if fresh.map_err(said("reading what is new"))? != b"fresh" {
            return Err("afterwards, a new file holds something else".into());
        }
        user.write("/good.txt", b"good").await.map_err(said("saving"))?;
        self.core().journal.retry_all().map_err(|error| format!("afterwards, retrying: {error}"))?;
        self.until("saving", || drive.read_file("/good.txt").as_deref() == Some(b"good")).await
    }

    async fn until(&self, what: &str, mut condition: impl FnMut() -> bool) -> Result<(), String> {
        for turn in 0..3000 {
            if condition() {
                return Ok(());
            }
            if turn % 100 == 99 {
                // What waits for a while of its own accord need not hold up the test.
                let _ = self.core().journal.retry_all();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let left: Vec<String> =
            self.core().journal.view(|overlay| overlay.iter().map(|intent| format!("{intent:?}")).collect());
        Err(format!("never happened: {what}; left: {left:#?}"))
    }
}

fn large() -> Vec<u8> {
    (0..5_000_000u32).map(|at| (at / 7 % 251) as u8).collect()
}

/// Tries one row; the text says what went wrong.
async fn try_row(row: &Row) -> Result<(), String> {
    let mut bench = Bench::new().await;
    if matches!(row.does, Does::Follow | Does::Save | Does::SaveLarge) {
        User(bench.core()).list("/docs").await.map_err(|error| format!("before: {error:?}"))?;
    }
    bench.proxy.tell(Some((row.told)(&bench.proxy)));
    if matches!(row.does, Does::Save | Does::SaveLarge) {
        let core = bench.core();
        core.spawn_tasks(&bench.running.tasks);
    }
    let limit = tokio::time::sleep(Duration::from_secs(60));
    let outcome = tokio::select! {
        outcome = bench.run(row.does) => outcome,
        () = limit => return Err("it takes longer than a minute".into()),
    };
    verdict(row, &bench, outcome).await?;
    if bench.proxy.struck() == 0 {
        return Err("the lie was never told".into());
    }
    bench.proxy.tell(None);
    if row.name.starts_with("patience") {
        bench.jump.store(Duration::from_secs(3601).as_nanos() as u64, Ordering::Relaxed);
    }
    if matches!(row.does, Does::List | Does::Read | Does::Follow) {
        let core = bench.core();
        core.spawn_tasks(&bench.running.tasks);
    }
    bench.truth().await?;
    if let Sees::Waits | Sees::Arrives = row.sees {
        let (path, bytes) = match row.does {
            Does::Save => ("/docs/new.txt", b"new".to_vec()),
            _ => ("/docs/large.bin", large()),
        };
        let drive = bench.world.emulator.drive().clone();
        bench.until("the saved file arrives", || drive.read_file(path).as_ref() == Some(&bytes)).await?;
    }
    let ended = bench.running.tasks.failures().borrow().iter().map(|ended| format!("{ended:?}")).collect::<Vec<_>>();
    if !ended.is_empty() {
        return Err(format!("tasks ended: {ended:?}"));
    }
    nobody_else_was_told(&bench.proxy)?;
    nothing_left_the_mount(&bench)?;
    bench.proxy.tell(None);
    let running = std::mem::replace(&mut bench.running.tasks, TaskGroup::new(bench.world.clock.clone()));
    bench.running.core.uploader.stop();
    running.stop(Duration::from_secs(5)).await;
    Ok(())
}

async fn verdict(row: &Row, bench: &Bench, outcome: Result<Vec<u8>, VolumeError>) -> Result<(), String> {
    let user = User(bench.core());
    match (row.sees, outcome) {
        (Sees::AnEnd, _) => Ok(()),
        (Sees::Names(names), Ok(seen)) => {
            let mut wanted: Vec<&str> = names.to_vec();
            wanted.sort_unstable();
            let seen = String::from_utf8(seen).expect("names are text");
            if seen != wanted.join("\n") {
                return Err(format!("sees {seen:?}"));
            }
            for name in wanted {
                user.walk(&format!("/docs/{name}")).await.map_err(|error| format!("{name:?} is shown: {error:?}"))?;
            }
            Ok(())
        }
        (Sees::Error(names), Err(error)) => {
            let text = format!("{error:?} {error}");
            if text.len() > 1500 || text.contains("http://") || text.contains("tempauth") {
                return Err(format!("says too much: {text}"));
            }
            if names.iter().any(|name| text.starts_with(name)) { Ok(()) } else { Err(format!("sees {text}")) }
        }
        // A position that is no longer good is no error: the drive is listed again.
        (Sees::NoNews, _) => match user.walk("/docs/elsewhere.txt").await {
            Err(VolumeError::NotFound) => Ok(()),
            other => Err(format!("news in spite of it: {other:?}")),
        },
        (Sees::News, Ok(_)) => {
            for path in ["/docs/a.txt", "/docs/b.txt", "/docs/elsewhere.txt", "/safe.txt"] {
                user.walk(path).await.map_err(|error| format!("{path}: {error:?}"))?;
            }
            Ok(())
        }
        (Sees::Arrives, Ok(_)) => {
            let drive = bench.world.emulator.drive().clone();
            bench.until("it arrives", || drive.read_file("/docs/large.bin").is_some_and(|bytes| bytes == large())).await
        }
        (Sees::Waits, Ok(_)) => {
            // Until the lie has been told a few times, and then it is still here.
            for _ in 0..500 {
                if bench.proxy.struck() >= 1
                    && bench
                        .core()
                        .journal
                        .view(|overlay| overlay.iter().any(|intent| intent.last_error.is_some() || intent.attempts > 0))
                {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        }
        (_, outcome) => Err(format!("sees {:?}", outcome.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))),
    }
}

/// The token goes to the service, and to nobody else.
fn nobody_else_was_told(proxy: &Proxy) -> Result<(), String> {
    for visit in proxy.visits() {
        match (visit.door, &visit.authorization) {
            (Door::Graph, Some(_)) | (_, None) => {}
            (door, Some(_)) => return Err(format!("a token went to {door:?}: {} {}", visit.method, visit.target)),
        }
    }
    Ok(())
}

/// Nothing was created beside the folders of the drive, and no cached file has a name from the service.
fn nothing_left_the_mount(bench: &Bench) -> Result<(), String> {
    let home = bench.world.home.path();
    let mut names: Vec<_> =
        fs::read_dir(home).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    if names != ["cache", "state"] {
        return Err(format!("the home holds {names:?}"));
    }
    Ok(())
}

fn table() -> Vec<(&'static str, Vec<Row>)> {
    vec![
        ("names", names()),
        ("identities", identities()),
        ("sizes and dates", values()),
        ("bodies", bodies()),
        ("links", links()),
        ("feeds", feeds()),
        ("contents", contents()),
        ("uploads", uploads()),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_the_service_says_does_harm() {
    let mut failures = String::new();
    let mut counted = 0;
    let only = std::env::var("ONEDRIVE_HOSTILE_ONLY").unwrap_or_default();
    for (part, rows) in table() {
        let rows: Vec<Row> = rows.into_iter().filter(|row| row.name.contains(&only)).collect();
        let count = rows.len();
        counted += count;
        let results: Vec<(&'static str, Does, Sees, Result<(), String>)> = futures_util::stream::iter(rows)
            .map(|row| async move {
                let result = try_row(&row).await;
                (row.name, row.does, row.sees, result)
            })
            .buffer_unordered(6)
            .collect()
            .await;
        for (name, does, sees, result) in results {
            if let Err(error) = result {
                writeln!(failures, "{part}: {name} ({does:?}, expected {sees:?}): {error}").expect("a string grows");
            }
        }
    }
    println!("hostile-server cases: {counted}");
    assert!(failures.is_empty(), "\n{failures}");
}

/// The most memory that a daemon may have used at any time, in KiB. Most of it is one page of the largest size, taken
/// in and parsed; the rest of a daemon is 30 MB or so.
const MOST_MEMORY: u64 = 400 << 10;

/// Some of the worst, through a real daemon and a real mount: it lives on, and its memory is counted.
#[test]
fn a_daemon_and_its_mount_outlive_a_mad_service() {
    require_fuse();
    let service = Service::new(Flavour::PersonalNew);
    let drive = service.drive();
    drive.create_file("/safe.txt", "safe");
    let proxy = service.block_on(Proxy::start(service.emulator()));
    let home = service.home("upload:\n  debounce: 0s\n");
    let settings = places(&home).settings;
    let text = fs::read_to_string(&settings).expect("settings");
    let real = format!("graph: {}", service.emulator().endpoints().graph);
    fs::write(&settings, text.replace(&real, &format!("graph: {}", proxy.graph))).expect("settings");
    // The first listing of everything must not be in the way.
    let mount = Start::with(["--log-level", "debug"]).mount(&home);
    let until = |what: &str, condition: &mut dyn FnMut() -> bool| {
        for _ in 0..4500 {
            if condition() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("never happened: {what}\n{}", mount.log());
    };
    until("the drive was listed once", &mut || mount.log().contains("the whole drive was listed"));
    let mut cases = 0;
    // In the feed, which the daemon reads by itself.
    for (name, lie) in [
        ("ten million changes", Lie::json(format!("{{\"value\":[{}{{}}]}}", "{},".repeat(10_000_000)))),
        ("a feed without end", Lie::Endless(head(""), vec![b' '; 1 << 20])),
        ("a compressed bomb", {
            let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
            Lie::status("200 OK", &headers, &bomb())
        }),
        ("deep nesting", Lie::json(nested(5_000_000, "[", "]"))),
        ("a million items", {
            let item = |number: u32| format!("{{\"id\":\"M!{number}\",\"name\":\"../{number}\",\"file\":{{}}}}");
            let items: Vec<String> = (0..500_000).map(item).collect();
            Lie::json(format!("{{\"value\":[{}],\"@odata.deltaLink\":\"x\"}}", items.join(",")))
        }),
        ("redirects", Lie::status("302 Found", &[("location", "file:///etc/passwd")], b"")),
        ("no HTTP", Lie::raw(vec![0xff; 5000])),
    ] {
        cases += 1;
        let before = proxy.struck();
        proxy.tell(Some(told(Door::Graph, "GET", "delta", lie)));
        until(name, &mut || proxy.struck() > before);
        assert_eq!(fs::read(mount.path("safe.txt")).expect(name), b"safe", "{name}");
        proxy.tell(None);
        let path = format!("/after {cases}");
        drive.write_file(&path, name);
        until(name, &mut || fs::read(mount.path(&path[1..])).is_ok_and(|bytes| bytes == name.as_bytes()));
        fs::write(mount.path(format!("saved {cases}")), name).expect("saves");
        until(name, &mut || drive.read_file(&format!("/saved {cases}")).as_deref() == Some(name.as_bytes()));
    }
    // In content, which a program reads.
    for (name, lie) in [
        ("content without end", Lie::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 1 << 20])),
        ("content of another size", Lie::status("206 P", &[("content-range", "bytes 0-4/9223372036854775807")], A)),
        ("content moved to this disk", Lie::status("302 Found", &[("location", "file:///etc/passwd")], b"")),
        ("content moved to a router", Lie::status("302 Found", &[("location", "https://192.168.0.1/")], b"")),
    ] {
        cases += 1;
        let path = format!("content {cases}");
        drive.create_file(&format!("/{path}"), vec![b'a'; 3 << 20]);
        until(name, &mut || mount.path(&path).exists());
        proxy.tell(Some(told(Door::Storage, "GET", "/download", lie)));
        let got = fs::read(mount.path(&path));
        assert!(got.is_err() || name == "content without end", "{name}: {:?}", got.map(|bytes| bytes.len()));
        proxy.tell(None);
    }
    let status = fs::read_to_string(format!("/proc/{}/status", mount.process())).expect("a process");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    println!("hostile-server cases through a daemon: {cases}, its memory at most {} MiB", peak >> 10);
    assert!(peak < MOST_MEMORY, "the daemon took {peak} KiB");
    assert!(!mount.log().contains("panicked"), "{}", mount.log());
    nobody_else_was_told(&proxy).expect("no token elsewhere");
}
