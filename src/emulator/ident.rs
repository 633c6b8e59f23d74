//! Ids and tags in the shapes of each kind of drive, without a table.
//!
//! An item is a number inside the emulator. Its public id is a keyed permutation of that number, so
//! ids look random, cannot be guessed from one another, and can be turned back without storing a
//! map: a drive of a million items pays nothing for them. Shapes are those seen in public reports;
//! clients must treat all of them as opaque.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::Flavour;

/// The number of an item inside its drive.
pub(crate) type Index = u32;

/// The number of every drive's root.
pub(crate) const ROOT: Index = 0;

/// The id suffix that every migrated personal root carries.
const PERSONAL_ROOT: &str = "ea8cc6beffdb43d7976fbc7da445c639";
/// The id suffix that every work root carries.
const BUSINESS_ROOT: &str = "6Y2GOVW7725BZO354PWSELRRZ";
/// The number of the root in short ids.
const FIRST_NUMBER: u64 = 101;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// A bijection on 64 bits that spreads its input (the finaliser of splitmix64).
pub(crate) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The inverse of [`mix`].
const fn unmix(mut z: u64) -> u64 {
    z = (z ^ (z >> 31) ^ (z >> 62)).wrapping_mul(0x3196_42b2_d24d_8ec3);
    z = (z ^ (z >> 27) ^ (z >> 54)).wrapping_mul(0x96de_1b17_3f11_9089);
    z ^ (z >> 30) ^ (z >> 60)
}

/// How one drive names itself and its items.
pub(crate) struct Identity {
    flavour: Flavour,
    key: u64,
    drive: String,
    prefix: String,
    site: String,
}

impl Identity {
    /// The identity of a drive: the same seed gives the same ids on every run.
    pub(crate) fn new(flavour: Flavour, seed: u64) -> Self {
        let key = mix(seed ^ 0x6f6e_6564_7269_7665);
        let drive = if flavour.is_personal() {
            // The first digit is zero on purpose: some answers of the service drop it.
            format!("0{:015x}", mix(key) >> 4)
        } else {
            let mut bytes = Vec::with_capacity(48);
            for part in 0..6 {
                bytes.extend_from_slice(&mix(key ^ part).to_le_bytes());
            }
            format!("b!{}", URL_SAFE_NO_PAD.encode(bytes))
        };
        let prefix = base32(mix(key ^ 7), 7);
        Self { flavour, key, drive, prefix, site: guid(mix(key ^ 8), mix(key ^ 9)) }
    }

    /// The same identity with a drive id that has no leading zero, if it is a personal one.
    pub(crate) fn without_zero(mut self) -> Self {
        if self.flavour.is_personal() {
            self.drive.replace_range(..1, "7");
        }
        self
    }

    /// The kind of drive.
    pub(crate) fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// The drive's id in its own spelling.
    pub(crate) fn drive_id(&self) -> &str {
        &self.drive
    }

    /// The id of the site that a work drive belongs to.
    pub(crate) fn site_id(&self) -> &str {
        &self.site
    }

    /// Whether a spelling names this drive: case does not matter on personal drives, and matters on
    /// others. A personal id that lost its leading zero is not accepted: a client has to put it back.
    pub(crate) fn is_drive(&self, spelling: &str) -> bool {
        if self.flavour.is_personal() { self.drive.eq_ignore_ascii_case(spelling) } else { self.drive == spelling }
    }

    fn pair(&self, index: Index) -> (u64, u64) {
        let first = mix(u64::from(index) ^ self.key);
        (first, mix(first ^ self.key.rotate_left(17)))
    }

    fn index_of(&self, first: u64) -> Option<Index> {
        Index::try_from(unmix(first) ^ self.key).ok()
    }

    /// The public id of an item.
    pub(crate) fn item_id(&self, index: Index) -> String {
        match self.flavour {
            Flavour::PersonalOld => format!("{}!{}", self.drive.to_ascii_uppercase(), FIRST_NUMBER + u64::from(index)),
            Flavour::PersonalNew => {
                let drive = self.drive.to_ascii_uppercase();
                if index == ROOT {
                    return format!("{drive}!s{PERSONAL_ROOT}");
                }
                let (a, b) = self.pair(index);
                format!("{drive}!s{a:016x}{b:016x}")
            }
            Flavour::Business | Flavour::DocumentLibrary => {
                if index == ROOT {
                    return format!("01{}{BUSINESS_ROOT}", self.prefix);
                }
                let (a, b) = self.pair(index);
                format!("01{}{}{}", self.prefix, base32(a, 13), base32(b, 12))
            }
        }
    }

