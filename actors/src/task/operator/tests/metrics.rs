//! What a task tells of itself while it works.

use super::*;
use crate::task::Times;

fn times(driver: &SlowDriver, world: &World) -> Times {
    driver.cell.env().counters.meter.read(world.clock.nanos())
}

/// Lets so many milliseconds pass.
fn wait(world: &World, ms: u64) {
    world.clock.advance(Duration::from_millis(ms));
}

#[test]
fn a_task_without_input_is_idle() {
    let world = World::new();
    let (mut driver, _) = start(&world, 1, 2_000, 8);
    driver.settle().unwrap();
    wait(&world, 70);
    assert_eq!(times(&driver, &world), Times { idle_nanos: 70_000_000, ..Times::default() });
    driver.send_values(0, vec![1, 2, 3]).unwrap();
    driver.settle().unwrap();
    wait(&world, 5);
    let expected = Times { busy_nanos: 6_000_000, idle_nanos: 75_000_000, blocked_nanos: 0 };
    assert_eq!(times(&driver, &world), expected);
}

#[test]
fn a_task_whose_output_is_full_is_blocked_until_there_is_room() {
    let world = World::new();
    let (mut driver, output) = start(&world, 1, 0, 1);
    driver.settle().unwrap();
    driver.send_values(0, vec![1, 2, 3]).unwrap();
    while driver.step().unwrap() == Step::Ready {}
    wait(&world, 40);
    assert_eq!(times(&driver, &world), Times { blocked_nanos: 40_000_000, ..Times::default() });
    // Room for one of the two that wait: still blocked.
    assert!(output.release());
    while driver.step().unwrap() == Step::Ready {}
    wait(&world, 2);
    assert_eq!(times(&driver, &world).blocked_nanos, 42_000_000);
    driver.settle().unwrap();
    wait(&world, 3);
    let expected = Times { busy_nanos: 0, idle_nanos: 3_000_000, blocked_nanos: 42_000_000 };
    assert_eq!(times(&driver, &world), expected);
}

#[test]
fn a_task_that_has_more_to_do_is_busy_also_between_its_steps() {
    let world = World::new();
    let (mut driver, _) = start(&world, 1, 10_000, 8);
    for value in 0..3 {
        driver.send_values(0, vec![value]).unwrap();
    }
    assert_eq!(driver.step().unwrap(), Step::Ready);
    // Others have their turn on the thread.
    wait(&world, 20);
    assert_eq!(driver.step().unwrap(), Step::Ready);
    assert_eq!(times(&driver, &world), Times { busy_nanos: 40_000_000, ..Times::default() });
}

#[test]
fn a_task_that_is_gone_spends_no_time() {
    let world = World::new();
    let (mut driver, _) = start(&world, 1, 1_000, 8);
    driver.send_values(0, vec![1]).unwrap();
    driver.settle().unwrap();
    driver.control(Control::Stop).unwrap();
    wait(&world, 500);
    assert_eq!(times(&driver, &world), Times { busy_nanos: 1_000_000, ..Times::default() });
}

#[test]
fn records_are_counted_when_they_are_through_and_the_watermark_is_that_of_all_inputs() {
    let world = World::new();
    let (mut driver, _) = start(&world, 2, 0, 8);
    let counters = Arc::clone(&driver.cell.env().counters);
    let counted = || counters.records.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(counters.watermark.get(), None);
    driver.send_values(0, vec![1, 2, 3]).unwrap();
    driver.send(0, Message::Watermark(40)).unwrap();
    driver.settle().unwrap();
    assert_eq!((counted(), counters.watermark.get()), (3, None));
    driver.send(1, Message::Watermark(30)).unwrap();
    driver.settle().unwrap();
    assert_eq!(counters.watermark.get(), Some(30));
    assert_eq!(counters.record_bytes.load(std::sync::atomic::Ordering::Relaxed), 8);
}
