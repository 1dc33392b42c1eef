//! The real [`Session`](wasmqtt::session::Session) against a model broker in virtual time. A seed decides all that
//! happens; after every step the promises of the protocol and of the API are checked.
//!
//! `cargo test --test simulation` runs 20,000 seeds. More of them: `SEEDS=2000000`, beginning elsewhere: `FROM=1000000`.
//! A seed that fails is cut down and shown; again: `SEED=123 cargo test --test simulation replay -- --nocapture`.

mod app;
mod broker;
mod case;
#[path = "../support/chunks.rs"]
mod chunks;
mod memory;
#[path = "../support/memory.rs"]
mod store;
mod trace;
mod wire;
mod world;

use std::io::{Write as _, stderr};
use std::panic::{self, AssertUnwindSafe};

use case::{Action, Case};
use world::{Tally, World};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn seeds() {
    let count = number("SEEDS").unwrap_or(20_000);
    let from = number("FROM").unwrap_or(0);
    let started = std::time::Instant::now();
    let mut tally = Tally::default();
    let failure = quietly(|| {
        (from..from + count).find_map(|seed| {
            let case = Case::new(seed);
            run(&case).map(|one| tally += one).err().map(|fault| (case, fault))
        })
    });
    if let Some((case, fault)) = failure {
        fail(&case, &fault);
    }
    writeln!(stderr(), "{count} seeds from {from} on in {:.1?}: {tally:?}", started.elapsed())
        .unwrap();
}

/// Shows the run of one seed, cut down to what matters where it fails.
#[test]
fn replay() {
    let Some(seed) = number("SEED") else { return };
    let case = Case::new(seed);
    match quietly(|| run(&case)) {
        Ok(_) => println!("{}", shown(&case)),
        Err(fault) => fail(&case, &fault),
    }
}

/// Runs a case. The error is what a check or the session panicked with.
fn run(case: &Case) -> Result<Tally, String> {
    let mut world = World::new(case);
    let result = panic::catch_unwind(AssertUnwindSafe(|| world.run(case)));
    match result {
        Ok(()) => Ok(world.tally()),
        Err(cause) => Err(match cause.downcast::<String>() {
            Ok(text) => *text,
            Err(cause) => cause
                .downcast::<&str>()
                .map_or("a panic without text".into(), |text| text.to_string()),
        }),
    }
}

/// Without a report of each panic.
fn quietly<T>(work: impl FnOnce() -> T) -> T {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = work();
    panic::set_hook(hook);
    result
}

fn fail(case: &Case, fault: &str) -> ! {
    println!("seed {} fails: {fault}", case.seed);
    let small = quietly(|| shrink(case, fault));
    println!(
        "cut down from {} steps to {}:\n{}",
        case.actions.len(),
        small.actions.len(),
        shown(&small)
    );
    panic!("again: SEED={} cargo test --test simulation replay -- --nocapture", case.seed);
}

/// What happens in a case, line by line.
fn shown(case: &Case) -> String {
    trace::start();
    let result = quietly(|| run(case));
    let settings = format!("{:#?}", case.config);
    let chosen =
        settings.lines().filter(|line| !line.ends_with(": None,") && !line.ends_with(": false,"));
    let mut text =
        chosen.chain(trace::take().iter().map(|line| &**line)).collect::<Vec<_>>().join("\n");
    if let Err(fault) = result {
        text += &format!("\n{fault}");
    }
    text
}

/// The smallest case found that fails alike: without whole kinds of events, without single ones, with plain settings.
fn shrink(case: &Case, fault: &str) -> Case {
    let mut case = case.clone();
    let mut attempts = 20_000;
    let words = |fault: &str| {
        fault
            .split(' ')
            .filter(|word| word.chars().all(char::is_alphabetic))
            .take(8)
            .collect::<String>()
    };
    let wanted = words(fault);
    let mut fails = |case: &Case| {
        attempts -= 1;
        attempts > 0 && run(case).is_err_and(|fault| words(&fault) == wanted)
    };
    for kind in 1..Action::KINDS {
        let mut smaller = case.clone();
        smaller.actions.retain(|action| action.kind() != kind);
        if smaller.actions.len() < case.actions.len() && fails(&smaller) {
            case = smaller;
        }
    }
    loop {
        let before = (case.actions.len(), case.config.clone());
        let mut size = case.actions.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < case.actions.len() {
                let mut smaller = case.clone();
                smaller.actions.drain(at..(at + size).min(case.actions.len()));
                if fails(&smaller) {
                    case = smaller;
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
        for config in case.config.simpler() {
            let smaller = Case { config, ..case.clone() };
            if fails(&smaller) {
                case = smaller;
            }
        }
        if before == (case.actions.len(), case.config.clone()) {
            return case;
        }
    }
}
