//! Topic names and filters, and the trie.

use crate::Random;
use crate::fuzz::memory::allocated;
use wasmqtt::codec::*;

/// Shows [MQTT5-4.7.0-1] [MQTT5-4.7.3-1] [MQTT5-4.7.3-2] [MQTT5-4.7.3-3] [MQTT3-4.7.1-1] [MQTT3-4.7.3-1]
/// Shows [MQTT3-4.7.3-2] [MQTT3-4.7.3-3]
#[test]
fn topic_names() {
    for topic in
        ["a", "/", "//", "a/b", "/a", "a/", " ", "$SYS/x", "$share/g/a", "ä/\u{FEFF}", "\u{1}"]
    {
        assert_eq!(check_topic(topic.as_bytes()), Ok(topic));
        assert_eq!(TopicName::new(topic).unwrap().as_str(), topic);
    }
    let errors: &[(&[u8], _)] = &[
        (b"", TopicError::Empty),
        (b"+", TopicError::Wildcard),
        (b"a/#", TopicError::Wildcard),
        (b"a+b", TopicError::Wildcard),
        (b"a\0", TopicError::NotText),
        (b"\xED\xA0\x80", TopicError::NotText),
        (b"\xC0\x80", TopicError::NotText),
    ];
    for (topic, error) in errors {
        assert_eq!(check_topic(topic), Err(*error));
        if let Ok(text) = str::from_utf8(topic) {
            assert_eq!(TopicName::new(text), Err(*error));
        }
        assert!(!error.what().is_empty());
    }
    assert!(check_topic(&[b'x'; 65535]).is_ok());
    assert_eq!(check_topic(&[b'x'; 65536]), Err(TopicError::TooLong));
}

/// Shows [MQTT5-4.7.1-1] [MQTT5-4.7.1-2] [MQTT5-4.7.3-1] [MQTT5-4.7.3-2] [MQTT5-4.7.3-3] [MQTT5-4.8.2-1]
/// Shows [MQTT5-4.8.2-2] [MQTT3-4.7.1-2] [MQTT3-4.7.1-3] [MQTT3-4.7.3-1] [MQTT3-4.7.3-2] [MQTT3-4.7.3-3]
#[test]
fn topic_filters() {
    let valid = "a / // + # +/+ a/+ +/a a/+/b a/# +/# /# /+ a//b $SYS/# $share $SHARE/a# \
        $share/g/a $share/g// $share/g/# $share/g/+/b $share/$x/$SYS/#";
    for filter in valid.split_whitespace().filter(|filter| *filter != "$SHARE/a#") {
        assert_eq!(check_filter(filter), Ok(()), "{filter}");
        let parsed = TopicFilter::new(filter).unwrap();
        assert_eq!((parsed.as_str(), &**parsed.text()), (filter, filter));
        assert_eq!(parsed.has_wildcard(), filter.contains(['+', '#']));
        let (share, matched) = shared(filter).map_or((None, filter), |(share, m)| (Some(share), m));
        assert_eq!((parsed.share(), parsed.matched()), (share, matched));
    }
    let misplaced = "a# #a a/b# #/ #/a a/#/b ## a+ +a a/+b a/b+ ++ +# a/+# $SHARE/a# \
        $share/g/a# $share/g/#/b $share/g/a+";
    for filter in misplaced.split_whitespace() {
        assert_eq!(check_filter(filter), Err(TopicError::WildcardPlace), "{filter}");
        assert_eq!(TopicFilter::new(filter), Err(TopicError::WildcardPlace), "{filter}");
    }
    for filter in
        ["$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/#", "$share/g+/a"]
    {
        assert_eq!(check_filter(filter), Err(TopicError::ShareName), "{filter}");
    }
    assert_eq!(check_filter(""), Err(TopicError::Empty));
    assert_eq!(check_filter("a\0"), Err(TopicError::NotText));
    assert_eq!(check_filter("$share/g\0/a"), Err(TopicError::NotText));
    assert!(check_filter(&"ä".repeat(32767)).is_ok());
    assert_eq!(check_filter(&"ä".repeat(32768)), Err(TopicError::TooLong));

    assert_eq!(shared("$share/g/a/+"), Some(("g", "a/+")));
    assert_eq!(shared("$share/g/"), None);
    assert_eq!(shared("a/b"), None);
    assert_eq!(shared("share/g/a"), None);

    let parsed = TopicFilter::new("$share/ä/a/+").unwrap();
    assert_eq!((parsed.share(), parsed.matched()), (Some("ä"), "a/+"));
}

