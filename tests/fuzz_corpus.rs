//! The corpus of the fuzz targets, replayed, and what fuzzing found, told as stories.

#[path = "fuzz/src/lib.rs"]
#[allow(dead_code)] // Some of it is for other tests.
mod fuzz;
mod support;

use std::fs;
use std::path::Path;

use support::Pair;
use wasmqtt::session::{ErrorCode, State};

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let mut count = 0;
    for file in fs::read_dir(&corpus).unwrap() {
        let path = file.unwrap().path();
        println!("{}", path.display());
        run(&fs::read(path).unwrap());
        count += 1;
    }
    assert!(count > 100, "{count} inputs");
}

#[test]
fn corpus_of_the_decoder() {
    replay("decoder", fuzz::decoder::run);
}

#[test]
fn corpus_of_the_session() {
    replay("session", fuzz::session::run);
}

#[cfg(feature = "broker")]
#[test]
fn corpus_of_the_broker() {
    replay("broker", fuzz::broker::run);
}

#[test]
fn corpus_of_the_options() {
    replay("options", fuzz::options::run);
}

// ---------------------------------------------------------------------------------------------- found

#[test]
fn a_filter_that_everybody_left_is_not_asked_for_with_the_options_of_another() {
    let mut pair = Pair::new("");
    let shared = pair.subscribe("$share/g/a:q1");
    pair.leave(shared);
    pair.subscribe("b:q2,nl");
    pair.connect();
    pair.clear();
    pair.plays("CONNACK");
    pair.sends([
        "SUBSCRIBE #1 $share/g/a:q0,rh2",
        "UNSUBSCRIBE #2 $share/g/a",
        "SUBSCRIBE #3 b:q2,nl SubscriptionIdentifier=1",
    ]);
}

#[test]
fn nothing_is_accepted_before_it_was_asked_for() {
    for answer in [
        "CONNACK",
        "CONNACK AuthenticationMethod=m",
        "CONNACK 0x87",
        "AUTH 0x18 AuthenticationMethod=m",
    ] {
        let mut pair = Pair::new("authentication.method=m");
        pair.connect();
        pair.clear();
        // The Authenticator has not answered: there is no CONNECT yet.
        pair.plays(answer);
        pair.sends(["CLOSE"]);
        assert_eq!(pair.errors()[0].code, ErrorCode::ProtocolError);
        assert_eq!(pair.session().state(), State::Idle);
    }
    // Nor is the first half of it.
    let mut pair = Pair::new("authentication.method=m");
    pair.connect();
    pair.clear();
    pair.receives(&[0x20]);
    pair.sends(["CLOSE"]);
}
