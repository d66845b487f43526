//! Runs a scenario: one life of the process after the other, until the job has finished or something is wrong.

use std::path::PathBuf;
use std::sync::Arc;

use watershed_actors::in_simulation;
use watershed_state::{Fs, SimulatedDisk, StateBackend, hash_key};

use crate::config::Config;
use crate::error::{Error, ErrorKind};
use crate::faults::Guarantee;
use crate::host::simulated::{self, Ending};
use crate::outcome::End;
use crate::plan::Plan;
use crate::simulate::failure::Violation;
use crate::simulate::fault::FaultKind;
use crate::simulate::history::History;
use crate::simulate::journal::Note;
use crate::simulate::judge::Judges;
use crate::simulate::outputs::{Shown, comparable, compare};
use crate::simulate::scenario::Scenario;
use crate::simulate::script::{Counts, Script};
use crate::simulation::Simulation;
use crate::topology::Topology;

/// Where checkpoints are on the simulated disk.
const CHECKPOINTS: &str = "/watershed-checkpoints";

/// A run, as it is played.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    pub(crate) topology: &'a Topology,
    pub(crate) base: &'a Config,
    pub(crate) backends: &'a [StateBackend],
    pub(crate) scenario: &'a Scenario,
    pub(crate) judges: &'a Judges<'a>,
    /// What the sinks should show, if that is known.
    pub(crate) expected: Option<&'a Shown>,
    /// Steps of one life.
    pub(crate) steps_max: u64,
}

/// What a run leaves.
#[derive(Debug, Default)]
pub(crate) struct Played {
    pub(crate) history: History,
    /// Of all lives.
    pub(crate) counts: Counts,
    pub(crate) lives: usize,
    pub(crate) restarts: u32,
    /// What was to be seen in the end.
    pub(crate) shown: Shown,
    /// When the last life was over.
    nanos: u64,
}

/// How a life of the process ended.
struct Life {
    ending: Result<Ending, String>,
    /// Whether something went wrong in it that excuses an error.
    excused: bool,
    /// Whether it was asked to stop.
    stopped: bool,
}

impl Life {
    fn has_finished(&self) -> bool {
        matches!(&self.ending, Ok(Ending::Over(Ok(outcome))) if outcome.end != End::Stopped)
    }

    /// What is wrong with how it ended. An error of the engine itself is never excused.
    fn violation(&self) -> Option<Violation> {
        match &self.ending {
            Err(panic) => Some(Violation::Panic(panic.clone())),
            Ok(Ending::Hangs(how)) => Some(Violation::Hang(how.clone())),
            // It was asked to stop, and took too long: as good as killed. Nobody else may end a job without saving it.
            Ok(Ending::Over(Err(error))) if error.kind == ErrorKind::Unsaved => {
                (!self.stopped).then(|| Violation::Error(error.to_string()))
            }
            Ok(Ending::Over(Err(error))) if !self.excused || error.kind == ErrorKind::Internal => {
                Some(Violation::Error(error.to_string()))
            }
            Ok(Ending::Violated | Ending::Died(_) | Ending::Over(_)) => None,
        }
    }
}

