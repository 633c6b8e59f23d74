//! What is lied about in both languages: listings and their items, the bodies of answers, where they send to, and content.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Does, Row, Sees, bomb, row, told};
use crate::world::proxy::{Door, Lie, Proxy};

/// The language of the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Speech {
    Graph,
    Live,
}

impl Speech {
    /// A part of the address of a listing.
    pub(super) fn listing(self) -> &'static str {
        match self {
            Self::Graph => "/children",
            Self::Live => "/files?",
        }
    }

    /// A part of the addresses of content.
    fn content(self) -> &'static str {
        match self {
            Self::Graph => "/download",
            Self::Live => "/y2m/",
        }
    }

    /// What comes of content of another size than the service says. Graph says it of photos of some phones for good; of
    /// Live Connect nothing such was seen, and there the size is part of the version.
    fn resized(self, graph: Sees) -> Sees {
        match self {
            Self::Graph => graph,
            Self::Live => Sees::Error(&["Stale", "Failed", "TimedOut"]),
        }
    }

    /// Names of two items of which Graph cannot have two; in Live Connect's folders it happens, and both are shown.
    fn namesakes(self, graph: &'static [&'static str], live: &'static [&'static str]) -> Sees {
        match self {
            Self::Graph => Sees::Names(graph),
            Self::Live => Sees::Names(live),
        }
    }

    /// The same lie, about the member that holds the items in this language.
    pub(super) fn translated(self, lie: Lie) -> Lie {
        let of_as_many_bytes = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(text) => text.replace("\"value\"", "\"data\" ").into_bytes(),
            Err(_) => bytes.to_vec(),
        };
        match (self, lie) {
            (Self::Live, Lie::Json(body)) => Lie::json(of_as_many_bytes(&body)),
            (Self::Live, Lie::Raw(bytes)) => Lie::raw(of_as_many_bytes(&bytes)),
            (_, lie) => lie,
        }
    }
}

/// A lie in the listing of `/docs`.
pub(super) fn listing(
    speech: Speech,
    name: &'static str,
    sees: Sees,
    lie: impl Fn(&Proxy) -> Lie + Send + Sync + 'static,
) -> Row {
    row(name, Does::List, sees, move |proxy| told(Door::Graph, "GET", speech.listing(), speech.translated(lie(proxy))))
}

/// A listing of `/docs` in which `b.txt` has another name.
fn name(
    speech: Speech,
    case: &'static str,
    sees: &'static [&'static str],
    name: impl Fn() -> Value + Send + Sync + 'static,
) -> Row {
    member(speech, case, Sees::Names(sees), "name", name)
}

/// A listing of `/docs` in which `b.txt` has another member.
pub(super) fn member(
    speech: Speech,
    case: &'static str,
    sees: Sees,
    key: &'static str,
    value: impl Fn() -> Value + Send + Sync + 'static,
) -> Row {
    let value = Arc::new(value);
    listing(speech, case, sees, move |_| {
        let value = value.clone();
        Lie::edit(move |page| named(page, "b.txt")[key] = value())
    })
}

/// A lie of the storage host.
fn content(speech: Speech, name: &'static str, sees: Sees, lie: impl Fn(&Proxy) -> Lie + Send + Sync + 'static) -> Row {
    row(name, Does::Read, sees, move |proxy| told(Door::Storage, "GET", speech.content(), lie(proxy)))
}

/// The items of a page.
pub(super) fn items(page: &mut Value) -> &mut Vec<Value> {
    let member = if page["data"].is_array() { "data" } else { "value" };
    page[member].as_array_mut().expect("a page")
}

/// The item of this name in a page.
pub(super) fn named<'a>(page: &'a mut Value, name: &str) -> &'a mut Value {
    items(page).iter_mut().find(|item| item["name"] == name).expect("an item of that name")
}

