//! Connections on which nothing happens once they are made.

use std::io::{self, Read};

use super::exchange::Exchange;
use super::{COUNTING, Order, say};

/// Opens the connections and keeps them until standard input ends, which it does at the latest with the server.
pub(super) fn keep(order: &Order) -> io::Result<()> {
    let connections = Exchange::echo().connect(order.address, order.connections)?;
    say(COUNTING)?;
    io::stdin().read_to_end(&mut Vec::new())?;
    drop(connections);
    Ok(())
}
