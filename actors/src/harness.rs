//! Tests a [`Process`] the way the engine will treat it.
//!
//! [`Harness`] gives a process its input four times and expects the same output each time:
//!
//! 1. record by record,
//! 2. all at once, in as large batches as there can be,
//! 3. with a snapshot after every step, a power cut, and a restart from what was on the disk,
//! 4. with outputs that have room for one record and refuse every other offer.
//!
//! It is the real task that runs, with its inbox, its state, its timers and its files; only the clock, the disk and
//! the threads are replaced, so that a test takes no time and always does the same.
//!
//! ```
//! use watershed_actors::harness::{Harness, record, watermark};
//! use watershed_actors::{Context, Process, UserResult};
//!
//! struct Count;
//!
//! impl Process for Count {
//!     type Key = String;
//!     type In = String;
//!     type Out = (String, u64);
//!     type State = u64;
//!
//!     fn on_record(&self, word: String, count: &mut u64, ctx: &mut Context<'_, Self>) -> UserResult {
//!         *count += 1;
//!         ctx.emit((word, *count));
//!         Ok(())
//!     }
//! }
//!
//! let word = |word: &str| record(word.to_string());
//! let count = |word: &str, count| record((word.to_string(), count));
//!
//! Harness::keyed(Count, String::clone)
//!     .input([word("to").at(1), word("be").at(2), watermark(2), word("to").at(4)])
//!     .expect_output([count("to", 1).at(1), count("be", 1).at(2), watermark(2), count("to", 2).at(4)]);
//! ```

mod clock;
mod diff;
pub(crate) mod driver;
mod item;
mod mode;
pub(crate) mod probe;
mod side;
#[cfg(test)]
mod tests;
pub(crate) mod world;

pub use clock::VirtualClock;
pub use item::{Item, advance, record, watermark};

use std::fmt::{self, Debug, Write};
use std::sync::Arc;
use std::time::Duration;

use watershed_state::{KeyGroups, Ttl, hash_key};

use crate::chain::Tee;
use crate::failure::Failure;
use crate::inbox::Inbox;
use crate::process::{BroadcastInput, BroadcastProcess, Connected, Process, SideOutput, SideOutputs};
use crate::restored::Restored;
use crate::task::{
    BroadcastLogic, Env, Expiring, Forever, InstanceStore, KeyedStore, Life, OperatorTask, ProcessLogic,
    Store, Task,
};

use mode::Mode;
use side::{ExpectedSide, Side};

/// A process under test, with its input. See the [module](self).
#[must_use = "nothing is tested before `expect_output` or `expect_failure` is called"]
pub struct Harness<P: Process> {
    build: Build<P>,
    hash_of: HashOf<P::In>,
    input: Vec<Item<P::In>>,
    sides: Vec<Box<dyn Side>>,
}

/// Makes a fresh task of the process that goes on where a snapshot was.
type Build<P> = Arc<
    dyn Fn(Env, Outputs<<P as Process>::Out>, &Restored) -> Result<AnyTask<<P as Process>::In>, Failure>
        + Send
        + Sync,
>;

/// The hash of a record's key, if records have keys.
type HashOf<T> = Box<dyn Fn(&T) -> Option<u64>>;

type AnyTask<T> = Box<dyn Task<In = T>>;

/// Where a process sends what it emits.
struct Outputs<T> {
    main: Tee<T>,
    sides: SideOutputs,
}

impl<P: Process> Debug for Harness<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").field("steps", &self.input.len()).finish_non_exhaustive()
    }
}

impl<P: Process<Key = ()>> Harness<P> {
    /// Tests an actor without `key_by` before it.
    pub fn process(process: P) -> Self {
        let process = Arc::new(process);
        Self::new(
            |_| None,
            move |env, outputs, restored| {
                task(env, Arc::clone(&process), InstanceStore::new(), outputs, restored)
            },
        )
    }
}

