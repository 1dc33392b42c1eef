//! Topic names and topic filters (4.7, 4.8.2).

/// Why text is no topic name or no topic filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicError {
    Empty,
    TooLong,
    NotText,
    Wildcard,
    WildcardPlace,
    ShareName,
}

impl TopicError {
    pub fn what(self) -> &'static str {
        match self {
            Self::Empty => "topic is empty",
            Self::TooLong => "topic of more than 65,535 bytes",
            Self::NotText => "topic is not UTF-8 or holds U+0000",
            Self::Wildcard => "topic holds a wildcard",
            Self::WildcardPlace => "wildcard is not a whole level, or # not the last",
            Self::ShareName => "$share/ without a name and a filter",
        }
    }
}

/// A topic name: text without wildcards.
pub fn check_topic(topic: &[u8]) -> Result<&str, TopicError> {
    let text = super::wire::text(topic).map_err(|_| TopicError::NotText)?;
    check_length(text)?;
    if has_wildcard(topic) { Err(TopicError::Wildcard) } else { Ok(text) }
}

pub fn check_filter(filter: &str) -> Result<(), TopicError> {
    check_length(filter)?;
    if filter.as_bytes().contains(&0) {
        return Err(TopicError::NotText);
    }
    let filter = match filter.strip_prefix("$share/") {
        None => filter,
        Some(_) => shared(filter).ok_or(TopicError::ShareName)?.1,
    };
    let mut levels = Levels::new(filter);
    while let Some(level) = levels.next() {
        let misplaced = match level {
            b"+" => false,
            b"#" => levels.0.is_some(),
            _ => has_wildcard(level),
        };
        if misplaced {
            return Err(TopicError::WildcardPlace);
        }
    }
    Ok(())
}

fn has_wildcard(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, b'+' | b'#'))
}

fn check_length(text: &str) -> Result<(), TopicError> {
    match text.len() {
        0 => Err(TopicError::Empty),
        1..=0xFFFF => Ok(()),
        _ => Err(TopicError::TooLong),
    }
}

/// The group of a shared subscription and the filter behind it: `$share/group/filter`.
pub fn shared(filter: &str) -> Option<(&str, &str)> {
    let rest = filter.strip_prefix("$share/")?;
    let slash = rest.bytes().position(|byte| byte == b'/')?;
    let (group, filter) = (rest.get(..slash)?, rest.get(slash + 1..)?);
    let valid = !group.is_empty() && !has_wildcard(group.as_bytes()) && !filter.is_empty();
    valid.then_some((group, filter))
}

/// Whether a valid filter, shared or not, matches a topic name.
pub fn matches(filter: &str, topic: &str) -> bool {
    meet(unshared(filter), topic)
}

/// Whether some topic name matches both filters, shared or not.
pub fn overlaps(a: &str, b: &str) -> bool {
    match (unshared(a), unshared(b)) {
        // Only the empty text matches both, and it is no topic.
        ("+", "/#") | ("/#", "+") => false,
        (a, b) => meet(a, b),
    }
}

fn unshared(filter: &str) -> &str {
    shared(filter).map_or(filter, |(_, filter)| filter)
}

/// Level by level. A topic name is the filter that only matches itself.
fn meet(a: &str, b: &str) -> bool {
    if (hides_system(a) && b.starts_with('$')) || (hides_system(b) && a.starts_with('$')) {
        return false;
    }
    let (mut a, mut b) = (Levels::new(a), Levels::new(b));
    loop {
        match (a.next(), b.next()) {
            // "a/#" matches "a" too.
            (Some(b"#"), _) | (_, Some(b"#")) | (None, None) => return true,
            (Some(x), Some(y)) if x == y || x == b"+" || y == b"+" => (),
            _ => return false,
        }
    }
}

/// A wildcard at the beginning does not match topics that begin with `$`.
fn hides_system(filter: &str) -> bool {
    filter.starts_with(['+', '#'])
}

/// The levels of a topic name or filter, from the first to the last.
#[derive(Clone)]
pub(super) struct Levels<'a>(Option<&'a [u8]>);

impl<'a> Levels<'a> {
    pub fn new(text: &'a str) -> Self {
        Self(Some(text.as_bytes()))
    }
}

impl<'a> Iterator for Levels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let bytes = self.0?;
        let slash = bytes.iter().position(|byte| *byte == b'/').unwrap_or(bytes.len());
        let (level, rest) = bytes.split_at(slash);
        self.0 = rest.get(1..);
        Some(level)
    }
}
