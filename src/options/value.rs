//! A value as it comes from JavaScript, and the checks that make an option of it.

use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Overflow, VersionChoice};
use crate::codec::{self, PropertiesBuf, Property, QoS, SubscriptionId, check_text, check_topic};

/// The value of one leaf of an options object.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// The leaf is there and has no value: the option keeps its default.
    Undefined,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A string.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An array of strings.
    Strings(Vec<Rc<str>>),
    /// A value of a type that no option has.
    Other,
}

/// A checked value, or what it must be: a predicate that follows the path of the option.
pub(super) type Checked<T> = Result<T, &'static str>;

pub(super) const TOPIC: &str =
    "must be a topic: 1 to 65535 bytes in UTF-8, without the wildcards + and #, without U+0000";

const FLAG: &str = "must be true or false";
const TEXT: &str = "must be a string of at most 65535 bytes in UTF-8, without U+0000";
const BYTES: &str = "must be bytes, 65535 at most";
const PAIRS: &str =
    "must be pairs of strings, each of at most 65535 bytes in UTF-8, without U+0000";
const OVERFLOW: &str =
    "must be 'reject', 'wait', 'drop-oldest', 'drop-newest' or 'latest-per-topic'";
const BYTES_OR_NONE: &str = "must be a whole number of bytes, 1 to 4294967295, or Infinity";
const MILLISECONDS: &str = "must be a number of milliseconds, 0 or more";
const SECONDS: &str = "must be a whole number of seconds, 0 to 4294967295";
const SECONDS_OR_FOREVER: &str = "must be a whole number of seconds, 0 to 4294967295, or Infinity";
const COUNT: &str = "must be a whole number, 0 or more, or Infinity";
const SUBSCRIPTION_ID: &str = "must be a whole number from 1 to 268435455";
const TWO_BYTES: &str = "must be a whole number from 0 to 65535";
const TWO_BYTES_NOT_ZERO: &str = "must be a whole number from 1 to 65535";

// Those that many options use are not inlined: each option would have a copy of its own.
impl Value {
    #[inline(never)]
    pub(super) fn flag(&self) -> Checked<bool> {
        match self {
            Value::Bool(flag) => Ok(*flag),
            _ => Err(FLAG),
        }
    }

    /// Text that fits a string field of a packet.
    #[inline(never)]
    pub(super) fn text(&self) -> Checked<&str> {
        match self {
            Value::Text(text) if check_text(text).is_ok() => Ok(text),
            _ => Err(TEXT),
        }
    }

    /// A topic name.
    pub(super) fn topic(&self) -> Checked<&str> {
        match self {
            Value::Text(text) if check_topic(text.as_bytes()).is_ok() => Ok(text),
            _ => Err(TOPIC),
        }
    }

    /// Bytes that fit a binary field of a packet.
    pub(super) fn bytes(&self) -> Checked<&[u8]> {
        match self {
            Value::Bytes(bytes) if bytes.len() <= 0xFFFF => Ok(bytes),
            _ => Err(BYTES),
        }
    }

    /// Appends User Properties. The strings are names and values by turns.
    #[inline(never)]
    pub(super) fn user_properties(&self, out: &mut PropertiesBuf) -> Checked<()> {
        let Value::Strings(strings) = self else {
            return Err(PAIRS);
        };
        let (pairs, rest) = strings.as_chunks::<2>();
        if !rest.is_empty() || strings.iter().any(|text| check_text(text).is_err()) {
            return Err(PAIRS);
        }
        for [name, value] in pairs {
            out.push(Property::UserProperty, codec::Value::Pair(name, value));
        }
        Ok(())
    }

    pub(super) fn version(&self) -> Checked<VersionChoice> {
        match self {
            Value::Number(5.0) => Ok(VersionChoice::V5),
            Value::Number(4.0) => Ok(VersionChoice::V311),
            Value::Text(text) if text == "auto" => Ok(VersionChoice::Auto),
            _ => Err("must be 5, 4 or 'auto'"),
        }
    }

