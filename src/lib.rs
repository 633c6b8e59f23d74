//! A OneDrive filesystem for Linux that people can trust with the only copy of their work.
//!
//! `onedrive-mount ~/OneDrive` shows a drive of any size as a folder: at once, at local speed, offline too. This
//! crate is that program (`onedrive-mount`), its companion (`onedrive-cli`), and the parts they are made of.
//!
//! # The vocabulary
//!
//! - **inode**: the kernel's number for a file or folder, persistent here ([`base::ids::Ino`]); **item**: the
//!   service's identity of it ([`base::ids::ItemId`]). The index maps the two.
//! - **index**: what we believe the cloud looks like. **journal**: what the cloud has not acknowledged yet.
//!   **cache**: clean bytes. "Changes" always means what the cloud tells us, "journal" what we tell the cloud.
//! - **intent**: the wanted state of one inode ([`journal::Intent`]); **draft**: content that is being written or
//!   waits to be sent ([`journal::Draft`]), its bytes in a **spool** file; **sealed**: closed, to be sent.
//! - **parked**: an intent that waits for the user ([`journal::ParkReason`]); **held**: parked because it belongs to a
//!   burst of deletions or overwrites ([`journal::burst`]).
//! - **meta tag**: one state of an item, for preconditions; **content tag**: one version of its bytes.
//!
//! # Three durability classes
//!
//! Every byte on the local disk belongs to exactly one of them, and each has its own home:
//!
//! | class | home | when it is lost |
//! | --- | --- | --- |
//! | cache | self-proving files, [`cache`] | fetched again |
//! | index | one SQLite file, [`index`] | built again from the cloud |
//! | journal | SQLite file and spool files, [`journal`] | never: migrated, repaired, or kept and shown to the user |
//!
//! # Layers
//!
//! Imports point downward only; a test reads the `use` lines and holds us to it.
//!
//! ```text
//!  cli, main            parse, call, print, exit code
//!  drive                paths, transfers, folders with everything in them: the library for other programs
//!  daemon               builds the object graph, owns tasks
//!  fuse                 kernel <-> volume: translates, decides nothing
//!  volume               file-system meaning                       emulator
//!  journal | changes    out to the cloud | in from it              (a OneDrive of our own over
//!  cache                clean bytes                                 HTTP; shares no protocol
//!  index | remote       what we believe | the cloud                 code with the client)
//!  auth                 tokens
//!  base | config        ids, names, clock, disk, ranges, tasks
//! ```
//!
//! News travels upward through two one-method traits that the lower side owns: [`index::NoticeSink`] (implemented
//! by the volume) and [`volume::KernelSink`] (implemented by `fuse`).
//!
//! # Five walks
//!
//! **`ls` of a folder.** `fuse::adapter` → [`volume::Volume::open_dir`]: if the index knows the folder completely,
//! the listing is taken from the index and overlaid with the journal, without the network; if not, one listing
//! through [`remote::Remote::list`] fills the index first. Readers look at the overlay before the index, so that
//! something acknowledged in between is seen twice rather than never.
//!
//! **A cold read.** [`volume::Volume::open`] pins the version; [`volume::Volume::read`] asks [`cache::Fetcher`],
//! which shares one download among all who wait for a chunk and reads ahead as long as the reader is sequential.
//! A range of another version is refused, never mixed in.
//!
//! **A write.** The first write makes a draft ([`journal::Journal::writable`]); close seals it
//! ([`journal::Journal::seal`]): from then on it survives the daemon, within a second (group commit) the power. A
//! worker ([`journal::uploader::Uploader`]) picks what is due, sends it guarded by the version it was based on,
//! and the answer decides: acknowledged, adopted, or both versions kept ([`journal::conflict`]).
//!
//! **A change elsewhere.** [`changes::Poller`] reads the feed to its end, plans purely, applies rows and cursor in
//! one transaction, and tells the volume, which tells the kernel what to forget.
//!
//! **A crash.** [`journal::Journal::open`] brings every row to a safe state and every stray file to a row; what it
//! cannot explain it keeps and shows. The wanted state and the state it was based on are both recorded, so what
//! remains to be done is their difference ([`journal::intent::next_step`]), whatever had been tried before.
//!
//! # Where this differs from a log of operations
//!
//! The journal keeps one *wanted state* per inode instead of a list of operations. Creating and deleting, renaming
//! twice, or saving under a temporary name and renaming it over the document then need no rules for shortening a
//! log: they are what the difference of two states looks like. The joining of identities that remains (saving by
//! rename must replace one item, not delete and create) is one small pure table, `journal::coalesce`.

pub mod auth;
pub mod base;
pub mod cache;
pub mod changes;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod drive;
#[cfg(feature = "demo")]
pub mod emulator;
pub mod fuse;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod index;
pub mod journal;
pub mod remote;
pub mod volume;