impl Stage<'_> {
    /// Runs the scenario and compares its output with what it should be.
    pub(crate) fn play(&self) -> Played {
        let disk = SimulatedDisk::new(hash_key(&(self.scenario.seed, "disk")));
        let mut played = Played::default();
        if let Err(error) = self.forget() {
            played.history.violate(Violation::Error(error.to_string()));
            return played;
        }
        for life in 0.. {
            played.lives = life + 1;
            let lived = self.live(life, &disk, &mut played);
            let finished = lived.has_finished();
            let replaced = disk.remove_taken();
            if let Some(path) = replaced.first() {
                let what = format!("{}, which another process had written, was replaced", path.display());
                played.history.violate(Violation::Broken(what));
            }
            let violation = lived.violation();
            if let Some(violation) = violation {
                played.history.violate(violation);
            }
            if played.history.violation.is_none() {
                self.look(life, &disk, finished, &mut played);
            }
            played.history.trace(disk.fingerprint());
            if finished || played.history.violation.is_some() {
                break;
            }
        }
        played
    }

    /// Runs one life of the process.
    fn live(&self, life: usize, disk: &SimulatedDisk, played: &mut Played) -> Life {
        let (settings, faults) = (self.scenario.settings(life), self.scenario.faults_of(life));
        let death = faults.iter().map(|fault| fault.kind).rfind(|kind| kind.is_death());
        let begin_nanos = played.nanos;
        let mut history = std::mem::take(&mut played.history);
        history.begin_life(life);
        history.note(begin_nanos, 0, Note::LifeBegins(settings.describe()));
        let seed = hash_key(&(self.scenario.seed, life));
        let (operations, renames) = (disk.operations(), disk.renames());
        let checkpoints = self.checkpoints();
        let simulation = Simulation::seeded(seed).on_disk(disk).at_most_steps(self.steps_max);
        let config = settings.config(self.base, self.backends, simulation).checkpoints(&checkpoints);
        let plan = self.topology.plan(&config);
        let script = Script::new(seed, disk, checkpoints, faults, history);
        let script = Arc::new(script.beginning_at(begin_nanos));
        let ending = in_simulation(|| {
            let (master, world, simulation) = match begin(plan, config, &script, begin_nanos) {
                Ok(begun) => begun,
                Err(_) if disk.is_dead() => return Ending::Died(None),
                Err(error) => return Ending::Over(Err(error)),
            };
            simulated::play(master, &world, &simulation)
        });
        played.restarts +=
            ending.as_ref().ok().and_then(Ending::outcome).map_or(0, |outcome| outcome.restarts);
        script.ends(Note::LifeEnds(describe(ending.as_ref().ok(), death)));
        let mut life = Life { ending, excused: false, stopped: false };
        match (&life.ending, death) {
            (Ok(Ending::Died(_)), Some(FaultKind::PowerCut)) => disk.crash(),
            // What it says is there has to be there from then on.
            _ if life.has_finished() => disk.crash(),
            _ => disk.kill(),
        }
        let finished = script.finish(disk.operations() - operations, disk.renames() - renames);
        played.history = finished.history;
        played.counts.add(&finished.counts);
        played.nanos = finished.nanos;
        (life.excused, life.stopped) = (finished.excused, finished.stopped);
        life
    }

    /// Looks at what can be seen when a life is over.
    fn look(&self, life: usize, disk: &SimulatedDisk, finished: bool, played: &mut Played) {
        let mut shown = played.history.outputs.sorted();
        if let Err(error) = self.visible(life, &disk.fs(), &mut shown) {
            played.history.violate(Violation::Error(error.to_string()));
        }
        let mut differences =
            self.expected.map_or_else(Vec::new, |expected| compare(&shown, expected, finished));
        self.judges.retain(&mut differences);
        if !differences.is_empty() {
            played.history.violate(Violation::Output { finished, differences });
        } else if finished && let Some(violation) = self.judges.violation(&shown) {
            played.history.violate(violation);
        } else if finished && let Some(what) = played.history.outputs.left_behind() {
            played.history.violate(Violation::Broken(what));
        }
        played.shown = shown;
    }

    fn plan(&self, life: usize) -> Result<Plan, Error> {
        let simulation = Simulation::seeded(self.scenario.seed);
        let config = self.scenario.settings(life).config(self.base, self.backends, simulation);
        self.topology.plan(&config.checkpoints(self.checkpoints()))
    }

    fn checkpoints(&self) -> PathBuf {
        self.base.checkpoints.clone().unwrap_or_else(|| PathBuf::from(CHECKPOINTS))
    }

    /// Every run begins from nothing, also in the sinks that are in memory.
    fn forget(&self) -> Result<(), Error> {
        let plan = self.plan(0)?;
        self.judges.fit(&plan)?;
        for node in &plan.nodes {
            node.build.forget();
        }
        Ok(())
    }

    /// What can be seen of those sinks that can tell counts, whatever was committed.
    fn visible(&self, life: usize, fs: &Fs, shown: &mut Shown) -> Result<(), Error> {
        for node in &self.plan(life)?.nodes {
            if let Some(records) = node.build.visible(fs)? {
                let mut records: Vec<String> = records.into_iter().map(comparable).collect();
                records.sort_unstable();
                shown.insert(node.name.to_string(), (Guarantee::ExactlyOnce, records));
            }
        }
        Ok(())
    }
}

type Begun = (crate::master::Master, Arc<simulated::World>, Simulation);

fn begin(
    plan: Result<Plan, Error>,
    config: Config,
    script: &Arc<Script>,
    begin_nanos: u64,
) -> Result<Begun, Error> {
    let simulation = config.simulation.clone();
    let mut simulation = simulation.ok_or_else(|| Error::internal("a simulation without one"))?;
    simulation.script = Some(Arc::<Script>::clone(script));
    simulation.begin_nanos = begin_nanos;
    let (master, world) = simulated::start(plan?, config, &simulation)?;
    Ok((master, world, simulation))
}

fn describe(ending: Option<&Ending>, death: Option<FaultKind>) -> String {
    match ending {
        None => "the control plane panicked".to_string(),
        Some(Ending::Violated) => "a promise is broken".to_string(),
        Some(Ending::Hangs(how)) => how.clone(),
        Some(Ending::Died(_)) if death == Some(FaultKind::PowerCut) => "the power is gone".to_string(),
        Some(Ending::Died(_)) => "it was killed".to_string(),
        Some(Ending::Over(Err(error))) => format!("with an error: {error}"),
        Some(Ending::Over(Ok(outcome))) => match outcome.end {
            End::Stopped => "the job was stopped".to_string(),
            _ => "the job has finished".to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(kind: ErrorKind, excused: bool, stopped: bool) -> Life {
        Life { ending: Ok(Ending::Over(Err(Error::new(kind, "so it ended")))), excused, stopped }
    }

    #[test]
    fn an_end_without_saving_is_excused_by_a_stop_and_by_nothing_else() {
        assert_eq!(life(ErrorKind::Unsaved, false, true).violation(), None);
        for excused in [false, true] {
            let violation = life(ErrorKind::Unsaved, excused, false).violation();
            assert!(matches!(violation, Some(Violation::Error(_))), "{violation:?}");
        }
        assert_eq!(life(ErrorKind::State, true, false).violation(), None);
        assert!(life(ErrorKind::State, false, true).violation().is_some(), "a stop excuses nothing else");
        assert!(life(ErrorKind::Internal, true, true).violation().is_some());
    }
}
