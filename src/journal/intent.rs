//! One intent per inode: how a file or folder shall be in the cloud, as far as the cloud has not acknowledged
//! it yet.
//!
//! The problem: a user's operations must be visible at once, survive a crash, and reach the service later, in
//! any order that the network allows. A log of operations would have to be shortened, reordered and repaired;
//! instead an intent holds the *wanted state* beside the state that the work was *based on*. What remains to
//! be done is always the difference of the two ([`next_step`]), so coalescing, repeating after a crash and
//! changing one's mind while a request is under way need no cases of their own.
//!
//! Always true: `base` is present exactly if `item` is; a step that the cloud has acknowledged moves the base,
//! never the wanted state.

use serde::{Deserialize, Serialize};

use crate::base::clock::Timestamp;
use crate::base::ids::{ContentTag, Ino, ItemId, MetaTag};
use crate::remote::{Item, ItemKind, Patch, Ticket};

/// A spool file: the content of one draft.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct SpoolId(pub u64);

/// File or folder: what an intent can be about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// The state in the cloud that local work started from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Base {
    /// Its folder.
    pub parent: ItemId,
    /// Its name.
    pub name: String,
    /// Its tag, for preconditions.
    pub meta_tag: MetaTag,
    /// The version of its bytes; `None` for folders.
    pub content_tag: Option<ContentTag>,
    /// Its size in bytes.
    pub size: u64,
    /// Its modification time.
    pub modified: Timestamp,
    /// Its creation time.
    pub created: Timestamp,
}

impl Base {
    /// The base that an item of the service is; `None` for a root, which nothing can be based on.
    pub fn of(item: &Item) -> Option<Self> {
        Some(Self {
            parent: item.parent.clone()?,
            name: item.name.clone(),
            meta_tag: item.meta_tag.clone(),
            content_tag: item.content_tag.clone(),
            size: item.size,
            modified: item.modified,
            created: item.created,
        })
    }

    /// The item this is the base of, put together again.
    pub fn to_item(&self, id: &ItemId, kind: Kind) -> Item {
        Item {
            id: id.clone(),
            parent: Some(self.parent.clone()),
            name: self.name.clone(),
            kind: match kind {
                Kind::File => ItemKind::File,
                Kind::Folder => ItemKind::Folder,
            },
            size: self.size,
            modified: self.modified,
            created: self.created,
            meta_tag: self.meta_tag.clone(),
            content_tag: self.content_tag.clone(),
            link_to: None,
        }
    }
}

/// An item of the cloud that has no intent yet, as a mutation finds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Known {
    /// Its identity.
    pub item: ItemId,
    /// Its state.
    pub base: Base,
    /// What it is.
    pub kind: Kind,
    /// The inode of its folder.
    pub parent: Ino,
    /// Its exact local modification time.
    pub modified: Timestamp,
}

/// Why an intent waits for the user.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ParkReason {
    /// The drive is full.
    QuotaFull,
    /// The service refuses the name or path.
    NameRefused,
    /// This account may not write there.
    Denied,
    /// The file is larger than the service accepts.
    TooLarge,
    /// The folder it belongs to is gone in the cloud. Only in rows of earlier versions: such folders are made again
    /// now, see `shelter`.
    FolderGone,
    /// The version that an edit was made on is gone, and its bytes were not all on this machine.
    BaseGone,
    /// The service refuses it for another reason; the last error says which.
    Refused,
    /// The spool file is damaged.
    Damaged,
    /// It belongs to a burst of deletions or overwrites by one process, which the user has not approved; see
    /// `burst`.
    Burst,
}

/// Where the work of an intent stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Progress {
    /// Nothing is under way.
    Waiting,
    /// An upload session is open.
    Sending {
        /// The session.
        ticket: Box<Ticket>,
        /// What it sends.
        spool: SpoolId,
        /// How much the service has acknowledged, in bytes.
        acked: u64,
    },
    /// Only the user can help.
    Parked(ParkReason),
}