#[test]
fn matching_by_the_examples_of_the_specification() {
    let table = [
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/tennis/player1/#", "sport/tennis/player10", false),
        ("sport/#", "sport", true),
        ("sport/#", "sports", false),
        ("#", "sport/tennis", true),
        ("#", "/", true),
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("+", "/finance", false),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("#", "$SYS/monitor", false),
        ("+/monitor/Clients", "$SYS/monitor/Clients", false),
        ("$SYS/#", "$SYS/monitor", true),
        ("$SYS/#", "$SYS", true),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
        ("a/#", "a/$b", true),
        ("a/+", "a/$b", true),
        ("ACCOUNTS", "Accounts", false),
        ("a", "a/", false),
        ("a/", "a", false),
        ("a//b", "a/b", false),
        ("a/+/b", "a//b", true),
        ("$share/g/sport/+", "sport/x", true),
        ("$share/g/sport/+", "$share/g/sport/x", false),
        ("$share/g/#", "$SYS/x", false),
        ("#", "$share/g/x", false),
    ];
    for (filter, topic, expected) in table {
        assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        let parsed = TopicFilter::new(filter).unwrap();
        assert_eq!(parsed.matches(topic), expected, "{filter} {topic}");
    }
}

/// The rules once more, word for word: all levels at once.
fn naive(filter: &str, topic: &str) -> bool {
    fn levels(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, topic @ ..]) => levels(filter, topic),
            ([a, filter @ ..], [b, topic @ ..]) => a == b && levels(filter, topic),
            _ => false,
        }
    }
    let split = |text: &'_ str| -> Vec<String> { text.split('/').map(String::from).collect() };
    let (filter, topic) = (split(filter), split(topic));
    let filter: Vec<&str> = filter.iter().map(|level| &**level).collect();
    let topic: Vec<&str> = topic.iter().map(|level| &**level).collect();
    let hidden = topic[0].starts_with('$') && ["+", "#"].contains(&filter[0]);
    !hidden && levels(&filter, &topic)
}

/// All topics, or filters, of one to `depth` levels.
fn every(levels: &[&str], depth: usize) -> Vec<String> {
    let mut all: Vec<String> = levels.iter().map(|level| level.to_string()).collect();
    let mut longest = all.clone();
    for _ in 1..depth {
        longest = longest
            .iter()
            .flat_map(|start| levels.iter().map(move |level| format!("{start}/{level}")))
            .collect();
        all.extend(longest.clone());
    }
    all
}

#[test]
fn overlaps_by_brute_force() {
    let filters: Vec<_> = every(&["a", "$b", "", "+", "#"], 3)
        .into_iter()
        .filter(|filter| check_filter(filter).is_ok())
        .collect();
    // One level more than the filters have, and one name more.
    let topics: Vec<_> =
        every(&["a", "$b", "", "c"], 4).into_iter().filter(|topic| !topic.is_empty()).collect();
    let matching: Vec<Vec<bool>> = filters
        .iter()
        .map(|filter| {
            let row = topics.iter().map(|topic| {
                assert_eq!(matches(filter, topic), naive(filter, topic), "{filter} {topic}");
                naive(filter, topic)
            });
            row.collect()
        })
        .collect();
    assert!(filters.len() > 80);
    for (a, of_a) in filters.iter().zip(&matching) {
        for (b, of_b) in filters.iter().zip(&matching) {
            let expected = of_a.iter().zip(of_b).any(|(a, b)| *a && *b);
            assert_eq!(overlaps(a, b), expected, "{a} {b}");
            let shared = format!("$share/g/{a}");
            assert_eq!(overlaps(&shared, b), expected, "{shared} {b}");
            let [a, b, shared] = [a, b, &shared].map(|text| TopicFilter::new(&**text).unwrap());
            assert_eq!(a.overlaps(&b), expected, "{a:?} {b:?}");
            assert_eq!(shared.overlaps(&b), expected, "{shared:?} {b:?}");
        }
    }
}

// ---------------------------------------------------------------------------------------------- trie

fn found(trie: &Trie, topic: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    trie.matching(topic, &mut ids);
    ids.sort();
    ids
}

