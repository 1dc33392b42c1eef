//! Topic names and filters (4.7, 4.8.2), and the trie that finds the filters of a topic.

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

/// The levels of a topic or filter; inside, what is left of it.
struct Levels<'a>(Option<&'a [u8]>);

impl<'a> Levels<'a> {
    fn new(text: &'a str) -> Self {
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

/// Finds the filters that match a topic, at a cost that depends on the topic's levels and not on the number of filters.
///
/// A node per level; one hash table for the plain children of all nodes, so that a node with a hundred thousand of them costs
/// no more than a node with one.
#[derive(Clone, Default, Hash, Debug)]
pub struct Trie {
    /// The first is the root; empty while there are no filters.
    nodes: Vec<Node>,
    /// Places in `nodes` to use again.
    free: Vec<u32>,
    /// Open addressing, a power of two in size: nodes by parent and level, [`NONE`] where nothing is.
    table: Vec<u32>,
    /// How many nodes the table holds.
    hashed: usize,
}

const ROOT: u32 = 0;
/// No node.
const NONE: u32 = u32::MAX;

#[derive(Clone, Hash, Debug)]
struct Node {
    parent: u32,
    level: Box<[u8]>,
    /// The child for `+`.
    plus: u32,
    /// How many children there are.
    children: u32,
    /// The filter that ends here.
    id: Option<u32>,
    /// The filter that ends here with a `#`.
    rest: Option<u32>,
}

impl Node {
    /// Nothing ends here or below.
    fn is_bare(&self) -> bool {
        self.children == 0 && self.id.is_none() && self.rest.is_none()
    }
}

impl Trie {
    /// Adds a valid filter without `$share/`. The result is the id it had before.
    pub fn insert(&mut self, filter: &str, id: u32) -> Option<u32> {
        if self.nodes.is_empty() {
            self.add(NONE, b"");
        }
        let mut node = ROOT;
        for level in Levels::new(filter) {
            if level == b"#" {
                return self.node_mut(node).rest.replace(id);
            }
            node = match self.child(node, level) {
                NONE => self.add(node, level),
                child => child,
            };
        }
        self.node_mut(node).id.replace(id)
    }

    /// Takes a filter out. The result is its id.
    pub fn remove(&mut self, filter: &str) -> Option<u32> {
        let (mut at, rest) = self.find(filter)?;
        let node = self.node_mut(at);
        let id = if rest { node.rest.take() } else { node.id.take() }?;
        while self.node(at).is_bare() {
            if at == ROOT {
                *self = Self::default();
                break;
            }
            at = self.cut(at);
        }
        Some(id)
    }

    /// The id of a filter.
    pub fn get(&self, filter: &str) -> Option<u32> {
        let (at, rest) = self.find(filter)?;
        let node = self.node(at);
        if rest { node.rest } else { node.id }
    }

    /// Appends the ids of the filters that match a topic name, in no particular order.
    pub fn matching(&self, topic: &str, out: &mut Vec<u32>) {
        if self.nodes.is_empty() {
            return;
        }
        let mut open = vec![(ROOT, Levels::new(topic))];
        while let Some((at, mut levels)) = open.pop() {
            let node = self.node(at);
            let wildcards = at != ROOT || !topic.starts_with('$');
            if wildcards {
                out.extend(node.rest);
            }
            let Some(level) = levels.next() else {
                out.extend(node.id);
                continue;
            };
            if wildcards && node.plus != NONE {
                open.push((node.plus, Levels(levels.0)));
            }
            let child = self.plain_child(at, level);
            if child != NONE {
                open.push((child, levels));
            }
        }
    }

    /// The node where a filter ends, and whether it ends with a `#`.
    fn find(&self, filter: &str) -> Option<(u32, bool)> {
        if self.nodes.is_empty() {
            return None;
        }
        let mut node = ROOT;
        for level in Levels::new(filter) {
            if level == b"#" {
                return Some((node, true));
            }
            node = self.child(node, level);
            if node == NONE {
                return None;
            }
        }
        Some((node, false))
    }

    fn child(&self, parent: u32, level: &[u8]) -> u32 {
        if level == b"+" { self.node(parent).plus } else { self.plain_child(parent, level) }
    }

    fn plain_child(&self, parent: u32, level: &[u8]) -> u32 {
        if self.table.is_empty() { NONE } else { self.table[self.slot(parent, level)] }
    }

    fn add(&mut self, parent: u32, level: &[u8]) -> u32 {
        let node =
            Node { parent, level: level.into(), plus: NONE, children: 0, id: None, rest: None };
        let at = match self.free.pop() {
            Some(at) => {
                *self.node_mut(at) = node;
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() as u32 - 1
            }
        };
        if parent == NONE {
            return at;
        }
        self.node_mut(parent).children += 1;
        if level == b"+" {
            self.node_mut(parent).plus = at;
            return at;
        }
        // At most three quarters full.
        if (self.hashed + 1) * 4 > self.table.len() * 3 {
            let size = (self.table.len() * 2).max(8);
            for at in std::mem::replace(&mut self.table, vec![NONE; size]) {
                self.hash_in(at);
            }
        }
        self.hash_in(at);
        self.hashed += 1;
        at
    }

    /// Takes a bare node out. The result is its parent.
    fn cut(&mut self, at: u32) -> u32 {
        let parent = self.node(at).parent;
        self.node_mut(parent).children -= 1;
        if self.node(parent).plus == at {
            self.node_mut(parent).plus = NONE;
        } else {
            self.hash_out(at);
        }
        self.node_mut(at).level = Box::default();
        self.free.push(at);
        parent
    }

    fn hash_in(&mut self, at: u32) {
        if at != NONE {
            let node = self.node(at);
            let slot = self.slot(node.parent, &node.level);
            self.table[slot] = at;
        }
    }

    /// Empties a slot, and puts what follows it without a gap where it is found again.
    fn hash_out(&mut self, at: u32) {
        let node = self.node(at);
        let mut slot = self.slot(node.parent, &node.level);
        self.hashed -= 1;
        self.table[slot] = NONE;
        loop {
            slot = (slot + 1) & (self.table.len() - 1);
            let at = std::mem::replace(&mut self.table[slot], NONE);
            if at == NONE {
                return;
            }
            self.hash_in(at);
        }
    }

    /// The slot of a child, or the free one where it would stand.
    fn slot(&self, parent: u32, level: &[u8]) -> usize {
        let mask = self.table.len() - 1;
        let mut slot = hash(parent, level) as usize & mask;
        loop {
            match self.table[slot] {
                NONE => return slot,
                at if self.node(at).parent == parent && *self.node(at).level == *level => {
                    return slot;
                }
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    fn node(&self, at: u32) -> &Node {
        &self.nodes[at as usize]
    }

    fn node_mut(&mut self, at: u32) -> &mut Node {
        &mut self.nodes[at as usize]
    }
}

/// FNV-1a over the level, begun with the parent, and mixed so that the low bits depend on all.
fn hash(parent: u32, level: &[u8]) -> u32 {
    const PRIME: u32 = 0x0100_0193;
    let seed = (parent ^ 0x811C_9DC5).wrapping_mul(PRIME);
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(PRIME);
    let hash = level.iter().fold(seed, mix);
    hash ^ hash >> 15
}
