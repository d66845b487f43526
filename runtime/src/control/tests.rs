use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use watershed_actors::sinks::Collector;
use watershed_actors::sources::Generator;

use crate::event::Command;
use crate::outcome::End;
use crate::{Config, ErrorKind, Topology, millis};

#[test]
fn a_control_plane_that_panics_ends_the_job_and_the_next_start_goes_on_where_it_was() {
    let (folder, shown) = (TempDir::new().unwrap(), Collector::new());
    let read = Arc::new(AtomicU64::new(0));
    let topology = Topology::new("control");
    let counted = Arc::clone(&read);
    let numbers = topology.source("numbers", Generator::bounded(2_000, |n| n)).rate(5_000.0);
    numbers
        .inspect(move |_| _ = counted.fetch_add(1, Ordering::Relaxed))
        .sink_exactly_once("shown", shown.sink());
    let config = || {
        let config = Config::local().parallelism(1).checkpoints(folder.path());
        config.checkpoint_interval(millis(10)).ignore_signals()
    };
    let job = topology.start(config()).unwrap();
    while job.tree().unwrap().checkpoint.is_none() {
        std::thread::yield_now();
    }
    // Quietly, as the message is not what is tested.
    job.command(Command::Tree(Box::new(|_| std::panic::resume_unwind(Box::new("in the control plane")))))
        .unwrap();
    let error = job.wait().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Internal);
    assert!(error.to_string().contains("the control plane panicked"), "{error}");
    assert!(read.load(Ordering::Relaxed) < 2_000, "it had ended before");
    assert_eq!(topology.run(config()).unwrap().end, End::Finished);
    let mut shown = shown.take();
    shown.sort_unstable();
    assert_eq!(shown, (0..2_000).collect::<Vec<u64>>());
}