impl<B: BroadcastProcess<Key = ()>> Harness<Connected<B>> {
    /// Tests an actor without `key_by` before it, with a broadcast input.
    pub fn broadcast(process: B) -> Self {
        let process = Arc::new(process);
        Self::new(
            |_| None,
            move |env, outputs, restored| {
                connected_task(env, Arc::clone(&process), InstanceStore::new(), outputs, restored)
            },
        )
    }
}

impl<B: BroadcastProcess> Harness<Connected<B>> {
    /// Tests an actor behind `key_by(key_of)`, with a broadcast input. Its records are [`BroadcastInput`]s.
    pub fn keyed_broadcast(process: B, key_of: impl Fn(&B::In) -> B::Key + Send + Sync + 'static) -> Self {
        let (process, key_of) = (Arc::new(process), Arc::new(key_of));
        let hash_of = Arc::clone(&key_of);
        let key_of = Arc::new(move |input: &BroadcastInput<B::In, B::Broadcast>| match input {
            BroadcastInput::Record(record) => key_of(record),
            BroadcastInput::Broadcast(_) => unreachable!("broadcast records are not asked for a key"),
        });
        Self::new(
            move |input| Some(input.record().map_or(0, |record| hash_key(&hash_of(record)))),
            move |env, outputs, restored| {
                let store = KeyedStore::new(Arc::clone(&key_of), KeyGroups::DEFAULT, &env.instance);
                connected_task(env, Arc::clone(&process), store, outputs, restored)
            },
        )
    }
}

impl<P: Process> Harness<P> {
    /// Tests an actor behind `key_by(key_of)`.
    pub fn keyed(process: P, key_of: impl Fn(&P::In) -> P::Key + Send + Sync + 'static) -> Self {
        Self::living(process, key_of, |_| Forever)
    }

    /// Tests an actor behind `key_by(key_of)` whose states expire when they were not used for so long.
    pub fn expiring(
        process: P,
        key_of: impl Fn(&P::In) -> P::Key + Send + Sync + 'static,
        time: Duration,
    ) -> Self {
        let ttl = Ttl::after_access(time);
        Self::living(process, key_of, move |env| Expiring::new(ttl, Arc::clone(&env.clock)))
    }

    fn living<L: Life>(
        process: P,
        key_of: impl Fn(&P::In) -> P::Key + Send + Sync + 'static,
        life: impl Fn(&Env) -> L + Send + Sync + 'static,
    ) -> Self {
        let (process, key_of) = (Arc::new(process), Arc::new(key_of));
        let hash_of = Arc::clone(&key_of);
        Self::new(
            move |record| Some(hash_key(&hash_of(record))),
            move |env, outputs, restored| {
                let (life, groups) = (life(&env), KeyGroups::DEFAULT);
                let store = KeyedStore::living(life, Arc::clone(&key_of), groups, &env.instance);
                task(env, Arc::clone(&process), store, outputs, restored)
            },
        )
    }

    fn new(
        hash_of: impl Fn(&P::In) -> Option<u64> + 'static,
        build: impl Fn(Env, Outputs<P::Out>, &Restored) -> Result<AnyTask<P::In>, Failure> + Send + Sync + 'static,
    ) -> Self {
        Self { build: Arc::new(build), hash_of: Box::new(hash_of), input: Vec::new(), sides: Vec::new() }
    }

    /// What comes in, one step after the other. The clock begins at 0 and stands still but for [`advance`].
    pub fn input(mut self, steps: impl IntoIterator<Item = Item<P::In>>) -> Self {
        self.input.extend(steps);
        self
    }

    /// Connects a side output and says which records it is to give. (Its watermarks are those of the main output.)
    pub fn expect_side<T>(
        mut self,
        output: &SideOutput<T>,
        records: impl IntoIterator<Item = Item<T>>,
    ) -> Self
    where
        T: Clone + Debug + PartialEq + Send + 'static,
    {
        self.sides.push(Box::new(ExpectedSide::new(output.clone(), records.into_iter().collect())));
        self
    }
}

