//! The hosts of a simulated network: their names and addresses, and who cannot reach whom.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::fault::Fault;

/// As which the test's own machine, which has no name, is seen by the hosts: addresses for documentation, which nobody has.
const NAMELESS: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// The name of a host; `None` is the machine that the test itself runs on, which has every address that no host has.
pub(super) type Host = Option<Arc<str>>;

#[derive(Default)]
pub(super) struct Hosts {
    addresses: BTreeMap<Arc<str>, Vec<IpAddr>>,
    /// Pairs of addresses, the lower one first.
    cuts: BTreeSet<(IpAddr, IpAddr)>,
}

impl Hosts {
    pub(super) fn add(&mut self, name: &Arc<str>, ip: IpAddr) {
        let addresses = self.addresses.entry(name.clone()).or_default();
        if !addresses.contains(&ip) {
            addresses.push(ip);
        }
    }

    pub(super) fn resolve(&self, name: &str) -> Vec<IpAddr> {
        match self.addresses.get(name) {
            Some(addresses) => addresses.clone(),
            None if name.eq_ignore_ascii_case("localhost") => vec![Ipv4Addr::LOCALHOST.into()],
            None => Vec::new(),
        }
    }

    /// Whose address this is. Everybody has the loopback addresses.
    pub(super) fn of(&self, ip: IpAddr) -> Host {
        let owner = self.addresses.iter().find(|(_, ips)| ips.contains(&ip));
        owner.map(|(name, _)| name.clone())
    }

    /// Which host a connection from `host` to `ip` leads to.
    pub(super) fn at(&self, host: &Host, ip: IpAddr) -> Host {
        match ip.is_loopback() {
            true => host.clone(),
            false => self.of(ip),
        }
    }

    pub(super) fn owns(&self, host: &Host, ip: IpAddr) -> bool {
        ip.is_loopback() || ip.is_unspecified() || self.of(ip) == *host
    }

    /// The address that a connection from `host` to `target` comes from.
    pub(super) fn source(&self, host: &Host, target: IpAddr) -> Result<IpAddr, Fault> {
        if target.is_loopback() {
            return Ok(localhost(target));
        }
        if self.of(target) == *host {
            return Ok(target);
        }
        let all = host.as_ref().and_then(|name| self.addresses.get(name));
        let all = all.map_or(&NAMELESS[..], Vec::as_slice);
        let fitting = all.iter().find(|ip| ip.is_ipv4() == target.is_ipv4());
        fitting.copied().ok_or(Fault::Unreachable)
    }

    pub(super) fn cut(&mut self, one: IpAddr, other: IpAddr) {
        self.cuts.insert(pair(one, other));
    }

    pub(super) fn heal(&mut self, one: IpAddr, other: IpAddr) {
        self.cuts.remove(&pair(one, other));
    }

    pub(super) fn are_cut(&self, one: IpAddr, other: IpAddr) -> bool {
        self.cuts.contains(&pair(one, other))
    }
}

/// The loopback address of the same family.
pub(super) fn localhost(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    }
}

fn pair(one: IpAddr, other: IpAddr) -> (IpAddr, IpAddr) {
    let (one, other) = (one.to_canonical(), other.to_canonical());
    (one.min(other), one.max(other))
}
