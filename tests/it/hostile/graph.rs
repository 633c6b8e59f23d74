//! What is lied about in the words of Graph: identities, links to other pages, the feed, addresses of content, uploads.

use serde_json::{Value, json};

use super::table::{
    BOTH, FAILED, LONG, NO_URL, ONE, PLAIN, PRIVATE, SCHEME, Speech, USER, another, bodies, contents, detours,
    ever_more, head, listing, member, named, names, values,
};
use super::{Does, Row, Sees, row, told};
use crate::world::proxy::{Door, Lie, Proxy};

/// A lie in the feed of changes.
fn feed(name: &'static str, sees: Sees, lie: impl Fn(&Proxy) -> Lie + Send + Sync + 'static) -> Row {
    row(name, Does::Follow, sees, move |proxy| told(Door::Graph, "GET", "/delta?", lie(proxy)))
}

/// A lie about where the content of a file is.
fn address(name: &'static str, sees: Sees, url: impl Fn(&Proxy) -> String + Send + Sync + 'static) -> Row {
    row(name, Does::Read, sees, move |proxy| {
        let url = url(proxy);
        // A listing brings the addresses of its files along.
        let lie = Lie::edit(move |answer| match answer["value"].as_array_mut() {
            Some(items) => items.iter_mut().for_each(|item| item["@microsoft.graph.downloadUrl"] = json!(url)),
            None => answer["@microsoft.graph.downloadUrl"] = json!(url),
        });
        told(Door::Graph, "GET", "downloadUrl", lie)
    })
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

fn identities() -> Vec<Row> {
    vec![
        member(Speech::Graph, "no id", Sees::Names(ONE), "id", || Value::Null),
        member(Speech::Graph, "an empty id", Sees::Names(ONE), "id", || json!("")),
        member(Speech::Graph, "an id that climbs", Sees::Names(ONE), "id", || json!("..")),
        member(Speech::Graph, "an id with a path in it", Sees::Names(ONE), "id", || json!("x/../../../me/messages")),
        member(Speech::Graph, "an id with a line break", Sees::Names(ONE), "id", || json!("X\nY")),
        member(Speech::Graph, "an id of a megabyte", Sees::Names(ONE), "id", || json!("x".repeat(1 << 20))),
        member(
            Speech::Graph,
            "a drive that climbs",
            Sees::Names(ONE),
            "parentReference",
            || json!({"driveId": "..", "id": "x"}),
        ),
        member(Speech::Graph, "a parent that climbs", Sees::Names(ONE), "parentReference", || json!({"id": "../.."})),
        member(Speech::Graph, "a tag of a megabyte", Sees::Names(ONE), "eTag", || json!("x".repeat(1 << 20))),
        member(Speech::Graph, "a tag that splits headers", Sees::Names(ONE), "eTag", || json!("x\r\nauthorization: y")),
        listing(Speech::Graph, "one id twice", Sees::Names(&["b.txt"]), |_| {
            Lie::edit(|page| {
                let id = named(page, "a.txt")["id"].clone();
                named(page, "b.txt")["id"] = id;
            })
        }),
        listing(Speech::Graph, "the folder in itself", Sees::Names(BOTH), |_| {
            Lie::edit(|page| {
                let parent = named(page, "b.txt")["parentReference"]["id"].clone();
                another(page, "b.txt", |copy| {
                    copy["id"] = parent;
                    copy["name"] = json!("itself");
                    copy["folder"] = json!({});
                });
            })
        }),
        listing(Speech::Graph, "a second root", Sees::Names(BOTH), |_| {
            Lie::edit(|page| {
                another(page, "b.txt", |copy| {
                    copy["id"] = json!("SECOND!1");
                    copy["root"] = json!({});
                })
            })
        }),
        member(Speech::Graph, "a shortcut in a shortcut in a shortcut", Sees::Names(BOTH), "remoteItem", || {
            (0..60).fold(json!({"id": "X!1"}), |inner, _| json!({"remoteItem": inner}))
        }),
    ]
}

fn next_pages() -> Vec<Row> {
    let next = |case, sees, link: fn(&Proxy) -> String| {
        listing(Speech::Graph, case, sees, move |proxy| {
            let link = link(proxy);
            Lie::edit(move |page| page["@odata.nextLink"] = json!(link))
        })
    };
    vec![
        listing(Speech::Graph, "a next page that is the first", FAILED, |proxy| {
            Lie::json(format!("{{\"value\":[],\"@odata.nextLink\":\"{}/v1.0/x/children\"}}", proxy.graph))
        }),
        next("a next page of somebody else", FAILED, |proxy| format!("{}/v1.0/next", proxy.elsewhere)),
        next("a next page on the storage host", FAILED, |proxy| format!("{}/next", proxy.storage)),
        next("a next page on this disk", Sees::Refused(SCHEME), |_| "file:///etc/passwd".into()),
        next("a next page without encryption", Sees::Refused(PLAIN), |_| "http://graph.example.org/next".into()),
        next("a next page in a private network", Sees::Refused(PRIVATE), |_| "https://192.168.0.1/next".into()),
        next("a next page with a user name", Sees::Refused(USER), |proxy| {
            proxy.graph.replace("://", "://user:word@") + "/v1.0/x"
        }),
        next("a next page that is no address", Sees::Refused(NO_URL), |_| "next, please".into()),
        next("a next page of a megabyte", Sees::Refused(LONG), |proxy| {
            format!("{}/{}", proxy.graph, "x".repeat(1 << 20))
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
        feed("ever more changes", Sees::NoNews, |proxy| Lie::counted(ever_more(Speech::Graph, proxy))),
        feed("a feed without end", Sees::NoNews, |_| Lie::Endless(head(""), vec![b' '; 1 << 20])),
        feed("a redirect to somebody else", Sees::NoNews, |proxy| {
            Lie::status("302 Found", &[("location", &proxy.elsewhere)], b"")
        }),
    ]
}

/// Where the content of a file is.
fn addresses() -> Vec<Row> {
    vec![
        address("content on this disk", Sees::Refused(SCHEME), |_| "file:///etc/passwd".into()),
        address("content without encryption", Sees::Refused(PLAIN), |_| "http://example.org/a".into()),
        address("content in a private network", Sees::Refused(PRIVATE), |_| "https://192.168.0.1/a".into()),
        address("content at the door of a cloud machine", Sees::Refused(PLAIN), |_| {
            "http://169.254.169.254/latest".into()
        }),
        address("content at that door, encrypted", Sees::Refused(PRIVATE), |_| "https://169.254.169.254/latest".into()),
        address("content by another protocol", Sees::Refused(SCHEME), |_| "ftp://example.org/a".into()),
        address("content in the address itself", Sees::Refused(SCHEME), |_| "data:text/plain,alpha".into()),
        address("content with a user name", Sees::Refused(USER), |proxy| {
            proxy.storage.replace("://", "://user:word@") + "/a"
        }),
        address("content at an address of a megabyte", Sees::Error(&["Failed"]), |proxy| {
            format!("{}/{}", proxy.storage, "x".repeat(1 << 20))
        }),
        address("content at a long address", Sees::Refused(LONG), |proxy| {
            format!("{}/{}", proxy.storage, "x".repeat(40_000))
        }),
        address("content at no address", Sees::Refused(NO_URL), |_| "over there".into()),
        // How few of them are connected to is counted where that is decided. None of them can be found: the names are
        // longer than names can be.
        listing(Speech::Graph, "content at five thousand hosts", Sees::Names(BOTH), |_| {
            Lie::edit(|page| {
                for host in 0..5000 {
                    another(page, "b.txt", |copy| {
                        let url = format!("https://{host}.{}.example/a?tempauth=1", "n".repeat(64));
                        copy["@microsoft.graph.downloadUrl"] = json!(url);
                    });
                }
            })
        }),
        address("content of somebody else", Sees::Reads("{}"), |proxy| format!("{}/download/a", proxy.elsewhere)),
    ]
}

fn uploads() -> Vec<Row> {
    vec![
        session("an upload to this disk", Sees::Refused(SCHEME), "uploadUrl", |_| json!("file:///tmp/climbed")),
        session("an upload without encryption", Sees::Refused(PLAIN), "uploadUrl", |_| json!("http://example.org/up")),
        session("an upload into a private network", Sees::Refused(PRIVATE), "uploadUrl", |_| {
            json!("https://10.0.0.1/up")
        }),
        session("an upload to nowhere", Sees::Waits, "uploadUrl", |_| Value::Null),
        session("an upload to an address of a megabyte", Sees::Waits, "uploadUrl", |proxy| {
            json!(format!("{}/{}", proxy.storage, "x".repeat(1 << 20)))
        }),
        session("an upload to a long address", Sees::Refused(LONG), "uploadUrl", |proxy| {
            json!(format!("{}/{}", proxy.storage, "x".repeat(40_000)))
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
            Lie::status("201 Made", &[], br#"{"id":"X!1","name":"../../climbed","size":-1,"file":{}}"#)
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
                Lie::status("201 Made", &[], br#"{"id":"..","name":"../climbed","size":-1,"file":{}}"#),
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
    let speech = Speech::Graph;
    vec![
        ("names", names(speech)),
        ("identities", identities()),
        ("sizes and dates", values(speech)),
        ("bodies", bodies(speech)),
        ("next pages", next_pages()),
        ("detours", detours(speech)),
        ("feeds", feeds()),
        ("addresses", addresses()),
        ("contents", contents(speech)),
        ("uploads", uploads()),
    ]
}
