//! A drive whose feed is the list of everything that ever happened to it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use crate::base::clock::Timestamp;
use crate::base::ids::{ContentTag, Cursor, DriveId, ItemId, MetaTag};
use crate::base::secret::Secret;
use crate::remote::{
    Ack, Advice, At, Body, Caps, Change, ChangePage, ChangeSource, DriveIdentity, Finished, FragmentRule, Item,
    ItemKind, ItemPage, Link, Next, Offset, Outgoing, Patch, Precondition, PreconditionStrength, Quota, Remote,
    RemoteError, RemoteErrorKind, RemoteResult, Start, Target, Ticket,
};

pub(super) fn id(text: &str) -> ItemId {
    ItemId::new(&DriveId::new("b!drive"), text)
}

pub(super) fn file(name: &str, parent: &str, version: u32) -> Item {
    Item {
        id: id(name),
        parent: Some(id(parent)),
        name: name.to_owned(),
        kind: ItemKind::File,
        size: 3,
        modified: Timestamp::from_seconds(100),
        created: Timestamp::from_seconds(50),
        meta_tag: MetaTag(format!("m{version}")),
        content_tag: Some(ContentTag::from_service(&format!("c{version}"), 3)),
        link_to: None,
    }
}

pub(super) fn folder(name: &str, parent: &str) -> Item {
    Item { kind: ItemKind::Folder, content_tag: None, size: 0, ..file(name, parent, 0) }
}

pub(super) fn root() -> Item {
    Item { parent: None, name: "root".into(), ..folder("root", "") }
}

/// A drive whose feed is the list of everything that ever happened to it.
pub(super) struct Feed {
    caps: Caps,
    state: Mutex<FeedState>,
}

#[derive(Default)]
pub(super) struct FeedState {
    pub(super) log: Vec<Change>,
    pub(super) page: usize,
    /// Cursors before this position are expired.
    pub(super) forgotten: usize,
    /// Items that no enumeration lists though they exist.
    pub(super) hidden: Vec<ItemId>,
    /// Items that are gone though the feed does not know it yet.
    pub(super) gone_unnoticed: Vec<ItemId>,
    /// Items that nobody can be asked about for now.
    pub(super) refused: Vec<ItemId>,
    /// Items that nobody is told anything of.
    pub(super) denied: Vec<ItemId>,
    /// Enumerations show the drive as it was at this position.
    pub(super) frozen: Option<usize>,
    pub(super) circle: bool,
    pub(super) failures: VecDeque<RemoteError>,
    pub(super) asked: Vec<String>,
    /// Items that were asked for by their identity.
    pub(super) looked_up: Vec<String>,
    /// Items are shown as they were at this position.
    pub(super) stat_shows: Option<usize>,
    /// What the next looks at items lead to, instead of an answer.
    pub(super) stat_failures: VecDeque<Option<RemoteError>>,
    /// Happens after the next look at an item, before its answer arrives.
    pub(super) meanwhile: Option<Box<dyn FnOnce() + Send>>,
}

impl FeedState {
    pub(super) fn live(&self) -> BTreeMap<ItemId, Item> {
        self.live_at(self.log.len())
    }

    fn live_at(&self, position: usize) -> BTreeMap<ItemId, Item> {
        let mut live = BTreeMap::from([(id("root"), root())]);
        for change in &self.log[..position.min(self.log.len())] {
            match change {
                Change::Is(item) => drop(live.insert(item.id.clone(), item.clone())),
                Change::Gone(id) => drop(live.remove(id)),
            }
        }
        loop {
            let orphan =
                live.values().find(|item| item.parent.as_ref().is_some_and(|parent| !live.contains_key(parent)));
            match orphan.map(|item| item.id.clone()) {
                Some(orphan) => live.remove(&orphan),
                None => return live,
            };
        }
    }

    /// A page of a list: `kind:position:end`.
    fn page_of(&self, all: Vec<Change>, kind: &str, from: usize, end: usize) -> ChangePage {
        let to = (from + self.page.max(1)).min(all.len());
        let next = if self.circle {
            Next::More(Secret::new(format!("{kind}:0:{end}")))
        } else if to < all.len() {
            Next::More(Secret::new(format!("{kind}:{to}:{end}")))
        } else {
            Next::Done(Cursor(format!("cursor:{end}")))
        };
        ChangePage { changes: all[from.min(to)..to].to_vec(), next }
    }
}

impl Feed {
    pub(super) fn of(changes: ChangeSource) -> Arc<Self> {
        Arc::new(Self {
            caps: Caps {
                changes,
                precondition: PreconditionStrength::Strong,
                hashes: true,
                set_times: true,
                fragment: FragmentRule::Any,
                name_clash: false,
                max_small: 0,
                max_file: u64::MAX,
                max_path: None,
            },
            state: Mutex::new(FeedState { page: 2, ..FeedState::default() }),
        })
    }

    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, FeedState> {
        self.state.lock().expect("no test panics while holding it")
    }

    pub(super) fn is(&self, item: Item) {
        self.state().log.push(Change::Is(item));
    }

