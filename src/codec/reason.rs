//! Reason codes (MQTT 5.0, 2.4), and the return codes of MQTT 3.1.1 in their terms.

use super::PacketSet;

/// Says how something went, or why it failed (2.4). From 0x80 on it is an error.
///
/// MQTT 3.1.1 has such codes only in CONNACK and SUBACK. They are translated into these.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReasonCode(
    /// The code as it goes on the wire.
    pub u8,
);

macro_rules! reasons {
    ($($code:literal $constant:ident $name:literal: $($place:ident)|+;)*) => {
        impl ReasonCode {
            $(
                #[doc = concat!(stringify!($code), ": ", $name, ".")]
                pub const $constant: Self = Self($code);
            )*

            /// Returns the specification's name of the code, in lower case: `not authorized`. Returns
            /// `None` for a code that the specification does not have.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($name),)*
                    _ => None,
                }
            }

            /// The places that the specification lists the code for.
            fn places(self) -> PacketSet {
                match self.0 {
                    $($code => PacketSet::EMPTY$(.union(PacketSet::$place))+,)*
                    _ => PacketSet::EMPTY,
                }
            }
        }
    };
}

// The order is that of the specification. SUCCESS has two more names there: normal disconnection, and granted QoS 0.
// 0x84, 0x85, 0x86 and 0x8A stand only in CONNACK there. Servers send them in DISCONNECT too, and mean the same.
reasons! {
    0x00 SUCCESS "success": CONNACK | PUBACK | PUBREC | PUBREL | PUBCOMP | SUBACK | UNSUBACK | DISCONNECT | AUTH;
    0x01 GRANTED_QOS_1 "granted QoS 1": SUBACK;
    0x02 GRANTED_QOS_2 "granted QoS 2": SUBACK;
    0x04 DISCONNECT_WITH_WILL_MESSAGE "disconnect with will message": CLIENT_DISCONNECT;
    0x10 NO_MATCHING_SUBSCRIBERS "no matching subscribers": PUBACK | PUBREC;
    0x11 NO_SUBSCRIPTION_EXISTED "no subscription existed": UNSUBACK;
    0x18 CONTINUE_AUTHENTICATION "continue authentication": AUTH;
    0x19 RE_AUTHENTICATE "re-authenticate": AUTH;
    0x80 UNSPECIFIED_ERROR "unspecified error": CONNACK | PUBACK | PUBREC | SUBACK | UNSUBACK | DISCONNECT;
    0x81 MALFORMED_PACKET "malformed packet": CONNACK | DISCONNECT;
    0x82 PROTOCOL_ERROR "protocol error": CONNACK | DISCONNECT;
    0x83 IMPLEMENTATION_SPECIFIC_ERROR "implementation specific error": CONNACK | PUBACK | PUBREC | SUBACK | UNSUBACK | DISCONNECT;
    0x84 UNSUPPORTED_PROTOCOL_VERSION "unsupported protocol version": CONNACK | SERVER_DISCONNECT;
    0x85 CLIENT_IDENTIFIER_NOT_VALID "client identifier not valid": CONNACK | SERVER_DISCONNECT;
    0x86 BAD_USER_NAME_OR_PASSWORD "bad user name or password": CONNACK | SERVER_DISCONNECT;
    0x87 NOT_AUTHORIZED "not authorized": CONNACK | PUBACK | PUBREC | SUBACK | UNSUBACK | SERVER_DISCONNECT;
    0x88 SERVER_UNAVAILABLE "server unavailable": CONNACK;
    0x89 SERVER_BUSY "server busy": CONNACK | SERVER_DISCONNECT;
    0x8A BANNED "banned": CONNACK | SERVER_DISCONNECT;
    0x8B SERVER_SHUTTING_DOWN "server shutting down": SERVER_DISCONNECT;
    0x8C BAD_AUTHENTICATION_METHOD "bad authentication method": CONNACK | SERVER_DISCONNECT;
    0x8D KEEP_ALIVE_TIMEOUT "keep alive timeout": SERVER_DISCONNECT;
    0x8E SESSION_TAKEN_OVER "session taken over": SERVER_DISCONNECT;
    0x8F TOPIC_FILTER_INVALID "topic filter invalid": SUBACK | UNSUBACK | SERVER_DISCONNECT;
    0x90 TOPIC_NAME_INVALID "topic name invalid": CONNACK | PUBACK | PUBREC | DISCONNECT;
    0x91 PACKET_IDENTIFIER_IN_USE "packet identifier in use": PUBACK | PUBREC | SUBACK | UNSUBACK;
    0x92 PACKET_IDENTIFIER_NOT_FOUND "packet identifier not found": PUBREL | PUBCOMP;
    0x93 RECEIVE_MAXIMUM_EXCEEDED "receive maximum exceeded": DISCONNECT;
    0x94 TOPIC_ALIAS_INVALID "topic alias invalid": DISCONNECT;
    0x95 PACKET_TOO_LARGE "packet too large": CONNACK | DISCONNECT;
    0x96 MESSAGE_RATE_TOO_HIGH "message rate too high": DISCONNECT;
    0x97 QUOTA_EXCEEDED "quota exceeded": CONNACK | PUBACK | PUBREC | SUBACK | DISCONNECT;
    0x98 ADMINISTRATIVE_ACTION "administrative action": DISCONNECT;
    0x99 PAYLOAD_FORMAT_INVALID "payload format invalid": CONNACK | PUBACK | PUBREC | DISCONNECT;
    0x9A RETAIN_NOT_SUPPORTED "retain not supported": CONNACK | SERVER_DISCONNECT;
    0x9B QOS_NOT_SUPPORTED "QoS not supported": CONNACK | SERVER_DISCONNECT;
    0x9C USE_ANOTHER_SERVER "use another server": CONNACK | SERVER_DISCONNECT;
    0x9D SERVER_MOVED "server moved": CONNACK | SERVER_DISCONNECT;
    0x9E SHARED_SUBSCRIPTIONS_NOT_SUPPORTED "shared subscriptions not supported": SUBACK | SERVER_DISCONNECT;
    0x9F CONNECTION_RATE_EXCEEDED "connection rate exceeded": CONNACK | SERVER_DISCONNECT;
    0xA0 MAXIMUM_CONNECT_TIME "maximum connect time": SERVER_DISCONNECT;
    0xA1 SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED "subscription identifiers not supported": SUBACK | SERVER_DISCONNECT;
    0xA2 WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED "wildcard subscriptions not supported": SUBACK | SERVER_DISCONNECT;
}

