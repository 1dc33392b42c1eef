//! The trie that finds the topic filters that match a topic.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::topic::Levels;

/// A set of topic filters, each with a number of the caller's choice. It finds the filters that match a
/// topic at a cost that depends on the levels of the topic and not on the number of filters.
///
/// There is one node per level. A single hash table holds the plain children of all nodes, so that a
/// node with a hundred thousand children costs no more than a node with one.
#[derive(Clone, Default, Hash, Debug)]
pub struct Trie {
    /// The first node is the root. The list is empty while there are no filters.
    nodes: Vec<Node>,
    /// The places in `nodes` that can be used again.
    free: Vec<u32>,
    /// A hash table with open addressing that finds nodes by parent and level. Its size is a power of
    /// two, and a free slot holds [`NONE`].
    table: Vec<u32>,
    /// The number of nodes in the table.
    hashed: usize,
}

/// The place of the root.
const ROOT: u32 = 0;
/// The place that stands for no node.
const NONE: u32 = u32::MAX;

#[derive(Clone, Hash, Debug)]
struct Node {
    parent: u32,
    level: Box<[u8]>,
    /// The child for `+`.
    plus: u32,
    /// The number of children, the one for `+` included.
    children: u32,
    /// The number of the filter that ends here.
    id: Option<u32>,
    /// The number of the filter that has a `#` as its last level below this node.
    rest: Option<u32>,
}

impl Node {
    /// Whether no filter ends here or below.
    fn is_bare(&self) -> bool {
        self.children == 0 && self.id.is_none() && self.rest.is_none()
    }
}

impl Trie {
    /// Adds a valid filter, or gives it another number if it is there already. Returns the number that
    /// it had before. A shared subscription is added without its `$share/name/`.
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

    /// Removes a filter. Returns its number, or `None` if the filter is not there.
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

    /// Returns the number of a filter, or `None` if the filter is not there.
    pub fn get(&self, filter: &str) -> Option<u32> {
        let (at, rest) = self.find(filter)?;
        let node = self.node(at);
        if rest { node.rest } else { node.id }
    }

    /// Appends the numbers of all filters that match a topic name to `out`, in no particular order.
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
                open.push((node.plus, levels.clone()));
            }
            let child = self.plain_child(at, level);
            if child != NONE {
                open.push((child, levels));
            }
        }
    }

    /// Returns the node where a filter ends, and whether the filter ends with a `#` below it.
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
        // The table is at most three quarters full.
        if (self.hashed + 1) * 4 > self.table.len() * 3 {
            let size = (self.table.len() * 2).max(8);
            for at in core::mem::replace(&mut self.table, vec![NONE; size]) {
                self.hash_in(at);
            }
        }
        self.hash_in(at);
        self.hashed += 1;
        at
    }

    /// Removes a bare node. Returns its parent.
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

    /// Takes a node out of the table. The nodes that follow its slot without a gap are put in again,
    /// because a search ends at the first free slot.
    fn hash_out(&mut self, at: u32) {
        let node = self.node(at);
        let mut slot = self.slot(node.parent, &node.level);
        self.hashed -= 1;
        self.table[slot] = NONE;
        loop {
            slot = (slot + 1) & (self.table.len() - 1);
            let at = core::mem::replace(&mut self.table[slot], NONE);
            if at == NONE {
                return;
            }
            self.hash_in(at);
        }
    }

    /// Returns the slot of a child, or the free slot where it would be put.
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

/// Hashes a level with FNV-1a, starting from the parent, and mixes the result so that its low bits depend
/// on all others.
fn hash(parent: u32, level: &[u8]) -> u32 {
    const PRIME: u32 = 0x0100_0193;
    let seed = (parent ^ 0x811C_9DC5).wrapping_mul(PRIME);
    let mix = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(PRIME);
    let hash = level.iter().fold(seed, mix);
    hash ^ hash >> 15
}