    pub(super) fn gone(&self, name: &str) {
        self.state().log.push(Change::Gone(id(name)));
    }

    pub(super) fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    pub(super) fn take_looked_up(&self) -> Vec<String> {
        std::mem::take(&mut self.state().looked_up)
    }
}

fn expired() -> RemoteError {
    RemoteError::new(RemoteErrorKind::Expired, Advice::Resync, "the cursor is too old")
}

fn unsupported<T>() -> RemoteResult<T> {
    Err(RemoteError::new(RemoteErrorKind::Unsupported, Advice::GiveUp, "only a feed"))
}

#[async_trait]
impl Remote for Feed {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    async fn changes(&self, from: Start<'_>) -> RemoteResult<ChangePage> {
        let mut state = self.state();
        let place = match from {
            Start::Now => "now".to_owned(),
            Start::Beginning => "beginning".to_owned(),
            Start::Cursor(cursor) => cursor.0.clone(),
            Start::Link(link) => link.expose().clone(),
        };
        state.asked.push(place.clone());
        if let Some(failure) = state.failures.pop_front() {
            return Err(failure);
        }
        let len = state.log.len();
        let parts: Vec<&str> = place.split(':').collect();
        let number = |at: usize| parts.get(at).and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
        let listed = |state: &FeedState| -> Vec<Change> {
            let hidden = |item: &Item| state.hidden.contains(&item.id);
            let live = state.live_at(state.frozen.unwrap_or(usize::MAX));
            live.into_values().filter(|item| !hidden(item)).map(Change::Is).collect()
        };
        match parts[0] {
            "now" => Ok(ChangePage { changes: Vec::new(), next: Next::Done(Cursor(format!("cursor:{len}"))) }),
            "beginning" => Ok(state.page_of(listed(&state), "listing", 0, len)),
            "listing" => Ok(state.page_of(listed(&state), "listing", number(1), number(2))),
            "cursor" if number(1) < state.forgotten => Err(expired()),
            "cursor" => {
                let changes = state.log[number(1)..].to_vec();
                Ok(state.page_of(changes, &format!("more-{}", number(1)), 0, len))
            }
            more => {
                let start: usize = more.trim_start_matches("more-").parse().expect("a link of ours");
                let changes = state.log[start..number(2)].to_vec();
                Ok(state.page_of(changes, more, number(1), number(2)))
            }
        }
    }

    async fn stat(&self, at: At<'_>) -> RemoteResult<Item> {
        let At::Id(id) = at else { return unsupported() };
        let mut state = self.state();
        state.looked_up.push(id.id.clone());
        if let Some(Some(failure)) = state.stat_failures.pop_front() {
            return Err(failure);
        }
        if state.refused.contains(id) {
            return Err(RemoteError::new(RemoteErrorKind::Unavailable, Advice::Retry, "not now"));
        }
        if state.denied.contains(id) {
            return Err(RemoteError::new(RemoteErrorKind::Denied, Advice::GiveUp, "not for you"));
        }
        let mut live = state.live_at(state.stat_shows.unwrap_or(usize::MAX));
        live.retain(|id, _| !state.gone_unnoticed.contains(id));
        if let Some(happens) = state.meanwhile.take() {
            happens();
        }
        live.get(id).cloned().ok_or_else(|| RemoteError::new(RemoteErrorKind::NotFound, Advice::GiveUp, "gone"))
    }

    async fn identity(&self) -> RemoteResult<DriveIdentity> {
        unsupported()
    }
    async fn list(&self, _: &ItemId, _: Option<&Link>) -> RemoteResult<ItemPage> {
        unsupported()
    }
    async fn read(&self, _: &ItemId, _: &ContentTag, _: Range<u64>) -> RemoteResult<Body> {
        unsupported()
    }
    async fn put_small(&self, _: &Target, _: Outgoing, _: &Precondition) -> RemoteResult<Item> {
        unsupported()
    }
    async fn begin_upload(&self, _: &Target, _: u64, _: &Precondition) -> RemoteResult<Ticket> {
        unsupported()
    }
    async fn put_fragment(&self, _: &Ticket, _: u64, _: Outgoing) -> RemoteResult<Ack> {
        unsupported()
    }
    async fn finish_upload(&self, _: &Ticket) -> RemoteResult<Finished> {
        unsupported()
    }
    async fn upload_offset(&self, _: &Ticket) -> RemoteResult<Offset> {
        unsupported()
    }
    async fn abandon_upload(&self, _: &Ticket) -> RemoteResult<()> {
        unsupported()
    }
    async fn make_folder(&self, _: &ItemId, _: &str) -> RemoteResult<Item> {
        unsupported()
    }
    async fn change(&self, _: &ItemId, _: &Patch, _: &Precondition) -> RemoteResult<Item> {
        unsupported()
    }
    async fn delete(&self, _: &ItemId, _: &Precondition) -> RemoteResult<()> {
        unsupported()
    }
    async fn quota(&self) -> RemoteResult<Quota> {
        unsupported()
    }
}
