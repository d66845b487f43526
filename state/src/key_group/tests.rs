use proptest::prelude::*;

use super::*;
use crate::hash_key;

fn groups(count: u16) -> KeyGroups {
    KeyGroups::new(count).expect("the tests use at least one group")
}

#[test]
fn there_is_at_least_one_group() {
    assert_eq!(KeyGroups::new(0), None);
    assert_eq!(groups(1).count(), 1);
    assert_eq!(KeyGroups::DEFAULT.count(), 128);
}

#[test]
fn the_ranges_of_all_instances_partition_the_groups_and_agree_with_instance_of() {
    for count in [1, 2, 3, 7, 16, 100, 128, 129, 255, 1_000, u16::MAX] {
        for parallelism in (1..=130).chain([257, 1_000, 65_535, 100_000]) {
            let mut next = 0;
            for instance in 0..parallelism {
                let range = groups(count).range(instance, parallelism);
                assert_eq!(range.start, next, "{count} groups, instance {instance} of {parallelism}");
                assert!(range.end >= range.start);
                next = range.end;
                for group in [range.start, range.end.saturating_sub(1)] {
                    if range.contains(&group) {
                        assert_eq!(groups(count).instance_of(group, parallelism), instance);
                    }
                }
            }
            assert_eq!(next, count, "with {parallelism} instances");
        }
    }
}

#[test]
fn the_highest_and_lowest_hashes_are_in_the_last_and_first_group() {
    for count in [1, 2, 3, 128, u16::MAX] {
        assert_eq!(groups(count).group_of(0), 0);
        assert_eq!(groups(count).group_of(u64::MAX), count - 1);
    }
}

#[test]
fn instances_get_shares_that_differ_by_at_most_one_group() {
    for parallelism in 1..=128 {
        let shares: Vec<usize> =
            (0..parallelism).map(|i| KeyGroups::DEFAULT.range(i, parallelism).len()).collect();
        let (least, most) = (shares.iter().min(), shares.iter().max());
        assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{shares:?}");
    }
}

#[test]
fn a_count_of_zero_does_not_decode() {
    let mut bytes = Vec::new();
    crate::encode(&0_u16, &mut bytes).unwrap();
    assert!(crate::decode::<KeyGroups>(&mut bytes.as_slice()).is_err());
}

proptest! {
    #[test]
    fn a_keys_group_is_owned_by_exactly_the_instance_it_is_routed_to(
        key: u64, count in 1_u16.., parallelism in 1_usize..300
    ) {
        let group = groups(count).group_of(hash_key(&key));
        prop_assert!(group < count);
        let owner = groups(count).instance_of(group, parallelism);
        prop_assert!(owner < parallelism);
        prop_assert!(groups(count).range(owner, parallelism).contains(&group));
    }
}
