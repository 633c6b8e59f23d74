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

/// What BITS does with a fragment that begins before the next expected byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overlap {
    /// 416 with the next expected byte, as the protocol's specification has it (MC-BUP 3.2.5.2.4).
    Refused,
    /// The part that is new is kept, as the pages of Windows' own server have it.
    NewPartKept,
}

/// How BITS answers a Close-Session whose file is complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BitsClose {
    /// The file appears.
    Commits,
    /// The file appears, and the answer is 500: nobody can tell from it.
    CommitsAndFails,
    /// 500; nothing appears and the session stays (python-onedrive issues 39 and 52).
    Fails,
    /// 501, as some accounts met it for good.
    NotEnabled,
}

/// How a BITS session that is not there any more is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionGone {
    /// 500 with the error code `0x8020001F`, as the specification has it.
    Code,
    /// 500 with `X-ClientErrorCode: UploadSessionNotFound`, as one client project met it.
    ClientError,
}

/// When content comes compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gzip {
    /// Never.
    Never,
    /// When the client offered to take it, also where a range was asked for (python-onedrive issue 45).
    WhenOffered,
    /// Also when it did not.
    Unasked,
}

/// What Live Connect v5.0 and BITS do where reports disagree. The service is gone, so nothing of this can be asked of
/// it any more: what is on by default is what a client has to be ready for.
#[derive(Clone, Debug)]
pub struct LiveStrict {
    /// Largest body of an upload in one request, in bytes; larger gives 413. Documented: 100 MB.
    pub upload_limit: u64,
    /// A PUT of content with `Content-Length` is never answered (python-onedrive issue 30).
    pub put_with_length_hangs: bool,
    /// `overwrite=false` on a taken name makes a second file of that name; when not, it gives 409.
    pub overwrite_false_duplicates: bool,
    /// Photos change on upload, unless the request says `downsize_photo_uploads=false`. The service did so to large
    /// ones only.
    pub photos_downsized: bool,
    /// Making a read link ends the edit link.
    pub read_link_ends_edit_link: bool,
    /// MOVE and COPY take `me/skydrive` and its relatives as destination; when not, they give 400.
    pub special_destinations: bool,
    /// Folders can be moved, as documented; when not, it gives 400, as python-onedrive had it.
    pub folder_moves: bool,
    /// The language of canonical folders when the request names no `locale`.
    pub locale: &'static str,
    /// A token both in the header and in the query gives 400.
    pub two_tokens_refused: bool,
    /// A `limit` above this is taken for this.
    pub listing_limit_max: Option<usize>,
    /// Objects carry members that no document names.
    pub unknown_members: bool,
    /// `upload_location` of files carries a query.
    pub upload_location_query: bool,
    /// How long a pre-authenticated content URL may be used to start a request.
    pub source_life: Duration,
    /// After that it gives 200 with an empty body and `WWW-Authenticate`; when not, 401.
    pub expired_source_is_empty: bool,
    /// When content comes compressed.
    pub gzip: Gzip,
    /// A fragment of more bytes gives 413.
    pub bits_fragment_limit: u64,
    /// A file of more bytes is refused with its first fragment. Reported for 2014: 10 GiB.
    pub bits_total_limit: u64,
    /// How long a BITS session lives after its last packet.
    pub bits_session_life: Duration,
    /// How an unknown session is answered.
    pub bits_session_gone: SessionGone,
    /// What happens to a fragment that overlaps what is there.
    pub bits_overlap: Overlap,
    /// Fragments need a token too; when not, the session's id is enough.
    pub bits_fragments_need_token: bool,
    /// Fragments are taken with a token whose time is over, so that only Close-Session notices; when not, they give
    /// 401.
    pub bits_fragments_take_expired_tokens: bool,
    /// A packet with another token than the session began with ends the session.
    pub bits_new_token_ends_session: bool,
    /// What Close-Session does.
    pub bits_close: BitsClose,
    /// A successful Close-Session does not say which file was made.
    pub bits_resource_id_missing: bool,
    /// Fragments in chunked coding are refused, as the specification has it; the service took them.
    pub bits_refuses_chunked: bool,
}

impl Default for LiveStrict {
    fn default() -> Self {
        Self {
            upload_limit: 100_000_000,
            put_with_length_hangs: false,
            overwrite_false_duplicates: false,
            photos_downsized: true,
            read_link_ends_edit_link: true,
            special_destinations: false,
            folder_moves: true,
            locale: "en-US",
            two_tokens_refused: true,
            listing_limit_max: None,
            unknown_members: true,
            upload_location_query: true,
            source_life: Duration::from_secs(900),
            expired_source_is_empty: true,
            gzip: Gzip::WhenOffered,
            bits_fragment_limit: 60 << 20,
            bits_total_limit: 10 << 30,
            bits_session_life: Duration::from_secs(86_400),
            bits_session_gone: SessionGone::Code,
            bits_overlap: Overlap::Refused,
            bits_fragments_need_token: true,
            bits_fragments_take_expired_tokens: true,
            bits_new_token_ends_session: false,
            bits_close: BitsClose::Commits,
            bits_resource_id_missing: false,
            bits_refuses_chunked: false,
        }
    }
}

/// All switches.
#[derive(Clone, Debug)]
pub struct Strict {
    /// Live Connect and BITS.
    pub live: LiveStrict,
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
            live: LiveStrict::default(),
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
