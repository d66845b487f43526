use std::sync::Arc;

use watershed_state::Section;

use super::*;
use crate::chain::{EventTime, Fused, Lateness, Timing};
use crate::clock::MAX_WATERMARK;
use crate::harness::driver::Driver;
use crate::harness::probe::{Heard, Probe};
use crate::harness::world::World;
use crate::inbox::Inbox;
use crate::message::Message;
use crate::task::{OperatorTask, TaskId};

/// A relay whose records are their own event times.
fn start(world: &World, restored: &[Vec<Section>]) -> (Driver<OperatorTask<RelayLogic<u64>>>, Probe<u64>) {
    let env = world.env("relay", 0, 1);
    let output = Probe::new();
    let time_of = Arc::new(|value: &u64| *value as i64);
    let event_time = EventTime::new(time_of, &Lateness::none(), Timing::default());
    let chain = Fused::new(event_time, output.edge(1, env.run));
    let outlet = Tee::new(vec![Box::new(chain) as Box<dyn Push<u64>>]);
    let restored =
        Restored { instances: restored.iter().cloned().map(Into::into).collect(), ..Restored::default() };
    let given = env.clone();
    let boot = Box::new(move || {
        let logic = RelayLogic::restore(&given, outlet, SideOutputs::default(), &restored)?;
        Ok(OperatorTask::new(given.clone(), Inbox::new(2, given.run), logic))
    });
    let driver = Driver::boot(world, env, 2, vec![Box::new(output.clone())], boot).unwrap();
    (driver, output)
}

fn record(value: u64) -> Heard<u64> {
    Heard::Record(value, value as i64)
}

#[test]
fn records_go_on_without_their_keys_as_room_is_found() {
    let world = World::new();
    let (mut driver, output) = start(&world, &[]);
    let mut batch = Batch::default();
    (1..=5).for_each(|value| batch.push_keyed(value, 0, 77));
    driver.send(0, Message::Batch(batch)).unwrap();
    driver.settle().unwrap();
    let mut heard = output.take();
    assert_eq!(heard.pop(), Some(Heard::Watermark(4)));
    heard.retain(|heard| matches!(heard, Heard::Record(..)));
    assert_eq!(heard, (1..=5).map(record).collect::<Vec<_>>());
}

#[test]
fn a_checkpoint_holds_what_the_fused_operators_remember() {
    let mut world = World::new();
    let (mut driver, output) = start(&world, &[]);
    driver.send_values(0, vec![30]).unwrap();
    driver.settle().unwrap();
    let sections = driver.snapshot(&world, 1).unwrap();
    assert_eq!(output.take(), [record(30), Heard::Watermark(29), Heard::Barrier(1)]);

    world.power_cut();
    let (mut driver, output) = start(&world, &[sections]);
    driver.send_values(1, vec![20]).unwrap();
    driver.settle().unwrap();
    assert_eq!(output.take(), [record(20), Heard::Watermark(29)]);
}

#[test]
fn it_ends_when_all_its_inputs_have_ended() {
    let world = World::new();
    world.prepare(1);
    let (mut driver, output) = start(&world, &[]);
    for channel in [0, 1] {
        driver.send_values(channel, vec![10 + channel as u64]).unwrap();
        driver.send(channel, Message::Watermark(MAX_WATERMARK)).unwrap();
        driver.send(channel, Message::End).unwrap();
        driver.send_barrier(channel, 1).unwrap();
    }
    driver.settle().unwrap();
    let expected = [
        record(10),
        record(11),
        Heard::Watermark(10),
        Heard::Watermark(MAX_WATERMARK),
        Heard::End,
        Heard::Barrier(1),
    ];
    assert_eq!(output.take(), expected);
    assert!(world.reports.part(TaskId(0), 1).is_some());
}