#[test]
fn a_trie_of_a_few() {
    let mut trie = Trie::default();
    assert_eq!(found(&trie, "a"), []);
    assert_eq!((trie.get("a"), trie.remove("a")), (None, None));
    let filters = ["a/b", "a/+", "a/#", "#", "+/b", "+/+/c", "a", "$SYS/#", "/", "+"];
    for (id, filter) in filters.iter().enumerate() {
        assert_eq!(trie.insert(filter, id as u32), None);
    }
    assert_eq!(found(&trie, "a/b"), [0, 1, 2, 3, 4]);
    assert_eq!(found(&trie, "a"), [2, 3, 6, 9]);
    assert_eq!(found(&trie, "a/b/c"), [2, 3, 5]);
    assert_eq!(found(&trie, "$SYS/b"), [7]);
    assert_eq!(found(&trie, "$SYS"), [7]);
    assert_eq!(found(&trie, "/"), [3, 8]);
    assert_eq!(trie.insert("a/+", 77), Some(1));
    assert_eq!(trie.get("a/+"), Some(77));
    assert_eq!(trie.remove("a/+"), Some(77));
    assert_eq!(trie.remove("a/+"), None);
    assert_eq!(trie.remove("+/+"), None); // on the way to a filter, not one
    assert_eq!(found(&trie, "a/b"), [0, 2, 3, 4]);
}

#[test]
fn a_trie_agrees_with_the_rules() {
    let filters: Vec<_> = every(&["a", "b", "$c", "", "+", "#"], 4)
        .into_iter()
        .filter(|filter| check_filter(filter).is_ok())
        .collect();
    let topics = every(&["a", "b", "$c", ""], 4);
    let mut random = Random(4);
    let mut trie = Trie::default();
    let mut model = std::collections::BTreeMap::new();
    for round in 0..30_000 {
        let at = random.below(filters.len());
        let filter = &filters[at];
        // Now mostly growing, now mostly shrinking.
        if random.below(10) < if round / 3_000 % 2 == 0 { 7 } else { 2 } {
            assert_eq!(trie.insert(filter, round), model.insert(filter, round), "{filter}");
        } else {
            assert_eq!(trie.remove(filter), model.remove(filter), "{filter}");
        }
        assert_eq!(trie.get(filter), model.get(filter).copied());
        if round % 50 == 0 {
            let topic = &topics[1 + random.below(topics.len() - 1)];
            let mut expected: Vec<u32> = model
                .iter()
                .filter(|(filter, _)| naive(filter, topic))
                .map(|(_, id)| *id)
                .collect();
            expected.sort();
            assert_eq!(found(&trie, topic), expected, "{topic}");
        }
    }
    for filter in &filters {
        assert_eq!(trie.remove(filter), model.remove(filter));
    }
    assert_eq!(format!("{trie:?}"), format!("{:?}", Trie::default()), "nothing is left");
}

#[test]
fn a_large_trie() {
    let mut trie = Trie::default();
    for id in 0..100_000 {
        trie.insert(&format!("site/{id}/+/state"), id);
    }
    for id in [0, 1, 777, 50_000, 99_999] {
        assert_eq!(found(&trie, &format!("site/{id}/x/state")), [id]);
    }
    assert_eq!(found(&trie, "site/100000/x/state"), []);
    for id in (0..100_000).filter(|id| id % 10 != 0) {
        assert_eq!(trie.remove(&format!("site/{id}/+/state")), Some(id));
    }
    assert_eq!(found(&trie, "site/777/x/state"), []);
    assert_eq!(found(&trie, "site/770/x/state"), [770]);
    // Places are used again.
    let churn = allocated(|| {
        for id in 0..50_000 {
            let filter = format!("site/new{id}/#");
            trie.insert(&filter, id);
            trie.remove(&filter);
        }
    });
    assert!(churn.live.unsigned_abs() < 1000, "{}", churn.live);
}

#[test]
fn a_filter_of_many_levels() {
    let deep = "+/".repeat(32_000) + "#";
    check_filter(&deep).unwrap();
    let mut trie = Trie::default();
    trie.insert(&deep, 1);
    assert_eq!(found(&trie, &"/".repeat(65_000)), [1]);
    assert!(matches(&deep, &"/".repeat(65_000)));
    assert_eq!(trie.remove(&deep), Some(1));
}
