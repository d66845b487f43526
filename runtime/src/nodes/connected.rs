//! Actors with a second input that all instances get.

use std::sync::Arc;

use watershed_actors::{
    BroadcastInput, BroadcastLogic, BroadcastProcess, Connected, Env, Failure, Inbox, InstanceStore,
    KeyedStore, Life, OperatorTask, Restored, Store,
};

use crate::build::Launch;
use crate::error::Error;
use crate::graph::NodeBuild;
use crate::nodes::takes;

/// An actor with state per key.
pub(crate) struct ConnectedKeyedNode<B, F, M> {
    pub(crate) process: Arc<B>,
    pub(crate) key_of: Arc<F>,
    /// Says how long states live.
    pub(crate) life: M,
}

impl<B, F, M, L> NodeBuild for ConnectedKeyedNode<B, F, M>
where
    B: BroadcastProcess,
    F: Fn(&BroadcastInput<B::In, B::Broadcast>) -> B::Key + Send + Sync + 'static,
    M: Fn(&Env) -> L + Send + Sync + 'static,
    L: Life,
{
    fn check_restored(&self, restored: &Restored, _parallelism: usize) -> Result<(), Error> {
        takes::only(restored, &[takes::PROCESS, takes::states_of::<B::State>(), takes::REPLICA])
    }

    fn launch(&self, launch: Launch<'_>) -> Result<(), Failure> {
        let (key_of, groups) = (Arc::clone(&self.key_of), launch.build.settings.key_groups);
        let (instance, life) = (launch.env.instance.clone(), (self.life)(&launch.env));
        launch_connected(launch, &self.process, move || KeyedStore::living(life, key_of, groups, &instance))
    }
}

/// An actor with one state per instance.
pub(crate) struct ConnectedInstanceNode<B> {
    pub(crate) process: Arc<B>,
}

impl<B: BroadcastProcess<Key = ()>> NodeBuild for ConnectedInstanceNode<B> {
    fn check_restored(&self, restored: &Restored, parallelism: usize) -> Result<(), Error> {
        takes::only(restored, &[takes::PROCESS, takes::REPLICA])?;
        let checked = InstanceStore::<Connected<B>>::check_parallelism(restored, parallelism);
        checked.map_err(|failure| Error::config(failure.cause))
    }

    fn launch(&self, launch: Launch<'_>) -> Result<(), Failure> {
        launch_connected(launch, &self.process, InstanceStore::new)
    }
}

fn launch_connected<B: BroadcastProcess, S: Store<Connected<B>> + 'static>(
    mut launch: Launch<'_>,
    process: &Arc<B>,
    store: impl FnOnce() -> S + Send + 'static,
) -> Result<(), Failure> {
    let outputs = (launch.build.take_main::<B::Out>()?, launch.build.take_sides()?);
    let (env, restored, channels) = (launch.env.clone(), Arc::clone(&launch.restored), launch.channels);
    let process = Arc::clone(process);
    launch.spawn(Box::new(move || {
        let mut inbox = Inbox::new(channels, env.run);
        let (logic, watermark) = BroadcastLogic::restore(env.clone(), process, store(), outputs, &restored)?;
        inbox.restore_watermark(watermark);
        Ok(OperatorTask::new(env, inbox, logic))
    }));
    Ok(())
}
