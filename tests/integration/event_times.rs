//! Several event times that are fused into one actor.

use tempfile::TempDir;
use watershed::prelude::*;
use watershed::{Collector, ErrorKind};

use crate::far_ahead::Late;
use crate::logged::logged;

/// An `event_time` by its name, and the actor behind it.
type Way = (&'static str, &'static str);

/// Lines like `3 800`, of which `first` takes the first number for its time and `second` the second.
struct Job {
    folder: TempDir,
    first: Collector<(i64, bool)>,
    second: Collector<(i64, bool)>,
}

impl Job {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("input")).unwrap();
        Self { folder, first: Collector::new(), second: Collector::new() }
    }

    /// With these ways, in this order, each from the numbers of the place that its actor is called by.
    fn topology(&self, ways: &[Way]) -> Topology {
        let topology = Topology::new("times");
        let lines =
            topology.source("lines", Lines::from_folder(self.folder.path().join("input"))).parallelism(1);
        for (time, actor) in ways {
            let (place, shown) = if *actor == "first" { (0, &self.first) } else { (1, &self.second) };
            lines
                .map(move |line| line.split(' ').nth(place).unwrap().parse::<i64>().unwrap())
                .event_time(|at| *at, Lateness::none().per_record().named(time))
                .actor(actor, Late)
                .parallelism(1)
                .sink_exactly_once(&format!("shown-{actor}"), shown.sink());
        }
        topology
    }

    fn config(&self) -> Config {
        Config::local().checkpoints(self.folder.path().join("checkpoints"))
    }

    /// One more file, with this line twice, as a restored watermark may come behind the first record. What is said of
    /// the times of the second one.
    fn next(
        &self,
        file: &str,
        line: &str,
        topology: &Topology,
        config: Config,
    ) -> Result<[(i64, bool); 2], watershed::Error> {
        let lines = format!("{line}\n{line}\n");
        std::fs::write(self.folder.path().join("input").join(file), lines).unwrap();
        topology.run(config)?;
        Ok([self.first.take().remove(1), self.second.take().remove(1)])
    }
}

#[test]
fn event_times_that_are_wired_in_another_order_get_back_their_own_watermarks() {
    let job = Job::new();
    let ways = [("made", "first"), ("arrived", "second")];
    let swapped = [ways[1], ways[0]];
    let [one_way, other_way] = [job.topology(&ways), job.topology(&swapped)];
    assert_eq!(job.next("1", "3 800", &one_way, job.config()).unwrap(), [(3, false), (800, false)]);
    assert_eq!(job.next("2", "4 801", &other_way, job.config()).unwrap(), [(4, false), (801, false)]);
    assert_eq!(job.next("3", "5 800", &one_way, job.config()).unwrap(), [(5, false), (800, true)]);
}

#[test]
fn event_times_of_one_actor_with_one_name_are_refused() {
    let job = Job::new();
    let ways = [("event_time", "first"), ("event_time", "second")];
    let error = job.topology(&ways).run(job.config()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Config);
    assert!(error.to_string().contains("two of `lines` are called `event_time`"), "{error}");
    assert!(error.to_string().contains("Lateness::named"), "{error}");
    for name in ["", "a\nb"] {
        let error = job.topology(&[(name, "first")]).run(job.config()).unwrap_err();
        assert!(error.to_string().contains("cannot be the name of an `event_time`"), "{error}");
    }
}

#[test]
fn an_event_time_that_is_gone_is_refused_and_may_be_given_up() {
    let job = Job::new();
    let before = job.topology(&[("made", "first"), ("arrived", "second")]);
    job.next("1", "3 800", &before, job.config()).unwrap();
    let after = job.topology(&[("made", "first"), ("seen", "second")]);
    let error = job.next("2", "4 800", &after, job.config()).unwrap_err();
    for part in ["`lines`", "the watermark of the `event_time` called `arrived`", "now it has `made`, `seen`"]
    {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert!(error.to_string().contains("Config::drop_state_of(\"lines:arrived\")"), "{error}");
    // What is refused has changed nothing.
    assert_eq!(job.next("2", "4 799", &before, job.config()).unwrap(), [(4, false), (799, true)]);
    let given_up = job.config().drop_state_of("lines:arrived");
    let (said, log) = logged(|| job.next("3", "5 802", &after, given_up));
    assert_eq!(said.unwrap(), [(5, false), (802, false)]);
    assert!(log.iter().any(|line| line.contains("its watermark is dropped, as asked")), "{log:?}");
}
