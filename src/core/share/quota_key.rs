//! Those who share.

use std::net::{IpAddr, Ipv6Addr};

use smol_str::SmolStr;

use crate::core::users::User;

/// One of those who share what there is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum QuotaKey {
    /// A user, by name.
    User(SmolStr),
    /// The address that clients come from, where there are no users or before they have logged in; of IPv6 the
    /// network of it (/64), which is what one client has.
    Address(IpAddr),
}

impl QuotaKey {
    /// The user, or else the address.
    pub fn of(user: Option<&User>, address: IpAddr) -> Self {
        user.map_or_else(|| Self::at(address), |user| Self::User(user.name().into()))
    }

    /// Everybody at an address.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
            address @ IpAddr::V4(_) => address,
        })
    }
}
