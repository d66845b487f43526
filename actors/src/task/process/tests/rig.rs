//! Instances of the scripted actors, driven by hand.

use std::sync::Arc;

use watershed_state::{Section, hash_key};

use super::*;
use crate::failure::Failure;
use crate::harness::driver::Driver;
use crate::harness::probe::{Credits, Heard, Probe};
use crate::harness::world::World;
use crate::inbox::Inbox;
use crate::message::Message;
use crate::task::OperatorTask;

/// An instance with its output.
pub(super) struct Rig<P: Process, S: Store<P> + 'static> {
    pub(super) driver: Driver<OperatorTask<ProcessLogic<P, S>>>,
    output: Probe<P::Out>,
}

pub(super) type KeyedRig = Rig<Script, KeyedStore<Script, fn(&(u32, Do)) -> u32>>;
pub(super) type LoneRig = Rig<Lone, InstanceStore<Lone>>;

impl<P: Process, S: Store<P> + 'static> Rig<P, S> {
    pub(super) fn start(
        world: &World,
        env: Env,
        (process, store): (P, S),
        restored: &[Vec<Section>],
        credits: u32,
    ) -> Result<Self, Failure> {
        let output = Probe::new();
        let outlet = output.outlet(credits, env.run);
        let restored =
            Restored { instances: restored.iter().cloned().map(Into::into).collect(), ..Restored::default() };
        let given = env.clone();
        let boot = Box::new(move || {
            let mut inbox = Inbox::new(1, given.run);
            let mut logic =
                ProcessLogic::new(given.clone(), Arc::new(process), store, outlet, SideOutputs::default());
            inbox.restore_watermark(logic.restore(&restored)?);
            Ok(OperatorTask::new(given, inbox, logic))
        });
        let driver = Driver::boot(world, env, 1, vec![Box::new(output.clone())], boot)?;
        Ok(Self { driver, output })
    }

    pub(super) fn watermark(&mut self, at: i64) {
        self.driver.send(0, Message::Watermark(at)).unwrap();
        self.driver.settle().unwrap();
    }

    /// The records that have come out since the last call.
    pub(super) fn records(&mut self) -> Vec<P::Out> {
        self.driver.settle().unwrap();
        self.records_so_far()
    }

    /// The same without letting the actor work.
    pub(super) fn records_so_far(&mut self) -> Vec<P::Out> {
        let heard = self.output.take().into_iter();
        heard
            .filter_map(|heard| if let Heard::Record(value, _) = heard { Some(value) } else { None })
            .collect()
    }

    /// All that has come out since the last call, without letting the actor work.
    pub(super) fn heard_so_far(&mut self) -> Vec<Heard<P::Out>> {
        self.output.take()
    }

    /// The output has room again, without letting the actor work.
    pub(super) fn make_room(&mut self) {
        self.output.release();
    }

    /// The watermarks that have come out since the last call.
    pub(super) fn watermarks(&mut self) -> Vec<i64> {
        self.driver.settle().unwrap();
        let heard = self.output.take().into_iter();
        heard.filter_map(|heard| if let Heard::Watermark(at) = heard { Some(at) } else { None }).collect()
    }
}

pub(super) fn keyed(world: &World, index: usize, parallelism: usize, restored: &[Vec<Section>]) -> KeyedRig {
    keyed_with_credits(8, world, index, parallelism, restored)
}

pub(super) fn keyed_with_credits(
    credits: u32,
    world: &World,
    index: usize,
    parallelism: usize,
    restored: &[Vec<Section>],
) -> KeyedRig {
    let env = world.env("script", index, parallelism);
    let key_of: fn(&(u32, Do)) -> u32 = |(key, _)| *key;
    let store = KeyedStore::new(Arc::new(key_of), KeyGroups::DEFAULT, &env.instance);
    Rig::start(world, env, (Script, store), restored, credits).unwrap()
}

pub(super) fn lone(
    world: &World,
    index: usize,
    parallelism: usize,
    restored: &[Vec<Section>],
) -> Result<LoneRig, Failure> {
    let env = world.env("lone", index, parallelism);
    Rig::start(world, env, (Lone, InstanceStore::new()), restored, 8)
}

impl KeyedRig {
    pub(super) fn file(&mut self, records: impl IntoIterator<Item = (u32, Do)>) {
        let mut batch = Batch::default();
        for (key, what) in records {
            batch.push_keyed((key, what), crate::clock::NO_TIMESTAMP, hash_key(&key));
        }
        self.driver.send(0, Message::Batch(batch)).unwrap();
    }

    /// What the actor answers to a record.
    pub(super) fn ask(&mut self, key: u32, what: Do) -> Vec<String> {
        self.file([(key, what)]);
        self.records()
    }
}

impl LoneRig {
    pub(super) fn ask(&mut self, what: Do) -> Vec<String> {
        self.driver.send_values(0, vec![what]).unwrap();
        self.records()
    }
}

/// The instance that owns a key.
pub(super) fn owner(key: u32, parallelism: usize) -> usize {
    let groups = KeyGroups::DEFAULT;
    groups.instance_of(groups.group_of(hash_key(&key)), parallelism)
}