/// Something that was sent and whose answer has not arrived: after a crash or a lost answer it may be in the
/// cloud or not. Until that is known an intent is not done, whatever it wants: the cloud may have what it wanted
/// before.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Sent {
    /// The folder an item was sent to, new or moved there, and its name there: it may have it.
    pub place: Option<(ItemId, String)>,
    /// The versions that were sent, and of an item that was then not found the one that our work started from: what
    /// stands in our way and has one of these is nobody else's. Empty for a folder, and for a new name or time.
    pub versions: Vec<ContentTag>,
    /// The deletion of the item was sent: that the item is not found may be our own doing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deletion: bool,
    /// Since when it has been looked for in vain. Attempts do not count that: most of them fail before they look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unseen: Option<Timestamp>,
}

impl Sent {
    /// What is known to be ours without having been sent anywhere in particular; `None` if nothing is.
    pub(super) fn of_ours(versions: Vec<ContentTag>) -> Option<Self> {
        (!versions.is_empty()).then_some(Self { versions, ..Self::default() })
    }
}

/// The wanted state of one inode.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Intent {
    /// The inode.
    pub ino: Ino,
    /// File or folder.
    pub kind: Kind,
    /// What it is in the cloud, if it is there.
    pub item: Option<ItemId>,
    /// The state in the cloud that our work is based on.
    pub base: Option<Base>,
    /// The folder it shall be in.
    pub parent: Ino,
    /// The name it shall have, in the spelling of the service.
    pub name: String,
    /// The modification time it shall have.
    pub modified: Timestamp,
    /// Whether that time is to be set in the cloud (it comes with content or was asked for).
    pub set_modified: bool,
    /// When it was created here, for new items.
    pub created: Timestamp,
    /// When the user last changed anything about it: its ctime, and what the debounce counts from.
    pub changed: Timestamp,
    /// Since when something has waited that was wanted after the last attempt, at the latest; if not since `changed`.
    pub unsent: Option<Timestamp>,
    /// It shall not exist.
    pub deleted: bool,
    /// It stays on this machine.
    pub local_only: bool,
    /// The closed content that shall be in the cloud.
    pub sealed: Option<SpoolId>,
    /// The content that is being written.
    pub drafting: Option<SpoolId>,
    /// What may be in the cloud without our knowing.
    pub sent: Option<Sent>,
    /// Where the work stands.
    pub progress: Progress,
    /// Failed attempts in a row.
    pub attempts: u32,
    /// No attempt before this.
    pub not_before: Timestamp,
    /// What the last attempt said.
    pub last_error: Option<String>,
}

impl Intent {
    /// An intent about something new.
    pub fn new(ino: Ino, kind: Kind, parent: Ino, name: &str, now: Timestamp) -> Self {
        Self {
            ino,
            kind,
            item: None,
            base: None,
            parent,
            name: name.to_owned(),
            modified: now,
            set_modified: false,
            created: now,
            changed: now,
            unsent: None,
            deleted: false,
            local_only: false,
            sealed: None,
            drafting: None,
            sent: None,
            progress: Progress::Waiting,
            attempts: 0,
            not_before: Timestamp(0),
            last_error: None,
        }
    }

    /// An intent about something that is in the cloud and shall, so far, be as it is.
    pub fn about(ino: Ino, known: Known, now: Timestamp) -> Self {
        Self {
            item: Some(known.item),
            created: known.base.created,
            modified: known.modified,
            name: known.base.name.clone(),
            base: Some(known.base),
            ..Self::new(ino, known.kind, known.parent, "", now)
        }
    }

    /// Whether the user sees it.
    pub fn is_live(&self) -> bool {
        !self.deleted
    }

    /// Whether it is held because of a burst. Only the user's word ends that, not another change of the file, which
    /// may be the same process's.
    pub fn is_held(&self) -> bool {
        self.progress == Progress::Parked(ParkReason::Burst)
    }

