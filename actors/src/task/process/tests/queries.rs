use std::sync::mpsc::{Receiver, channel};

use watershed_state::encode;

use super::rig::{KeyedRig, LoneRig, keyed, keyed_with_credits, lone, owner};
use super::*;
use crate::harness::world::World;
use crate::query::{Found, Query, QueryKey};
use crate::task::Control;

type Answer = Result<Reading, QueryError>;

fn ask(env: &Env, key: &str) -> Receiver<Answer> {
    let (sender, answer) = channel();
    env.oversight.ask(Query::new(QueryKey::Json(key.to_string()), move |said| drop(sender.send(said))));
    answer
}

impl KeyedRig {
    fn query(&mut self, key: &str) -> Answer {
        let answer = ask(self.driver.cell.env(), key);
        self.driver.step().unwrap();
        answer.try_recv().unwrap()
    }
}

fn state(key: u32, count: u64) -> Reading {
    let encoded = |value: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        value(&mut bytes);
        bytes
    };
    let memory = Memory { count, ..Memory::default() };
    Reading::State(Found {
        key: encoded(&|out| encode(&key, out).unwrap()),
        state: encoded(&|out| encode(&memory, out).unwrap()),
        state_type: std::any::type_name::<Memory>(),
    })
}

#[test]
fn an_instance_says_what_its_keys_have_and_which_are_not_its_own() {
    let world = World::new();
    let of = |instance| (0..100).filter(move |key| owner(*key, 2) == instance);
    let (mine, never_seen, others) =
        (of(0).next().unwrap(), of(0).next_back().unwrap(), of(1).next().unwrap());
    let mut rig = keyed(&world, 0, 2, &[]);
    rig.ask(mine, Do::Count);
    rig.ask(mine, Do::Count);
    assert_eq!(rig.query(&mine.to_string()), Ok(state(mine, 2)));
    assert_eq!(rig.query(&never_seen.to_string()), Ok(Reading::Nothing));
    assert_eq!(rig.query(&others.to_string()), Ok(Reading::Elsewhere));
    assert!(matches!(rig.query("\"be\""), Err(QueryError::WrongKey { expected: "u32", .. })));
    rig.ask(mine, Do::Clear);
    assert_eq!(rig.query(&mine.to_string()), Ok(Reading::Nothing));
}

#[test]
fn an_instance_without_room_in_its_output_answers() {
    let world = World::new();
    let mut rig = keyed_with_credits(1, &world, 0, 1, &[]);
    // Nothing is taken from the output: after the first records there is no room.
    for _ in 0..40 {
        rig.file([(1, Do::Count), (1, Do::Emit("much".to_string(), 3_000))]);
        rig.driver.step().unwrap();
    }
    let Ok(Reading::State(found)) = rig.query("1") else { panic!("it does not say") };
    let memory: Memory = decode(&mut found.state.as_slice()).unwrap();
    assert!(memory.count > 0 && memory.count < 40, "{memory:?}");
    assert_eq!(rig.query("1"), Ok(Reading::State(found)));
}

#[test]
fn a_snapshot_with_questions_in_between_is_the_same_as_without() {
    let snapshots = [true, false].map(|asks| {
        let world = World::new();
        let mut rig = keyed(&world, 0, 1, &[]);
        let mut snapshots = Vec::new();
        for checkpoint in 1..4 {
            for key in 0..100 {
                rig.ask(key, Do::Count);
                if asks {
                    rig.query(&(key * 3).to_string()).unwrap();
                }
            }
            snapshots.push(rig.driver.snapshot(&world, checkpoint).unwrap());
        }
        snapshots
    });
    assert_eq!(snapshots[0], snapshots[1]);
}

#[test]
fn an_instance_without_keys_says_that_it_has_none() {
    let world = World::new();
    let mut rig: LoneRig = lone(&world, 0, 1, &[]).unwrap();
    let answer = ask(rig.driver.cell.env(), "1");
    rig.driver.step().unwrap();
    assert_eq!(answer.try_recv().unwrap(), Err(QueryError::NoState));
}

#[test]
fn an_instance_that_has_stopped_or_failed_refuses_what_waits_and_what_comes() {
    let world = World::new();
    let mut rig = keyed(&world, 0, 1, &[]);
    let waiting = ask(rig.driver.cell.env(), "1");
    rig.driver.control(Control::Stop).unwrap();
    assert_eq!(waiting.try_recv().unwrap(), Err(QueryError::Gone));
    assert_eq!(ask(rig.driver.cell.env(), "1").try_recv().unwrap(), Err(QueryError::Gone));

    let mut rig = keyed(&world, 0, 1, &[]);
    rig.file([(1, Do::Panic("oh no".to_string()))]);
    assert!(rig.driver.step().is_err());
    assert_eq!(ask(rig.driver.cell.env(), "1").try_recv().unwrap(), Err(QueryError::Gone));
}