    pub(super) fn qos(&self) -> Checked<QoS> {
        match self {
            Value::Number(0.0) => Ok(QoS::AtMostOnce),
            Value::Number(1.0) => Ok(QoS::AtLeastOnce),
            Value::Number(2.0) => Ok(QoS::ExactlyOnce),
            _ => Err("must be 0, 1 or 2"),
        }
    }

    pub(super) fn overflow(&self) -> Checked<Overflow> {
        let Value::Text(text) = self else {
            return Err(OVERFLOW);
        };
        match text.as_str() {
            "reject" => Ok(Overflow::Reject),
            "drop-oldest" => Ok(Overflow::DropOldest),
            "drop-newest" => Ok(Overflow::DropNewest),
            "latest-per-topic" => Ok(Overflow::LatestPerTopic),
            "wait" => Ok(Overflow::Wait),
            _ => Err(OVERFLOW),
        }
    }

    /// A whole number from `min` to `max`.
    #[inline(never)]
    pub(super) fn whole(&self, min: u32, max: u32, message: &'static str) -> Checked<u32> {
        match self {
            Value::Number(number)
                if *number >= f64::from(min)
                    && *number <= f64::from(max)
                    && f64::from(*number as u32) == *number =>
            {
                Ok(*number as u32)
            }
            _ => Err(message),
        }
    }

    pub(super) fn two_bytes(&self) -> Checked<u16> {
        Ok(self.whole(0, 0xFFFF, TWO_BYTES)? as u16)
    }

    pub(super) fn two_bytes_not_zero(&self) -> Checked<u16> {
        Ok(self.whole(1, 0xFFFF, TWO_BYTES_NOT_ZERO)? as u16)
    }

    /// A Subscription Identifier, the only Variable Byte Integer among the properties.
    pub(super) fn subscription_id(&self) -> Checked<u32> {
        self.whole(1, SubscriptionId::MAX, SUBSCRIPTION_ID)
    }

    pub(super) fn seconds(&self) -> Checked<u32> {
        self.whole(0, u32::MAX, SECONDS)
    }

    /// Seconds. `Infinity` is `u32::MAX`.
    pub(super) fn seconds_or_forever(&self) -> Checked<u32> {
        Ok(self.unless_infinite(0, SECONDS_OR_FOREVER)?.unwrap_or(u32::MAX))
    }

    /// A number of things. `Infinity` is `u32::MAX`.
    pub(super) fn count(&self) -> Checked<u32> {
        Ok(self.unless_infinite(0, COUNT)?.unwrap_or(u32::MAX))
    }

    /// A number of things. `Infinity` is `None`.
    pub(super) fn count_or_unlimited(&self) -> Checked<Option<u32>> {
        self.unless_infinite(0, COUNT)
    }

    /// A whole number, `min` at least. `Infinity` is `None`.
    fn unless_infinite(&self, min: u32, message: &'static str) -> Checked<Option<u32>> {
        match self {
            Value::Number(f64::INFINITY) => Ok(None),
            value => value.whole(min, u32::MAX, message).map(Some),
        }
    }

    /// A number of bytes, 1 at least. `Infinity` is `None`.
    pub(super) fn byte_limit(&self) -> Checked<Option<u32>> {
        self.unless_infinite(1, BYTES_OR_NONE)
    }

    /// Milliseconds, rounded up so that no wait ends early.
    #[inline(never)]
    pub(super) fn milliseconds(&self) -> Checked<u32> {
        match self {
            Value::Number(ms) if *ms >= 0.0 && ms.is_finite() => {
                let whole = *ms as u32;
                Ok(whole.saturating_add(u32::from(f64::from(whole) < *ms)))
            }
            _ => Err(MILLISECONDS),
        }
    }

    /// Milliseconds, more than 0.
    pub(super) fn timeout(&self) -> Checked<u32> {
        self.milliseconds()
            .ok()
            .filter(|ms| *ms > 0)
            .ok_or("must be a number of milliseconds, more than 0")
    }

    /// A number from `min` to `max`, in thousandths.
    #[inline(never)]
    pub(super) fn thousandths(&self, min: f64, max: f64, message: &'static str) -> Checked<u32> {
        match self {
            Value::Number(number) if *number >= min && *number <= max => {
                Ok((number * 1_000.0 + 0.5) as u32)
            }
            _ => Err(message),
        }
    }
}
