//! Subscriptions: asking, routing, restoring, leaving.

use wasmqtt::codec::{ReasonCode, SubscribeOptions, Version};
use wasmqtt::options::Draft;
use wasmqtt::session::{ErrorCode, Handle, State, Token};

use crate::support::{Arrival, Pair, token};
use crate::{accepted, bare, both, identifier, kept, refused, up};

/// One whose server takes no subscription identifiers: there the packets are the same in both versions.
fn plain(text: &str) -> [Pair; 2] {
    [5, 4].map(|version| {
        accepted(
            &format!("protocolVersion={version} clientId=me clean=false {text}"),
            "CONNACK SubscriptionIdentifierAvailable=0",
        )
    })
}

const PLAIN: &str = "CONNACK SubscriptionIdentifierAvailable=0";
const PLAIN_PRESENT: &str = "CONNACK present SubscriptionIdentifierAvailable=0";

// ---------------------------------------------------------------------------------------------- asking

#[test]
fn a_subscription_is_asked_for_granted_and_served() {
    for mut pair in plain("") {
        let handle = pair.subscribe("a/+:q1");
        pair.sends(["SUBSCRIBE #1 a/+:q1"]);
        pair.plays("PUBLISH q0 a/1 'before SUBACK'");
        pair.tells([&format!("message q0 a/1 'before SUBACK' to {handle}")]);
        pair.plays("SUBACK #1 1");
        pair.tells([&format!("subscribed {handle} a/+:0x01")]);
        pair.plays("PUBLISH q0 a/2 ''; PUBLISH q0 b ''");
        pair.tells([&format!("message q0 a/2 '' to {handle}"), "message q0 b ''"]);
        assert_eq!(pair.session().stats().subscriptions, 1);
    }
}

#[test]
fn options_are_those_of_mqtt_5() {
    let mut pair = accepted("", PLAIN);
    pair.subscribe("a:q2,nl,rap,rh1 b:rh2 userProperties=n:v");
    pair.sends(["SUBSCRIBE #1 a:q2,nl,rap,rh1 b:q0,rh2 UserProperty=n:v"]);
    let mut pair = up("protocolVersion=4");
    pair.subscribe("a:q2,nl,rap,rh1 b:rh2 userProperties=n:v subscriptionIdentifier=5");
    pair.sends(["SUBSCRIBE #1 a:q2 b:q0"]);
}

/// Shows [MQTT5-3.8.4-7] [MQTT5-3.9.3-1] [MQTT3-3.9.3-1] [MQTT3-3.8.4-5]
#[test]
fn each_filter_has_its_answer() {
    for mut pair in plain("") {
        let handle = pair.subscribe("a:q2 b:q1 c:q2 d");
        pair.clear();
        pair.plays("SUBACK #1 1 128 2 0");
        pair.tells([&format!("subscribed {handle} a:0x01 b:0x80 c:0x02 d:0x00")]);
        pair.plays("PUBLISH q0 b ''; PUBLISH q0 c ''");
        pair.tells(["message q0 b ''", &format!("message q0 c '' to {handle}")]);
        pair.leave(handle);
        pair.sends(["UNSUBSCRIBE #2 a c d"]);
    }
}

/// Shows [MQTT5-3.8.4-7]
#[test]
fn a_subscription_without_any_filter_granted_is_none() {
    for mut pair in plain("") {
        let handle = pair.subscribe("a b");
        pair.clear();
        pair.plays("SUBACK #1 128 128");
        let error = pair.errors().remove(0);
        assert_eq!(
            (error.code, error.reason),
            (ErrorCode::SubscribeRefused, Some(ReasonCode(0x80)))
        );
        assert_eq!(error.filters.len(), 2);
        pair.tells([&format!("failed {handle} SUBSCRIBE_REFUSED 0x80")]);
        assert_eq!(pair.session().stats().subscriptions, 0);
        pair.plays("PUBLISH q0 a ''");
        pair.tells(["message q0 a ''"]);
    }
}

/// Shows [MQTT5-3.8.4-6] [MQTT3-3.8.4-5]
#[test]
fn an_answer_for_another_number_of_filters_is_a_protocol_error() {
    for answer in ["SUBACK #1 0", "SUBACK #1 0 0 0"] {
        for mut pair in plain("") {
            let token = pair.subscribe("a b");
            pair.clear();
            pair.plays(answer);
            assert_eq!(pair.tell()[0], "error PROTOCOL_ERROR 0x82");
            pair.retried(PLAIN);
            pair.sends(["SUBSCRIBE #2 a:q0 b:q0"]);
            pair.plays("SUBACK #2 0 0");
            pair.tells([&format!("subscribed {token} a:0x00 b:0x00")]);
        }
    }
    let mut pair = accepted("", PLAIN);
    pair.unsubscribe("a b");
    pair.plays("UNSUBACK #1 0");
    assert_eq!(pair.sent().pop().unwrap(), "CLOSE");
}

/// A refusal leaves what was there before, whichever answer comes first.
#[test]
fn a_refusal_that_overtakes_a_grant_leaves_it() {
    for order in [["SUBACK #1 0", "SUBACK #2 0x87"], ["SUBACK #2 0x87", "SUBACK #1 0"]] {
        let mut pair = accepted("", PLAIN);
        let [first, second] = [pair.subscribe("a"), pair.subscribe("a")];
        pair.clear();
        for answer in order {
            pair.plays(answer);
        }
        let mut told = pair.tell();
        told.sort();
        assert_eq!(
            told,
            [
                format!("failed {second} SUBSCRIBE_REFUSED 0x87"),
                format!("subscribed {first} a:0x00")
            ]
        );
        pair.plays("PUBLISH q0 a 'x'");
        pair.tells([&format!("message q0 a 'x' to {first}")]);
        pair.leave(first);
        pair.sends(["UNSUBSCRIBE #3 a"]);
    }
}

/// The server may have granted what it has refused since: its answer was lost.
#[test]
fn a_refusal_that_overtakes_a_subscribe_without_an_answer_leaves_nothing_behind() {
    for mut pair in plain("") {
        pair.subscribe("a");
        pair.reconnected(PLAIN_PRESENT);
        pair.subscribe("a");
        pair.plays("SUBACK #3 128; SUBACK #2 128");
        assert_eq!(pair.sent().pop().unwrap(), "UNSUBSCRIBE #4 a");
    }
    for mut pair in plain("") {
        let one = pair.subscribe("a");
        pair.subscribe("a");
        pair.cancel(one);
        pair.plays("SUBACK #2 128");
        pair.reconnected(PLAIN_PRESENT);
        pair.sends(["UNSUBSCRIBE #3 a"]);
    }
}

/// Shows [MQTT5-2.2.1-6] [MQTT3-2.3.1-7] [MQTT3-3.10.4-4]
#[test]
fn an_answer_settles_the_request_of_its_identifier() {
    for mut pair in plain("") {
        let [a, b] = [pair.subscribe("a"), pair.subscribe("b")];
        let [c, d] = [pair.unsubscribe("c"), pair.unsubscribe("d")];
        pair.clear();
        pair.plays("SUBACK #9 0; UNSUBACK #9 0; SUBACK #2 0; UNSUBACK #4 0");
        let nobodys = "error PROTOCOL_ERROR";
        pair.tells([
            nobodys,
            &format!("subscribed {b} b:0x00"),
            &format!("unsubscribed {d} d:0x00"),
        ]);
        pair.plays("UNSUBACK #3 0; SUBACK #1 0");
        pair.tells([&format!("unsubscribed {c} c:0x00"), &format!("subscribed {a} a:0x00")]);
        assert_eq!(pair.session().stats().in_flight_out, 0);
    }
}

/// Shows [MQTT5-3.8.3-1] [MQTT3-3.8.3-1] [MQTT5-3.8.3-2] [MQTT3-3.8.3-3] [MQTT5-3.10.3-1] [MQTT3-3.10.3-1]
/// Shows [MQTT5-3.10.3-2] [MQTT3-3.10.3-2] [MQTT5-4.7.1-1] [MQTT3-4.7.1-2] [MQTT5-4.7.1-2] [MQTT3-4.7.1-3]
/// Shows [MQTT5-4.7.3-1] [MQTT3-4.7.3-1] [MQTT5-4.7.3-2] [MQTT3-4.7.3-2] [MQTT5-4.7.3-3] [MQTT3-4.7.3-3]
/// Shows [MQTT5-4.8.2-1] [MQTT5-4.8.2-2]
#[test]
fn bad_filters_are_refused() {
    for mut pair in both("") {
        let long = "x".repeat(65_536);
        for filter in [
            "a#",
            "#/a",
            "a/#/b",
            "a+",
            "+a",
            "a/b+/c",
            "a\0",
            &long,
            "$share//a",
            "$share/g",
            "$share/g/",
            "$share/g+/a",
            "$share/#/a",
        ] {
            let error = pair.try_subscribe(&format!("good {filter}")).unwrap_err();
            assert_eq!(
                (error.code, error.argument.as_deref()),
                (ErrorCode::InvalidArgument, Some("filter"))
            );
            assert_eq!(error.topic.as_deref(), Some(filter));
            let error = pair.try_unsubscribe(&format!("good {filter}")).unwrap_err();
            assert_eq!(
                (error.code, error.argument.as_deref()),
                (ErrorCode::InvalidArgument, Some("filter"))
            );
            pair.quiet();
        }
        let empty = [("".into(), OPTIONS)];
        refused(
            pair.session().subscribe(None, Handle(9), &empty, Draft::default()),
            "INVALID_ARGUMENT  filter",
        );
        refused(pair.try_subscribe(""), "INVALID_ARGUMENT filter");
        refused(pair.try_unsubscribe(""), "INVALID_ARGUMENT filter");
        pair.quiet();
        pair.try_subscribe(&format!("{} $share/g/a/# + # /", "x".repeat(65_535))).unwrap();
    }
}

const OPTIONS: SubscribeOptions = SubscribeOptions {
    qos: wasmqtt::codec::QoS::AtMostOnce,
    no_local: false,
    retain_as_published: false,
    retain_handling: 0,
};

