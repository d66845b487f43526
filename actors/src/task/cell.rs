//! The one place where user code is caught.

#[cfg(test)]
mod tests;

use crate::failure::{Failure, FailureKind};
use crate::message::Envelope;
use crate::panics::{self, guard};
use crate::task::{Activity, Control, Env, Step, Task, TaskEvent, Work};

/// Makes the task, restored, on the thread that will run it.
pub type Boot<T> = Box<dyn FnOnce() -> Result<T, Failure> + Send>;

/// A task with its life: made on its own thread, run, and dead after its first failure.
pub struct TaskCell<T: Task> {
    env: Env,
    life: Life<T>,
}

enum Life<T> {
    /// Not yet made; what arrives meanwhile cannot be data, as nobody has been started.
    Booting(Boot<T>),
    Running(T),
    Dead,
}

impl<T: Task> std::fmt::Debug for TaskCell<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskCell").field("instance", &self.env.instance).finish_non_exhaustive()
    }
}

impl<T: Task> TaskCell<T> {
    /// A task that is made by `boot` in its first step.
    pub fn new(env: Env, boot: Boot<T>) -> Self {
        Self { env, life: Life::Booting(boot) }
    }

    /// What the task was given.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// See [`Task::file`].
    pub fn file(&mut self, envelope: Envelope<T::In>) {
        if let Life::Running(task) = &mut self.life
            && let Err(failure) = task.file(envelope)
        {
            self.fail(failure);
        }
    }

    /// See [`Task::control`].
    pub fn control(&mut self, control: Control) {
        if control == Control::Stop {
            return self.stop();
        }
        let Life::Running(task) = &mut self.life else { return };
        match guard(|| task.control(control)) {
            Ok(Ok(())) => {}
            Ok(Err(failure)) | Err(failure) => self.fail(failure),
        }
    }

    /// See [`Task::step`]; a failed task says [`Step::Stopped`].
    pub fn step(&mut self) -> Step {
        let work = self.hang();
        let step = self.step_once();
        self.env.counters.pulse.end(work);
        step
    }

    /// Notes that a step begins. In tests of recovery that is all of it: the task hangs.
    pub fn hang(&self) -> Work {
        let work = if matches!(self.life, Life::Booting(_)) { Work::Boot } else { Work::Step };
        self.env.counters.pulse.begin(work, self.env.clock.nanos());
        work
    }

    /// Whether its life is over.
    pub fn is_dead(&self) -> bool {
        matches!(self.life, Life::Dead)
    }

    /// The rest of a step that hung, long after the task was given up: it does not know yet that its run is over.
    pub fn come_back(&mut self) -> Step {
        self.step_in_life()
    }

    fn step_once(&mut self) -> Step {
        if self.env.is_fenced() {
            self.stop();
        }
        self.step_in_life()
    }

    fn step_in_life(&mut self) -> Step {
        match &mut self.life {
            Life::Dead => Step::Stopped,
            Life::Booting(_) => self.boot(),
            Life::Running(_) => self.step_running(),
        }
    }

    fn step_running(&mut self) -> Step {
        let Life::Running(task) = &mut self.life else { return Step::Stopped };
        self.env.turn_to(Activity::Busy);
        let stepped = guard(|| task.step());
        match stepped {
            Ok(Ok(Step::Stopped)) => {
                self.stop();
                Step::Stopped
            }
            Ok(Ok(step)) => {
                // One that has more to do stays busy until its next turn.
                if matches!(step, Step::Waiting(_)) {
                    self.env.turn_to(if task.is_blocked() { Activity::Blocked } else { Activity::Idle });
                }
                step
            }
            Ok(Err(failure)) | Err(failure) => {
                self.fail(failure);
                Step::Stopped
            }
        }
    }

    /// Lets the task fail as if its own code had, for tests of recovery. No record is put under suspicion for it.
    pub fn crash(&mut self, cause: &str) {
        if !matches!(self.life, Life::Dead) {
            let key = match &self.life {
                Life::Running(task) => guard(|| task.current_key()).unwrap_or(None),
                _ => None,
            };
            self.drop_task();
            let (cause, kind) = (cause.to_string(), FailureKind::Panic);
            self.env.report(TaskEvent::Failed(Failure { cause, kind, key, blame: None }));
        }
    }

    fn boot(&mut self) -> Step {
        let Life::Booting(boot) = std::mem::replace(&mut self.life, Life::Dead) else { return Step::Stopped };
        match guard(boot) {
            Ok(Ok(task)) => {
                self.life = Life::Running(task);
                self.env.report(TaskEvent::Ready);
                Step::Ready
            }
            Ok(Err(failure)) | Err(failure) => {
                self.env.oversight.queries.close();
                self.env.report(TaskEvent::Failed(failure));
                Step::Stopped
            }
        }
    }

    fn fail(&mut self, mut failure: Failure) {
        // First, as asking the task is watched too.
        let backtrace = panics::take_backtrace();
        if let Life::Running(task) = &self.life
            && failure.key.is_none()
        {
            failure.key = guard(|| task.current_key()).unwrap_or(None);
        }
        if let Life::Running(task) = &self.life
            && failure.blame.is_none()
        {
            failure.blame = guard(|| task.blame(&failure)).unwrap_or(None).map(Box::new);
        }
        if let Some(blame) = &mut failure.blame
            && failure.kind == FailureKind::Panic
        {
            blame.backtrace = backtrace;
        }
        self.drop_task();
        self.env.report(TaskEvent::Failed(failure));
    }

    fn stop(&mut self) {
        if !matches!(self.life, Life::Dead) {
            self.drop_task();
            self.env.report(TaskEvent::Stopped);
        }
    }

    fn drop_task(&mut self) {
        let life = std::mem::replace(&mut self.life, Life::Dead);
        self.env.oversight.queries.close();
        self.env.turn_to(Activity::Down);
        // A panic in a user's Drop has nothing left to break.
        let _ = guard(move || drop(life));
    }
}

impl<T: Task> Drop for TaskCell<T> {
    /// An actor that goes away with a live task was lost: somebody has to hear of it.
    fn drop(&mut self) {
        if !matches!(self.life, Life::Dead) {
            self.drop_task();
            self.env.report(TaskEvent::Failed(Failure::internal("its actor was lost")));
        }
    }
}
