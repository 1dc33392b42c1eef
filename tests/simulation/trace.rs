//! What happened, line by line; written down only for a run that is to be read.

use std::cell::RefCell;

use wasmqtt::codec::{Packet, Property, Publish};
use wasmqtt::session::Instant;

thread_local! {
    static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

pub fn start() {
    LINES.set(Some(Vec::new()));
}

pub fn take() -> Vec<String> {
    LINES.take().unwrap_or_default()
}

pub fn line(now: Instant, text: impl FnOnce() -> String) {
    LINES.with_borrow_mut(|lines| {
        if let Some(lines) = lines {
            lines.push(format!("{:>10.3}  {}", now.0 as f64 / 1e6, text()));
        }
    });
}

/// The number that every payload of the simulation begins with.
pub fn number(payload: &[u8]) -> usize {
    let head = payload.first_chunk().expect("a payload without its number");
    u32::from_be_bytes(*head) as usize
}

/// A payload with its number, and `size` bytes that follow from it.
pub fn payload(number: usize, size: u16) -> Vec<u8> {
    let head = (number as u32).to_be_bytes();
    let rest = (0..size).map(|at| (number as u8).wrapping_add(at as u8));
    head.into_iter().chain(rest).collect()
}

/// A packet in one line.
pub fn brief(packet: &Packet) -> String {
    let kind = packet.packet_type().name().to_uppercase();
    let more = match packet {
        Packet::Connect(p) => {
            format!("clean={} id={:?} keepalive={}", p.clean_start, p.client_id, p.keep_alive)
        }
        Packet::ConnAck(p) => {
            format!(
                "{:#04x} session={} {:?}",
                p.reason.0,
                p.session_present,
                p.properties.iter().collect::<Vec<_>>()
            )
        }
        Packet::Publish(p) => brief_publish(p),
        Packet::PubAck(p) | Packet::PubRec(p) | Packet::PubRel(p) | Packet::PubComp(p) => {
            format!("id={} {:#04x}", p.id, p.reason.0)
        }
        Packet::Subscribe(p) => {
            let filters: Vec<_> =
                p.filters.clone().map(|(filter, options)| (filter, options.qos as u8)).collect();
            format!(
                "id={} {filters:?} identifier={:?}",
                p.id,
                p.properties.u32(Property::SubscriptionIdentifier)
            )
        }
        Packet::Unsubscribe(p) => {
            format!("id={} {:?}", p.id, p.filters.clone().collect::<Vec<_>>())
        }
        Packet::SubAck(p) | Packet::UnsubAck(p) => format!("id={} {:02x?}", p.id, p.codes),
        Packet::Disconnect(p) => format!("{:#04x}", p.reason.0),
        Packet::Auth(p) => format!("{:#04x}", p.reason.0),
        Packet::PingReq | Packet::PingResp => String::new(),
    };
    format!("{kind} {more}")
}

fn brief_publish(p: &Publish) -> String {
    let topic = String::from_utf8_lossy(p.topic);
    let mut text = format!("#{} qos={}", number(p.payload), p.qos as u8);
    if let Some(id) = p.id {
        text += &format!(" id={id}");
    }
    text += &format!(" {topic:?} {} bytes", p.payload.len());
    for (set, name) in [(p.dup, " DUP"), (p.retain, " RETAIN")] {
        if set {
            text += name;
        }
    }
    for property in p.properties.iter() {
        text += &format!(" {property:?}");
    }
    text
}
