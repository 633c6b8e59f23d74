//! Where a request may go: one decision, for every URL that the service hands out and for the one that is configured.
//!
//! Answers of the service hold URLs (downloads, uploads, next pages, redirects), and a request to each of them leaves
//! from inside the user's network, some of them with the user's files. So no answer may make this program talk to a
//! router, to a server on the user's own machine, or without encryption. The origin of the service itself is judged by
//! the same rules; only a service on this machine (tests, the demo) may name other ports of it.

use std::net::{Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::{RemoteError, RemoteResult};
use crate::base::secret::Wipe;

/// Whether anything is sent to `url`, for a service at `origin`.
///
/// | URL | when the service is elsewhere | when it is on this machine |
/// | --- | --- | --- |
/// | https, a public host | yes | yes, unless only this machine is allowed |
/// | https, an address of a private network | only if it is the origin's | no |
/// | https or http to this machine | no | yes |
/// | http elsewhere, other schemes, with a user name | no | no |
///
/// A name that resolves to such an address is stopped by its certificate.
///
/// # Errors
///
/// [`super::RemoteErrorKind::Protocol`], without the URL.
pub fn admit(url: &Url, origin: &Url, loopback_only: bool) -> RemoteResult<()> {
    let refused = |why| Err(RemoteError::protocol(why));
    let local = is_loopback(url);
    if !url.username().is_empty() || url.password().is_some() {
        return refused("a URL carries a user name");
    }
    if loopback_only && !local {
        return refused("a URL leads off this machine");
    }
    match url.scheme() {
        "https" => {}
        "http" if local => {}
        "http" => return refused("a URL is not encrypted; plain http is for this machine only"),
        _ => return refused("a URL is neither http nor https"),
    }
    if (local || names_this_machine(url)) && !is_loopback(origin) {
        return refused("a URL leads to this machine, and the service is elsewhere");
    }
    if is_private(url) && url.host() != origin.host() {
        return refused("a URL leads into a private network");
    }
    Ok(())
}

/// Whether a URL leads to this machine for certain, so that plain http is safe.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

/// Whether a name may mean this machine, though plain http is not trusted to it.
fn names_this_machine(url: &Url) -> bool {
    let Some(Host::Domain(name)) = url.host() else { return false };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether a URL names an address that is not one of the internet; this machine's own loopback aside.
fn is_private(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => is_private_v4(address),
        Some(Host::Ipv6(address)) => is_private_v6(address),
        Some(Host::Domain(_)) | None => false,
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_private()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_multicast()
        || first == 0
        // Shared by the customers of a provider (RFC 6598).
        || (first == 100 && second & 0xc0 == 64)
}

fn is_private_v6(address: Ipv6Addr) -> bool {
    match address.to_ipv4_mapped() {
        Some(address) => address.is_loopback() || is_private_v4(address),
        None => {
            address.is_unspecified()
                || address.is_multicast()
                || address.is_unique_local()
                || address.is_unicast_link_local()
        }
    }
}

impl Wipe for Url {
    fn wipe(&mut self) {
        if let Ok(nothing) = Url::parse("about:blank") {
            // A URL cannot be overwritten in place, but it gives its text away.
            String::from(std::mem::replace(self, nothing)).wipe();
        }
    }
}

#[cfg(any(test, feature = "fuzzing"))]
/// Any text as a URL of the service.
pub(crate) fn fuzz(data: &[u8]) {
    let Ok(url) = Url::parse(&String::from_utf8_lossy(data)) else { return };
    for origin in ["https://graph.microsoft.com", "http://127.0.0.1:1"] {
        let origin = Url::parse(origin).expect("invariant: a fixed URL");
        if admit(&url, &origin, false).is_ok() {
            let home = is_loopback(&url);
            assert!(url.scheme() == "https" || home);
            assert!(!home || is_loopback(&origin));
            assert!(url.username().is_empty() && !is_private(&url));
        }
        assert!(admit(&url, &origin, true).is_err() || is_loopback(&url));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(url: &str, origin: &str, loopback_only: bool) -> bool {
        let parse = |text: &str| Url::parse(text).expect(text);
        admit(&parse(url), &parse(origin), loopback_only).is_ok()
    }

    #[test]
    fn every_row_of_the_table() {
        let (away, home) = ("https://graph.microsoft.com", "http://127.0.0.1:1234");
        for (url, from_away, from_home) in [
            ("https://my.sharepoint.com/x?tempauth=1", true, true),
            ("https://203.0.113.7/x", true, true),
            ("https://[2001:db8::1]/x", true, true),
            ("https://10.0.0.1/", false, false),
            ("https://192.168.1.1/", false, false),
            ("https://172.31.0.1/", false, false),
            ("https://169.254.169.254/latest/meta-data", false, false),
            ("https://100.64.0.1/", false, false),
            ("https://0.0.0.0/", false, false),
            ("https://3232235777/", false, false),
            ("https://0x7f.1/", false, true),
            ("https://[fd00::1]/", false, false),
            ("https://[fe80::1]/", false, false),
            ("https://[::]/", false, false),
            ("https://[::ffff:192.168.0.1]/", false, false),
            ("https://[::ffff:127.0.0.1]/", false, false),
            ("https://localhost/", false, true),
            ("https://localhost./", false, true),
            ("https://x.localhost/", false, true),
            ("https://127.0.0.1/", false, true),
            ("http://127.0.0.1:80/", false, true),
            ("http://[::1]/", false, true),
            ("http://localhost:631/", false, true),
            ("http://x.localhost/", false, false),
            ("http://my.sharepoint.com/", false, false),
            ("http://10.0.0.1/", false, false),
            ("file:///etc/passwd", false, false),
            ("ftp://example.org/", false, false),
            ("data:text/plain,x", false, false),
            ("javascript:alert(1)", false, false),
            ("https://user@my.sharepoint.com/", false, false),
            ("https://user:word@my.sharepoint.com/", false, false),
            ("https://graph.microsoft.com@10.0.0.1/", false, false),
        ] {
            assert_eq!(judge(url, away, false), from_away, "{url} from {away}");
            assert_eq!(judge(url, home, false), from_home, "{url} from {home}");
        }
    }

    #[test]
    fn a_service_in_a_private_network_is_its_own_host_only() {
        assert!(judge("https://10.0.0.1/download", "https://10.0.0.1", false));
        assert!(!judge("https://10.0.0.2/download", "https://10.0.0.1", false));
    }

    #[test]
    fn a_demonstration_never_leaves_the_machine() {
        assert!(judge("http://127.0.0.1:9/", "http://127.0.0.1:8", true));
        assert!(!judge("https://my.sharepoint.com/", "http://127.0.0.1:8", true));
    }

    #[test]
    fn a_wiped_address_says_nothing() {
        let mut url = Url::parse("https://x.example/y?tempauth=s3cret").expect("a URL");
        url.wipe();
        assert_eq!(url.as_str(), "about:blank");
    }
}