/// Shows [MQTT5-3.8.3-4]
#[test]
fn no_local_is_not_for_shared_subscriptions() {
    let mut pair = up("");
    refused(pair.try_subscribe("a $share/g/a:nl"), "INVALID_ARGUMENT noLocal");
    pair.quiet();
}

#[test]
fn a_filter_that_is_named_twice_is_asked_for_once() {
    for mut pair in plain("") {
        let handle = pair.subscribe("a:q1 b a:q2");
        pair.sends(["SUBSCRIBE #1 a:q1 b:q0"]);
        pair.plays("SUBACK #1 1 0; PUBLISH q0 a ''");
        pair.tells([
            &format!("subscribed {handle} a:0x01 b:0x00"),
            &format!("message q0 a '' to {handle}"),
        ]);
    }
}

// ---------------------------------------------------------------------------------------------- what the server cannot do

const UNSUPPORTED: [(&str, &str, &str); 4] = [
    ("WildcardSubscriptionAvailable=0", "a/#", "NOT_SUPPORTED 0xa2"),
    ("WildcardSubscriptionAvailable=0", "$share/g/+", "NOT_SUPPORTED 0xa2"),
    ("SharedSubscriptionAvailable=0", "$share/g/a", "NOT_SUPPORTED 0x9e"),
    ("SubscriptionIdentifierAvailable=0", "a subscriptionIdentifier=1", "NOT_SUPPORTED 0xa1"),
];

#[test]
fn what_the_server_cannot_do_is_refused() {
    for (limit, filter, error) in UNSUPPORTED {
        let mut pair = accepted("", &format!("CONNACK {limit}"));
        refused(pair.try_subscribe(filter), error);
        pair.quiet();
        assert_eq!(pair.session().stats().subscriptions, 0);
        pair.try_subscribe("a/b").unwrap();
        assert_eq!(pair.sent().len(), 1);

        let mut pair = bare("");
        pair.connect();
        let token = pair.subscribe(filter);
        pair.clear();
        pair.plays(&format!("CONNACK {limit}"));
        pair.sends([]);
        assert_eq!(pair.tell()[2], format!("failed {token} {error}"));
        assert_eq!(pair.session().stats().subscriptions, 0);
    }
}

/// Shows [MQTT5-3.2.2-15]
#[test]
fn a_subscribe_that_is_too_large_for_the_server_goes_in_parts() {
    let mut pair = accepted("", "CONNACK MaximumPacketSize=25 SubscriptionIdentifierAvailable=0");
    let token = pair.subscribe("filter/1 filter/2 filter/3:q1");
    for arrival in &pair.ends().arrivals {
        let Arrival::Packet(_, bytes) = arrival else { panic!() };
        assert!(bytes.len() <= 25);
    }
    pair.sends([
        "SUBSCRIBE #1 filter/1:q0",
        "SUBSCRIBE #2 filter/2:q0",
        "SUBSCRIBE #3 filter/3:q1",
    ]);
    pair.plays("SUBACK #2 0x87; SUBACK #3 1");
    pair.tells([]);
    pair.plays("SUBACK #1 0");
    pair.tells([&format!("subscribed {token} filter/1:0x00 filter/2:0x87 filter/3:0x01")]);

    let token = pair.unsubscribe("filter/1 filter/2 filter/3");
    pair.sends(["UNSUBSCRIBE #4 filter/1", "UNSUBSCRIBE #5 filter/2 filter/3"]);
    pair.plays("UNSUBACK #5 0x11 0; UNSUBACK #4 0");
    assert_eq!(
        pair.tell().pop().unwrap(),
        format!("unsubscribed {token} filter/1:0x00 filter/2:0x11 filter/3:0x00")
    );

    let filter = "x".repeat(25);
    let token = pair.subscribe(&filter);
    pair.sends([]);
    assert_eq!(pair.errors()[0].size, Some((2 + 2 + 1 + 2 + 25 + 1, 25)));
    pair.tells([&format!("failed {token} PACKET_TOO_LARGE 0x95")]);
    let token = pair.unsubscribe(&filter);
    pair.sends([]);
    pair.tells([&format!("failed {token} PACKET_TOO_LARGE 0x95")]);
    let token = pair.subscribe(&format!("small {filter}"));
    let id = identifier(&pair.sent()[0]);
    pair.plays(&format!("SUBACK #{id} 0"));
    pair.tells([&format!("subscribed {token} small:0x00 {filter}:0x95")]);
}

// ---------------------------------------------------------------------------------------------- routing

/// Contract: routed by subscription identifier and filter where the server supports identifiers (an
/// identifier the client does not know, from before a restart: by filter), by filter otherwise
#[test]
fn overlapping_filters_get_identifiers_of_their_own() {
    let mut pair = up("");
    pair.subscribe("a/# b a/+ c d/# a/1");
    pair.sends([
        "SUBSCRIBE #1 a/#:q0 d/#:q0 SubscriptionIdentifier=1",
        "SUBSCRIBE #2 b:q0 c:q0 a/1:q0 SubscriptionIdentifier=2",
        "SUBSCRIBE #3 a/+:q0 SubscriptionIdentifier=3",
    ]);
}

/// A server may send a copy for each subscription, or one with all identifiers [MQTT5 3.3.4].
/// Contract: It gets every message that matches this subscription, once, in order of arrival, also
/// where filters of other Subscriptions overlap or are the same
#[test]
fn each_subscription_gets_a_message_once() {
    for copies in [
        "PUBLISH q1 #1 a/b 'x' SubscriptionIdentifier=1; PUBLISH q1 #2 a/b 'x' SubscriptionIdentifier=2; \
         PUBLISH q1 #3 a/b 'x' SubscriptionIdentifier=3",
        "PUBLISH q1 #1 a/b 'x' SubscriptionIdentifier=3 SubscriptionIdentifier=1 SubscriptionIdentifier=2",
        "PUBLISH q1 #1 a/b 'x' SubscriptionIdentifier=2 SubscriptionIdentifier=3; PUBLISH q1 #2 a/b 'x' SubscriptionIdentifier=1",
        "PUBLISH q1 #1 a/b 'x'",
    ] {
        let mut pair = up("");
        let one = pair.subscribe("a/#");
        let two = pair.subscribe("a/b");
        let three = pair.subscribe("+/b");
        pair.plays("SUBACK #1 0; SUBACK #2 0; SUBACK #3 0");
        pair.clear();
        pair.plays(copies);
        let mut to: Vec<u32> = Vec::new();
        for told in pair.tell() {
            let routes = told.split(" to ").nth(1).unwrap_or_default().to_owned();
            to.extend(
                routes
                    .split(',')
                    .filter(|route| !route.is_empty())
                    .map(|route| route.parse::<u32>().unwrap()),
            );
        }
        to.sort_unstable();
        assert_eq!(to, [one, two, three].map(Token::get), "{copies}");
    }
}

#[test]
fn a_subscription_with_filters_that_overlap_gets_a_message_once() {
    let mut pair = up("");
    let handle = pair.subscribe("a/# a/b +/b");
    assert_eq!(pair.sent().len(), 3);
    pair.plays("SUBACK #1 0; SUBACK #2 0; SUBACK #3 0");
    pair.clear();
    for (copies, expected) in [
        (
            "PUBLISH q0 a/b '' SubscriptionIdentifier=3; PUBLISH q0 a/b '' SubscriptionIdentifier=1; PUBLISH q0 a/b '' SubscriptionIdentifier=2",
            1,
        ),
        ("PUBLISH q0 a/b '' SubscriptionIdentifier=3 SubscriptionIdentifier=1", 1),
        ("PUBLISH q0 a/c '' SubscriptionIdentifier=1", 1),
        ("PUBLISH q0 c/b '' SubscriptionIdentifier=3", 1),
        ("PUBLISH q0 a/b ''", 1),
    ] {
        pair.plays(copies);
        let told = pair.tell();
        let routed = told.iter().filter(|line| line.ends_with(&format!(" to {handle}"))).count();
        assert_eq!(routed, expected, "{copies}: {told:?}");
    }
}

/// The server knows some of the filters of a Subscription already, and others not yet.
#[test]
fn a_message_is_not_lost_while_another_filter_is_under_way() {
    let subscribed = || {
        let mut pair = up("");
        let handle = pair.subscribe("x a/# a/b");
        pair.sends([
            "SUBSCRIBE #1 x:q0 a/b:q0 SubscriptionIdentifier=1",
            "SUBSCRIBE #2 a/#:q0 SubscriptionIdentifier=2",
        ]);
        (pair, format!(" to {handle}"))
    };
    let routed =
        |pair: &mut Pair, to: &str| pair.tell().iter().filter(|line| line.ends_with(to)).count();

    let (mut pair, to) = subscribed();
    pair.plays("PUBLISH q1 #1 a/b 'first' SubscriptionIdentifier=1");
    assert_eq!(routed(&mut pair, &to), 1, "between the two SUBSCRIBEs");
    pair.plays("SUBACK #1 0 0; PUBLISH q1 #1 a/b 'second' SubscriptionIdentifier=1");
    assert_eq!(routed(&mut pair, &to), 1);
    pair.plays(
        "PUBLISH q1 #1 a/b 'third' SubscriptionIdentifier=1; PUBLISH q1 #2 a/b 'third' SubscriptionIdentifier=2",
    );
    assert_eq!(routed(&mut pair, &to), 1, "the second is in force, its SUBACK under way");
    pair.plays("SUBACK #2 0");
    pair.plays(
        "PUBLISH q1 #1 a/b 'fourth' SubscriptionIdentifier=2; PUBLISH q1 #2 a/b 'fourth' SubscriptionIdentifier=1",
    );
    assert_eq!(routed(&mut pair, &to), 1);

    let (mut pair, to) = subscribed();
    pair.plays("SUBACK #1 0 0");
    pair.reconnected("CONNACK present");
    pair.sends(["SUBSCRIBE #3 a/#:q0 SubscriptionIdentifier=2"]);
    pair.plays("PUBLISH q1 #1 a/b 'from the session' SubscriptionIdentifier=1");
    assert_eq!(routed(&mut pair, &to), 1);
    pair.plays(
        "SUBACK #3 0x87; PUBLISH q1 #1 a/b 'x' SubscriptionIdentifier=1; PUBLISH q1 #2 a/c 'x'",
    );
    assert_eq!(routed(&mut pair, &to), 1);
}

