//! The same seed gives the same run.

use watershed::{End, SimulatedDisk};

use crate::fixture::{expected_payments, finish, payments, seeded, shown_payments, simulated};

#[test]
fn a_simulated_run_shows_what_a_plain_computation_says() {
    for seed in 0..50 {
        let disk = SimulatedDisk::new(seed);
        let outcome = finish(&payments(), seed, &disk);
        assert_eq!(outcome.end, End::Finished);
        assert_eq!(shown_payments(&disk), expected_payments(), "seed {seed}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = |seed| {
        let disk = SimulatedDisk::new(seed);
        let simulation = seeded(seed).on_disk(&disk).panic_at(100);
        let outcome = payments().run(simulated(simulation)).unwrap();
        let files = ["/out/entries", "/out/large", "/checkpoints"].map(|folder| {
            let fs = disk.fs();
            let read = |name: &str| fs.read(&std::path::Path::new(folder).join(name)).ok();
            fs.list(folder.as_ref())
                .unwrap()
                .into_iter()
                .map(|file| (read(&file.name), file))
                .collect::<Vec<_>>()
        });
        (outcome.steps, outcome.checkpoints, outcome.tree, files, disk.operations())
    };
    for seed in 0..10 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

#[test]
fn other_seeds_give_other_interleavings() {
    let steps = |seed| finish(&payments(), seed, &SimulatedDisk::new(0)).steps;
    let mut different: Vec<u64> = (0..20).map(steps).collect();
    different.sort_unstable();
    different.dedup();
    assert!(different.len() > 5, "20 seeds gave runs of only these lengths: {different:?}");
}
