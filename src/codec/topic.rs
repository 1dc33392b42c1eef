//! Topic names and topic filters (4.7, 4.8.2).

use alloc::rc::Rc;

use super::{DecodeError, wire};

/// The rule that a text breaks which should be a topic name or a topic filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicError {
    /// The text is empty.
    Empty,
    /// The text has more than 65,535 bytes.
    TooLong,
    /// The text is not UTF-8, or it contains U+0000.
    NotText,
    /// A text of the application contains a control character (1.5.4).
    ControlCharacter,
    /// A topic name contains `+` or `#`.
    Wildcard,
    /// A topic filter has a wildcard that is not a whole level, or a `#` that is not the last level.
    WildcardPlace,
    /// A topic filter begins with `$share/` and goes on without a share name or without a filter.
    ShareName,
}

impl TopicError {
    /// Returns what the text must be: a predicate that follows the name of the argument.
    pub fn what(self) -> &'static str {
        match self {
            Self::Empty => "must not be empty",
            Self::TooLong => "must have at most 65535 bytes in UTF-8",
            Self::NotText => "must be UTF-8 without U+0000",
            Self::ControlCharacter => {
                "must not contain control characters (U+0001 to U+001F, U+007F to U+009F)"
            }
            Self::Wildcard => "must not contain the wildcards + and #",
            Self::WildcardPlace => "must have + and # only as whole levels, and # only as the last",
            Self::ShareName => "must have a share name and a filter after $share/",
        }
    }
}

impl From<TopicError> for DecodeError {
    fn from(_: TopicError) -> Self {
        DecodeError::malformed("a topic name or filter that is not well formed")
    }
}

/// A topic name: text of 1 to 65,535 bytes in UTF-8, without wildcards and without U+0000 (4.7.1, 4.7.3).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TopicName(Rc<str>);

impl TopicName {
    /// Checks a text that should be a topic name.
    ///
    /// # Errors
    ///
    /// The text breaks the rule that the error names.
    pub fn new(text: impl Into<Rc<str>>) -> Result<Self, TopicError> {
        let text = text.into();
        check_topic(text.as_bytes())?;
        Ok(Self(text))
    }

    /// Returns the text.
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the text as an owner of it.
    #[inline]
    pub fn text(&self) -> &Rc<str> {
        &self.0
    }
}

/// A topic filter, which may be that of a shared subscription (4.7.1, 4.8.2).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TopicFilter {
    text: Rc<str>,
    /// Where in `text` the part begins that topics are matched with. It is 0 unless the filter is shared.
    matched: u16,
    has_wildcard: bool,
}

impl TopicFilter {
    /// Checks a text that should be a topic filter.
    ///
    /// # Errors
    ///
    /// The text breaks the rule that the error names.
    pub fn new(text: impl Into<Rc<str>>) -> Result<Self, TopicError> {
        let text = text.into();
        let parts = parse_filter(&text)?;
        // The length was checked: it fits.
        let matched = (text.len() - parts.matched.len()) as u16;
        Ok(Self { has_wildcard: parts.has_wildcard, matched, text })
    }

    /// Returns the whole text, as it goes into SUBSCRIBE.
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the whole text as an owner of it.
    #[inline]
    pub fn text(&self) -> &Rc<str> {
        &self.text
    }

    /// Returns the part that topics are matched with: all of the text, or what follows `$share/name/`.
    #[inline]
    pub fn matched(&self) -> &str {
        // Indexing text would bring the tables of Unicode into the module, for its panic.
        self.text.get(usize::from(self.matched)..).expect("a level begins there")
    }

    /// Whether this is the filter of a shared subscription (4.8.2).
    #[inline]
    pub fn is_shared(&self) -> bool {
        self.matched > 0
    }

    /// Returns the share name if this is the filter of a shared subscription (4.8.2).
    pub fn share(&self) -> Option<&str> {
        self.text.get(..usize::from(self.matched))?.strip_prefix(SHARE)?.strip_suffix('/')
    }

    /// Whether a level of the filter is `+` or `#`.
    #[inline]
    pub fn has_wildcard(&self) -> bool {
        self.has_wildcard
    }

    /// Whether the filter matches a topic name.
    pub fn matches(&self, topic: &str) -> bool {
        meet(self.matched(), topic)
    }

    /// Whether some topic name matches both filters.
    pub fn overlaps(&self, other: &Self) -> bool {
        both_match_something(self.matched(), other.matched())
    }
}

/// What every filter of a shared subscription begins with.
const SHARE: &str = "$share/";