impl ReasonCode {
    /// Whether the code says that something failed.
    pub fn is_error(self) -> bool {
        self.0 >= 0x80
    }

    /// Whether the specification lists the code for one of these places.
    pub fn stands_in(self, places: PacketSet) -> bool {
        self.places().intersects(places)
    }

    /// Translates a return code in a CONNACK of 3.1.1. Returns `None` for a code that 3.1.1 does not have.
    pub fn from_return_code(code: u8) -> Option<Self> {
        RETURN_CODES.get(usize::from(code)).copied()
    }

    /// Returns the return code of 3.1.1 for this code. It is 3, "server unavailable", for a failure that
    /// 3.1.1 has no code for.
    pub fn return_code(self) -> u8 {
        const SERVER_UNAVAILABLE: usize = 3;
        RETURN_CODES.iter().position(|code| *code == self).unwrap_or(SERVER_UNAVAILABLE) as u8
    }
}

/// What the CONNACK return codes 0 to 5 of 3.1.1 mean (MQTT 3.1.1, 3.2.2.3).
const RETURN_CODES: [ReasonCode; 6] = [
    ReasonCode::SUCCESS,
    ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
    ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
    ReasonCode::SERVER_UNAVAILABLE,
    ReasonCode::BAD_USER_NAME_OR_PASSWORD,
    ReasonCode::NOT_AUTHORIZED,
];