/// The server had the wider filter for longest, so the handler got its copies. An UNSUBSCRIBE that was
/// sent again takes that filter from the server, and the copies for the other one are all there is.
#[test]
fn a_message_is_not_lost_while_a_filter_is_asked_for_again() {
    let mut pair = up("clean=false");
    pair.unsubscribe("a/#");
    let handle = pair.subscribe("a/# a/b");
    pair.sends([
        "UNSUBSCRIBE #1 a/#",
        "SUBSCRIBE #2 a/#:q0 SubscriptionIdentifier=1",
        "SUBSCRIBE #3 a/b:q0 SubscriptionIdentifier=2",
    ]);
    pair.plays("SUBACK #2 0; SUBACK #3 0");
    pair.reconnected("CONNACK present");
    pair.sends(["UNSUBSCRIBE #4 a/#"]);
    pair.tell();
    pair.plays(
        "PUBLISH q0 a/b 'x' SubscriptionIdentifier=2; PUBLISH q0 a/b 'x' SubscriptionIdentifier=1",
    );
    pair.tells(["message q0 a/b 'x'", &format!("message q0 a/b 'x' to {handle}")]);
    pair.plays("UNSUBACK #4 0");
    pair.sends(["SUBSCRIBE #5 a/#:q0,rh1 SubscriptionIdentifier=1"]);
    pair.tell();
    pair.plays("PUBLISH q0 a/b 'y' SubscriptionIdentifier=2");
    pair.tells([&format!("message q0 a/b 'y' to {handle}")]);
}

/// A server that learned of identifiers meanwhile has only some of the filters under theirs.
#[test]
fn a_message_is_not_lost_while_filters_get_their_identifiers() {
    let mut pair = accepted("clean=false", "CONNACK SubscriptionIdentifierAvailable=0");
    let one = pair.subscribe("a/+");
    let two = pair.subscribe("a/#");
    pair.plays("SUBACK #1 0; SUBACK #2 0");
    // After a connection whose CONNACK was lost, both are asked for again.
    pair.cut();
    pair.wait_for(State::Connecting);
    pair.reconnected("CONNACK present");
    pair.sends([
        "SUBSCRIBE #3 a/+:q0,rh1 SubscriptionIdentifier=1",
        "SUBSCRIBE #4 a/#:q0,rh1 SubscriptionIdentifier=2",
    ]);
    pair.tell();
    pair.plays("SUBACK #3 0; PUBLISH q0 a/b 'x' SubscriptionIdentifier=1");
    pair.tells([&format!("message q0 a/b 'x' to {one},{two}")]);
    pair.plays("SUBACK #4 0; PUBLISH q0 a/b 'y' SubscriptionIdentifier=1");
    pair.tells([&format!("message q0 a/b 'y' to {one}")]);
}

/// Copies that were on their way when a filter was left.
#[test]
fn a_copy_for_a_filter_that_was_left_is_nobodys() {
    let mut pair = up("");
    let one = pair.subscribe("a/#");
    let two = pair.subscribe("a/b");
    pair.plays("SUBACK #1 0; SUBACK #2 0");
    pair.leave(two);
    pair.clear();
    pair.plays("PUBLISH q1 #1 a/b 'x' SubscriptionIdentifier=1; PUBLISH q1 #2 a/b 'x' SubscriptionIdentifier=2");
    pair.plays("PUBLISH q1 #3 a/b 'y' SubscriptionIdentifier=2 SubscriptionIdentifier=1");
    pair.tells([
        &format!("message q1 a/b 'x' to {one}"),
        "message q1 a/b 'x'",
        &format!("message q1 a/b 'y' to {one}"),
    ]);
    let three = pair.subscribe("a/b");
    assert!(pair.sent().pop().unwrap().ends_with("SubscriptionIdentifier=3"));
    pair.plays("PUBLISH q1 #2 a/b 'old' SubscriptionIdentifier=2; PUBLISH q1 #3 a/b 'new' SubscriptionIdentifier=3");
    pair.tells(["message q1 a/b 'old'", &format!("message q1 a/b 'new' to {three}")]);
}

/// A session from before this process has identifiers that it knows nothing of.
/// Contract: routed by subscription identifier and filter where the server supports identifiers (an
/// identifier the client does not know, from before a restart: by filter), by filter otherwise
#[test]
fn in_a_session_that_began_elsewhere_messages_go_by_filter() {
    let mut pair = accepted("clean=false clientId=me", "CONNACK present");
    let one = pair.subscribe("a/#");
    pair.subscribe("b");
    let two = pair.subscribe("a/b");
    pair.leave(two);
    pair.clear();
    for identifier in [2, 3, 4] {
        pair.plays(&format!("PUBLISH q1 #1 a/b '' SubscriptionIdentifier={identifier}"));
        pair.tells([&format!("message q1 a/b '' to {one}")]);
    }
}

/// Contract: routed by subscription identifier and filter where the server supports identifiers (an
/// identifier the client does not know, from before a restart: by filter), by filter otherwise
#[test]
fn an_identifier_that_nobody_knows_is_no_obstacle() {
    let mut pair = up("");
    let one = pair.subscribe("a/#");
    let two = pair.subscribe("a/b");
    pair.clear();
    pair.plays("PUBLISH q0 a/b '' SubscriptionIdentifier=77; PUBLISH q0 a/b '' SubscriptionIdentifier=1 SubscriptionIdentifier=77");
    let both = format!("message q0 a/b '' to {one},{two}");
    pair.tells([&both, &both]);
}

/// Behind the first `$share/name/`, another one is levels like any other.
#[test]
fn shared_filters_are_compared_by_what_is_behind_the_group() {
    let mut pair = up("");
    pair.subscribe("a/# $share/g/$share/h/a/+ $share/g/a/+");
    pair.sends([
        "SUBSCRIBE #1 a/#:q0 $share/g/$share/h/a/+:q0 SubscriptionIdentifier=1",
        "SUBSCRIBE #2 $share/g/a/+:q0 SubscriptionIdentifier=2",
    ]);
}

/// Contract: MQTT 5, 1..268435455. By hand; without it the client assigns its own where the server
/// supports them, for exact routing.
#[test]
fn an_identifier_by_hand() {
    let mut pair = up("");
    let one = pair.subscribe("a/# a/b subscriptionIdentifier=268435455");
    pair.sends(["SUBSCRIBE #1 a/#:q0 a/b:q0 SubscriptionIdentifier=268435455"]);
    pair.plays("SUBACK #1 0 0; PUBLISH q0 a/b '' SubscriptionIdentifier=268435455");
    pair.tells([
        &format!("subscribed {one} a/#:0x00 a/b:0x00"),
        &format!("message q0 a/b '' to {one}"),
    ]);
    pair.reconnected("CONNACK");
    pair.sends(["SUBSCRIBE #2 a/#:q0 a/b:q0 SubscriptionIdentifier=268435455"]);
}

#[test]
fn shared_subscriptions_are_routed_by_what_is_behind_the_group() {
    for version in ["protocolVersion=5", "protocolVersion=4"] {
        let mut pair = up(version);
        let shared = pair.subscribe("$share/g/a/+");
        let own = pair.subscribe("a/+");
        let other = pair.subscribe("$share/h/a/+");
        pair.plays("SUBACK #1 0; SUBACK #2 0; SUBACK #3 0");
        pair.clear();
        if version.ends_with('5') {
            pair.plays("PUBLISH q0 a/1 '' SubscriptionIdentifier=1; PUBLISH q0 a/1 '' SubscriptionIdentifier=2");
            pair.tells([
                &format!("message q0 a/1 '' to {shared}"),
                &format!("message q0 a/1 '' to {own}"),
            ]);
        }
        pair.plays("PUBLISH q0 a/1 ''");
        pair.tells([&format!("message q0 a/1 '' to {shared},{own},{other}")]);
        pair.leave(own);
        pair.plays("PUBLISH q0 a/1 ''");
        pair.tells([&format!("message q0 a/1 '' to {shared},{other}")]);
    }
}

#[test]
fn topics_of_the_system_are_not_for_wildcards_at_the_front() {
    for mut pair in both("") {
        pair.subscribe("#");
        pair.subscribe("+/x");
        let system = pair.subscribe("$SYS/#");
        pair.clear();
        pair.plays("PUBLISH q0 $SYS/x ''");
        pair.tells([&format!("message q0 $SYS/x '' to {system}")]);
    }
}

#[test]
fn routes_follow_every_change() {
    for mut pair in plain("") {
        pair.plays("PUBLISH q0 a ''");
        pair.tells(["message q0 a ''"]);
        let one = pair.subscribe("a");
        pair.plays("PUBLISH q0 a ''; PUBLISH q0 b ''; PUBLISH q0 a ''");
        let to_one = format!("message q0 a '' to {one}");
        pair.tells([&to_one, "message q0 b ''", &to_one]);
        let two = pair.subscribe("+");
        pair.plays("SUBACK #1 0; SUBACK #2 0");
        pair.clear();
        pair.plays("PUBLISH q0 a ''");
        pair.tells([&format!("message q0 a '' to {one},{two}")]);
        pair.leave(one);
        pair.plays("PUBLISH q0 a ''; PUBLISH q0 b ''");
        pair.tells([&format!("message q0 a '' to {two}"), &format!("message q0 b '' to {two}")]);
    }
}

// ---------------------------------------------------------------------------------------------- stored messages

fn told_to(topic: &str, handles: &[Token]) -> String {
    let handles: Vec<_> = handles.iter().map(|handle| handle.to_string()).collect();
    format!("message q0 retain {topic} 'x' to {}", handles.join(","))
}