/// The parts of a well-formed topic filter.
pub(super) struct FilterParts<'a> {
    /// The share name of a shared subscription.
    pub share: Option<&'a str>,
    /// The part that topics are matched with.
    pub matched: &'a str,
    /// Whether a level is `+` or `#`.
    pub has_wildcard: bool,
}

/// Checks a topic filter and tells its parts.
pub(super) fn parse_filter(filter: &str) -> Result<FilterParts<'_>, TopicError> {
    check_length(filter)?;
    if filter.as_bytes().contains(&0) {
        return Err(TopicError::NotText);
    }
    let (share, matched) = split_share(filter)?;
    let mut has_wildcard = false;
    let mut levels = Levels::new(matched);
    while let Some(level) = levels.next() {
        match level {
            b"+" => has_wildcard = true,
            b"#" if levels.0.is_none() => has_wildcard = true,
            level if contains_wildcard(level) => return Err(TopicError::WildcardPlace),
            _ => {}
        }
    }
    Ok(FilterParts { share, matched, has_wildcard })
}

/// Splits a filter into the share name and the part that topics are matched with.
fn split_share(filter: &str) -> Result<(Option<&str>, &str), TopicError> {
    let Some(rest) = filter.strip_prefix(SHARE) else { return Ok((None, filter)) };
    match rest.split_once('/') {
        Some((name, matched))
            if !name.is_empty() && !contains_wildcard(name.as_bytes()) && !matched.is_empty() =>
        {
            Ok((Some(name), matched))
        }
        _ => Err(TopicError::ShareName),
    }
}

/// Checks bytes that should be a topic name, and returns them as text.
///
/// # Errors
///
/// The bytes break the rule that the error names.
pub fn check_topic(topic: &[u8]) -> Result<&str, TopicError> {
    let text = wire::text(topic).map_err(|_| TopicError::NotText)?;
    check_length(text)?;
    if contains_wildcard(topic) { Err(TopicError::Wildcard) } else { Ok(text) }
}

/// Checks that a text has no control characters, which a server may answer by closing the connection
/// (1.5.4).
///
/// # Errors
///
/// There is one.
pub fn check_no_control_character(text: &str) -> Result<(), TopicError> {
    let is_control = |c: char| matches!(c, '\u{1}'..='\u{1F}' | '\u{7F}'..='\u{9F}');
    if text.chars().any(is_control) { Err(TopicError::ControlCharacter) } else { Ok(()) }
}

/// Checks a text that should be a topic filter, as [`TopicFilter::new`] does, without keeping it.
///
/// # Errors
///
/// The text breaks the rule that the error names.
pub fn check_filter(filter: &str) -> Result<(), TopicError> {
    parse_filter(filter).map(|_| ())
}

/// Returns the share name and the part that topics are matched with, if `filter` is the filter of a
/// shared subscription.
pub fn shared(filter: &str) -> Option<(&str, &str)> {
    let (share, matched) = split_share(filter).ok()?;
    Some((share?, matched))
}

/// Whether a valid topic filter matches a topic name. A shared subscription is matched by the part behind
/// `$share/name/`.
pub fn matches(filter: &str, topic: &str) -> bool {
    meet(unshared(filter), topic)
}

/// Whether some topic name matches both filters. Both are valid, and may be those of shared subscriptions.
pub fn overlaps(a: &str, b: &str) -> bool {
    both_match_something(unshared(a), unshared(b))
}

fn unshared(filter: &str) -> &str {
    split_share(filter).map_or(filter, |(_, matched)| matched)
}

fn contains_wildcard(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, b'+' | b'#'))
}

fn check_length(text: &str) -> Result<(), TopicError> {
    match text.len() {
        0 => Err(TopicError::Empty),
        1..=0xFFFF => Ok(()),
        _ => Err(TopicError::TooLong),
    }
}

/// Whether some topic name matches two filters, neither of which has `$share/name/`.
fn both_match_something(a: &str, b: &str) -> bool {
    match (a, b) {
        // Only the empty text matches both, and it is not a topic name.
        ("+", "/#") | ("/#", "+") => false,
        (a, b) => meet(a, b),
    }
}

/// Compares two filters, or a filter and a topic name, level by level. A topic name is a filter that
/// matches only itself.
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

/// Whether the filter begins with a wildcard: then it does not match topics that begin with `$` (4.7.2).
fn hides_system(filter: &str) -> bool {
    filter.starts_with(['+', '#'])
}

/// The levels of a topic name or filter, from the first to the last.
#[derive(Clone)]
pub(super) struct Levels<'a>(Option<&'a [u8]>);

impl<'a> Levels<'a> {
    pub(super) fn new(text: &'a str) -> Self {
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
