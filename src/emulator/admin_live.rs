//! The hands of a test on Live Connect: consent without a browser, clients, scopes, listings that shift.
//!
//! Ending and revoking tokens and losing sessions is the same for both protocols: see `OAuthHandle` and `DriveHandle`.

use std::sync::Arc;

use super::drive::Drive;
use super::ident::Index;
use super::live_objects::{Sight, item_of, live_id};
use super::oauth_live::LiveClient;
use super::world::{DriveCell, World, lock};
use super::{DriveHandle, Tokens};

/// Live Connect's side of the emulator. Cheap to clone.
#[derive(Clone)]
pub struct LiveHandle {
    world: Arc<World>,
}

impl LiveHandle {
    /// What python-onedrive asked for.
    pub const SCOPE: &'static str = "wl.skydrive wl.skydrive_update wl.offline_access";
    /// An application id of the right shape. Unless [`register_client`](Self::register_client) was called, every such
    /// id is known, as that of a desktop application without a secret.
    pub const CLIENT: &'static str = "00000000541C0E27";
    /// The redirect of desktop applications.
    pub const DESKTOP: &'static str = "https://login.live.com/oauth20_desktop.srf";

    pub(crate) fn new(world: Arc<World>) -> Self {
        Self { world }
    }

    /// Tokens without a browser, for [`CLIENT`](Self::CLIENT) and [`SCOPE`](Self::SCOPE).
    pub fn issue_tokens(&self) -> Tokens {
        self.issue_tokens_for(Self::CLIENT, Self::SCOPE)
    }

    /// Tokens without a browser. The refresh token is empty if the scope has no `wl.offline_access`.
    pub fn issue_tokens_for(&self, client: &str, scope: &str) -> Tokens {
        let granted = lock(&self.world.live_oauth).issue_for(client, scope, self.world.now());
        Tokens { access: granted.access, refresh: granted.refresh.unwrap_or_default(), expires_in: granted.expires_in }
    }

    /// Consent without a browser: the address that the browser would end at, with the code in it.
    pub fn consent(&self, client: &str, scope: &str, redirect: &str) -> String {
        let code = lock(&self.world.live_oauth).consent(client, scope, redirect, self.world.now());
        format!("{redirect}?code={code}&lc=1033")
    }

    /// Registers an application; from now on only registered ones are known.
    pub fn register_client(&self, id: &str, client: LiveClient) {
        lock(&self.world.live_oauth).clients.insert(id.to_owned(), client);
    }

    /// Who signs in from now on: the owner of this drive.
    pub fn sign_in_as(&self, drive: &DriveHandle) {
        lock(&self.world.live_oauth).user = drive.number();
    }

    /// Grants these scopes whatever is asked for; `None`: what is asked for.
    pub fn set_granted_scope(&self, scope: Option<&str>) {
        lock(&self.world.live_oauth).granted = scope.map(str::to_owned);
    }

    /// Whether refreshing gives a new refresh token, as it usually did.
    pub fn set_rotation(&self, on: bool) {
        lock(&self.world.live_oauth).rotates = on;
    }

    /// The next pages of listings that do not begin at the first entry are cut as if an entry had been added before
    /// them (positive: one entry comes twice) or taken away (negative: one never comes), so many pages long.
    pub fn shift_listings(&self, pages: i32) {
        *lock(&self.world.listing_shift) = pages;
    }

    /// The number of the item with this id: its drive and place in it.
    pub(crate) fn find(world: &World, id: &str) -> Option<(Arc<DriveCell>, Index)> {
        let found = item_of(world, id).ok()?;
        Some((found.cell, found.index))
    }
}

/// The id that Live Connect gives an item.
pub(crate) fn id_of(cell: &DriveCell, drive: &Drive, index: Index) -> String {
    live_id(&cell.identity, index, Sight::of(drive, index).is_folder())
}