    /// Whatever kept it waiting is over, but for the user's word.
    pub fn go_on(&mut self) {
        if !self.is_held() {
            self.progress = Progress::Waiting;
        }
    }

    /// The user touched it: whatever kept it waiting is to be tried again.
    pub fn touch(&mut self, now: Timestamp) {
        self.unsent.get_or_insert(now);
        self.changed = now;
        if self.is_held() {
            return;
        }
        self.attempts = 0;
        self.not_before = Timestamp(0);
        self.last_error = None;
        if matches!(self.progress, Progress::Parked(_)) {
            self.progress = Progress::Waiting;
        }
    }

    /// Since when something of it has waited to be sent.
    pub fn waits_since(&self) -> Timestamp {
        self.unsent.unwrap_or(self.changed)
    }

    /// What was wanted of it at that moment was tried. What was wanted later waits at the latest since then.
    pub fn was_tried_at(&mut self, picked: Timestamp) {
        self.unsent = (self.changed > picked).then_some(picked);
    }

    /// Whether it wants what it wanted then, perhaps by stepping aside first: if not, what became of that says nothing about
    /// it.
    pub fn wants_as(&self, was: &Self) -> bool {
        let wanted = |of: &Self| (of.item.clone(), of.parent, of.deleted, of.sealed, of.modified);
        wanted(self) == wanted(was) && (self.name == was.name || super::queue::aside_name(self) == was.name)
    }

    /// What became of a name or time that was sent has been seen. Content that was sent may still arrive; that counts only
    /// where content is wanted.
    pub(super) fn settle_place(&mut self) {
        let is_about_content = self.deleted || self.sealed.is_some() || self.drafting.is_some();
        let counts = |sent: &Sent| is_about_content && !sent.versions.is_empty();
        self.sent = self.sent.take().filter(counts).map(|sent| Sent { place: None, unseen: None, ..sent });
    }

    /// Its item is gone in the cloud: what it has is to be sent as new.
    pub fn begin_anew(&mut self) {
        self.item = None;
        // Should it not be gone after all, the version that our work started from is known when it is met.
        let started_from = self.base.take().and_then(|base| base.content_tag);
        let sent = self.sent.take().map(|sent| sent.versions).unwrap_or_default();
        self.sent = Sent::of_ours(sent.into_iter().chain(started_from).collect());
        self.go_on();
    }

    /// Whether its time is to be set in the cloud. The service keeps whole seconds.
    pub fn is_retimed(&self) -> bool {
        let other = self.base.as_ref().is_some_and(|base| self.modified.seconds() != base.modified.seconds());
        self.set_modified && other
    }

    /// Whether it stands elsewhere than in the cloud. `parent` is the folder's identity there, `None` if the
    /// folder is not in the cloud.
    pub fn is_displaced(&self, parent: Option<&ItemId>) -> bool {
        self.base.as_ref().is_some_and(|base| base.name != self.name || parent != Some(&base.parent))
    }
}

/// What is to be done next about an intent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing for now: it is being written, or stays here.
    Rest,
    /// The cloud is as wanted: drop the intent.
    Settled,
    /// Its folder must get to the cloud first.
    AwaitParent,
    /// Something was sent and the answer was lost: look what became of it before anything else.
    FindSent,
    /// Create the folder.
    MakeFolder {
        /// Where.
        parent: ItemId,
    },
    /// Upload a new file.
    Create {
        /// Where.
        parent: ItemId,
        /// What.
        spool: SpoolId,
    },
    /// Upload new content for the item.
    Replace {
        /// What.
        spool: SpoolId,
    },
    /// Rename, move, set the time.
    Change(Patch),
    /// Delete the item.
    Delete,
}

