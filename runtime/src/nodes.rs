//! The kinds of actors: how each makes its instances.

mod connected;
mod scripted;
mod takes;

pub(crate) use connected::{ConnectedInstanceNode, ConnectedKeyedNode};

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use watershed_actors::{
    Boot, Env, Failure, Inbox, InstanceStore, KeyedStore, Life, Logic, OperatorTask, OutputClaim, Owner,
    Process, ProcessLogic, RelayLogic, Restored, Sink, SinkLogic, Source, SourceSetup, SourceTask, Split,
    Store, TwoPhaseLogic, TwoPhaseSink,
};
use watershed_state::{Data, Fs};

use crate::build::Launch;
use crate::error::{Error, ErrorKind};
use crate::graph::NodeBuild;
use scripted::Scripted;

/// An actor that reads a source.
pub(crate) struct SourceNode<S: Source> {
    source: Arc<S>,
    /// Found anew at each start.
    splits: Mutex<Arc<Vec<S::Split>>>,
}

impl<S: Source> SourceNode<S> {
    pub(crate) fn new(source: S) -> Self {
        Self { source: Arc::new(source), splits: Mutex::default() }
    }
}

impl<S: Source> NodeBuild for SourceNode<S> {
    fn splits(&self) -> Result<Option<Vec<String>>, Error> {
        let found = self.source.splits();
        let mut found = found.map_err(|error| Error::config("its input cannot be read").because(error))?;
        found.sort_by_cached_key(Split::id);
        let ids: Vec<String> = found.iter().map(Split::id).collect();
        if let Some((twice, _)) = ids.iter().zip(ids.iter().skip(1)).find(|(one, two)| one == two) {
            return Err(Error::config(format!("two of its splits have the id `{twice}`")));
        }
        *self.splits.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(found);
        Ok(Some(ids))
    }

    fn is_bounded(&self) -> bool {
        self.source.is_bounded()
    }

    fn check_restored(&self, restored: &Restored, _parallelism: usize) -> Result<(), Error> {
        takes::only(restored, &[takes::SOURCE])
    }

    fn launch(&self, mut launch: Launch<'_>) -> Result<(), Failure> {
        let splits = Arc::clone(&self.splits.lock().unwrap_or_else(PoisonError::into_inner));
        let (outlet, sides) = (launch.build.take_main::<S::Item>()?, launch.build.take_sides()?);
        let setup =
            SourceSetup { source: Arc::clone(&self.source), splits, outlet, sides, rate: launch.rate };
        let (env, restored) = (launch.env.clone(), Arc::clone(&launch.restored));
        launch.spawn(Box::new(move || SourceTask::restore(env, setup, &restored)));
        Ok(())
    }
}

/// An actor with a process function and state per key.
pub(crate) struct KeyedNode<P, F, M> {
    pub(crate) process: Arc<P>,
    pub(crate) key_of: Arc<F>,
    /// Says how long states live.
    pub(crate) life: M,
}

impl<P, F, M, L> NodeBuild for KeyedNode<P, F, M>
where
    P: Process,
    F: Fn(&P::In) -> P::Key + Send + Sync + 'static,
    M: Fn(&Env) -> L + Send + Sync + 'static,
    L: Life,
{
    fn check_restored(&self, restored: &Restored, _parallelism: usize) -> Result<(), Error> {
        takes::only(restored, &[takes::PROCESS, takes::states_of::<P::State>()])
    }

    fn launch(&self, launch: Launch<'_>) -> Result<(), Failure> {
        let (key_of, groups) = (Arc::clone(&self.key_of), launch.build.settings.key_groups);
        let (instance, life) = (launch.env.instance.clone(), (self.life)(&launch.env));
        launch_process(launch, &self.process, move || KeyedStore::living(life, key_of, groups, &instance))
    }
}

/// An actor with a process function and one state per instance.
pub(crate) struct InstanceNode<P> {
    pub(crate) process: Arc<P>,
}

impl<P: Process<Key = ()>> NodeBuild for InstanceNode<P> {
    fn check_restored(&self, restored: &Restored, parallelism: usize) -> Result<(), Error> {
        takes::only(restored, &[takes::PROCESS])?;
        let checked = InstanceStore::<P>::check_parallelism(restored, parallelism);
        checked.map_err(|failure| Error::config(failure.cause))
    }

    fn launch(&self, launch: Launch<'_>) -> Result<(), Failure> {
        launch_process(launch, &self.process, InstanceStore::new)
    }
}

fn launch_process<P: Process, S: Store<P> + 'static>(
    mut launch: Launch<'_>,
    process: &Arc<P>,
    store: impl FnOnce() -> S + Send + 'static,
) -> Result<(), Failure> {
    let (outlet, sides) = (launch.build.take_main::<P::Out>()?, launch.build.take_sides()?);
    let (env, restored, channels) = (launch.env.clone(), Arc::clone(&launch.restored), launch.channels);
    let process = Arc::clone(process);
    launch.spawn(Box::new(move || {
        let mut logic = ProcessLogic::new(env.clone(), process, store(), outlet, sides);
        let watermark = logic.restore(&restored)?;
        let mut inbox = Inbox::new(channels, env.run);
        inbox.restore_watermark(watermark);
        Ok(OperatorTask::new(env, inbox, logic))
    }));
    Ok(())
}