impl<P: Process> Harness<P>
where
    P::In: Debug,
    P::Out: Debug + PartialEq,
{
    /// Runs the process in each of the four ways, and compares what it gives.
    ///
    /// Watermarks that follow one another without a record between them count as the last of them, as they do
    /// in a channel.
    ///
    /// # Panics
    /// If it gives something else, or fails; the message shows where, and in which way of running.
    #[track_caller]
    pub fn expect_output(mut self, output: impl IntoIterator<Item = Item<P::Out>>) {
        let expected: Vec<Item<P::Out>> = output.into_iter().collect();
        for mode in Mode::ALL {
            let seen = match self.run(mode) {
                Ok(seen) => seen,
                Err(failure) => panic!("{}\n{}", Self::headline(mode, &failure.to_string()), self.steps()),
            };
            let main = diff::compare(&expected, &seen).map(|diff| format!("output:\n{diff}"));
            let sides = self.sides.iter().filter_map(|side| side.compare());
            let differences: Vec<String> = main.into_iter().chain(sides).collect();
            assert!(
                differences.is_empty(),
                "{}\n{}{}",
                Self::headline(mode, "gave something else than expected"),
                self.steps(),
                differences.concat()
            );
        }
    }

    /// Runs the process in each of the four ways, and returns how it failed.
    ///
    /// # Panics
    /// If it does not fail, or not always in the same way.
    #[track_caller]
    pub fn expect_failure(mut self) -> Failure {
        let mut failures: Vec<Failure> = Vec::new();
        for mode in Mode::ALL {
            let Err(failure) = self.run(mode) else {
                panic!("{}\n{}", Self::headline(mode, "did not fail"), self.steps());
            };
            if let Some(first) = failures.first() {
                let text = format!("failed in another way than {}: {failure}, not {first}", Mode::ALL[0]);
                assert!(failure == *first, "{}\n{}", Self::headline(mode, &text), self.steps());
            }
            failures.push(failure);
        }
        failures.swap_remove(0)
    }

    fn headline(mode: Mode, what: &str) -> String {
        let name = std::any::type_name::<P>();
        format!("`{}`, run {mode}, {what}", name.rsplit("::").next().unwrap_or(name))
    }

    fn steps(&self) -> String {
        let mut lines = String::from("input:\n");
        for (item, step) in self.input.iter().zip(1..) {
            // Writing to a string does not fail.
            let _ = writeln!(lines, "  {step:>3}  {item:?}");
        }
        lines
    }
}

/// The task of a process, restored.
fn task<P: Process, S: Store<P> + 'static>(
    env: Env,
    process: Arc<P>,
    store: S,
    outputs: Outputs<P::Out>,
    restored: &Restored,
) -> Result<AnyTask<P::In>, Failure> {
    let mut inbox = Inbox::new(1, env.run);
    let mut logic = ProcessLogic::new(env.clone(), process, store, outputs.main, outputs.sides);
    inbox.restore_watermark(logic.restore(restored)?);
    Ok(Box::new(OperatorTask::new(env, inbox, logic)))
}

/// The task of a process with a broadcast input, restored.
fn connected_task<B: BroadcastProcess, S: Store<Connected<B>> + 'static>(
    env: Env,
    process: Arc<B>,
    store: S,
    outputs: Outputs<B::Out>,
    restored: &Restored,
) -> Result<AnyTask<<Connected<B> as Process>::In>, Failure> {
    let mut inbox = Inbox::new(1, env.run);
    let outputs = (outputs.main, outputs.sides);
    let (logic, watermark) = BroadcastLogic::restore(env.clone(), process, store, outputs, restored)?;
    inbox.restore_watermark(watermark);
    Ok(Box::new(OperatorTask::new(env, inbox, logic)))
}
