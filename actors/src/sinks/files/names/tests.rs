use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn names_are_read_as_they_were_written(
        operator in "[A-Za-z0-9_.-]{1,12}", lineage in "[0-9a-f]{1,16}",
        run: u64, checkpoint: u64, instance in 0usize..200, number: u64,
    ) {
        let (operator, lineage) = (operator.as_str(), lineage.as_str());
        let pending = PendingName { operator, lineage, run, instance, number };
        let name = pending.to_string();
        prop_assert_eq!(PendingName::parse(&name), Some(pending));
        prop_assert_eq!(FinishedName::parse(&name, "jsonl"), None);
        let finished = FinishedName { operator, lineage, checkpoint, instance, extension: "jsonl" };
        let name = finished.to_string();
        prop_assert_eq!(FinishedName::parse(&name, "jsonl"), Some(finished));
        prop_assert_eq!(FinishedName::parse(&name, "txt"), None);
        prop_assert_eq!(PendingName::parse(&name), None);
    }
}

#[test]
fn names_of_other_files_are_not_ours() {
    for name in [
        "",
        ".pending-",
        ".pending-a-b-r1-0",
        ".pending-a-b-1-0-0",
        ".pending-a-b-r1-0-+1",
        "pending-a-b-r1-0-0",
    ] {
        assert_eq!(PendingName::parse(name), None, "{name}");
    }
    for name in ["", "notes.jsonl", "a-b-c-0.jsonl", "a-b-+1-0.jsonl", "b-1-0.jsonl", "a-b-1-0jsonl"] {
        assert_eq!(FinishedName::parse(name, "jsonl"), None, "{name}");
    }
}

#[test]
fn finished_names_sort_by_checkpoint() {
    let name = |checkpoint| {
        FinishedName { operator: "a", lineage: "b", checkpoint, instance: 0, extension: "txt" }.to_string()
    };
    assert_eq!(name(12), "a-b-000000000012-0.txt");
    assert!(name(9) < name(10));
}
