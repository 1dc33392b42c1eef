//! Time as the session sees it: an argument, never a clock.

/// A point in time: microseconds on a clock that never goes back.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instant(pub u64);

impl Instant {
    /// The instant `ms` milliseconds later.
    // A multiplication of 64 bits that saturates is long: one copy will do.
    #[inline(never)]
    pub fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms.saturating_mul(1_000)))
    }

    /// The earliest of those that are there.
    pub fn first(instants: &[Option<Self>]) -> Option<Self> {
        instants.iter().flatten().min().copied()
    }

    /// Whole milliseconds since `earlier`; 0 if that is later.
    pub fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000
    }
}
