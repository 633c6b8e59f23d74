//! The rows: what is answered in place of the truth, what the user does, and what the user sees.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Does, Row, Sees, bomb, row, told};
use crate::world::proxy::{Door, Lie, Proxy};

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

pub(super) fn nested(depth: usize, open: &str, close: &str) -> String {
    open.repeat(depth) + &close.repeat(depth)
}

/// A page whose JSON this function writes.
fn page(items: &str) -> Vec<u8> {
    format!("{{\"value\":[{items}]}}").into_bytes()
}

pub(super) fn head(more: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n{more}\r\n").into_bytes()
}

const BOTH: &[&str] = &["a.txt", "b.txt"];
const ONE: &[&str] = &["a.txt"];
pub(super) const A: &[u8] = b"alpha";
/// Refused, or not over in time: a busy machine may take long over thirty megabytes.
const FAILED: Sees = Sees::Error(&["Failed", "TimedOut"]);
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
        address("content of somebody else", Sees::Reads("{}"), |proxy| format!("{}/download/a", proxy.elsewhere)),
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
        // Photos of some phones are, for good: what comes counts, not the size that was reported.
        content("a file that is shorter than it says", Sees::Reads("al"), |_| {
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

/// All of them, by what is lied about.
pub(super) fn table() -> Vec<(&'static str, Vec<Row>)> {
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
