//! What is lied about in the words of Live Connect and of BITS: identities, listings that stand for changes, addresses of
//! content, uploads.

use serde_json::{Value, json};

use super::table::{
    BOTH, BROKEN, FAILED, LONG, NO_URL, ONE, PLAIN, PRIVATE, SCHEME, Speech, USER, another, bodies, contents, detours,
    ever_more, head, items, listing, member, named, names, values,
};
use super::{Does, Row, Sees, row, told};
use crate::world::proxy::{Door, Lie, Proxy};

const LIVE: Speech = Speech::Live;

fn identities() -> Vec<Row> {
    vec![
        member(LIVE, "no id", Sees::Names(ONE), "id", || Value::Null),
        member(LIVE, "an empty id", Sees::Names(ONE), "id", || json!("")),
        member(LIVE, "an id that climbs", Sees::Names(ONE), "id", || json!("..")),
        member(LIVE, "an id with a path in it", Sees::Names(ONE), "id", || json!("file.x/../../me/contacts")),
        member(LIVE, "an id with a line break", Sees::Names(ONE), "id", || json!("file.X\nY")),
        member(LIVE, "an id of a megabyte", Sees::Names(ONE), "id", || json!("x".repeat(1 << 20))),
        member(LIVE, "an id of a hundred dots", Sees::AnEnd, "id", || json!("file".to_owned() + &".x".repeat(100))),
        member(LIVE, "a number beyond all numbers", Sees::Names(BOTH), "id", || {
            json!(format!("file.0123456789abcdef.123456789ABCDEF!{}", "9".repeat(200)))
        }),
        member(LIVE, "a parent that climbs", Sees::Names(ONE), "parent_id", || json!("../..")),
        member(LIVE, "a type that is none", Sees::Names(BOTH), "type", || json!("\u{202E}")),
        member(LIVE, "a type that is a number", FAILED, "type", || json!(7)),
        listing(LIVE, "a folder that never ends", Sees::Error(&["Failed"]), |_| Lie::json(endless_page())),
        row("a folder that never ends, and something is to be saved in it", Does::Save, Sees::Waits, |_| {
            told(Door::Graph, "GET", LIVE.listing(), Lie::json(endless_page()))
        }),
        listing(LIVE, "one id twice", Sees::Names(ONE), |_| {
            Lie::edit(|page| {
                let id = named(page, "a.txt")["id"].clone();
                named(page, "b.txt")["id"] = id;
            })
        }),
        listing(LIVE, "the folder in itself", Sees::Names(BOTH), |_| {
            Lie::edit(|page| {
                let parent = named(page, "b.txt")["parent_id"].clone();
                another(page, "b.txt", |copy| {
                    copy["id"] = parent;
                    copy["name"] = json!("itself");
                    copy["type"] = json!("folder");
                });
            })
        }),
        listing(LIVE, "a second root", Sees::Names(&["a.txt", "b.txt", "second"]), |_| {
            Lie::edit(|page| {
                another(page, "b.txt", |copy| {
                    copy["id"] = json!("folder.fedcba9876543210");
                    copy["name"] = json!("second");
                    copy["parent_id"] = Value::Null;
                    copy["type"] = json!("folder");
                })
            })
        }),
    ]
}

/// A full page of one object, which is the last one of the page before as well.
fn endless_page() -> String {
    format!("{{\"data\":[{}{{}}]}}", "{\"id\":\"file.x.x!1\",\"name\":\"b.txt\"},".repeat(100))
}