/// A copy of the item of this name, added to the page after a change.
pub(super) fn another(page: &mut Value, name: &str, change: impl FnOnce(&mut Value)) {
    let mut copy = named(page, name).clone();
    change(&mut copy);
    items(page).push(copy);
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

/// Pages of items as large as items can be, each of which leads to another one that nobody has seen. `nth` is the page.
pub(super) fn ever_more(speech: Speech, proxy: &Proxy) -> impl Fn(usize) -> Vec<u8> + Send + Sync + 'static {
    let to = format!("{}/v1.0/x/children?delta?token=", proxy.graph);
    let (tag, name) = ("t".repeat(4000), "n".repeat(700));
    let graph = move |item: usize| {
        json!({
            "id": format!("{}!{item}", "X".repeat(900)), "name": format!("{item}"), "file": {}, "eTag": tag,
            "parentReference": {"id": "NOWHERE!1"}
        })
    };
    let live = move |item: usize| json!({"id": format!("{}-{item}", "x".repeat(900)), "name": format!("{item}{name}")});
    // Making them takes longer than all the rest.
    let same: Vec<String> = (0..3000).map(|item| graph(item).to_string()).collect();
    let same = same.join(",");
    move |nth| match speech {
        Speech::Graph => format!("{{\"value\":[{same}],\"@odata.nextLink\":\"{to}{nth}\"}}").into_bytes(),
        Speech::Live => {
            // Each begins with the last one of the page before.
            let items: Vec<String> = (nth * 4999..=(nth + 1) * 4999).map(|item| live(item).to_string()).collect();
            format!("{{\"data\":[{}]}}", items.join(",")).into_bytes()
        }
    }
}

pub(super) const BOTH: &[&str] = &["a.txt", "b.txt"];
pub(super) const ONE: &[&str] = &["a.txt"];
pub(super) const A: &[u8] = b"alpha";
/// Refused, or not over in time: a busy machine may take long over thirty megabytes.
pub(super) const FAILED: Sees = Sees::Error(&["Failed", "TimedOut"]);
pub(super) const BROKEN: Sees = Sees::Error(&["Failed", "Offline", "TimedOut"]);

/// Why an address is not gone to; see `admit` in `remote/address.rs`.
pub(super) const SCHEME: &str = "a URL is neither http nor https";
pub(super) const PLAIN: &str = "a URL is not encrypted; plain http is for this machine only";
pub(super) const PRIVATE: &str = "a URL leads into a private network";
pub(super) const USER: &str = "a URL carries a user name";
pub(super) const LONG: &str = "the service gave a URL that is too long";
pub(super) const NO_URL: &str = "the service gave a URL that is none";

pub(super) fn names(speech: Speech) -> Vec<Row> {
    vec![
        name(speech, "a name that climbs out", ONE, || json!("../../etc/passwd")),
        name(speech, "an absolute name", ONE, || json!("/etc/passwd")),
        name(speech, "a name with a slash in it", ONE, || json!("b/c")),
        name(speech, "the folder itself", ONE, || json!(".")),
        name(speech, "the folder above", ONE, || json!("..")),
        name(speech, "no name", ONE, || json!("")),
        name(speech, "null for a name", ONE, || Value::Null),
        name(speech, "a NUL in a name", ONE, || json!("b\0c")),
        name(speech, "a name of a megabyte", ONE, || json!("x".repeat(1 << 20))),
        name(speech, "a name of a thousand bytes", ONE, || json!("x".repeat(1000))),
        name(speech, "a name that turns the writing", &["a.txt", "exe\u{202E}gpj.b"], || json!("exe\u{202E}gpj.b")),
        name(speech, "a name that clears the screen", &["\u{1b}[2J", "a.txt"], || json!("\u{1b}[2J")),
        name(speech, "a line break in a name", &["a.txt", "b\nc"], || json!("b\nc")),
        name(speech, "a colon that the service refuses", &["a.txt", "b:c"], || json!("b:c")),
        name(speech, "a leading tilde", &["a.txt", "~b"], || json!("~b")),
        name(speech, "a trailing dot", &["a.txt", "b."], || json!("b.")),
        name(speech, "a leading space", &[" b", "a.txt"], || json!(" b")),
        name(speech, "a backslash", &["a.txt", "b\\c"], || json!("b\\c")),
        name(speech, "a reserved word", &["CON", "a.txt"], || json!("CON")),
        name(speech, "the sign that quotes", &["a.txt", "b\u{201B}c"], || json!("b\u{201B}c")),
        name(speech, "that sign at the end", &["a.txt", "b\u{201B}"], || json!("b\u{201B}")),
        name(speech, "unpaired letters", &["a.txt", "e\u{301}"], || json!("e\u{301}")),
        listing(speech, "a number for a name", FAILED, |_| Lie::edit(|page| named(page, "b.txt")["name"] = json!(7))),
        listing(speech, "two items of one name", speech.namesakes(ONE, &["a (104).txt", "a.txt"]), |_| {
            Lie::edit(|page| named(page, "b.txt")["name"] = json!("a.txt"))
        }),
        listing(
            speech,
            "two names that differ in case",
            speech.namesakes(&["A.TXT"], &["A.TXT", "a (104).txt"]),
            |_| Lie::edit(|page| named(page, "b.txt")["name"] = json!("A.TXT")),
        ),
        listing(speech, "two names that are shown as one", Sees::Names(&["x:y"]), |_| {
            Lie::edit(|page| {
                named(page, "a.txt")["name"] = json!("x:y");
                named(page, "b.txt")["name"] = json!("x\u{FF1A}y");
            })
        }),
    ]
}