/// Both versions, with identifiers where there are some.
fn with_and_without_identifiers() -> Vec<(Pair, &'static str)> {
    let [five, four] = plain("");
    vec![(five, ""), (four, ""), (up("clean=false"), " SubscriptionIdentifier=1")]
}

fn stored(pair: &mut Pair, topic: &str, identifier: &str) {
    pair.plays(&format!("PUBLISH q0 retain {topic} 'x'{identifier}"));
}

/// A server may answer before or after it sends what is stored.
#[test]
fn a_stored_message_goes_to_the_subscription_that_asked_last() {
    for is_answer_first in [true, false] {
        for (mut pair, identifier) in with_and_without_identifiers() {
            for number in 1..=20 {
                let handle = pair.subscribe("a/+");
                pair.clear();
                if is_answer_first {
                    pair.plays(&format!("SUBACK #{number} 0"));
                    pair.clear();
                }
                for topic in ["a/1", "a/2"] {
                    stored(&mut pair, topic, identifier);
                    pair.tells([&told_to(topic, &[handle])]);
                }
                if !is_answer_first {
                    pair.plays(&format!("SUBACK #{number} 0"));
                    pair.clear();
                }
            }
        }
    }
}

/// Whatever the order of copies and answers.
#[test]
fn of_stored_messages_for_calls_under_way_each_subscription_gets_one() {
    for answers in [0, 1, 3] {
        for (mut pair, identifier) in with_and_without_identifiers() {
            let handles: Vec<_> = (0..3).map(|_| pair.subscribe("a/+")).collect();
            for number in 1..=answers {
                pair.plays(&format!("SUBACK #{number} 0"));
            }
            pair.clear();
            stored(&mut pair, "a/1", identifier);
            pair.tells([&told_to("a/1", &handles)]);
            for _ in 0..2 {
                stored(&mut pair, "a/1", identifier);
                pair.tells(["message q0 retain a/1 'x'"]);
            }
            pair.plays(&format!("PUBLISH q0 a/1 'x'{identifier}"));
            pair.tells([&told_to("a/1", &handles).replace(" retain ", " ")]);
        }
    }
}

/// The server has more of them than it may have in flight.
#[test]
fn a_stored_message_that_is_late_is_not_lost() {
    for (mut pair, identifier) in with_and_without_identifiers() {
        let one = pair.subscribe("a/+:q1");
        pair.plays(&format!("SUBACK #1 1; PUBLISH q1 #1 retain a/1 'x'{identifier}"));
        let two = pair.subscribe("a/+:q1");
        pair.plays("SUBACK #2 1");
        pair.clear();
        let mut to = Vec::new();
        for (number, topic) in ["a/2", "a/1", "a/2"].into_iter().enumerate() {
            pair.plays(&format!("PUBLISH q1 #{} retain {topic} 'x'{identifier}", number + 2));
            to.extend(pair.tell());
        }
        assert_eq!(
            to,
            [
                format!("message q1 retain a/2 'x' to {one},{two}"),
                format!("message q1 retain a/1 'x' to {two}"),
                "message q1 retain a/2 'x'".to_owned()
            ]
        );
    }
}

#[test]
fn what_was_stored_after_a_subscribe_is_not_for_its_subscription() {
    for qos in ["q0", "q1 #9"] {
        for (mut pair, identifier) in with_and_without_identifiers() {
            let one = pair.subscribe("a");
            pair.plays(&format!("SUBACK #1 1; PUBLISH q0 a 'x'{identifier}"));
            let two = pair.subscribe("a");
            pair.plays("SUBACK #2 1");
            pair.clear();
            pair.plays(&format!("PUBLISH {qos} retain a 'x'{identifier}"));
            let told = pair.tell();
            assert!(told[0].ends_with(&format!("to {two}")), "{told:?} {one}");
        }
    }
}

/// A message that is not stored comes between, and says nothing of what is stored.
#[test]
fn a_message_before_the_answer_is_no_stored_message() {
    for (mut pair, identifier) in with_and_without_identifiers() {
        pair.subscribe("a");
        pair.plays("SUBACK #1 0");
        let two = pair.subscribe("a");
        pair.plays(&format!("PUBLISH q0 a 'x'{identifier}; SUBACK #2 0"));
        pair.clear();
        stored(&mut pair, "a", identifier);
        pair.tells([&told_to("a", &[two])]);
    }
}

/// What is sent again is older than the SUBSCRIBE, whose answer came before the connection was cut.
#[test]
fn a_message_that_is_sent_again_says_nothing_of_what_is_stored() {
    for message in ["q1 #1 dup", "q2 #1 dup"] {
        for (mut pair, identifier) in with_and_without_identifiers() {
            pair.subscribe("a:q2");
            let first = message.replace(" dup", "");
            pair.plays(&format!("SUBACK #1 2; PUBLISH {first} a 'x'{identifier}"));
            let two = pair.subscribe("a:q2");
            pair.plays("SUBACK #2 2");
            pair.reconnected("CONNACK present");
            pair.clear();
            pair.plays(&format!("PUBLISH {message} a 'x'{identifier}"));
            pair.clear();
            pair.plays(&format!("PUBLISH q1 #2 retain a 'y'{identifier}"));
            pair.tells([&format!("message q1 retain a 'y' to {two}")]);
        }
    }
}

/// Only what goes out at QoS 1 or 2 is kept back by Receive Maximum.
#[test]
fn a_stored_message_of_qos_0_does_not_stand_for_one_that_is_kept_back() {
    for (mut pair, _) in with_and_without_identifiers().into_iter().take(2) {
        let one = pair.subscribe("#:q1");
        pair.plays("SUBACK #1 1");
        let two = pair.subscribe("a/+");
        pair.plays("SUBACK #2 0");
        pair.clear();
        stored(&mut pair, "a/1", "");
        pair.tells([&told_to("a/1", &[one, two])]);
    }
}

/// The copy of QoS 0 is for the filter that is being left.
#[test]
fn a_stored_message_for_a_filter_just_left_does_not_stand_for_one_that_is_kept_back() {
    for (mut pair, _) in with_and_without_identifiers().into_iter().take(2) {
        let one = pair.subscribe("#:q1");
        pair.plays("SUBACK #1 1");
        let two = pair.subscribe("a/+:q1");
        pair.plays("SUBACK #2 1");
        let three = pair.subscribe("a/1");
        pair.leave(three);
        pair.clear();
        stored(&mut pair, "a/1", "");
        pair.tells([&told_to("a/1", &[one, two])]);
    }
}

/// The server that is back has no identifiers, and what is asked for without one shares the copies of the others.
#[test]
fn a_filter_that_loses_its_identifier_gets_what_is_stored_for_it_although_others_have_theirs() {
    let mut pair = up("clean=false");
    let one = pair.subscribe("a");
    let two = pair.subscribe("+");
    for _ in 0..2 {
        pair.reconnected("CONNACK present");
    }
    // After two cuts, one SUBSCRIBE is sent at a time.
    pair.reconnected(PLAIN_PRESENT);
    pair.plays("PINGRESP");
    pair.sends(["PINGREQ", "SUBSCRIBE #5 a:q0"]);
    stored(&mut pair, "a", " SubscriptionIdentifier=1");
    pair.tells([&told_to("a", &[one])]);
    pair.plays("SUBACK #5 0");
    pair.sends(["SUBSCRIBE #6 +:q0"]);
    pair.clear();
    stored(&mut pair, "a", " SubscriptionIdentifier=1");
    pair.tells([&told_to("a", &[two])]);
}

#[test]
fn a_filter_that_is_restored_brings_everybody_what_is_stored() {
    for (mut pair, identifier) in with_and_without_identifiers() {
        let one = pair.subscribe("a");
        let two = pair.subscribe("a");
        pair.plays("SUBACK #1 0; SUBACK #2 0");
        stored(&mut pair, "a", identifier);
        stored(&mut pair, "a", identifier);
        pair.reconnected(if identifier.is_empty() { PLAIN } else { "CONNACK" });
        let id = crate::identifier(&pair.sent()[0]);
        let identifier = if identifier.is_empty() { "" } else { " SubscriptionIdentifier=2" };
        pair.clear();
        pair.plays(&format!("SUBACK #{id} 0"));
        stored(&mut pair, "a", identifier);
        pair.tells([&told_to("a", &[one, two])]);
        let three = pair.subscribe("a");
        pair.clear();
        pair.plays(&format!("SUBACK #{} 0", id + 1));
        pair.clear();
        stored(&mut pair, "a", identifier);
        pair.tells([&told_to("a", &[three])]);
    }
}

/// An UNSUBSCRIBE that was sent again takes a filter from the server, which is asked for it once more.
#[test]
fn a_filter_that_is_asked_for_again_brings_what_is_stored_for_it_alone() {
    for mut pair in plain("") {
        pair.unsubscribe("b");
        let one = pair.subscribe("a b");
        pair.plays("SUBACK #2 0 0");
        stored(&mut pair, "a", "");
        stored(&mut pair, "b", "");
        pair.reconnected(PLAIN_PRESENT);
        pair.plays("UNSUBACK #3 0; SUBACK #4 0");
        let two = pair.subscribe("a b");
        pair.clear();
        stored(&mut pair, "a", "");
        pair.tells([&told_to("a", &[two])]);
        stored(&mut pair, "b", "");
        pair.tells([&told_to("b", &[one, two])]);
        stored(&mut pair, "b", "");
        pair.tells(["message q0 retain b 'x'"]);
    }
}

/// The server answers each SUBSCRIBE with a copy, and has not answered the later one when the first copy comes.
#[test]
fn filters_that_are_asked_for_again_apart_bring_each_subscription_what_is_stored_once() {
    for mut pair in plain("") {
        pair.unsubscribe("a/b");
        pair.unsubscribe("a/#");
        let one = pair.subscribe("a/b");
        let two = pair.subscribe("a/#");
        pair.plays("SUBACK #3 0; SUBACK #4 0");
        pair.reconnected(PLAIN_PRESENT);
        pair.plays("UNSUBACK #5 0; UNSUBACK #6 0");
        pair.clear();
        stored(&mut pair, "a/b", "");
        pair.tells([&told_to("a/b", &[one, two])]);
        stored(&mut pair, "a/b", "");
        pair.tells(["message q0 retain a/b 'x'"]);
    }
}

