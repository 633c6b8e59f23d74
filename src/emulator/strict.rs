//! Switches for behaviour on which reports disagree, or which is a known quirk of the service.
//!
//! The default is the harsher reading of what is uncertain and the documented reading of the rest, so
//! that a client which passes here is not surprised there. Quirks that make an operation fail although
//! the client did everything right are off unless a test asks for them. `fidelity.md` says for each
//! which source stands behind it.

use std::time::Duration;

/// What an upload session does about an existing file when the client did not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnsetConflict {
    /// As the documentation has it: refuse.
    Fail,
    /// As several client projects report: replace.
    Replace,
}

/// How a personal drive answers PATCH by item id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PatchAnswer {
    /// 200 with the item.
    Item,
    /// 204 without a body; the change was made.
    EmptyApplied,
    /// 204 without a body; nothing was changed. PATCH by path works (onedrive-api-docs issue 1917).
    EmptyIgnored,
}

/// What `If-Match` does on DELETE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DeleteMatch {
    /// Compared, as documented.
    Compared,
    /// Always 412, as one client project reports.
    AlwaysFails,
}

/// All switches.
#[derive(Clone, Debug)]
pub struct Strict {
    /// Largest body of a simple PUT in bytes; larger gives 413. The documented limit is 250 MB.
    pub simple_put_limit: u64,
    /// A fragment of this many bytes or more gives 413. Documented: less than 60 MiB.
    pub fragment_limit: u64,
    /// Fragments that are not a multiple of 320 KiB are refused at once instead of with the last one.
    pub fragment_multiple_noticed_at_once: bool,
    /// Upload session without a conflict behaviour over an existing file.
    pub unset_conflict: UnsetConflict,
    /// Members that a request body does not define are refused with 400.
    pub refuse_unknown_members: bool,
    /// Query options that the service does not have are refused with 400.
    pub refuse_unknown_query: bool,
    /// How PATCH by id answers on personal drives.
    pub patch_answer: PatchAnswer,
    /// What `If-Match` on DELETE does.
    pub delete_if_match: DeleteMatch,
    /// A work drive's session opened with `If-Match` fails at the last fragment with 412 although
    /// nothing changed (onedrive-api-docs issue 1716).
    pub session_if_match_fails_late: bool,
    /// `If-None-Match: *` on a simple PUT is honoured; when not, it is ignored and the file replaced.
    pub put_if_none_match: bool,
    /// A simple PUT by path creates the folders that are missing on the way.
    pub put_creates_folders: bool,
    /// mkdir with conflict behaviour `replace` over an existing folder gives 409 instead of the folder.
    pub mkdir_replace_conflicts: bool,
    /// PATCH with conflict behaviour `replace` over an existing file works; when not, it gives 409.
    pub rename_replaces_files: bool,
    /// A move without times sets the client's modification time to now.
    pub move_resets_times: bool,
    /// Deleting a folder that is not empty gives 403, as under a retention policy.
    pub retention_hold: bool,
    /// The drive id inside answers changes its case and loses its leading zero (personal drives).
    pub drive_id_spellings: bool,
    /// Shortcuts to shared folders are listed only with `Prefer: Include-Feature=AddToOneDrive`
    /// (personal drives).
    pub shortcuts_need_prefer: bool,
    /// The content host ignores Range and sends the whole file with 200.
    pub ignore_range: bool,
    /// The content host sends `ETag`. Off, because the service does so only sometimes.
    pub content_etag: bool,
    /// A download URL keeps serving the version it was issued for. Off: it serves what the file holds.
    pub download_url_pins_version: bool,
    /// How long a download URL may be used to start a request.
    pub download_url_life: Duration,
    /// How long a link to the next page may be used.
    pub page_link_life: Duration,
    /// Largest page of a listing; `$top` above it is clamped.
    pub page_max: usize,
    /// Page size when the client does not say.
    pub page_default: usize,
    /// Page size of delta answers when the client does not say; `$top` is clamped like a listing's.
    pub delta_page: usize,
    /// Files report no hash in listings and delta (it is there when the item is read by id).
    pub listings_lack_hashes: bool,
    /// The first fragment over an existing Office file gives 404 (work drives).
    pub office_first_fragment_missing: bool,
    /// Office, PDF and HTML files are rewritten by the server after upload (work drives).
    pub office_rewrite: bool,
    /// eTag and cTag of an image move once after upload although its bytes stay.
    pub etag_drift: bool,
    /// mkdir and the last fragment answer success with an empty body.
    pub empty_success_bodies: bool,
    /// Quota answers leave out members.
    pub quota_members_missing: bool,
    /// Longest request path in bytes; longer gives 400 with an HTML body.
    pub url_limit: usize,
    /// Seconds by which the `Date` header and the server's times run ahead of the clock.
    pub clock_skew: i64,
    /// Delay until a new item is found by search.
    pub search_lag: Duration,
}

impl Default for Strict {
    fn default() -> Self {
        Self {
            simple_put_limit: 250_000_000,
            fragment_limit: 60 << 20,
            fragment_multiple_noticed_at_once: false,
            unset_conflict: UnsetConflict::Fail,
            refuse_unknown_members: true,
            refuse_unknown_query: true,
            patch_answer: PatchAnswer::Item,
            delete_if_match: DeleteMatch::Compared,
            session_if_match_fails_late: false,
            put_if_none_match: false,
            put_creates_folders: false,
            mkdir_replace_conflicts: false,
            rename_replaces_files: true,
            move_resets_times: false,
            retention_hold: false,
            drive_id_spellings: true,
            shortcuts_need_prefer: true,
            ignore_range: false,
            content_etag: false,
            download_url_pins_version: false,
            download_url_life: Duration::from_secs(3600),
            page_link_life: Duration::from_secs(3600),
            page_max: 1000,
            page_default: 200,
            delta_page: 200,
            listings_lack_hashes: false,
            office_first_fragment_missing: false,
            office_rewrite: false,
            etag_drift: false,
            empty_success_bodies: false,
            quota_members_missing: false,
            url_limit: 4096,
            clock_skew: 0,
            search_lag: Duration::ZERO,
        }
    }
}