pub(super) fn values(speech: Speech) -> Vec<Row> {
    let size = |case, value: Value| member(speech, case, Sees::Names(BOTH), "size", move || value.clone());
    let mut rows = vec![
        size("a negative size", json!(-5)),
        size("the largest size", json!(i64::MAX)),
        size("a size beyond all numbers", json!(1e300)),
        size("a size in words", json!("many")),
        size("a size that is a list", json!([[1, 2], {"a": 3}])),
        size("a size that is yes", json!(true)),
        size("half a byte", json!(0.5)),
        // The bytes count, wherever they can be had under an address of the same listing.
        row("the largest size is read", Does::Read, Sees::AnEnd, move |_| {
            let lie = Lie::edit(|page| items(page).iter_mut().for_each(|item| item["size"] = json!(i64::MAX)));
            told(Door::Graph, "GET", speech.listing(), lie)
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
        rows.push(listing(speech, case, Sees::Names(BOTH), move |_| {
            Lie::edit(move |page| {
                let item = named(page, "b.txt");
                match speech {
                    Speech::Graph => {
                        item["fileSystemInfo"] = json!({"lastModifiedDateTime": date, "createdDateTime": date});
                    }
                    Speech::Live => {
                        for time in ["created_time", "updated_time", "client_updated_time"] {
                            item[time] = json!(date);
                        }
                    }
                }
            })
        }));
    }
    rows
}

pub(super) fn bodies(speech: Speech) -> Vec<Row> {
    vec![
        listing(speech, "deep nesting in place of a page", FAILED, |_| Lie::json(nested(200_000, "[", "]"))),
        listing(speech, "deep nesting in place of the items", BROKEN, |_| {
            Lie::json(format!("{{\"value\":{}}}", nested(100_000, "[", "]")))
        }),
        listing(speech, "deep nesting where nobody looks", Sees::AnEnd, |_| {
            Lie::json(format!("{{\"value\":[],\"x\":{}}}", nested(100_000, "{\"a\":", "}").replacen('}', "1}", 1)))
        }),
        listing(
            speech,
            "shortcuts nested ten thousand times",
            if speech == Speech::Graph { BROKEN } else { Sees::Names(&[]) },
            |_| {
                Lie::json(page(&format!(
                    "{}{{}}{}",
                    "{\"id\":\"1\",\"remoteItem\":".repeat(10_000),
                    "}".repeat(10_000)
                )))
            },
        ),
        listing(speech, "ten million items in thirty megabytes", FAILED, |_| {
            Lie::json(page(&("{},".repeat(10_000_000) + "{}")))
        }),
        listing(speech, "ever more pages", FAILED, move |proxy| Lie::counted(ever_more(speech, proxy))),
        listing(speech, "a size of ten million numbers", Sees::Names(&[]), |_| {
            Lie::json(page(&format!("{{\"id\":\"1\",\"size\":[{}0]}}", "0,".repeat(10_000_000))))
        }),
        listing(speech, "a page of a hundred megabytes", FAILED, |_| {
            Lie::Endless(head("content-length: 104857600\r\n"), vec![b' '; 1 << 20])
        }),
        listing(speech, "a body without end", FAILED, |_| Lie::Endless(head(""), vec![b' '; 1 << 20])),
        listing(speech, "chunks without end", FAILED, |_| {
            let mut chunk = format!("{:x}\r\n", 1 << 20).into_bytes();
            chunk.extend_from_slice(&vec![b' '; 1 << 20]);
            chunk.extend_from_slice(b"\r\n");
            Lie::Endless(head("transfer-encoding: chunked\r\n"), chunk)
        }),
        listing(speech, "a compressed bomb", FAILED, |_| {
            Lie::status("200 OK", &[("content-type", "application/json"), ("content-encoding", "gzip")], &bomb())
        }),
        listing(speech, "a body that drips", BROKEN, |_| {
            Lie::Drip(head("content-length: 1000000\r\n"), Duration::from_millis(100), b" ")
        }),
        listing(speech, "headers that drip", BROKEN, |_| {
            Lie::Drip(b"HTTP/1.1 200 OK\r\nx: ".to_vec(), Duration::from_millis(100), b" ")
        }),
        listing(speech, "headers without end", BROKEN, |_| {
            Lie::Endless(
                b"HTTP/1.1 200 OK\r\n".to_vec(),
                b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(1000),
            )
        }),
        listing(speech, "one header without end", BROKEN, |_| {
            Lie::Endless(b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'y'; 1 << 16])
        }),
        listing(speech, "more promised than sent", BROKEN, |_| {
            let mut bytes = head("content-length: 5000\r\n");
            bytes.extend_from_slice(b"{\"value\":[]}");
            Lie::raw(bytes)
        }),
        listing(speech, "less promised than sent", BROKEN, |_| {
            let mut bytes = head("content-length: 5\r\n");
            bytes.extend_from_slice(b"{\"value\":[]}");
            Lie::raw(bytes)
        }),
        listing(speech, "two lengths", BROKEN, |_| {
            let mut bytes = head("content-length: 5\r\ncontent-length: 12\r\n");
            bytes.extend_from_slice(b"{\"value\":[]}");
            Lie::raw(bytes)
        }),
        listing(speech, "a negative length", BROKEN, |_| {
            let mut bytes = head("content-length: -1\r\n");
            bytes.extend_from_slice(b"{\"value\":[]}");
            Lie::raw(bytes)
        }),
        listing(speech, "no HTTP at all", BROKEN, |_| {
            Lie::raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".repeat(50))
        }),
        listing(speech, "a status of no class", BROKEN, |_| Lie::status("999 What", &[], b"{}")),
        listing(speech, "a status below all", BROKEN, |_| Lie::raw(b"HTTP/1.1 000 Zero\r\n\r\n".to_vec())),
        listing(speech, "a page of HTML", BROKEN, |_| Lie::json("<html><script>alert(1)</script></html>")),
        listing(speech, "half a page", BROKEN, |_| Lie::json("{\"value\":[{\"id\":\"1\",\"na")),
        listing(speech, "nothing", BROKEN, |_| Lie::json("")),
        listing(speech, "bytes that are no text", BROKEN, |_| {
            Lie::json(
                page("{\"id\":\"1\",\"name\":\"\u{0}\"}")
                    .into_iter()
                    .map(|byte| if byte == 0 { 0xff } else { byte })
                    .collect::<Vec<u8>>(),
            )
        }),
        listing(speech, "half a surrogate", BROKEN, |_| Lie::json(page("{\"id\":\"1\",\"name\":\"\\ud800\"}"))),
        listing(speech, "one member twice", BROKEN, |_| Lie::json("{\"value\":[],\"value\":[]}")),
        listing(speech, "no items", FAILED, |_| Lie::json("{}")),
        listing(speech, "null for items", FAILED, |_| Lie::json("{\"value\":null}")),
        listing(speech, "an object for items", FAILED, |_| Lie::json("{\"value\":{\"a\":1}}")),
        listing(speech, "an error of a megabyte", Sees::Error(&["Denied"]), |_| {
            let body = json!({"error": {"code": "x".repeat(1 << 19), "message": "y".repeat(1 << 19)}}).to_string();
            Lie::status("403 No", &[("content-type", "application/json")], body.as_bytes())
        }),
        listing(speech, "an error nested without end", Sees::Error(&["Denied"]), |_| {
            Lie::status("403 No", &[], format!("{{\"error\":{}", "{\"innerError\":".repeat(4000)).as_bytes())
        }),
    ]
}

/// Answers that send elsewhere, or ask for patience.
pub(super) fn detours(speech: Speech) -> Vec<Row> {
    let redirect = |case, to: fn(&Proxy) -> String| {
        listing(speech, case, FAILED, move |proxy| Lie::status("302 Found", &[("location", &to(proxy))], b""))
    };
    vec![
        redirect("a redirect to this disk", |_| "file:///etc/passwd".into()),
        redirect("a redirect to somebody else", |proxy| proxy.elsewhere.clone()),
        redirect("a redirect to a private network", |_| "https://10.0.0.1/".into()),
        redirect("a redirect to itself", |proxy| format!("{}/v1.0/drives/x/items/y/children", proxy.graph)),
        listing(speech, "patience for a thousand years", Sees::Error(&["TimedOut"]), |_| {
            Lie::status("429 Slow", &[("retry-after", "31536000000")], b"{}")
        }),
        listing(speech, "patience beyond all numbers", Sees::Error(&["TimedOut"]), |_| {
            Lie::status("503 Slow", &[("retry-after", "99999999999999999999999999")], b"{}")
        }),
        listing(speech, "patience until the year 9999", Sees::Error(&["TimedOut"]), |_| {
            Lie::status("429 Slow", &[("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")], b"{}")
        }),
        listing(speech, "negative patience", Sees::Error(&["TimedOut"]), |_| {
            Lie::status("429 Slow", &[("retry-after", "-1")], b"{}")
        }),
    ]
}

pub(super) fn contents(speech: Speech) -> Vec<Row> {
    let redirected = |case, sees, to: fn(&Proxy) -> String| {
        content(speech, case, sees, move |proxy| Lie::status("302 Found", &[("location", &to(proxy))], b""))
    };
    vec![
        redirected("content moved to this disk", Sees::Refused(SCHEME), |_| "file:///etc/passwd".into()),
        redirected("content moved to a private network", Sees::Refused(PRIVATE), |_| "https://10.1.2.3/".into()),
        redirected("content moved to the door of a cloud machine", Sees::Refused(PRIVATE), |_| {
            "https://169.254.169.254/latest".into()
        }),
        redirected("content moved out of encryption", Sees::Refused(PLAIN), |_| "http://example.org/a".into()),
        redirected("content moved in a circle", BROKEN, |proxy| format!("{}/download/again", proxy.storage)),
        redirected("content moved back to the service", BROKEN, |proxy| format!("{}/v1.0/me", proxy.graph)),
        content(speech, "another range", BROKEN, |_| Lie::status("206 Part", &[("content-range", "bytes 1-5/6")], A)),
        content(speech, "a range that is none", BROKEN, |_| {
            Lie::status("206 Part", &[("content-range", "bytes */*")], A)
        }),
        content(speech, "a range beyond all numbers", BROKEN, |_| {
            Lie::status("206 Part", &[("content-range", "bytes 0-18446744073709551615/18446744073709551615")], A)
        }),
        content(speech, "a negative range", BROKEN, |_| {
            Lie::status("206 Part", &[("content-range", "bytes -5-0/5")], A)
        }),
        content(speech, "a file that is larger than all disks", speech.resized(BROKEN), |_| {
            Lie::status("206 Part", &[("content-range", "bytes 0-4/9223372036854775807")], A)
        }),
        // Photos of some phones are, for good: what comes counts, not the size that was reported.
        content(speech, "a file that is shorter than it says", speech.resized(Sees::Reads("al")), |_| {
            Lie::status("206 Part", &[("content-range", "bytes 0-1/2")], b"al")
        }),
        content(speech, "fewer bytes than promised", BROKEN, |_| {
            let head = "HTTP/1.1 206 P\r\ncontent-length: 5\r\ncontent-range: bytes 0-4/5\r\n\r\nal";
            Lie::raw(head.as_bytes().to_vec())
        }),
        // Exactly what was promised is taken.
        content(speech, "bytes without end", Sees::Reads("alpha"), |_| {
            Lie::Endless(b"HTTP/1.1 206 P\r\ncontent-range: bytes 0-4/5\r\n\r\nalpha".to_vec(), vec![b'x'; 1 << 20])
        }),
        // No more of it than there is of the file. What comes the same twice is what there is, whatever its hash.
        content(speech, "the whole of a file without end", Sees::Reads("xxxxx"), |_| {
            Lie::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b'x'; 1 << 20])
        }),
        content(speech, "a page of HTML", BROKEN, |_| {
            Lie::status("200 OK", &[("content-type", "text/html")], b"<html>sign in</html>")
        }),
        content(speech, "bytes that drip", BROKEN, |_| {
            Lie::Drip(
                b"HTTP/1.1 206 P\r\ncontent-length: 5\r\ncontent-range: bytes 0-4/5\r\n\r\nal".to_vec(),
                Duration::from_secs(1),
                // The right ones: where nothing is known of a hash, what has come of a version is kept.
                b"pha",
            )
        }),
        content(speech, "nothing there, and a length beyond all numbers", BROKEN, |_| {
            Lie::status("416 No", &[("content-range", "bytes */18446744073709551615")], b"")
        }),
        content(speech, "compressed without being asked", Sees::AnEnd, |_| {
            Lie::status("206 P", &[("content-range", "bytes 0-4/5"), ("content-encoding", "gzip")], A)
        }),
    ]
}