/// The server answers each of them with a copy.
#[test]
fn filters_that_overlap_and_are_restored_bring_each_subscription_what_is_stored_once() {
    for mut pair in plain("") {
        let one = pair.subscribe("a/b");
        let two = pair.subscribe("a/+ a/#");
        pair.plays("SUBACK #1 0; SUBACK #2 0 0");
        for reconnects in [false, true] {
            if reconnects {
                pair.reconnected(PLAIN);
            }
            pair.clear();
            stored(&mut pair, "a/b", "");
            pair.tells([&told_to("a/b", &[one, two])]);
            for _ in 0..2 {
                stored(&mut pair, "a/b", "");
                pair.tells(["message q0 retain a/b 'x'"]);
            }
        }
    }
}

/// The cut leaves each SUBSCRIBE unanswered, and each is answered with a copy after it.
#[test]
fn subscribes_that_are_sent_again_bring_each_subscription_what_is_stored_once() {
    for mut pair in plain("") {
        let handles: Vec<_> = (0..3).map(|_| pair.subscribe("a")).collect();
        pair.reconnected(PLAIN_PRESENT);
        pair.plays("SUBACK #4 0; SUBACK #5 0; SUBACK #6 0");
        pair.clear();
        stored(&mut pair, "a", "");
        pair.tells([&told_to("a", &handles)]);
        for _ in 0..2 {
            stored(&mut pair, "a", "");
            pair.tells(["message q0 retain a 'x'"]);
        }
    }
}

/// The flag says nothing where it is passed on.
/// Contract: Stored copies that come for a later subscribe() to a filter go to that Subscription
/// only, where the wire allows to tell (no Subscription of the filter asked for retainAsPublished).
#[test]
fn messages_with_the_retain_flag_go_to_everybody_where_one_asked_for_the_flag() {
    let mut pair = accepted("", PLAIN);
    let one = pair.subscribe("a:rap");
    let two = pair.subscribe("a");
    pair.plays("SUBACK #1 0; SUBACK #2 0");
    pair.clear();
    for _ in 0..3 {
        stored(&mut pair, "a", "");
        pair.tells([&told_to("a", &[one, two])]);
    }
}

/// A server that passes the flag on though nobody asked for that.
#[test]
fn messages_with_the_retain_flag_that_nobody_asked_for_go_to_everybody() {
    let mut pair = accepted("", PLAIN);
    let one = pair.subscribe("a");
    pair.plays("SUBACK #1 0");
    stored(&mut pair, "a", "");
    let two = pair.subscribe("a");
    pair.plays("SUBACK #2 0");
    stored(&mut pair, "a", "");
    pair.clear();
    for _ in 0..3 {
        stored(&mut pair, "a", "");
        pair.tells([&told_to("a", &[one, two])]);
    }
}

// ---------------------------------------------------------------------------------------------- several to one filter

/// Contract: A filter of several Subscriptions is one subscription on the server, at the highest
/// QoS asked, gone with the last of them; each subscribe() sends SUBSCRIBE, so retained messages
/// come again.
#[test]
fn several_subscriptions_to_a_filter_are_one_on_the_server() {
    let mut pair = up("");
    let one = pair.subscribe("a:q1,nl,rh2");
    let two = pair.subscribe("a:q0,rap");
    let three = pair.subscribe("a:q2,nl");
    pair.sends([
        "SUBSCRIBE #1 a:q1,nl,rh2 SubscriptionIdentifier=1",
        "SUBSCRIBE #2 a:q1,rap SubscriptionIdentifier=1",
        "SUBSCRIBE #3 a:q2,rap SubscriptionIdentifier=1",
    ]);
    pair.plays("SUBACK #1 1; SUBACK #2 1; SUBACK #3 2");
    pair.clear();
    pair.plays("PUBLISH q0 a '' SubscriptionIdentifier=1");
    pair.tells([&format!("message q0 a '' to {one},{two},{three}")]);
    let left = pair.leave(two);
    pair.sends([]);
    pair.tells([&format!("unsubscribed {left}")]);
    pair.leave(three);
    pair.clear();
    pair.plays("PUBLISH q0 a '' SubscriptionIdentifier=1");
    pair.tells([&format!("message q0 a '' to {one}")]);
    let last = pair.leave(one);
    pair.sends(["UNSUBSCRIBE #4 a"]);
    pair.tells([]);
    pair.plays("UNSUBACK #4 0");
    pair.tells([&format!("unsubscribed {last} a:0x00")]);
    assert_eq!(pair.session().stats().subscriptions, 0);
}

#[test]
fn a_refusal_of_one_leaves_the_others_alone() {
    for mut pair in plain("") {
        let one = pair.subscribe("a");
        pair.plays("SUBACK #1 0");
        let two = pair.subscribe("a b");
        pair.clear();
        pair.plays("SUBACK #2 128 0; PUBLISH q0 a ''; PUBLISH q0 b ''");
        pair.tells([
            &format!("subscribed {two} a:0x80 b:0x00"),
            &format!("message q0 a '' to {one}"),
            &format!("message q0 b '' to {two}"),
        ]);
    }
}

// ---------------------------------------------------------------------------------------------- leaving

/// Shows [MQTT5-3.10.4-5] [MQTT5-3.11.3-1]
#[test]
fn unsubscribe_ends_every_subscription_to_the_filter() {
    for mut pair in plain("") {
        let one = pair.subscribe("a b");
        let two = pair.subscribe("a");
        pair.plays("SUBACK #1 0 0; SUBACK #2 0");
        pair.clear();
        let token = pair.unsubscribe("unknown a");
        pair.sends(["UNSUBSCRIBE #3 unknown a"]);
        pair.tells([&format!("inactive {two}")]);
        pair.plays("PUBLISH q0 a ''; PUBLISH q0 b ''");
        pair.tells(["message q0 a ''", &format!("message q0 b '' to {one}")]);
        pair.plays("UNSUBACK #3 0x11 0");
        let told = pair.tell().remove(0);
        assert!(
            told == format!("unsubscribed {token} unknown:0x11 a:0x00")
                || told == format!("unsubscribed {token} unknown:0x00 a:0x00"),
            "{told}"
        );
        assert_eq!(pair.session().stats().subscriptions, 1);
    }
}

#[test]
fn an_unsubscribe_that_is_refused() {
    let mut pair = accepted("", PLAIN);
    let token = pair.unsubscribe("a b userProperties=n:v");
    pair.sends(["UNSUBSCRIBE #1 a b UserProperty=n:v"]);
    pair.plays("UNSUBACK #1 0x87 0x83");
    let error = pair.errors().remove(0);
    assert_eq!((error.code, error.filters.len()), (ErrorCode::UnsubscribeRefused, 2));
    pair.tells([&format!("failed {token} UNSUBSCRIBE_REFUSED 0x87")]);
    let token = pair.unsubscribe("a b");
    pair.plays("UNSUBACK #2 0x87 0");
    pair.tells([&format!("unsubscribed {token} a:0x87 b:0x00")]);
}

#[test]
fn an_unsubscribe_may_name_a_filter_twice() {
    for mut pair in plain("") {
        let one = pair.subscribe("a");
        pair.plays("SUBACK #1 0");
        pair.clear();
        let token = pair.unsubscribe("a a");
        pair.sends(["UNSUBSCRIBE #2 a a"]);
        pair.plays("UNSUBACK #2 0 0");
        pair.tells([&format!("inactive {one}"), &format!("unsubscribed {token} a:0x00 a:0x00")]);
        pair.sends([]);
    }
}

/// Asked for again after the session was lost, the filter is refused before the UNSUBACK comes.
#[test]
fn a_filter_that_an_unsubscribe_names_twice_may_be_lost_with_it() {
    for mut pair in plain("") {
        let token = pair.unsubscribe("a a");
        let one = pair.subscribe("a");
        pair.plays("SUBACK #2 0");
        pair.reconnected(PLAIN);
        let two = pair.subscribe("a");
        pair.sends(["UNSUBSCRIBE #3 a a", "SUBSCRIBE #4 a:q0"]);
        pair.plays("SUBACK #4 0x80");
        pair.clear();
        pair.plays("UNSUBACK #3 0 0");
        pair.tells([
            &format!("unsubscribed {token} a:0x00 a:0x00"),
            &format!("inactive {one} SUBSCRIBE_REFUSED"),
            "error SUBSCRIBE_REFUSED",
        ]);
        pair.sends([]);
        assert_eq!(pair.session().stats().subscriptions, 0, "{two} was refused");
    }
}

#[test]
fn leaving_twice_is_leaving_once() {
    for mut pair in plain("") {
        let handle = pair.subscribe("a");
        pair.plays("SUBACK #1 0");
        pair.leave(handle);
        pair.clear();
        let again = pair.leave(handle);
        pair.sends([]);
        pair.tells([&format!("unsubscribed {again}")]);
        let never = pair.leave(token(99));
        pair.tells([&format!("unsubscribed {never}")]);
        pair.session().leave(None, Handle(99), Draft::default()).unwrap();
        pair.pump();
        pair.quiet();
    }
}

#[test]
fn leaving_before_the_answer() {
    for mut pair in plain("") {
        let handle = pair.subscribe("a");
        let token = pair.unsubscribe("a");
        pair.sends(["SUBSCRIBE #1 a:q0", "UNSUBSCRIBE #2 a"]);
        pair.plays("SUBACK #1 0; UNSUBACK #2 0; PUBLISH q0 a ''");
        pair.tells([
            &format!("inactive {handle}"),
            &format!("subscribed {handle} a:0x00"),
            &format!("unsubscribed {token} a:0x00"),
            "message q0 a ''",
        ]);
        pair.reconnected(PLAIN);
        pair.quiet();
    }
}

