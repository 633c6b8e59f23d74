//! A drive that changes, seen through its listings.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::remote::live::tests::{
    T, drive, file, file_id, folder, folder_id, list, live, path, query, refusal, root_id,
};
use crate::remote::testing::{Answer, Seen, Server};
use crate::remote::{Remote as _, URGENCY};

/// Objects by the folder they lie in; an error instead of everything.
#[derive(Default)]
struct Tree {
    folders: HashMap<String, Vec<String>>,
    ill: bool,
    /// Listings of the root that leave the first object out.
    skips: usize,
    /// Requests about the root that do not find it.
    rootless: usize,
}

type Shared = Arc<Mutex<Tree>>;

async fn server(folders: &[(&ItemId, &[String])]) -> (Server, Shared) {
    let tree = Shared::default();
    for (folder, objects) in folders {
        lock(&tree).folders.insert(folder.id.clone(), objects.to_vec());
    }
    let inside = tree.clone();
    let server = Server::start(move |seen: &Seen, _| {
        let mut tree = lock(&inside);
        let at = path(seen).trim_start_matches("/v5.0/").to_owned();
        if tree.ill {
            return refusal(503, "server_busy");
        }
        if tree.rootless > 0 && at.starts_with(&root_id().id) {
            tree.rootless -= 1;
            return refusal(404, "resource_not_found");
        }
        if let Some(folder) = at.strip_suffix("/files") {
            let Some(mut objects) = tree.folders.get(folder).cloned() else {
                return refusal(404, "resource_not_found");
            };
            if tree.skips > 0 && folder == root_id().id {
                tree.skips -= 1;
                objects.remove(0);
            }
            // As the service does it: an offset, and what is left.
            let offset = query(seen, "offset").and_then(|offset| offset.parse().ok()).unwrap_or(0);
            return list(&objects.into_iter().skip(offset).collect::<Vec<_>>());
        }
        let found = tree.folders.values().flatten().find(|object| object.contains(&format!("\"{at}\"")));
        match found {
            Some(object) if !at.starts_with("me") => Answer::new(200, object.clone()),
            _ => drive(seen).unwrap_or_else(|| refusal(404, "resource_not_found")),
        }
    })
    .await;
    (server, tree)
}

/// Follows a chain to its end.
async fn chain(live: &Live, from: Start<'_>) -> RemoteResult<(Vec<Change>, Cursor)> {
    let mut page = live.changes(from).await?;
    let mut changes = Vec::new();
    loop {
        changes.append(&mut page.changes);
        match page.next {
            Next::Done(cursor) => return Ok((changes, cursor)),
            Next::More(link) => page = live.changes(Start::Link(&link)).await?,
        }
    }
}

fn gone(changes: &[Change]) -> Vec<&ItemId> {
    changes.iter().filter_map(|change| if let Change::Gone(id) = change { Some(id) } else { None }).collect()
}

#[tokio::test]
async fn what_is_new_changed_and_gone_is_told_once() {
    let (server, tree) =
        server(&[(&root_id(), &[file(1, "a", 5, T), folder(2, "f", 1)]), (&folder_id(2), &[file(3, "b", 5, T)])]).await;
    let (live, _) = live(&server);
    let (all, cursor) = chain(&live, Start::Beginning).await.expect("listed");
    assert_eq!(all.len(), 4, "with the root");
    let (none, same) = chain(&live, Start::Cursor(&cursor)).await.expect("looked");
    assert_eq!((none, &same), (vec![], &cursor));
    lock(&tree).folders.insert(root_id().id, vec![file(1, "a", 6, T), folder(2, "f", 2)]);
    lock(&tree).folders.insert(folder_id(2).id, vec![file(4, "c", 5, T)]);
    let (news, next) = chain(&live, Start::Cursor(&cursor)).await.expect("looked");
    assert_eq!((news.len(), gone(&news)), (3, vec![&file_id(3)]));
    let (again, _) = chain(&live, Start::Cursor(&cursor)).await.expect("looked");
    assert_eq!(again, news, "whoever did not keep the next cursor hears it again");
    assert_eq!(chain(&live, Start::Cursor(&next)).await.expect("looked").0, []);
}

#[tokio::test]
async fn one_listing_without_it_proves_nothing() {
    let (server, tree) = server(&[(&root_id(), &[file(1, "a", 5, T), file(2, "b", 5, T)])]).await;
    let (live, _) = live(&server);
    let (_, cursor) = chain(&live, Start::Beginning).await.expect("listed");
    lock(&tree).skips = 1;
    assert_eq!(chain(&live, Start::Cursor(&cursor)).await.expect("looked").0, []);
    // Two do not either, while the service knows it by its id.
    lock(&tree).skips = 2;
    assert_eq!(chain(&live, Start::Cursor(&cursor)).await.expect("looked").0, []);
}

#[tokio::test]
async fn an_error_says_nothing_about_what_is_gone() {
    let (server, tree) = server(&[(&root_id(), &[file(1, "a", 5, T), file(2, "b", 5, T)])]).await;
    let (live, _) = live(&server);
    let (_, cursor) = chain(&live, Start::Beginning).await.expect("listed");
    lock(&tree).ill = true;
    chain(&live, Start::Cursor(&cursor)).await.expect_err("ill");
    lock(&tree).ill = false;
    lock(&tree).folders.insert(root_id().id, vec![file(2, "b", 5, T)]);
    let (news, _) = chain(&live, Start::Cursor(&cursor)).await.expect("looked");
    assert_eq!(news, [Change::Gone(file_id(1))]);
}

