use std::sync::{Arc, Mutex};

use watershed_state::SimulatedDisk;

use super::*;
use crate::instance::Instance;

#[test]
fn each_instance_has_a_closure_of_its_own() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let shared = Arc::clone(&seen);
    let sink = SinkFn::new(move |context: &SinkContext| {
        let (instance, seen, mut count) = (context.instance.index, Arc::clone(&shared), 0);
        move |record: String| {
            count += 1;
            seen.lock().unwrap().push((instance, count, record));
            Ok(())
        }
    });
    for index in 0..2 {
        let context = SinkContext {
            instance: Instance { operator: "out".into(), index, parallelism: 2 },
            lineage: "ab".into(),
            run: 0,
            fs: SimulatedDisk::new(0).fs(),
            states: crate::OperatorStates::default(),
        };
        let mut writer = sink.open(&context).unwrap();
        writer.write("a".into()).unwrap();
        writer.write("b".into()).unwrap();
        writer.flush().unwrap();
    }
    let expected = [(0, 1, "a"), (0, 2, "b"), (1, 1, "a"), (1, 2, "b")];
    assert_eq!(
        *seen.lock().unwrap(),
        expected.map(|(index, count, record)| (index, count, record.to_owned()))
    );
}