/// An actor that only receives; it is for what is fused behind it.
pub(crate) struct RelayNode<T>(pub(crate) PhantomData<fn() -> T>);

impl<T: Data> NodeBuild for RelayNode<T> {
    fn check_restored(&self, restored: &Restored, _parallelism: usize) -> Result<(), Error> {
        takes::only(restored, &[])
    }

    fn launch(&self, mut launch: Launch<'_>) -> Result<(), Failure> {
        let (outlet, sides) = (launch.build.take_main::<T>()?, launch.build.take_sides()?);
        let (env, restored, channels) = (launch.env.clone(), Arc::clone(&launch.restored), launch.channels);
        launch.spawn(Box::new(move || {
            let logic = RelayLogic::restore(&env, outlet, sides, &restored)?;
            Ok(operator(env, channels, logic))
        }));
        Ok(())
    }
}

/// An actor that writes at least once.
pub(crate) struct SinkNode<S> {
    pub(crate) sink: Arc<S>,
}

impl<S: Sink> NodeBuild for SinkNode<S> {
    fn check_restored(&self, restored: &Restored, _parallelism: usize) -> Result<(), Error> {
        takes::only(restored, &[takes::SINK])
    }

    fn launch(&self, mut launch: Launch<'_>) -> Result<(), Failure> {
        match launch.script() {
            None => {
                let boot = sink_boot(&mut launch, Arc::clone(&self.sink))?;
                launch.spawn(boot);
            }
            Some(script) => {
                let boot = sink_boot(&mut launch, Scripted::new(&self.sink, &script))?;
                launch.spawn_simulated(boot);
            }
        }
        Ok(())
    }
}

fn sink_boot<S: Sink>(
    launch: &mut Launch<'_>,
    sink: Arc<S>,
) -> Result<Boot<OperatorTask<SinkLogic<S>>>, Failure> {
    let (env, channels) = (launch.env.clone(), launch.channels);
    let (sides, restored) = (launch.build.take_sides()?, Arc::clone(&launch.restored));
    Ok(Box::new(move || {
        let logic = SinkLogic::<S>::open(&env, &sink, sides, &restored)?;
        Ok(operator(env, channels, logic))
    }))
}

/// An actor that writes exactly once.
pub(crate) struct TwoPhaseNode<S> {
    pub(crate) sink: Arc<S>,
}

impl<S: TwoPhaseSink> NodeBuild for TwoPhaseNode<S> {
    fn check(&self, fs: &Fs) -> Result<(), Error> {
        self.sink.check(fs).map_err(|error| Error::config("it cannot write its output").because(error))
    }

    fn claim(&self, owner: &Owner, fs: &Fs) -> Result<Option<Box<dyn OutputClaim>>, Error> {
        let claimed = self.sink.claim(owner, fs);
        claimed
            .map(Some)
            .map_err(|error| Error::config("its output is not this job's to write").because(error))
    }

    fn committed_through(&self, lineage: &str, fs: &Fs) -> Result<Option<u64>, Error> {
        let committed = self.sink.committed_through(lineage, fs);
        committed
            .map_err(|error| Error::new(ErrorKind::Connector, "its output cannot be read").because(error))
    }

    fn lineages(&self, operator: &str, fs: &Fs) -> Result<BTreeSet<String>, Error> {
        let lineages = self.sink.lineages(operator, fs);
        lineages.map_err(|error| Error::new(ErrorKind::Connector, "its output cannot be read").because(error))
    }

    fn folder(&self) -> Option<PathBuf> {
        self.sink.folder().map(Path::to_owned)
    }

    fn visible(&self, fs: &Fs) -> Result<Option<Vec<String>>, Error> {
        let visible = self.sink.visible(fs);
        visible.map_err(|error| Error::new(ErrorKind::Connector, "its output cannot be read").because(error))
    }

    fn forget(&self) {
        self.sink.forget();
    }

    fn check_restored(&self, restored: &Restored, _parallelism: usize) -> Result<(), Error> {
        takes::only(restored, &[takes::TWO_PHASE_SINK])
    }

    fn launch(&self, mut launch: Launch<'_>) -> Result<(), Failure> {
        match launch.script() {
            None => {
                let boot = two_phase_boot(&mut launch, Arc::clone(&self.sink))?;
                launch.spawn(boot);
            }
            Some(script) => {
                let boot = two_phase_boot(&mut launch, Scripted::new(&self.sink, &script))?;
                launch.spawn_simulated(boot);
            }
        }
        Ok(())
    }
}

fn two_phase_boot<S: TwoPhaseSink>(
    launch: &mut Launch<'_>,
    sink: Arc<S>,
) -> Result<Boot<OperatorTask<TwoPhaseLogic<S>>>, Failure> {
    let (env, channels) = (launch.env.clone(), launch.channels);
    let (sides, restored) = (launch.build.take_sides()?, Arc::clone(&launch.restored));
    Ok(Box::new(move || {
        let logic = TwoPhaseLogic::restore(&env, &sink, sides, &restored)?;
        Ok(operator(env, channels, logic))
    }))
}

fn operator<L: Logic>(env: Env, channels: usize, logic: L) -> OperatorTask<L> {
    let inbox = Inbox::new(channels, env.run);
    OperatorTask::new(env, inbox, logic)
}
