//! Reason codes, in the order of the specification (MQTT 5.0, 2.4), and the codes of 3.1.1 in their terms.

use super::PacketSet;

/// Why something was done or refused. 3.1.1 has no such codes; where it has its own, they are mapped onto these.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReasonCode(pub u8);

macro_rules! reasons {
    ($($code:literal $name:ident: $($place:ident)|+;)*) => {
        impl ReasonCode {
            $(pub const $name: Self = Self($code);)*

            /// The packets that may carry the code, a bit each.
            fn places(self) -> PacketSet {
                match self.0 {
                    $($code => PacketSet::EMPTY$(.union(PacketSet::$place))+,)*
                    _ => PacketSet::EMPTY,
                }
            }
        }
    };
}

reasons! {
    0x00 SUCCESS: CONNACK | PUBACK | PUBREC | PUBREL | PUBCOMP | SUBACK | UNSUBACK | DISCONNECT | AUTH;
    0x01 GRANTED_QOS_1: SUBACK;
    0x02 GRANTED_QOS_2: SUBACK;
    0x04 DISCONNECT_WITH_WILL_MESSAGE: CLIENT_DISCONNECT;
    0x10 NO_MATCHING_SUBSCRIBERS: PUBACK | PUBREC;
    0x11 NO_SUBSCRIPTION_EXISTED: UNSUBACK;
    0x18 CONTINUE_AUTHENTICATION: AUTH;
    0x19 RE_AUTHENTICATE: AUTH;
    0x80 UNSPECIFIED_ERROR: CONNACK | PUBACK | PUBREC | SUBACK | UNSUBACK | DISCONNECT;
    0x81 MALFORMED_PACKET: CONNACK | DISCONNECT;
    0x82 PROTOCOL_ERROR: CONNACK | DISCONNECT;
    0x83 IMPLEMENTATION_SPECIFIC_ERROR: CONNACK | PUBACK | PUBREC | SUBACK | UNSUBACK | DISCONNECT;
    0x84 UNSUPPORTED_PROTOCOL_VERSION: CONNACK;
    0x85 CLIENT_IDENTIFIER_NOT_VALID: CONNACK;
    0x86 BAD_USER_NAME_OR_PASSWORD: CONNACK;
    0x87 NOT_AUTHORIZED: CONNACK | PUBACK | PUBREC | SUBACK | UNSUBACK | SERVER_DISCONNECT;
    0x88 SERVER_UNAVAILABLE: CONNACK;
    0x89 SERVER_BUSY: CONNACK | SERVER_DISCONNECT;
    0x8A BANNED: CONNACK;
    0x8B SERVER_SHUTTING_DOWN: SERVER_DISCONNECT;
    0x8C BAD_AUTHENTICATION_METHOD: CONNACK | SERVER_DISCONNECT;
    0x8D KEEP_ALIVE_TIMEOUT: SERVER_DISCONNECT;
    0x8E SESSION_TAKEN_OVER: SERVER_DISCONNECT;
    0x8F TOPIC_FILTER_INVALID: SUBACK | UNSUBACK | SERVER_DISCONNECT;
    0x90 TOPIC_NAME_INVALID: CONNACK | PUBACK | PUBREC | DISCONNECT;
    0x91 PACKET_IDENTIFIER_IN_USE: PUBACK | PUBREC | SUBACK | UNSUBACK;
    0x92 PACKET_IDENTIFIER_NOT_FOUND: PUBREL | PUBCOMP;
    0x93 RECEIVE_MAXIMUM_EXCEEDED: DISCONNECT;
    0x94 TOPIC_ALIAS_INVALID: DISCONNECT;
    0x95 PACKET_TOO_LARGE: CONNACK | DISCONNECT;
    0x96 MESSAGE_RATE_TOO_HIGH: DISCONNECT;
    0x97 QUOTA_EXCEEDED: CONNACK | PUBACK | PUBREC | SUBACK | DISCONNECT;
    0x98 ADMINISTRATIVE_ACTION: DISCONNECT;
    0x99 PAYLOAD_FORMAT_INVALID: CONNACK | PUBACK | PUBREC | DISCONNECT;
    0x9A RETAIN_NOT_SUPPORTED: CONNACK | SERVER_DISCONNECT;
    0x9B QOS_NOT_SUPPORTED: CONNACK | SERVER_DISCONNECT;
    0x9C USE_ANOTHER_SERVER: CONNACK | SERVER_DISCONNECT;
    0x9D SERVER_MOVED: CONNACK | SERVER_DISCONNECT;
    0x9E SHARED_SUBSCRIPTIONS_NOT_SUPPORTED: SUBACK | SERVER_DISCONNECT;
    0x9F CONNECTION_RATE_EXCEEDED: CONNACK | SERVER_DISCONNECT;
    0xA0 MAXIMUM_CONNECT_TIME: SERVER_DISCONNECT;
    0xA1 SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED: SUBACK | SERVER_DISCONNECT;
    0xA2 WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED: SUBACK | SERVER_DISCONNECT;
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

    /// The code that a return code in a CONNACK of 3.1.1 stands for.
    pub fn from_return_code(code: u8) -> Option<Self> {
        RETURN_CODES.get(usize::from(code)).copied()
    }

    /// The return code of 3.1.1 for this code; "server unavailable" for a failure that 3.1.1 has no word for.
    pub fn return_code(self) -> u8 {
        const SERVER_UNAVAILABLE: usize = 3;
        RETURN_CODES.iter().position(|code| *code == self).unwrap_or(SERVER_UNAVAILABLE) as u8
    }
}

/// CONNACK return codes of 3.1.1 (3.2.2.3), by index.
const RETURN_CODES: [ReasonCode; 6] = [
    ReasonCode::SUCCESS,
    ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
    ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
    ReasonCode::SERVER_UNAVAILABLE,
    ReasonCode::BAD_USER_NAME_OR_PASSWORD,
    ReasonCode::NOT_AUTHORIZED,
];
