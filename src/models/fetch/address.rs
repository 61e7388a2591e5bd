//! Which IP addresses are public: everything else leads into networks that a command has no business in, cloud
//! metadata first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What keeps an address from being a public one; `None` where it is one.
pub(super) fn not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    }
}

/// IANA's special-purpose registry, less what is reachable from everywhere.
fn v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [0, ..] => Some("an unspecified address"),
        [127, ..] => Some("a loopback address"),
        [169, 254, ..] => Some("a link-local address"),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Some("a private address"),
        [100, 64..=127, ..] => Some("a carrier's shared address"),
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => {
            Some("an address for protocols and documents")
        }
        [198, 18 | 19, ..] => Some("an address for benchmarks"),
        [224..=239, ..] => Some("a multicast address"),
        [240..=255, ..] => Some("a reserved address"),
        _ => None,
    }
}

fn v6(address: Ipv6Addr) -> Option<&'static str> {
    let segments = address.segments();
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 0] => Some("an unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("a loopback address"),
        [0, 0, 0, 0, 0, 0xffff | 0, _, _] => Some("an IPv4 address in IPv6's clothes"),
        // NAT64: how a network without IPv4 reaches one with it.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
            v4(Ipv4Addr::new(a, b, c, d))
        }
        [0xfe80..=0xfebf, ..] => Some("a link-local address"),
        [0xfc00..=0xfdff, ..] => Some("a unique local address"),
        [0xff00..=0xffff, ..] => Some("a multicast address"),
        [0x2002, ..] | [0x2001, 0..=0x1ff, ..] => Some("an address of a tunnel or a protocol"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("an address for documents"),
        [0x2000..=0x3fff, ..] => None,
        _ => Some("not a global address"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kind(address: &str) -> Option<&'static str> {
        not_public(address.parse().unwrap())
    }

    #[test]
    fn only_global_addresses_are_public() {
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "223.255.255.255",
            "2600::1",
            "2a00:1450::1",
            "2001:200::1",
            "64:ff9b::101:101",
        ] {
            assert_eq!(kind(public), None, "{public}");
        }
        for (address, said) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.255", "loopback"),
            ("10.0.0.1", "private"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.168.0.1", "private"),
            ("100.64.0.1", "shared"),
            ("100.100.100.200", "shared"),
            ("169.254.169.254", "link-local"),
            ("192.0.0.192", "protocols"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", "reserved"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "IPv4"),
            ("::ffff:8.8.8.8", "IPv4"),
            ("::127.0.0.1", "IPv4"),
            ("64:ff9b::a9fe:a9fe", "link-local"),
            ("64:ff9b:1::7f00:1", "not a global"),
            ("2002:7f00:1::", "tunnel"),
            ("2001::1", "tunnel"),
            ("2001:db8::1", "documents"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "not a global"),
            ("fc00::1", "unique local"),
            ("fd00:ec2::254", "unique local"),
            ("ff02::1", "multicast"),
            ("100::1", "not a global"),
        ] {
            let found = kind(address);
            assert!(
                found.is_some_and(|kind| kind.contains(said)),
                "{address}: {found:?}"
            );
        }
    }

    proptest! {
        /// What the standard library calls by a name is never public.
        #[test]
        fn what_std_names_is_not_public(bits: u32) {
            let address = Ipv4Addr::from(bits);
            let named = address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast()
                || address.is_documentation()
                || address.is_unspecified();
            prop_assert!(!named || v4(address).is_some(), "{address}");
            // And no way around by another form of the same.
            prop_assert!(v6(address.to_ipv6_mapped()).is_some());
            prop_assert!(v6(address.to_ipv6_compatible()).is_some());
        }

        #[test]
        fn what_std_names_is_not_public_in_ipv6_either(bits: u128) {
            let address = Ipv6Addr::from(bits);
            let named = address.is_loopback()
                || address.is_multicast()
                || address.is_unicast_link_local()
                || address.is_unique_local()
                || address.is_unspecified();
            prop_assert!(!named || v6(address).is_some(), "{address}");
        }
    }
}
