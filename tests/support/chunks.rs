//! What a host does with chunks: one of them is the current one, and a packet that comes in pieces
//! is put together.

use std::rc::Rc;

use wasmqtt::driver::Unreadable;

/// The current chunk, and the packet that is put together outside the session.
#[derive(Clone, Default, Debug)]
pub struct Chunks {
    current: Rc<[u8]>,
    gathered: Vec<u8>,
    /// How many bytes of `gathered` make the packet.
    wanted: usize,
}

impl Chunks {
    /// The current chunk.
    pub fn current(&self) -> &Rc<[u8]> {
        &self.current
    }

    /// As [`wasmqtt::driver::Host::read`].
    pub fn read(&mut self, chunk: Rc<[u8]>, window: &mut [u8]) -> usize {
        self.show(chunk, window)
    }

    /// As [`wasmqtt::driver::Host::copy`].
    pub fn copy(&self, offset: usize, window: &mut [u8]) {
        window.copy_from_slice(&self.current[offset..][..window.len()]);
    }

    /// As [`wasmqtt::driver::Host::keep`].
    pub fn keep(&mut self, offset: usize, missing: usize) {
        self.gathered = self.current[offset..].to_vec();
        self.wanted = self.gathered.len() + missing;
    }

    /// As [`wasmqtt::driver::Host::gather`].
    pub fn gather(&mut self, chunk: &[u8], window: &mut [u8]) -> Result<Option<usize>, Unreadable> {
        self.gathered.try_reserve(chunk.len()).map_err(|_| Unreadable::NoMemory)?;
        self.gathered.extend_from_slice(chunk);
        if self.gathered.len() < self.wanted {
            return Ok(None);
        }
        let rest = self.gathered.split_off(self.wanted);
        let packet = std::mem::replace(&mut self.gathered, rest);
        Ok(Some(self.show(packet.into(), window)))
    }

    /// As [`wasmqtt::driver::Host::rest`].
    pub fn rest(&mut self, window: &mut [u8]) -> usize {
        let rest = std::mem::take(&mut self.gathered);
        self.show(rest.into(), window)
    }

    /// Makes bytes the current chunk, and copies them where they fit.
    fn show(&mut self, chunk: Rc<[u8]>, window: &mut [u8]) -> usize {
        if let Some(window) = window.get_mut(..chunk.len()) {
            window.copy_from_slice(&chunk);
        }
        self.current = chunk;
        self.current.len()
    }
}