/// Now and then a service does not find what is there; of the root that would mean that nothing is.
#[tokio::test]
async fn a_root_that_is_not_found_for_a_moment_says_nothing_about_the_drive() {
    for times in 1..4 {
        let (server, tree) = server(&[(&root_id(), &[file(1, "a", 5, T), file(2, "b", 5, T)])]).await;
        let (live, _) = live(&server);
        let (_, cursor) = chain(&live, Start::Beginning).await.expect("listed");
        lock(&tree).folders.insert(root_id().id, vec![file(2, "b", 5, T)]);
        lock(&tree).rootless = times;
        chain(&live, Start::Cursor(&cursor)).await.expect_err("it is not known what there is");
        lock(&tree).rootless = 0;
        let (news, _) = chain(&live, Start::Cursor(&cursor)).await.expect("looked");
        assert_eq!(news, [Change::Gone(file_id(1))], "{times}");
        // Nor does a drive that is listed for the first time end with its root.
        lock(&tree).rootless = times;
        if let Ok((all, _)) = chain(&live, Start::Beginning).await {
            assert_eq!(all.len(), 2, "{times}");
        }
    }
}

#[tokio::test]
async fn what_moved_to_another_folder_is_not_gone() {
    let moved = file(1, "a", 5, T).replace(&format!("\"{}\"", root_id().id), &format!("\"{}\"", folder_id(2).id));
    let (server, tree) = server(&[(&root_id(), &[file(1, "a", 5, T), folder(2, "f", 0)]), (&folder_id(2), &[])]).await;
    let (live, _) = live(&server);
    let (_, cursor) = chain(&live, Start::Beginning).await.expect("listed");
    lock(&tree).folders.insert(root_id().id, vec![folder(2, "f", 1)]);
    lock(&tree).folders.insert(folder_id(2).id, vec![moved]);
    let (news, next) = chain(&live, Start::Cursor(&cursor)).await.expect("looked");
    assert!(gone(&news).is_empty());
    let last = news.iter().rev().find_map(|change| match change {
        Change::Is(item) if item.id == file_id(1) => item.parent.clone(),
        _ => None,
    });
    assert_eq!(last, Some(folder_id(2)));
    assert_eq!(gone(&chain(&live, Start::Cursor(&next)).await.expect("looked").0), Vec::<&ItemId>::new());
}

#[tokio::test]
async fn what_anybody_was_told_of_is_missed_when_it_goes() {
    let (server, tree) = server(&[(&root_id(), &[file(1, "a", 5, T)])]).await;
    let (live, _) = live(&server);
    let (_, cursor) = chain(&live, Start::Now).await.expect("now");
    live.stat(At::Id(&file_id(1))).await.expect("found");
    lock(&tree).folders.insert(root_id().id, vec![]);
    let (news, _) = chain(&live, Start::Cursor(&cursor)).await.expect("looked");
    assert_eq!(news, [Change::Gone(file_id(1))]);
}

#[tokio::test]
async fn a_cursor_of_another_process_is_expired() {
    let (server, _) = server(&[(&root_id(), &[])]).await;
    let (live, _) = live(&server);
    for cursor in ["live1:8:0", "live1:7:5", "https://graph.microsoft.com/v1.0/x", ""] {
        let failure = live.changes(Start::Cursor(&Cursor(cursor.into()))).await.expect_err("expired");
        assert_eq!((failure.kind, failure.advice), (RemoteErrorKind::Expired, Advice::Resync), "{cursor}");
    }
    let failure = live.changes(Start::Link(&Secret::new("7:99:0".into()))).await.expect_err("expired");
    assert_eq!(failure.advice, Advice::Resync);
}

#[tokio::test]
async fn the_background_lists_few_folders_of_a_large_drive_and_all_in_time() {
    let many: Vec<String> = (100..200).map(|number| folder(number, &format!("f{number}"), 0)).collect();
    let (server, tree) = server(&[(&root_id(), &many)]).await;
    for number in 100..200 {
        lock(&tree).folders.insert(folder_id(number).id, vec![]);
    }
    let (live, _) = live(&server);
    let (all, mut cursor) = chain(&live, Start::Beginning).await.expect("listed");
    assert_eq!(all.len(), 101);
    // A change that no folder shows from outside.
    lock(&tree).folders.insert(folder_id(150).id, vec![file(1, "a", 5, T)]);
    // And one that its folder shows.
    let mut shown = many.clone();
    shown[77] = folder(177, "f177", 1);
    lock(&tree).folders.insert(root_id().id, shown);
    lock(&tree).folders.insert(folder_id(177).id, vec![file(2, "b", 5, T)]);
    let found = AtomicUsize::new(0);
    for turn in 0..10 {
        let before = server.seen().len();
        let (news, next) = URGENCY.scope(Urgency::Background, chain(&live, Start::Cursor(&cursor))).await.expect("ok");
        cursor = next;
        let files = news.iter().filter(|change| matches!(change, Change::Is(item) if item.id == file_id(1)));
        found.fetch_add(files.count(), Ordering::SeqCst);
        assert!(server.seen().len() - before <= 2 + ROTA + 1, "cheap");
        if turn == 0 {
            assert!(news.iter().any(|change| matches!(change, Change::Is(item) if item.id == file_id(2))), "at once");
        }
    }
    assert_eq!(found.load(Ordering::SeqCst), 1, "every folder has its turn");
    // Somebody who waits gets everything.
    lock(&tree).folders.insert(folder_id(123).id, vec![file(3, "c", 5, T)]);
    let (news, _) = URGENCY.scope(Urgency::Interactive, chain(&live, Start::Cursor(&cursor))).await.expect("ok");
    assert_eq!(news.len(), 1);
}
