//! A store in memory, for a host that decides when a write is kept.

// Each test binary uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;

use wasmqtt::session::Change;

/// A record as it is written: its key, and what it holds from then on.
type Written = (i64, Option<Vec<u8>>);

/// What is kept, and the write that is under way.
#[derive(Clone, Default, Hash, Debug)]
pub struct Memory {
    /// The records, by key.
    pub kept: BTreeMap<i64, Vec<u8>>,
    writing: Option<Vec<Written>>,
}

impl Memory {
    /// A write begins. There is one at a time, but for the last one of a session.
    pub fn write(&mut self, changes: &[Change]) {
        assert!(!changes.is_empty(), "a write of nothing");
        let written = |change: &Change| (change.key.number(), change.value.clone());
        self.writing = Some(changes.iter().map(written).collect());
    }

    /// Whether a write is under way.
    pub fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// The write that is under way is kept, or has failed.
    pub fn settle(&mut self, kept: bool) {
        let writing = self.writing.take().expect("a write");
        if !kept {
            return;
        }
        for (key, value) in writing {
            match value {
                Some(value) => _ = self.kept.insert(key, value),
                None => _ = self.kept.remove(&key),
            }
        }
    }

    /// What the next life of the client finds: the tail that was not kept is lost.
    pub fn left(&self) -> Self {
        Self { kept: self.kept.clone(), writing: None }
    }

    /// Whether nothing is kept that is still to be done: only releases that were given up, as long as the server may
    /// know them. `discarded`: the server has discarded a QoS 2 message that was received, and never releases it.
    pub fn is_settled(&self, discarded: bool) -> bool {
        const ABANDONED: u8 = 4;
        self.kept.iter().all(|(key, record)| record[0] == ABANDONED || *key < 0 && discarded)
    }

    /// What the session is told when it loads.
    pub fn records(&self) -> Vec<Vec<u8>> {
        self.kept.values().cloned().collect()
    }
}
