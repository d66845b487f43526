//! A state with the time when it was used last, so that it can expire.

use super::TableState;
use crate::codec::RESERVED;
use crate::{CodecError, State, Ttl, decode, encode};

/// A state that expires. It is encoded as the state alone, with a mark and the time before it, so that a program can
/// begin to let its state expire, and stop.
#[derive(Clone, Debug, Default)]
pub struct Timed<S> {
    /// When it was used last, in milliseconds; `None` if that is not known.
    used_ms: Option<i64>,
    state: S,
}

/// The byte before a time. What follows it is 0 or 255, as such a time is not two million years away.
const MARK: u8 = RESERVED;

/// Times are between these two, in milliseconds.
const FARTHEST_MS: i64 = (1 << 56) - 1;

impl<S: State> Timed<S> {
    /// The state at this time, which is that of a key that was never seen if the one there was has expired. That is a
    /// use of it. What was saved without a time begins its life now.
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
        out.extend_from_slice(&used_ms.clamp(-FARTHEST_MS, FARTHEST_MS).to_be_bytes());
    }
}

/// The time before a state, if there is one. `input` begins with the state then.
pub(crate) fn split_time(input: &mut &[u8]) -> Option<i64> {
    let (time, state) = input.strip_prefix(&[MARK])?.split_first_chunk()?;
    if !matches!(time[0], 0 | 0xff) {
        // A mark of the value itself.
        return None;
    }
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

    #[test]
    fn a_time_is_told_from_the_marks_of_a_value() {
        type Nested = Option<Option<std::net::IpAddr>>;
        let states: [Nested; 3] = [None, Some(None), Some(Some([127, 0, 0, 1].into()))];
        for state in states {
            for used_ms in [None, Some(0), Some(-1), Some(i64::MIN), Some(i64::MAX), Some(1_800_000_000_000)]
            {
                let timed = Timed { used_ms, state };
                let bytes = encoded(&timed);
                let again: Timed<Nested> = Timed::read(&mut bytes.as_slice()).unwrap();
                assert_eq!(again.used_ms, used_ms.map(|ms| ms.clamp(-FARTHEST_MS, FARTHEST_MS)));
                assert_eq!(again.state, state);
                assert_eq!(<Nested as TableState>::read(&mut bytes.as_slice()).unwrap(), state);
            }
        }
    }
}