#[test]
fn leaving_while_there_is_no_connection() {
    for mut pair in plain("") {
        let granted = pair.subscribe("a");
        pair.plays("SUBACK #1 0");
        pair.cut();
        let waiting = pair.subscribe("b:q2");
        let one = pair.leave(granted);
        let two = pair.leave(waiting);
        pair.retried(PLAIN_PRESENT);
        let sent = pair.sent();
        assert!(
            sent.contains(&"UNSUBSCRIBE #3 a".to_owned())
                || sent.contains(&"UNSUBSCRIBE #2 a".to_owned()),
            "{sent:?}"
        );
        assert!(
            !sent.iter().any(|packet| packet.contains("b:q2")),
            "as little as possible is asked for: {sent:?}"
        );
        for packet in &sent {
            let id = identifier(packet);
            pair.plays(&format!(
                "{} #{id} 0",
                if packet.starts_with("SUB") { "SUBACK" } else { "UNSUBACK" }
            ));
        }
        let told = pair.tell();
        assert!(told.contains(&format!("unsubscribed {one} a:0x00")), "{told:?}");
        assert!(
            told.iter().any(|line| line.starts_with(&format!("unsubscribed {two}"))),
            "{told:?}"
        );
    }
}

// ---------------------------------------------------------------------------------------------- withdrawn

#[test]
fn a_withdrawn_subscribe_that_was_not_sent_is_dropped() {
    for mut pair in plain("") {
        pair.cut();
        let token = pair.subscribe("a b");
        let other = pair.unsubscribe("c");
        pair.cancel(token);
        pair.cancel(other);
        pair.retried(PLAIN_PRESENT);
        pair.quiet();
        pair.plays("PUBLISH q0 a ''");
        pair.tells(["message q0 a ''"]);
    }
}

#[test]
fn a_withdrawn_subscribe_that_was_sent_is_taken_back() {
    for answer in ["SUBACK #1 0 0", "SUBACK #1 128 128"] {
        for mut pair in plain("") {
            let token = pair.subscribe("a b");
            pair.clear();
            pair.cancel(token);
            pair.sends(["UNSUBSCRIBE #2 a b"]);
            pair.plays(answer);
            pair.plays("UNSUBACK #2 0 0; PUBLISH q0 a ''");
            pair.tells(["message q0 a ''"]);
            assert_eq!(pair.session().stats().subscriptions, 0);
            assert_eq!(pair.session().stats().in_flight_out, 0);
            pair.cancel(token);
            pair.quiet();
        }
    }
}

#[test]
fn a_withdrawn_unsubscribe_that_was_sent_goes_on() {
    for mut pair in plain("") {
        let token = pair.unsubscribe("a");
        pair.clear();
        pair.cancel(token);
        pair.plays("UNSUBACK #1 0");
        pair.quiet();
        assert_eq!(pair.session().stats().in_flight_out, 0);
    }
}

#[test]
fn a_withdrawn_subscribe_of_which_a_part_was_sent() {
    let mut pair = bare("");
    pair.connect();
    pair.plays("CONNACK MaximumPacketSize=25 SubscriptionIdentifierAvailable=0");
    let token = pair.subscribe("filter/1 filter/2");
    pair.plays("SUBACK #1 0");
    pair.cut();
    pair.cancel(token);
    pair.retried("CONNACK present MaximumPacketSize=25 SubscriptionIdentifierAvailable=0");
    let sent = pair.sent();
    assert!(
        sent.iter().any(|packet| packet.starts_with("UNSUBSCRIBE") && packet.contains("filter/1")),
        "{sent:?}"
    );
    assert_eq!(pair.session().stats().subscriptions, 0);
}

/// The application uses the numbers of its Subscriptions again.
#[test]
fn the_answer_to_a_withdrawn_subscribe_does_not_hit_the_next_of_its_number() {
    for mut pair in plain("") {
        let one = pair.subscribe("a");
        pair.plays("SUBACK #1 0");
        let two = pair.subscribe("a");
        pair.cancel(two);
        let filters = [("a".into(), OPTIONS)];
        let handle = Handle(two.get());
        pair.session().subscribe(None, handle, &filters, Draft::default()).unwrap();
        pair.pump();
        pair.clear();
        pair.plays("SUBACK #2 128; PUBLISH q0 a ''");
        pair.tells([&format!("message q0 a '' to {one},{two}")]);
    }
}

// ---------------------------------------------------------------------------------------------- connections come and go

#[test]
fn a_session_that_is_resumed_has_its_subscriptions() {
    let mut pair = up("");
    let one = pair.subscribe("a/#:q1");
    pair.plays("SUBACK #1 1");
    pair.reconnected("CONNACK present");
    pair.quiet();
    pair.plays("PUBLISH q0 a/b '' SubscriptionIdentifier=1");
    pair.tells([&format!("message q0 a/b '' to {one}")]);
}

/// Contract: One that was cut off is repeated on the next connection.
#[test]
fn what_was_cut_off_is_asked_again_in_order() {
    for mut pair in plain("") {
        // To the end of the small range of identifiers, so that they wrap.
        for id in 1..63 {
            pair.publish("q1 a ''");
            pair.plays(&format!("PUBACK #{id}"));
        }
        let one = pair.subscribe("a");
        let two = pair.unsubscribe("a");
        let three = pair.subscribe("a:q1");
        pair.clear();
        pair.reconnected(PLAIN_PRESENT);
        let sent = pair.sent();
        let kinds: Vec<_> = sent.iter().map(|packet| packet.split(" #").next().unwrap()).collect();
        assert_eq!(kinds, ["SUBSCRIBE", "UNSUBSCRIBE", "SUBSCRIBE"]);
        assert!(sent[2].ends_with(" a:q1"), "{sent:?}");
        pair.plays("SUBACK #2 0; UNSUBACK #3 0; SUBACK #4 1");
        pair.tells([
            &format!("subscribed {one} a:0x00"),
            &format!("unsubscribed {two} a:0x00"),
            &format!("subscribed {three} a:0x01"),
        ]);
    }
}

#[test]
fn a_lost_session_is_restored_in_few_packets() {
    let mut pair = up("");
    let exact: Vec<_> =
        (0..1_000).map(|number| pair.subscribe(&format!("exact/{number}:q1"))).collect();
    let apart: Vec<_> =
        (0..50).map(|number| pair.subscribe(&format!("apart/{number}/#"))).collect();
    let all = pair.subscribe("#:q2");
    let ids: Vec<_> = pair.sent().iter().map(|packet| identifier(packet)).collect();
    for id in ids {
        pair.plays(&format!("SUBACK #{id} 0"));
    }
    pair.reconnected("CONNACK");
    let sent = pair.sent();
    assert_eq!(sent.len(), 3, "{sent:#?}");
    let filters: usize = sent.iter().map(|packet| packet.matches(":q").count()).sum();
    assert_eq!(filters, 1_051);
    for packet in &sent {
        let id = identifier(packet);
        let codes = " 0".repeat(packet.matches(":q").count());
        pair.plays(&format!("SUBACK #{id}{codes}"));
    }
    pair.quiet();
    let identifier = |filter: &str| {
        let packet = sent.iter().find(|packet| packet.contains(filter)).unwrap();
        packet.split("SubscriptionIdentifier=").nth(1).unwrap().to_owned()
    };
    for (topic, filter, handle) in [
        ("exact/7", " exact/7:q1", exact[7]),
        ("exact/999", " exact/999:q1", exact[999]),
        ("apart/7/x", " apart/7/#:q0", apart[7]),
        ("exact/7", " #:q2", all),
        ("apart/7/x", " #:q2", all),
    ] {
        pair.plays(&format!("PUBLISH q0 {topic} '' SubscriptionIdentifier={}", identifier(filter)));
        pair.tells([&format!("message q0 {topic} '' to {handle}")]);
    }
}

#[test]
fn user_properties_are_those_of_their_filter() {
    let mut pair = accepted("", PLAIN);
    pair.subscribe("a userProperties=of:a");
    pair.subscribe("b userProperties=of:b");
    pair.subscribe("c");
    pair.plays("SUBACK #1 0; SUBACK #2 0; SUBACK #3 0");
    pair.reconnected(PLAIN);
    pair.sends([
        "SUBSCRIBE #4 a:q0 UserProperty=of:a",
        "SUBSCRIBE #5 b:q0 UserProperty=of:b",
        "SUBSCRIBE #6 c:q0",
    ]);
    pair.reconnected("CONNACK");
    pair.sends([
        "SUBSCRIBE #7 a:q0 SubscriptionIdentifier=1 UserProperty=of:a",
        "SUBSCRIBE #8 b:q0 SubscriptionIdentifier=2 UserProperty=of:b",
        "SUBSCRIBE #9 c:q0 SubscriptionIdentifier=3",
    ]);
}

/// The CONNACK that would have told of a new session was lost, and the next one tells of a session.
#[test]
fn a_session_that_may_be_a_new_one_gets_its_subscriptions_again() {
    for (version, mut pair) in [5, 4].into_iter().zip(both("clean=false")) {
        let one = pair.subscribe("a:q1");
        pair.plays("SUBACK #1 1");
        let two = pair.subscribe("b:rh2");
        pair.cut();
        pair.wait_for(State::Connecting);
        pair.reconnected("CONNACK present");
        if version == 5 {
            pair.sends([
                "SUBSCRIBE #3 a:q1,rh1 SubscriptionIdentifier=1",
                "SUBSCRIBE #4 b:q0,rh2 SubscriptionIdentifier=2",
            ]);
        } else {
            pair.sends(["SUBSCRIBE #3 a:q1", "SUBSCRIBE #4 b:q0"]);
        }
        pair.plays("PUBLISH q0 a ''; SUBACK #3 1; SUBACK #4 0; PUBLISH q0 a ''");
        let to_one = format!("message q0 a '' to {one}");
        pair.tells([&to_one, &format!("subscribed {two} b:0x00"), &to_one]);
        pair.reconnected("CONNACK present");
        pair.quiet();
        // A refusal makes no session.
        pair.cut();
        pair.wait_for(State::Connecting);
        pair.receives(if version == 5 { &[0x20, 3, 0, 0x88, 0] } else { &[0x20, 2, 0, 3] });
        pair.retried("CONNACK present");
        pair.quiet();
    }
    let mut pair = up("resubscribe=false");
    pair.subscribe("a");
    pair.plays("SUBACK #1 0");
    pair.cut();
    pair.wait_for(State::Connecting);
    pair.reconnected("CONNACK present");
    pair.quiet();
}

