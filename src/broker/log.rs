//! The packets that clients sent and got.

use std::collections::VecDeque;
use std::rc::Rc;

use crate::codec::{Packet, PacketType, Version};
use crate::session::Instant;

/// Packets that are kept, at most.
pub const MAXIMUM_PACKETS: usize = 10_000;
/// Bytes of packets that are kept, at most. The last packet is kept whatever its size.
const MAXIMUM_BYTES: usize = 16 * 1024 * 1024;

/// Who sent a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The client, to the broker.
    In,
    /// The broker, to the client.
    Out,
}

/// A packet in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggedPacket {
    /// Counts the packets, from 0. A number that is missing in the log belonged to a packet that had to give way.
    pub number: u64,
    /// When the broker read or wrote it.
    pub at: Instant,
    /// Empty where a CONNECT was refused before the broker knew one.
    pub client_id: Rc<str>,
    /// Who sent it.
    pub direction: Direction,
    /// The topic of a PUBLISH, also where it only has a Topic Alias.
    pub topic: Option<Rc<str>>,
    version: Version,
    first: u8,
    body: Box<[u8]>,
}

impl LoggedPacket {
    /// The packet itself.
    pub fn packet(&self) -> Packet<'_> {
        Packet::decode(self.version, self.first, &self.body).expect("only packets are logged")
    }

    /// What kind of packet it is.
    pub fn packet_type(&self) -> PacketType {
        PacketType::from_first_byte(self.first).expect("only packets are logged")
    }

    /// The protocol version of its connection.
    pub fn version(&self) -> Version {
        self.version
    }
}

/// The last packets, oldest first.
#[derive(Clone, Default, Debug)]
pub(super) struct Log {
    packets: VecDeque<LoggedPacket>,
    bytes: usize,
    next: u64,
}

/// What a packet in the log is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub at: Instant,
    pub client_id: &'a Rc<str>,
    pub direction: Direction,
    pub version: Version,
    pub topic: Option<&'a Rc<str>>,
}

impl Log {
    /// Adds a packet. The oldest give way.
    pub(super) fn add(&mut self, about: About<'_>, first: u8, body: &[u8]) {
        self.bytes += body.len();
        self.packets.push_back(LoggedPacket {
            number: self.next,
            at: about.at,
            client_id: about.client_id.clone(),
            direction: about.direction,
            topic: about.topic.cloned(),
            version: about.version,
            first,
            body: body.into(),
        });
        self.next += 1;
        while self.packets.len() > MAXIMUM_PACKETS
            || (self.bytes > MAXIMUM_BYTES && self.packets.len() > 1)
        {
            if let Some(packet) = self.packets.pop_front() {
                self.bytes -= packet.body.len();
            }
        }
    }

    /// Adds a packet that is encoded with its fixed header.
    pub(super) fn add_encoded(&mut self, about: About<'_>, bytes: &[u8]) {
        let length = bytes[1..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
        self.add(about, bytes[0], &bytes[1 + length..]);
    }

    /// The packets that are kept, oldest first.
    pub(super) fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = &LoggedPacket> + ExactSizeIterator {
        self.packets.iter()
    }

    /// The number of the next packet.
    pub(super) fn next(&self) -> u64 {
        self.next
    }
}
