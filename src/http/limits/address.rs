//! Who is counted where addresses have a share.

use std::net::{IpAddr, Ipv4Addr};

/// Who is counted: an IPv4 address, or the /64 that an IPv6 address is in, since
/// whoever has one address of a /64 has all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::http) enum Address {
    V4(Ipv4Addr),
    V6Net([u8; 8]),
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6Net([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl Address {
    /// Stands for all whose address is not known: no client has it (RFC 1122, 3.2.1.3).
    pub(in crate::http) const UNKNOWN: Self = Self::V4(Ipv4Addr::UNSPECIFIED);

    /// A number of its own.
    pub(in crate::http) fn number(self) -> u128 {
        match self {
            Self::V4(address) => address.to_ipv6_mapped().to_bits(),
            Self::V6Net(net) => u128::from(u64::from_be_bytes(net)) << 64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_client_is_its_64_and_an_ipv4_client_its_address() {
        let address = |text: &str| Address::from(text.parse::<IpAddr>().unwrap());
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("::1", "::2", true),
            ("::1", "0.0.0.0", false),
        ] {
            assert_eq!(address(one) == address(other), same, "{one} {other}");
        }
    }
}