    /// The item a public id belongs to, if it is one of this drive's. Personal ids are compared
    /// without regard to case, work ids exactly.
    pub(crate) fn parse_item_id(&self, id: &str) -> Option<Index> {
        match self.flavour {
            Flavour::PersonalOld => {
                let (drive, number) = id.split_once('!')?;
                if !self.is_drive(drive) {
                    return None;
                }
                Index::try_from(number.parse::<u64>().ok()?.checked_sub(FIRST_NUMBER)?).ok()
            }
            Flavour::PersonalNew => {
                let (drive, rest) = id.split_once('!')?;
                let hex = rest.strip_prefix(['s', 'S'])?;
                if !self.is_drive(drive) || hex.len() != 32 || !hex.is_ascii() {
                    return None;
                }
                if hex.eq_ignore_ascii_case(PERSONAL_ROOT) {
                    return Some(ROOT);
                }
                let index = self.index_of(u64::from_str_radix(&hex[..16], 16).ok()?)?;
                let check = u64::from_str_radix(&hex[16..], 16).ok()?;
                (index != ROOT && self.pair(index).1 == check).then_some(index)
            }
            Flavour::Business | Flavour::DocumentLibrary => {
                let rest = id.strip_prefix("01")?.strip_prefix(self.prefix.as_str())?;
                if rest == BUSINESS_ROOT {
                    return Some(ROOT);
                }
                if rest.len() != 25 || !rest.is_ascii() {
                    return None;
                }
                let index = self.index_of(unbase32(&rest[..13])?)?;
                (index != ROOT && self.item_id(index) == id).then_some(index)
            }
        }
    }

    /// The short id that Live Connect and BITS use: the CID in upper case *without* its leading zeros, and a number.
    /// On legacy drives it is Graph's id but for the zeros.
    pub(crate) fn resid(&self, index: Index) -> String {
        format!("{}!{}", self.drive.trim_start_matches('0').to_ascii_uppercase(), FIRST_NUMBER + u64::from(index))
    }

    /// The item of a short id, which has to be spelled as issued but for its case.
    pub(crate) fn parse_resid(&self, id: &str) -> Option<Index> {
        let (cid, number) = id.split_once('!')?;
        if !self.flavour.is_personal() || !cid.eq_ignore_ascii_case(self.drive.trim_start_matches('0')) {
            return None;
        }
        if number.starts_with(['0', '+']) {
            return None;
        }
        Index::try_from(number.parse::<u64>().ok()?.checked_sub(FIRST_NUMBER)?).ok()
    }

    /// The item's unique id in the form of a GUID.
    pub(crate) fn guid(&self, index: Index) -> String {
        let (a, b) = self.pair(index);
        guid(a, b)
    }

    /// The eTag for the given count of changes of any kind.
    pub(crate) fn etag(&self, index: Index, count: u32) -> String {
        match self.flavour {
            Flavour::PersonalOld => {
                format!("a{}", STANDARD_NO_PAD.encode(format!("{}.{count}", self.item_id(index))))
            }
            _ => format!("\"{{{}}},{count}\"", self.guid(index)),
        }
    }

    /// The cTag for the given count of content changes.
    pub(crate) fn ctag(&self, index: Index, count: u32, folder: bool) -> String {
        match self.flavour {
            Flavour::PersonalOld => {
                let kind = if folder { "t:" } else { "c:" };
                format!("a{}", STANDARD_NO_PAD.encode(format!("{kind}{}.{count}", self.item_id(index))))
            }
            _ => format!("\"c:{{{}}},{count}\"", self.guid(index)),
        }
    }
}

/// A GUID in upper case from 128 bits.
pub(crate) fn guid(a: u64, b: u64) -> String {
    format!(
        "{:08X}-{:04X}-{:04X}-{:04X}-{:012X}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xffff,
        b >> 48,
        b & 0xffff_ffff_ffff
    )
}

fn base32(mut bits: u64, digits: usize) -> String {
    let mut out = vec![0u8; digits];
    for digit in out.iter_mut().rev() {
        *digit = BASE32[(bits & 31) as usize];
        bits >>= 5;
    }
    out.into_iter().map(char::from).collect()
}

fn unbase32(text: &str) -> Option<u64> {
    let mut bits = 0u64;
    for byte in text.bytes() {
        let digit = BASE32.iter().position(|&d| d == byte)?;
        bits = bits.wrapping_shl(5) | digit as u64;
    }
    Some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flavours_ids_turn_back_into_their_items() {
        for flavour in [Flavour::PersonalOld, Flavour::PersonalNew, Flavour::Business, Flavour::DocumentLibrary] {
            let identity = Identity::new(flavour, 42);
            for index in [0, 1, 2, 1000, 999_999, u32::MAX - 200] {
                let id = identity.item_id(index);
                assert_eq!(identity.parse_item_id(&id), Some(index), "{id}");
            }
            let other = Identity::new(flavour, 43);
            assert_eq!(other.parse_item_id(&identity.item_id(5)), None);
        }
    }

    #[test]
    fn case_matters_on_work_drives_only() {
        let personal = Identity::new(Flavour::PersonalNew, 1);
        let id = personal.item_id(9);
        assert_eq!(personal.parse_item_id(&id.to_uppercase()), Some(9));
        assert!(personal.is_drive(&personal.drive_id().to_uppercase()));
        assert!(!personal.is_drive(personal.drive_id().trim_start_matches('0')));
        let business = Identity::new(Flavour::Business, 1);
        assert_eq!(business.parse_item_id(&business.item_id(9).to_lowercase()), None);
        assert_eq!(business.item_id(9).len(), 34);
    }

    #[test]
    fn mix_is_undone_by_unmix() {
        for z in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            assert_eq!(unmix(mix(z)), z);
        }
    }
}
