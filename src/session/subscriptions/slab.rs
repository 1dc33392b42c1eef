//! Values under small numbers that are used again, with a type of its own for the keys of each kind
//! of value.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

/// Declares the key type of one kind of value.
macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub struct $name(u32);

        impl From<u32> for $name {
            fn from(number: u32) -> Self {
                Self(number)
            }
        }

        impl From<$name> for u32 {
            fn from(key: $name) -> Self {
                key.0
            }
        }
    };
}
pub(super) use key;

/// Values of type `T` by keys of type `K`.
///
/// Whoever keeps a key keeps the value alive, so indexing with a key that has no value is a bug,
/// and panics.
#[derive(Clone, Hash, Debug)]
pub(super) struct Slab<K, T> {
    values: Vec<Option<T>>,
    /// Keys to use again.
    vacant: Vec<K>,
}

impl<K, T> Default for Slab<K, T> {
    fn default() -> Self {
        Self { values: Vec::new(), vacant: Vec::new() }
    }
}

impl<K: Copy + From<u32> + Into<u32>, T> Slab<K, T> {
    pub(super) fn insert(&mut self, value: T) -> K {
        if let Some(key) = self.vacant.pop() {
            self.values[key.into() as usize] = Some(value);
            return key;
        }
        self.values.push(Some(value));
        K::from(self.values.len() as u32 - 1)
    }

    pub(super) fn get(&self, key: K) -> Option<&T> {
        self.values.get(key.into() as usize)?.as_ref()
    }

    /// Takes a value out. Its key may be given to another value from here on.
    ///
    /// # Panics
    ///
    /// If the key has no value.
    pub(super) fn remove(&mut self, key: K) -> T {
        let value = self.values.get_mut(key.into() as usize).and_then(Option::take);
        self.vacant.push(key);
        value.unwrap_or_else(|| no_value())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        (0..).map(K::from).zip(&self.values).filter_map(|(key, value)| Some((key, value.as_ref()?)))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.values.iter_mut().flatten()
    }
}

impl<K: Copy + From<u32> + Into<u32>, T> Index<K> for Slab<K, T> {
    type Output = T;

    fn index(&self, key: K) -> &T {
        self.get(key).unwrap_or_else(|| no_value())
    }
}

impl<K: Copy + From<u32> + Into<u32>, T> IndexMut<K> for Slab<K, T> {
    fn index_mut(&mut self, key: K) -> &mut T {
        let value = self.values.get_mut(key.into() as usize).and_then(Option::as_mut);
        value.unwrap_or_else(|| no_value())
    }
}

// In one place: each panic of its own would add to the size of the module.
#[cold]
fn no_value() -> ! {
    panic!("a key without a value")
}
