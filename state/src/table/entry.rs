//! What a table can hold: by what it finds an entry, and what it keeps for it.

use std::any::type_name;

use crate::codec::{fully, read_back_with};
use crate::{CodecError, Key, SectionKind, State, decode, encode, hash_key};

/// What a table finds its entries by. Every [`Key`] is one.
pub trait TableKey: Clone + Eq + Send + 'static {
    /// Of sections with such entries, and of those with the keys that are gone.
    const KINDS: (SectionKind, SectionKind);
    /// The byte behind the key group, in a database that several tables share.
    const SPACE: u8;
    /// Whether places are spread over all key groups alike, so that a table can keep its entries in their order.
    const IS_SPREAD: bool;

    /// A hash. Its 16 high bits decide on the key group; without [`IS_SPREAD`](Self::IS_SPREAD) the 32 low ones are
    /// spread evenly.
    fn place(&self) -> u64;

    /// Appends the encoding.
    ///
    /// # Errors
    /// If the type's `Serialize` refuses.
    fn write(&self, out: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Reads one from the front of `input`, and advances that past it.
    ///
    /// # Errors
    /// If the bytes are no encoding of one.
    fn read(input: &mut &[u8]) -> Result<Self, CodecError>;

    /// Checks that `bytes`, as which it was written, are read back as the same key, in the same place.
    ///
    /// # Errors
    /// If they are not.
    fn read_back(&self, bytes: &[u8]) -> Result<(), CodecError> {
        let again = fully(bytes, Self::read)?;
        if again != *self {
            return Err(CodecError::Changed { type_name: type_name::<Self>() });
        }
        if again.place() != self.place() {
            return Err(CodecError::UnstableKey { type_name: type_name::<Self>() });
        }
        Ok(())
    }
}

impl<K: Key> TableKey for K {
    const KINDS: (SectionKind, SectionKind) = (SectionKind::KeyedState, SectionKind::RemovedKeys);
    const SPACE: u8 = 0;
    const IS_SPREAD: bool = true;

    #[inline]
    fn place(&self) -> u64 {
        hash_key(self)
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        encode(self, out)
    }

    fn read(input: &mut &[u8]) -> Result<Self, CodecError> {
        decode(input)
    }
}

/// What a table keeps for a key. Every [`State`] is one.
pub trait TableState: Default + Send + 'static {
    /// Appends the encoding, which is one value of the codec, or such a value with a time before it.
    ///
    /// # Errors
    /// If the type's `Serialize` refuses.
    fn write(&self, out: &mut Vec<u8>) -> Result<(), CodecError>;

    /// Reads one from the front of `input`, and advances that past it.
    ///
    /// # Errors
    /// If the bytes are no encoding of one.
    fn read(input: &mut &[u8]) -> Result<Self, CodecError>;

    /// Checks that `bytes`, as which it was written, are read back as the same.
    ///
    /// # Errors
    /// If they are not.
    fn read_back(&self, bytes: &[u8]) -> Result<(), CodecError> {
        read_back_with(self, bytes, Self::read, Self::write)
    }
}

impl<S: State> TableState for S {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        encode(self, out)
    }

    /// A state that was kept with a time is read without it.
    fn read(input: &mut &[u8]) -> Result<Self, CodecError> {
        super::timed::split_time(input);
        decode(input)
    }
}