#[test]
fn many_subscriptions_are_restored_in_packets_of_32_kib() {
    for mut pair in plain("") {
        for number in 0..100 {
            pair.subscribe(&format!("{number}/{}", "x".repeat(1_000)));
        }
        let ids: Vec<_> = pair.sent().iter().map(|packet| identifier(packet)).collect();
        for id in ids {
            pair.plays(&format!("SUBACK #{id} 0"));
        }
        pair.reconnected(PLAIN);
        let mut filters = 0;
        for arrival in &pair.ends().arrivals {
            let Arrival::Packet(_, bytes) = arrival else { panic!() };
            assert!(bytes.len() <= 32 * 1024);
            filters += 1;
        }
        assert!((4..=8).contains(&filters), "{filters} packets");
        assert_eq!(
            pair.sent().iter().map(|packet| packet.matches(":q").count()).sum::<usize>(),
            100
        );
    }
}

#[test]
fn a_subscription_that_is_not_restored_is_reported() {
    for mut pair in plain("") {
        let one = pair.subscribe("a");
        let two = pair.subscribe("b c");
        let three = pair.subscribe("a d");
        pair.plays("SUBACK #1 0; SUBACK #2 0 0; SUBACK #3 0 0");
        pair.reconnected(PLAIN);
        let sent = pair.sent();
        assert_eq!(sent.len(), 1, "{sent:?}");
        let filters: Vec<_> =
            sent[0].split(' ').skip(2).map(|filter| filter.split(':').next().unwrap()).collect();
        let codes: Vec<_> = filters
            .iter()
            .map(|filter| if matches!(*filter, "a" | "b") { "128" } else { "0" })
            .collect();
        pair.plays(&format!("SUBACK #4 {}", codes.join(" ")));
        pair.tells([
            &format!("inactive {one} SUBSCRIBE_REFUSED 0x80"),
            "error SUBSCRIBE_REFUSED 0x80",
        ]);
        pair.plays("PUBLISH q0 a ''; PUBLISH q0 b ''; PUBLISH q0 c ''; PUBLISH q0 d ''");
        pair.tells([
            "message q0 a ''",
            "message q0 b ''",
            &format!("message q0 c '' to {two}"),
            &format!("message q0 d '' to {three}"),
        ]);
        assert_eq!(pair.session().stats().subscriptions, 2);
    }
}

#[test]
fn what_a_server_can_do_no_more_is_not_restored_and_the_rest_is() {
    let mut pair = up("");
    let exact = pair.subscribe("a");
    let wild = pair.subscribe("b/#");
    let shared = pair.subscribe("$share/g/c");
    let mixed = pair.subscribe("d e/+");
    pair.plays("SUBACK #1 0; SUBACK #2 0; SUBACK #3 0; SUBACK #4 0; SUBACK #5 0");
    pair.reconnected("CONNACK WildcardSubscriptionAvailable=0 SharedSubscriptionAvailable=0");
    let sent = pair.sent();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].contains(" a:q0") && sent[0].contains(" d:q0"), "{sent:?}");
    assert!(!sent[0].contains('+') && !sent[0].contains("share"), "{sent:?}");
    pair.plays(&format!("SUBACK #{} 0 0", identifier(&sent[0])));
    let told = pair.tell();
    for handle in [wild, shared] {
        let line = told.iter().find(|line| line.starts_with(&format!("inactive {handle} ")));
        assert!(
            line.is_some_and(
                |line| line.contains("SUBSCRIBE_REFUSED") || line.contains("NOT_SUPPORTED")
            ),
            "{told:?}"
        );
    }
    assert!(told.iter().any(|line| line.starts_with("error ")), "{told:?}");
    pair.plays("PUBLISH q0 a ''; PUBLISH q0 d ''; PUBLISH q0 e/1 ''");
    pair.tells([
        &format!("message q0 a '' to {exact}"),
        &format!("message q0 d '' to {mixed}"),
        "message q0 e/1 ''",
    ]);
    assert_eq!(pair.session().stats().subscriptions, 2);
}

/// Contract: Restore subscriptions when the server has lost the session. Default true.
#[test]
fn without_resubscribe_a_lost_session_ends_its_subscriptions() {
    for mut pair in plain("resubscribe=false") {
        let one = pair.subscribe("a b");
        pair.plays("SUBACK #1 0 0");
        pair.cut();
        let two = pair.subscribe("c");
        pair.retried(PLAIN);
        pair.sends(["SUBSCRIBE #2 c:q0"]);
        pair.tells([&format!("inactive {one}")]);
        pair.plays("SUBACK #2 0");
        pair.tells([&format!("subscribed {two} c:0x00")]);
        assert_eq!(pair.session().stats().subscriptions, 1);
        pair.reconnected("CONNACK present SubscriptionIdentifierAvailable=0");
        pair.quiet();
    }
}

#[test]
fn restoring_comes_before_what_was_asked_meanwhile() {
    for mut pair in plain("") {
        let one = pair.subscribe("a");
        pair.plays("SUBACK #1 0");
        pair.cut();
        pair.leave(one);
        let two = pair.subscribe("b");
        let three = pair.subscribe("a:q1");
        pair.retried(PLAIN);
        let sent = pair.sent();
        let last = sent.last().unwrap();
        assert!(last.starts_with("SUBSCRIBE") && last.ends_with(" a:q1"), "{sent:?}");
        assert_ne!(two, three);
    }
}

#[test]
fn a_restoring_that_is_cut_off_goes_on() {
    for mut pair in plain("") {
        let one = pair.subscribe("a b");
        pair.plays("SUBACK #1 0 0");
        for connack in [PLAIN, PLAIN, PLAIN_PRESENT] {
            pair.reconnected(connack);
            if connack == PLAIN_PRESENT {
                // After two losses the client asks first whether the server lives.
                pair.answers_ping();
            }
            let sent = pair.sent();
            assert!(
                !sent.is_empty() && sent.iter().all(|packet| packet.ends_with(" a:q0 b:q0")),
                "{sent:?}"
            );
        }
        pair.clear();
        pair.plays("SUBACK #4 0 0; PUBLISH q0 a ''");
        pair.tells([&format!("message q0 a '' to {one}")]);
        let drained = pair.drain();
        assert!(
            pair.tell().contains(&format!("done {drained}")),
            "the application waits for nothing"
        );
    }
}

#[test]
fn drain_does_not_wait_for_restoring_longer_than_for_its_answer() {
    let mut pair = up("");
    pair.subscribe("a");
    pair.plays("SUBACK #1 0");
    pair.reconnected("CONNACK");
    let token = pair.drain();
    pair.tells([]);
    pair.plays("SUBACK #2 0");
    pair.tells([&format!("done {token}")]);
}

#[test]
fn a_server_without_identifiers_after_one_with_them() {
    let mut pair = up("");
    let one = pair.subscribe("a/#");
    pair.plays("SUBACK #1 0");
    pair.reconnected(PLAIN);
    pair.sends(["SUBSCRIBE #2 a/#:q0"]);
    pair.plays("SUBACK #2 0; PUBLISH q0 a/b ''");
    pair.tells([&format!("message q0 a/b '' to {one}")]);
    pair.cut();
    let two = pair.subscribe("b");
    pair.retried("CONNACK present");
    pair.sends(["SUBSCRIBE #3 b:q0 SubscriptionIdentifier=2"]);
    pair.plays("SUBACK #3 0; PUBLISH q0 b '' SubscriptionIdentifier=2; PUBLISH q0 a/b ''");
    pair.tells([
        &format!("subscribed {two} b:0x00"),
        &format!("message q0 b '' to {two}"),
        &format!("message q0 a/b '' to {one}"),
    ]);
}

#[test]
fn subscriptions_of_a_client_that_falls_back_to_3_1_1() {
    let mut pair = bare("");
    pair.connect();
    let one = pair.subscribe("a/#:q1 a/b");
    pair.receives(&[0x20, 2, 0, 1]);
    pair.clear();
    pair.plays("CONNACK");
    pair.sends(["SUBSCRIBE #1 a/#:q1 a/b:q0"]);
    pair.plays("SUBACK #1 1 0; PUBLISH q0 a/b ''");
    assert_eq!(pair.tell().pop().unwrap(), format!("message q0 a/b '' to {one}"));
}

#[test]
fn the_end_fails_what_was_asked() {
    let mut pair = accepted("", PLAIN);
    let one = pair.subscribe("a");
    let two = pair.unsubscribe("b");
    pair.end_with(0, 0, "").unwrap();
    assert_eq!(pair.session().state(), State::Closed);
    let told = pair.tell();
    assert!(
        told.contains(&format!("failed {one} CLOSED"))
            && told.contains(&format!("failed {two} CLOSED")),
        "{told:?}"
    );
}

#[test]
fn a_filter_with_a_control_character_is_refused() {
    for mut pair in both("") {
        for control in ('\u{1}'..='\u{1F}').chain('\u{7F}'..='\u{9F}') {
            let filter: std::rc::Rc<str> = format!("a/{control}/#").into();
            let session = &mut *pair.session();
            let subscribed = session.subscribe(
                None,
                Handle(0),
                &[(filter.clone(), SubscribeOptions::decode(Version::V5, 0).unwrap())],
                Draft::default(),
            );
            let unsubscribed = session.unsubscribe(None, &[filter], Draft::default());
            for result in [subscribed, unsubscribed] {
                let error = result.unwrap_err();
                assert_eq!(error.argument.as_deref(), Some("filter"));
                assert!(error.what.starts_with("must not contain control characters"));
            }
        }
        pair.quiet();
    }
}