/// What remains to be done: the difference between wanted and based-on.
///
/// | wanted | in the cloud | sealed content | step |
/// | --- | --- | --- | --- |
/// | anything, sent as new without an answer | no | | find what was sent |
/// | in that very place, and it was looked for in vain | no | | as if nothing had been sent: it is met there if it is there |
/// | anything, local-only | | | rest |
/// | deleted | no | | settled |
/// | deleted | yes | | delete |
/// | folder | no | | make folder (after its parent) |
/// | file | no | yes | create (after its parent) |
/// | file | no | no | rest: it is being written |
/// | elsewhere, and an earlier move to yet another place went unanswered | yes | | find what was sent |
/// | elsewhere | yes | | change name, folder (and time) |
/// | | yes | yes | replace |
/// | other time | yes | no | change time |
/// | the same, but something else was sent without an answer | yes | no | find what was sent |
/// | the same | yes | no | settled, or rest while it is being written |
pub fn next_step(intent: &Intent, parent: Option<&ItemId>) -> Step {
    if let (None, Some(sent)) = (&intent.item, &intent.sent)
        && let Some((folder, name)) = &sent.place
    {
        let is_wanted_there = !intent.deleted && *name == intent.name && parent == Some(folder);
        if sent.unseen.is_none() || !is_wanted_there {
            return Step::FindSent;
        }
    }
    if intent.deleted {
        return if intent.item.is_some() { Step::Delete } else { Step::Settled };
    }
    if intent.local_only {
        return Step::Rest;
    }
    let Some(base) = &intent.base else {
        return match (intent.kind, intent.sealed, parent) {
            (Kind::File, None, _) => Step::Rest,
            (_, _, None) => Step::AwaitParent,
            (Kind::Folder, _, Some(parent)) => Step::MakeFolder { parent: parent.clone() },
            (Kind::File, Some(spool), Some(parent)) => Step::Create { parent: parent.clone(), spool },
        };
    };
    let other_time = intent.is_retimed();
    if intent.is_displaced(parent) {
        let Some(parent) = parent else { return Step::AwaitParent };
        // It may be in either place; until that is known nothing else may be put there.
        let went = intent.sent.as_ref().and_then(|sent| sent.place.as_ref());
        if went.is_some_and(|(folder, name)| folder != parent || *name != intent.name) {
            return Step::FindSent;
        }
        return Step::Change(Patch {
            name: (base.name != intent.name).then(|| intent.name.clone()),
            parent: (base.parent != *parent).then(|| parent.clone()),
            // New content brings its own time; setting it twice would make one version too many.
            modified: (other_time && intent.sealed.is_none()).then_some(intent.modified),
        });
    }
    match intent.sealed {
        Some(spool) => Step::Replace { spool },
        None if other_time && intent.drafting.is_none() => {
            Step::Change(Patch { modified: Some(intent.modified), ..Patch::default() })
        }
        None if intent.drafting.is_some() => Step::Rest,
        None if intent.sent.is_some() => Step::FindSent,
        None => Step::Settled,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::ids::DriveId;

    fn id(text: &str) -> ItemId {
        ItemId::new(&DriveId::new("b!d"), text)
    }

    /// A file in the cloud.
    pub(in crate::journal) fn known() -> Known {
        Known {
            item: id("i"),
            base: Base {
                parent: id("p"),
                name: "n".into(),
                meta_tag: MetaTag("1".into()),
                content_tag: Some(ContentTag("c".into())),
                size: 1,
                modified: Timestamp::from_seconds(5),
                created: Timestamp::from_seconds(4),
            },
            kind: Kind::File,
            parent: Ino(2),
            modified: Timestamp::from_seconds(5),
        }
    }

    #[test]
    fn every_row_of_the_table() {
        let now = Timestamp::from_seconds(9);
        let parent = id("p");
        let fresh = Intent::new(Ino(9), Kind::File, Ino(2), "n", now);
        assert_eq!(next_step(&fresh, Some(&parent)), Step::Rest);
        let sealed = Intent { sealed: Some(SpoolId(1)), ..fresh.clone() };
        assert_eq!(next_step(&sealed, None), Step::AwaitParent);
        assert_eq!(next_step(&sealed, Some(&parent)), Step::Create { parent: parent.clone(), spool: SpoolId(1) });
        assert_eq!(next_step(&Intent { local_only: true, ..sealed.clone() }, Some(&parent)), Step::Rest);
        assert_eq!(next_step(&Intent { deleted: true, ..sealed }, Some(&parent)), Step::Settled);
        let folder = Intent { kind: Kind::Folder, ..fresh };
        assert_eq!(next_step(&folder, Some(&parent)), Step::MakeFolder { parent: parent.clone() });
        let place = Some((parent.clone(), "n".to_owned()));
        let mut sent = Intent { sent: Some(Sent { place, ..Sent::default() }), ..folder };
        assert_eq!(next_step(&sent, Some(&parent)), Step::FindSent);
        sent.sent.as_mut().expect("sent").unseen = Some(now);
        assert_eq!(next_step(&sent, Some(&parent)), Step::MakeFolder { parent: parent.clone() });
        assert_eq!(
            next_step(&Intent { deleted: true, ..sent.clone() }, Some(&parent)),
            Step::FindSent,
            "it may come yet"
        );
        assert_eq!(next_step(&Intent { name: "m".into(), ..sent }, Some(&parent)), Step::FindSent, "so it may here");

        let same = Intent::about(Ino(9), known(), now);
        assert_eq!(next_step(&same, Some(&parent)), Step::Settled);
        assert_eq!(next_step(&Intent { drafting: Some(SpoolId(2)), ..same.clone() }, Some(&parent)), Step::Rest);
        let unanswered = Intent { sent: Some(Sent::default()), ..same.clone() };
        assert_eq!(next_step(&unanswered, Some(&parent)), Step::FindSent, "the cloud may have what it wanted before");
        assert_eq!(next_step(&Intent { deleted: true, ..unanswered }, Some(&parent)), Step::Delete);
        let edited = Intent { sealed: Some(SpoolId(2)), modified: now, set_modified: true, ..same.clone() };
        assert_eq!(next_step(&edited, Some(&parent)), Step::Replace { spool: SpoolId(2) });
        let timed = Intent { modified: now, set_modified: true, ..same.clone() };
        assert_eq!(next_step(&timed, Some(&parent)), Step::Change(Patch { modified: Some(now), ..Patch::default() }));
        assert_eq!(next_step(&Intent { deleted: true, ..same.clone() }, Some(&parent)), Step::Delete);
        let renamed = Intent { name: "m".into(), ..edited };
        assert_eq!(
            next_step(&renamed, Some(&id("q"))),
            Step::Change(Patch { name: Some("m".into()), parent: Some(id("q")), modified: None })
        );
        assert_eq!(next_step(&renamed, None), Step::AwaitParent);
        let sent_to =
            |folder: &str, name: &str| Some(Sent { place: Some((id(folder), name.into())), ..Sent::default() });
        let repeated = Intent { sent: sent_to("q", "m"), ..renamed.clone() };
        assert!(matches!(next_step(&repeated, Some(&id("q"))), Step::Change(_)), "the same again");
        let moved_on = Intent { sent: sent_to("p", "x"), ..renamed };
        assert_eq!(next_step(&moved_on, Some(&id("q"))), Step::FindSent, "it may be there by now");
    }

    #[test]
    fn a_refusal_is_of_what_was_wanted_when_it_was_asked_for() {
        let now = Timestamp::from_seconds(9);
        let was = Intent { sealed: Some(SpoolId(1)), ..Intent::about(Ino(9), known(), now) };
        assert!(was.wants_as(&was));
        let aside = Intent { name: super::super::queue::aside_name(&was), ..was.clone() };
        assert!(was.wants_as(&aside), "it steps aside on its way there");
        for since in [
            Intent { name: "m".into(), ..was.clone() },
            Intent { parent: Ino(3), ..was.clone() },
            Intent { deleted: true, ..was.clone() },
            Intent { sealed: Some(SpoolId(2)), ..was.clone() },
        ] {
            assert!(!since.wants_as(&was), "{since:?}");
        }
    }
}
