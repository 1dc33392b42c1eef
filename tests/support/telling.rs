//! What the application is told, as text: `published 3`, `message q1 a 'x' to 2`, `error PROTOCOL_ERROR 0x82`.

use std::fmt::Write;

use super::Told;
use super::notation::{show_message, show_properties};
use wasmqtt::codec::*;
use wasmqtt::session::*;

pub fn show_told(told: &Told) -> String {
    let mut out = String::new();
    match told {
        Told::Message(message) => {
            out.push_str("message");
            let (qos, dup, retain) = (message.qos, message.dup, message.retain);
            show_message(&mut out, qos, dup, retain, None, &message.topic, &message.payload);
            show_properties(&mut out, message.properties.borrow());
            if !message.routes.is_empty() {
                let routes: Vec<_> = message.routes.iter().map(Handle::to_string).collect();
                write!(out, " to {}", routes.join(",")).unwrap();
            }
        }
        Told::Event(event) => show_event(&mut out, event),
    }
    out
}

fn show_event(out: &mut String, event: &Event) {
    let optional = |error: &Option<Box<Error>>| {
        error.as_ref().map_or(String::new(), |e| format!(" {}", show_error(e)))
    };
    match event {
        Event::State(state) => write!(out, "state {}", format!("{state:?}").to_lowercase()),
        Event::Connected(info) => {
            let present = if info.session_present { " present" } else { "" };
            let again = if info.reconnect { " again" } else { "" };
            write!(out, "connected{present}{again}")
        }
        Event::ConnectFailed(error) => write!(out, "connect failed {}", show_error(error)),
        Event::Disconnected { error, will_reconnect } => {
            let end = if *will_reconnect { "" } else { " for good" };
            write!(out, "disconnected{end} {}", show_error(error))
        }
        Event::Reconnecting { attempt, delay_ms, url, error } => {
            write!(out, "attempt {attempt} in {delay_ms} ms at {url} {}", show_error(error))
        }
        Event::Error(error) => write!(out, "error {}", show_error(error)),
        Event::Closed(error) => write!(out, "closed{}", optional(error)),
        Event::Published { token, reason, properties } => {
            write!(out, "published {token}").unwrap();
            if *reason != ReasonCode::SUCCESS {
                write!(out, " {:#04x}", reason.0).unwrap();
            }
            show_properties(
                out,
                properties.as_ref().map_or(Properties::EMPTY, |properties| properties.borrow()),
            );
            Ok(())
        }
        Event::Subscribed { token, handle, grants } => {
            write!(out, "subscribed {token}").unwrap();
            assert_eq!(token.get(), handle.0);
            show_codes(out, grants);
            Ok(())
        }
        Event::Unsubscribed { token, codes } => {
            write!(out, "unsubscribed {token}").unwrap();
            show_codes(out, codes);
            Ok(())
        }
        Event::Inactive { handle, error } => write!(out, "inactive {handle}{}", optional(error)),
        Event::Done(token) => write!(out, "done {token}"),
        Event::Failed { token, error } => write!(out, "failed {token} {}", show_error(error)),
        Event::Packet(tap) => {
            let direction = if tap.outgoing { "out" } else { "in" };
            write!(out, "{direction} {} {} bytes", tap.kind.name(), tap.bytes).unwrap();
            if let Some(id) = tap.id {
                write!(out, " #{id}").unwrap();
            }
            if let Some(topic) = &tap.topic {
                write!(out, " {topic}").unwrap();
            }
            if let Some(reason) = tap.reason {
                write!(out, " {:#04x}", reason.0).unwrap();
            }
            Ok(())
        }
        Event::Slot { .. } | Event::Message(_) => unreachable!("delivered"),
    }
    .unwrap();
}

fn show_codes(out: &mut String, codes: &[FilterCode]) {
    for FilterCode { filter, code } in codes {
        write!(out, " {filter}:{:#04x}", code.0).unwrap();
    }
}

/// Code, reason code and topic.
pub fn show_error(error: &Error) -> String {
    let mut out = String::from(error.code.name());
    if let Some(reason) = error.reason {
        write!(out, " {:#04x}", reason.0).unwrap();
    }
    if let Some(topic) = &error.topic {
        write!(out, " {topic}").unwrap();
    }
    if let Some(argument) = &error.argument {
        write!(out, " {argument}").unwrap();
    }
    out
}