// ---------------------------------------------------------------------------------------------- what ends the connection

// ---------------------------------------------------------------------------------------------- what ends the connection

/// Plays a server that hangs up on some SUBSCRIBE packets and grants all others, until the client asks for nothing any
/// more. Returns how often the server has hung up, and what the application was told.
fn hang_up_on(
    pair: &mut Pair,
    connack: &str,
    poison: &dyn Fn(&str) -> bool,
) -> (usize, Vec<String>) {
    let (mut hangs_up, mut told) = (0, Vec::new());
    let mut packets = pair.sent();
    while !packets.is_empty() {
        let packet = packets.remove(0);
        if packet.starts_with("SUBSCRIBE") && poison(&packet) {
            hangs_up += 1;
            assert!(hangs_up < 20, "{packet}: {told:?}");
            pair.cut();
            told.extend(pair.tell());
            pair.retried(connack);
            packets = pair.sent();
            continue;
        }
        let answer = match packet.split(' ').next().unwrap() {
            "SUBSCRIBE" => {
                let codes = " 0".repeat(packet.matches(":q0").count());
                format!("SUBACK #{}{codes}", identifier(&packet))
            }
            "UNSUBSCRIBE" if pair.version() == Version::V311 => {
                format!("UNSUBACK #{}", identifier(&packet))
            }
            "UNSUBSCRIBE" => format!("UNSUBACK #{} 0", identifier(&packet)),
            "PINGREQ" => "PINGRESP".to_owned(),
            "PUBLISH" => format!("PUBACK #{}", identifier(&packet)),
            other => panic!("{other}"),
        };
        pair.plays(&answer);
        packets.extend(pair.sent());
        told.extend(pair.tell());
    }
    (hangs_up, told)
}

#[test]
fn a_subscribe_that_ends_three_connections_is_given_up_and_others_go_on() {
    for connack in ["CONNACK present", "CONNACK"] {
        for mut pair in kept() {
            pair.subscribe("good");
            hang_up_on(&mut pair, connack, &|_| false);
            let forbidden = pair.subscribe("forbidden");
            let behind = pair.subscribe("behind");
            let message = pair.publish("q1 a 'x'");
            let poison = |packet: &str| packet.contains("forbidden");
            let (hangs_up, told) = hang_up_on(&mut pair, connack, &poison);
            assert_eq!(hangs_up, 3, "{told:?}");
            let failed = format!("failed {forbidden} SUBSCRIBE_REFUSED");
            assert!(told.iter().any(|line| line.starts_with(&failed)), "{told:?}");
            assert!(!told.iter().any(|line| line.contains("0x80") && line.contains("failed")));
            let subscribed = format!("subscribed {behind} ");
            assert!(told.iter().any(|line| line.starts_with(&subscribed)), "{told:?}");
            assert!(told.contains(&format!("published {message}")), "{told:?}");
            pair.reconnected("CONNACK");
            let sent = pair.sent();
            assert!(!sent.iter().any(|packet| packet.contains("forbidden")), "{sent:?}");
            assert!(sent.iter().any(|packet| packet.contains("good")), "{sent:?}");
        }
    }
}

/// The server allows eight filters in one SUBSCRIBE, and hangs up at more.
#[test]
fn a_subscribe_that_restores_too_much_is_halved() {
    for connack in [PLAIN, PLAIN_PRESENT] {
        for mut pair in plain("clean=false") {
            for number in 0..25 {
                pair.subscribe(&format!("f{number}"));
                hang_up_on(&mut pair, connack, &|_| false);
            }
            let poison = |packet: &str| packet.matches(":q0").count() > 8;
            pair.reconnected(PLAIN);
            let (hangs_up, told) = hang_up_on(&mut pair, connack, &poison);
            assert_eq!(hangs_up, 4, "three times, and once with half of them");
            assert!(!told.iter().any(|line| line.starts_with("error")), "{told:?}");
            assert_eq!(pair.session().stats().subscriptions, 25);
            // It is remembered.
            pair.reconnected(PLAIN);
            let sent = pair.sent();
            assert_eq!(sent.iter().map(|packet| packet.matches(":q0").count()).sum::<usize>(), 25);
            assert!(!sent.iter().any(|packet| poison(packet)), "{sent:?}");
        }
    }
}

/// Contract: A SUBSCRIBE of several filters is halved first, until the one at fault is alone; the
/// others stay.
#[test]
fn of_a_subscribe_that_is_halved_only_the_filter_at_fault_is_refused() {
    for connack in ["CONNACK present", "CONNACK"] {
        let mut pair = up("clean=false clientId=me");
        let token = pair.subscribe("a b forbidden d");
        let poison = |packet: &str| packet.contains("forbidden");
        let (hangs_up, told) = hang_up_on(&mut pair, connack, &poison);
        assert_eq!(hangs_up, 3 + 2, "halved twice");
        let expected = format!("subscribed {token} a:0x00 b:0x00 forbidden:0x80 d:0x00");
        assert!(told.contains(&expected), "{told:?}");
    }
}

#[test]
fn a_filter_that_is_not_restored_ends_its_subscription_alone() {
    for mut pair in plain("clean=false") {
        for filter in ["a", "b", "revoked", "d"] {
            pair.subscribe(filter);
            hang_up_on(&mut pair, PLAIN, &|_| false);
        }
        pair.reconnected(PLAIN);
        let poison = |packet: &str| packet.contains("revoked");
        let (_, told) = hang_up_on(&mut pair, PLAIN, &poison);
        assert!(told.iter().any(|line| line.starts_with("inactive")), "{told:?}");
        assert!(told.iter().any(|line| line.starts_with("error SUBSCRIBE_REFUSED")), "{told:?}");
        assert_eq!(pair.session().stats().subscriptions, 3);
    }
}

#[test]
fn a_subscribe_that_a_disconnect_judges_fails_at_once() {
    for reason in ["0x8F", "0x95", "0x9E", "0xA1", "0xA2"] {
        let mut pair = up("clean=false clientId=me");
        let token = pair.subscribe("forbidden");
        pair.publish("q2 a 'x'");
        pair.plays("PUBREC #2");
        pair.clear();
        pair.plays(&format!("DISCONNECT {reason}"));
        let told = pair.tell();
        let failed = format!("failed {token} SUBSCRIBE_REFUSED {}", reason.to_lowercase());
        assert!(told.iter().any(|line| line.starts_with(&failed)), "{told:?}");
        assert_eq!(pair.session().state(), State::Waiting);
    }
}

/// Contract: A packet whose sending ends the connection three times in a row, with nothing
/// acknowledged in between, is given up: its promise rejects (PublishError, SubscribeError,
/// UnsubscribeError; `reasonCode` as far as the server gave one) and the client goes on without it.
#[test]
fn an_unsubscribe_that_ends_three_connections_is_given_up() {
    for mut pair in kept() {
        let token = pair.unsubscribe("forbidden");
        pair.reconnected("CONNACK present");
        pair.reconnected("CONNACK present");
        pair.answers_ping();
        pair.clear();
        pair.cut();
        let told = pair.tell();
        let failed = format!("failed {token} UNSUBSCRIBE_REFUSED");
        assert!(told.iter().any(|line| line.starts_with(&failed)), "{told:?}");
        pair.retried("CONNACK present");
        pair.sends([]);
    }
}

/// Contract: and if the connection ends first, it is not sent again.
#[test]
fn a_subscribe_that_was_withdrawn_is_not_sent_again() {
    for mut pair in kept() {
        let token = pair.subscribe("a");
        pair.cancel(token);
        pair.clear();
        pair.reconnected("CONNACK present");
        let sent = pair.sent();
        assert!(!sent.iter().any(|packet| packet.starts_with("SUBSCRIBE")), "{sent:?}");
        assert!(sent.iter().any(|packet| packet.starts_with("UNSUBSCRIBE")), "{sent:?}");
    }
}

/// An application that subscribes on every connection does not hide the message that ends it.
#[test]
fn a_subscribe_on_every_connection_hides_nothing() {
    for mut pair in kept() {
        let poison = pair.publish("q1 poison 'x'");
        for hangs_up in 1.. {
            assert!(hangs_up <= 3);
            pair.subscribe("a");
            pair.cut();
            if pair.tell().contains(&format!("failed {poison} PUBLISH_REFUSED poison")) {
                assert_eq!(hangs_up, 3);
                break;
            }
            pair.retried("CONNACK present");
            loop {
                let sent = pair.sent();
                if sent.is_empty() || sent[0].starts_with("PUBLISH") {
                    break;
                }
                match sent[0].split(' ').next().unwrap() {
                    "PINGREQ" => pair.plays("PINGRESP"),
                    "SUBSCRIBE" => pair.plays(&format!("SUBACK #{} 0", identifier(&sent[0]))),
                    _ => {}
                }
            }
        }
    }
}

#[test]
fn a_filter_that_is_refused_while_a_call_for_it_waits_ends_its_subscription() {
    for mut pair in both("") {
        pair.subscribe("a");
        pair.plays("SUBACK #1 0");
        // After three losses, packets go one at a time until it is acknowledged.
        pair.publish("q1 m 'x'");
        for _ in 0..3 {
            pair.reconnected("CONNACK");
        }
        pair.subscribe("b");
        let again = pair.subscribe("a");
        pair.answers_ping();
        let restored = pair.sent();
        pair.plays(&format!("SUBACK #{} 0x80", identifier(&restored[0])));
        let other = pair.sent();
        assert!(matches!(&other[..], [only] if only.contains(" b:q0")), "{other:?}");
        pair.clear();
        pair.cancel(again);
        pair.plays(&format!("SUBACK #{} 0", identifier(&other[0])));
        let asked = pair.sent();
        assert!(matches!(&asked[..], [only] if only.contains(" a:q0")), "{asked:?}");
        pair.plays(&format!("SUBACK #{} 0x80", identifier(&asked[0])));
        let told = pair.tell();
        assert!(told.iter().any(|line| line.starts_with("inactive")), "{told:?}");
        assert_eq!(pair.session().stats().subscriptions, 1);
    }
}
