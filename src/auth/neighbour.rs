//! Whose program is at the other end of a connection on this machine.
//!
//! Every user of a machine can connect to a port of its loopback address, and what a browser was started with can be
//! read by all of them. So what comes in there is worth as much as the user it comes from, and the kernel knows who that
//! is: its tables of connections name the owner of each socket, and the other end has an entry of its own.
//!
//! Always true: a connection counts as ours only while its other end is held open by a process of ours, or of root. A
//! socket that nobody holds any more belongs to nobody in the tables (the kernel shows 0, the number of root), so a
//! neighbour gains nothing by closing in time. Where the tables say nothing (a relay from another machine or container,
//! no `/proc`), nothing is known and the connection is not ours.
//!
//! Source: `proc_net_tcp.txt` of the kernel's documentation; `get_tcp4_sock` and `get_timewait4_sock` in
//! `net/ipv4/tcp_ipv4.c`.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpStream;

/// Whether the other end of a connection is held by a process of this user, or of root.
pub(super) fn is_ours(stream: &TcpStream) -> bool {
    let (Ok(near), Ok(far)) = (stream.local_addr(), stream.peer_addr()) else { return false };
    // A program may speak the old protocol through a socket of the new one; then its entry is in the other table.
    let owner = ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().find_map(|table| {
        let table = std::fs::read_to_string(table).unwrap_or_default();
        owner(&table, far, near)
    });
    owner.is_some_and(|owner| owner == rustix::process::getuid().as_raw() || owner == 0)
}

/// Who holds the socket at `far` that is connected to `near`, according to a table of the kernel.
///
/// | entry | owner |
/// | --- | --- |
/// | one with an inode | the user that it names |
/// | one without: nobody holds it any more | nobody |
/// | none | nobody |
fn owner(table: &str, far: SocketAddr, near: SocketAddr) -> Option<u32> {
    let spellings = |at: SocketAddr| [spelt(at), spelt(mapped(at))];
    let (far, near) = (spellings(far), spellings(near));
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it = |field: usize, wanted: &[String]| wanted.iter().any(|at| fields.get(field) == Some(&at.as_str()));
        if !is_it(1, &far) || !is_it(2, &near) || *fields.get(9)? == "0" {
            return None;
        }
        fields.get(7)?.parse().ok()
    })
}

/// An address as the tables spell it: words of four bytes as this machine reads them, and the port.
fn spelt(at: SocketAddr) -> String {
    let bytes = match at.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let words = bytes.chunks_exact(4).map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]));
    let address: String = words.map(|word| format!("{word:08X}")).collect();
    format!("{address}:{:04X}", at.port())
}

/// The same in the new protocol.
fn mapped(at: SocketAddr) -> SocketAddr {
    match at.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), at.port()),
        IpAddr::V6(_) => at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_owner_is_the_one_of_the_other_end_while_it_is_open() {
        const V4: &str =
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 111 1
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 112 1
   2: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1001        0 113 1
   3: 0100007F:C351 0100007F:1F90 06 00000000:00000000 03:00001770 00000000     0        0 0 3
   4: 0100007F:C352 0100007F:1F90 05 00000000:00000000 03:00001770 00000000     0        0 0 3
";
        let near = at("127.0.0.1:8080");
        let owner_of = |port: u16| owner(V4, SocketAddr::new(near.ip(), port), near);
        assert_eq!(owner_of(50_000), Some(1001), "not our own end of it");
        assert_eq!([50_001, 50_002, 50_003].map(owner_of), [None; 3], "closed, closed, unknown");
        assert_eq!(owner("", at("127.0.0.1:50000"), near), None);
        const V6: &str = "  sl  local_address remote_address
   0: 00000000000000000000000001000000:C350 00000000000000000000000001000000:1F90 01 0:0 00:0 0  1002 0 7 1
   1: 0000000000000000FFFF00000100007F:C351 0000000000000000FFFF00000100007F:1F90 01 0:0 00:0 0  1003 0 8 1
";
        assert_eq!(owner(V6, at("[::1]:50000"), at("[::1]:8080")), Some(1002));
        assert_eq!(owner(V6, at("127.0.0.1:50001"), near), Some(1003));
    }

    #[tokio::test]
    async fn a_connection_of_this_process_is_ours_while_it_lasts() {
        for here in ["127.0.0.1:0", "[::1]:0"] {
            // Not every machine has the second.
            let Ok(listener) = tokio::net::TcpListener::bind(here).await else { continue };
            let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connects");
            let (stream, _) = listener.accept().await.expect("accepted");
            assert!(is_ours(&stream), "{here}");
            drop(client);
            assert!(!is_ours(&stream), "{here}");
        }
    }
}
