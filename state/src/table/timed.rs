//! A state with the time when it was used last, so that it can expire.

use super::TableState;
use crate::{CodecError, State, Ttl, decode, encode};

/// A state that expires. It is encoded as the state alone, with a mark and the time before it, so that a program can begin to
/// let its state expire, and stop.
#[derive(Clone, Debug, Default)]
pub struct Timed<S> {
    /// When it was used last, in milliseconds; `None` if that is not known.
    used_ms: Option<i64>,
    state: S,
}

/// The one byte that no value of the codec begins with.
const MARK: u8 = 0xc1;

impl<S: State> Timed<S> {
    /// The state at this time, which is that of a key that was never seen if the one there was has expired. That is a use of
    /// it. What was saved without a time begins its life now.
    pub fn at(&mut self, ttl: Ttl, now_ms: i64) -> &mut S {
        if self.has_expired(ttl, now_ms) {
            self.state = S::default();
        }
        self.used_ms = Some(now_ms);
        &mut self.state
    }

    /// Whether it has expired at this time.
    pub fn has_expired(&self, ttl: Ttl, now_ms: i64) -> bool {
        self.used_ms.is_some_and(|used_ms| ttl.has_expired(used_ms, now_ms))
    }

    /// The state, whether it has expired or not.
    pub fn state(&self) -> &S {
        &self.state
    }
}

impl<S: State> TableState for Timed<S> {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let start = out.len();
        write_time(self.used_ms, out);
        encode(&self.state, out).inspect_err(|_| out.truncate(start))
    }

    fn read(input: &mut &[u8]) -> Result<Self, CodecError> {
        let used_ms = split_time(input);
        Ok(Self { used_ms, state: decode(input)? })
    }
}

/// Appends the time of its last use, if it is known, that a state is written behind.
pub fn write_time(used_ms: Option<i64>, out: &mut Vec<u8>) {
    if let Some(used_ms) = used_ms {
        out.push(MARK);
        out.extend_from_slice(&used_ms.to_be_bytes());
    }
}

/// The time before a state, if there is one. `input` begins with the state then.
pub(crate) fn split_time(input: &mut &[u8]) -> Option<i64> {
    let (time, state) = input.strip_prefix(&[MARK])?.split_first_chunk()?;
    *input = state;
    Some(i64::from_be_bytes(*time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded<S: TableState>(state: &S) -> Vec<u8> {
        let mut bytes = Vec::new();
        state.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_state_that_was_not_used_for_as_long_is_that_of_a_new_key() {
        let ttl = Ttl::after_access(std::time::Duration::from_millis(10));
        let mut state = Timed::<u64>::default();
        *state.at(ttl, 100) += 1;
        *state.at(ttl, 109) += 1;
        assert_eq!(*state.at(ttl, 118), 2);
        assert_eq!(*state.at(ttl, 128), 0);
    }

    #[test]
    fn states_may_begin_to_expire_and_stop_from_one_version_to_the_next() {
        let ttl = Ttl::after_access(std::time::Duration::from_millis(10));
        let mut timed = Timed::<String>::default();
        timed.at(ttl, 100).push('a');
        let again: Timed<String> = Timed::read(&mut encoded(&timed).as_slice()).unwrap();
        assert!(again.has_expired(ttl, 110) && !again.has_expired(ttl, 109));
        assert_eq!(<String as TableState>::read(&mut encoded(&timed).as_slice()).unwrap(), "a");

        let bytes = encoded(&String::from("b"));
        let mut now_timed: Timed<String> = Timed::read(&mut bytes.as_slice()).unwrap();
        assert!(!now_timed.has_expired(ttl, i64::MAX));
        assert_eq!(now_timed.at(ttl, 1_000), "b");
        assert_eq!(encoded(&Timed { used_ms: None, state: String::from("b") }), bytes);
    }
}