/// Listings, of which changes are made.
fn changes() -> Vec<Row> {
    fn change(name: &'static str, sees: Sees, edit: fn(&mut Value)) -> Row {
        // Of whichever folder is listed; a page without the item that is meant stays as it is.
        let lie = move |page: &mut Value| {
            if page["data"].is_array() && items(page).iter().any(|item| item["name"] == "elsewhere.txt") {
                edit(page);
            }
        };
        row(name, Does::Follow, sees, move |_| told(Door::Graph, "GET", LIVE.listing(), Lie::edit(lie)))
    }
    fn refused(name: &'static str, lie: impl Fn(&Proxy) -> Lie + Send + Sync + 'static) -> Row {
        row(name, Does::Follow, Sees::NoNews, move |proxy| told(Door::Graph, "GET", LIVE.listing(), lie(proxy)))
    }
    vec![
        change("a folder in itself", Sees::News, |page| {
            let docs = named(page, "elsewhere.txt")["parent_id"].clone();
            another(page, "elsewhere.txt", |copy| {
                copy["id"] = docs;
                copy["name"] = json!("docs");
                copy["type"] = json!("folder");
            });
        }),
        change("the root lies in a folder", Sees::News, |page| {
            another(page, "elsewhere.txt", |copy| {
                let drive = copy["id"].as_str().and_then(|id| id.split('.').nth(1)).expect("an account").to_owned();
                copy["id"] = json!(format!("folder.{drive}"));
                copy["name"] = json!("root");
                copy["type"] = json!("folder");
            });
        }),
        change("a ring of fifty folders", Sees::News, |page| {
            for number in 0..50 {
                another(page, "elsewhere.txt", |copy| {
                    let id = copy["id"].as_str().expect("an id").replacen("file.", "folder.", 1);
                    let (account, _) = id.rsplit_once('!').expect("a number");
                    copy["id"] = json!(format!("{account}!{}", 900_000 + number));
                    copy["parent_id"] = json!(format!("{account}!{}", 900_000 + (number + 1) % 50));
                    copy["name"] = json!(format!("ring {number}"));
                    copy["type"] = json!("folder");
                });
            }
        }),
        change("one item in two folders", Sees::News, |page| {
            another(page, "elsewhere.txt", |copy| copy["parent_id"] = json!("folder.x.X!1"));
        }),
        change("a name that climbs out", Sees::News, |page| {
            another(page, "elsewhere.txt", |copy| {
                copy["id"] = json!("file.0123456789abcdef.123456789ABCDEF!77");
                copy["name"] = json!("../../../tmp/climbed");
            });
        }),
        change("an item of another drive", Sees::News, |page| {
            another(page, "elsewhere.txt", |copy| {
                copy["id"] = json!("file.fedcba9876543210.FEDCBA9876543210!1");
                copy["name"] = json!("of another drive");
            });
        }),
        // Nothing may be called gone for this.
        row("empty folders everywhere", Does::Follow, Sees::NoNews, |_| {
            told(Door::Graph, "GET", LIVE.listing(), Lie::json("{\"data\":[]}"))
        }),
        refused("ten million items", |_| Lie::json(format!("{{\"data\":[{}{{}}]}}", "{},".repeat(10_000_000)))),
        refused("a listing without end", |_| Lie::Endless(head(""), vec![b' '; 1 << 20])),
        refused("a folder that never ends", |_| Lie::json(endless_page())),
        refused("ever more pages", |proxy| Lie::counted(ever_more(LIVE, proxy))),
        refused("no items", |_| Lie::json("{}")),
        refused("a redirect to somebody else", |proxy| {
            Lie::status("302 Found", &[("location", &proxy.elsewhere)], b"")
        }),
    ]
}

/// Where the content of a file is.
fn addresses() -> Vec<Row> {
    type To = fn(&Proxy) -> String;
    let moved = |name, sees, to: To| {
        row(name, Does::Read, sees, move |proxy| {
            told(Door::Graph, "GET", "/content", Lie::status("302 Found", &[("location", &to(proxy))], b""))
        })
    };
    let address = |name, why, to: To| moved(name, Sees::Refused(why), to);
    let broken = |name, to: To| moved(name, BROKEN, to);
    vec![
        address("content on this disk", SCHEME, |_| "file:///etc/passwd".into()),
        address("content without encryption", PLAIN, |_| "http://example.org/a".into()),
        address("content in a private network", PRIVATE, |_| "https://192.168.0.1/a".into()),
        address("content at the door of a cloud machine", PLAIN, |_| "http://169.254.169.254/latest".into()),
        address("content at that door, encrypted", PRIVATE, |_| "https://169.254.169.254/latest".into()),
        address("content by another protocol", SCHEME, |_| "ftp://example.org/a".into()),
        address("content in the address itself", SCHEME, |_| "data:text/plain,alpha".into()),
        address("content with a user name", USER, |proxy| proxy.storage.replace("://", "://user:word@") + "/a"),
        address("content at a long address", LONG, |proxy| format!("{}/{}", proxy.storage, "x".repeat(40_000))),
        address("content at no address", NO_URL, |_| "over there".into()),
        // No such header is taken from anybody.
        broken("content at an address of a megabyte", |proxy| format!("{}/{}", proxy.storage, "x".repeat(1 << 20))),
        broken("content at an address that is no text", |_| "over there\u{7f}".into()),
        // It has another length, so it is another version.
        row("content of somebody else", Does::Read, Sees::Error(&["Stale", "Failed", "TimedOut"]), |proxy| {
            let to = format!("{}/y2m/a", proxy.elsewhere);
            told(Door::Graph, "GET", "/content", Lie::status("302 Found", &[("location", &to)], b""))
        }),
        row("content in place of its address", Does::Read, BROKEN, |_| {
            told(Door::Graph, "GET", "/content", Lie::status("200 OK", &[("content-type", "text/plain")], b"alpha"))
        }),
    ]
}

/// An answer to a packet of an upload.
fn packet(name: &'static str, packet: &'static str, lie: impl Fn(&Proxy) -> Lie + Send + Sync + 'static) -> Row {
    row(name, Does::SaveLarge, Sees::Waits, move |proxy| told(Door::Storage, packet, "", lie(proxy)))
}

fn ack(session: &str, received: &str) -> Lie {
    let headers = [
        ("BITS-Packet-Type", "Ack"),
        ("BITS-Protocol", "{7df0354d-249b-430f-820d-3d2a9bef4931}"),
        ("BITS-Session-Id", session),
        ("BITS-Received-Content-Range", received),
    ];
    let headers: Vec<_> = headers.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    Lie::status("200 OK", &headers, b"")
}

fn uploads() -> Vec<Row> {
    vec![
        packet("a session without a name", "Create-Session", |_| ack("", "")),
        packet("a session with a name of a megabyte", "Create-Session", |_| ack(&"x".repeat(1 << 20), "")),
        packet("a session with a path for a name", "Create-Session", |_| ack("../../me", "")),
        packet("a session of somebody else", "Create-Session", |proxy| {
            Lie::status("307 Go", &[("location", &proxy.elsewhere)], b"")
        }),
        packet("a session without end", "Create-Session", |_| Lie::Endless(head(""), vec![b' '; 1 << 20])),
        packet("beginning beyond the end", "Fragment", |_| ack("", "18446744073709551615")),
        packet("beginning beyond all numbers", "Fragment", |_| ack("", "99999999999999999999999999")),
        packet("a negative beginning", "Fragment", |_| ack("", "-5")),
        packet("always from the start", "Fragment", |_| ack("", "0")),
        packet("no word of how far", "Fragment", |_| ack("", "")),
        packet("out of step for ever", "Fragment", |_| {
            Lie::status("416 No", &[("BITS-Packet-Type", "Ack"), ("BITS-Received-Content-Range", "1")], b"")
        }),
        packet("every fragment too long", "Fragment", |_| {
            Lie::status("413 No", &[("BITS-Packet-Type", "Ack"), ("BITS-Error-Code", "0x80200020")], b"")
        }),
        packet("a fragment moved to somebody else", "Fragment", |proxy| {
            Lie::status("307 Go", &[("location", &proxy.elsewhere)], b"")
        }),
        packet("an answer without end", "Fragment", |_| Lie::Endless(head(""), vec![b' '; 1 << 20])),
        packet("done, says nobody", "Close-Session", |_| ack("", "")),
        packet("done, and it is another file", "Close-Session", |_| {
            Lie::status(
                "201 Made",
                &[("BITS-Packet-Type", "Ack"), ("X-Resource-Id", "../../climbed!1"), ("X-Last-Modified-ETag", "x")],
                b"",
            )
        }),
        row("a small file, and the answer is another file", Does::Save, Sees::Waits, |_| {
            let body = br#"{"id":"..","name":"../climbed","source":"file:///etc/passwd"}"#;
            told(Door::Graph, "PUT", "", Lie::status("201 Made", &[], body))
        }),
        row("a small file, and the answer has no end", Does::Save, Sees::Waits, |_| {
            told(Door::Graph, "PUT", "", Lie::Endless(head(""), vec![b' '; 1 << 20]))
        }),
        row("a small file moved to somebody else", Does::Save, Sees::Waits, |proxy| {
            told(Door::Graph, "PUT", "", Lie::status("308 Go", &[("location", &proxy.elsewhere)], b""))
        }),
    ]
}

/// All of them, by what is lied about.
pub(super) fn table() -> Vec<(&'static str, Vec<Row>)> {
    vec![
        ("names", names(LIVE)),
        ("identities", identities()),
        ("sizes and dates", values(LIVE)),
        ("bodies", bodies(LIVE)),
        ("detours", detours(LIVE)),
        ("changes", changes()),
        ("addresses", addresses()),
        ("contents", contents(LIVE)),
        ("uploads", uploads()),
    ]
}
