//! The slots of a table: how they are filled, visited and given back.

use super::*;

#[test]
fn a_table_that_empties_gives_its_slots_back() {
    let mut table = table(1);
    (0..10_000).for_each(|key| set(&mut table, key, 1));
    (0..10_000).for_each(|key| assert!(table.remove(hash_key(&key), &key).is_some()));
    assert!(table.is_empty());
    assert!(table.entries.slots() <= 64, "{}", table.entries.slots());
}

#[test]
fn an_entry_of_integers_costs_no_more_than_its_fields() {
    assert_eq!(size_of::<Option<Entry<u64, u64>>>(), 24);
}

#[derive(Debug)]
struct Pinned {
    tag: u32,
    id: u32,
}

impl Tagged for Pinned {
    fn tag(&self) -> u32 {
        self.tag
    }
}

proptest! {
    /// Tags from a small range pile up in clusters at the end of the slots, while tables grow and shrink.
    #[test]
    fn clustered_slots_find_and_remove_every_entry(
        steps in proptest::collection::vec((any::<bool>(), 0..120_u32), 0..500), spread in 1..9_u32, far in any::<bool>()
    ) {
        let mut table: OrderedTable<Pinned> = OrderedTable::default();
        let mut model = BTreeMap::new();
        for (insert, id) in steps {
            let tag = if far { id.wrapping_mul(0x9E37_79B9) } else { u32::MAX - id / spread };
            match (insert, table.find(tag, |entry| entry.id == id)) {
                (_, Ok(slot)) if !insert => {
                    prop_assert_eq!(table.remove(slot).id, id);
                    model.remove(&id);
                }
                (true, Err(_)) => {
                    let slot = table.insert(Pinned { tag, id });
                    prop_assert_eq!(table.at(slot).id, id);
                    model.insert(id, tag);
                }
                (_, found) => prop_assert_eq!(found.is_ok(), model.contains_key(&id)),
            }
            for (&id, &tag) in &model {
                prop_assert!(table.find(tag, |entry| entry.id == id).is_ok());
            }
        }
        prop_assert_eq!(table.iter().count(), model.len());
    }

    /// Whatever moves between two visits, nothing that was there from the beginning is left out.
    #[test]
    fn a_visit_in_pieces_shows_all_that_was_there_throughout(
        before in 1..2_000_u32, changes in proptest::collection::vec((any::<bool>(), 0..4_000_u32, 1..200_usize), 0..300)
    ) {
        let tag = |id: u32| id.wrapping_mul(0x9E37_79B9);
        let mut table: OrderedTable<Pinned> = OrderedTable::default();
        let mut there: BTreeSet<u32> = (0..before).collect();
        for &id in &there {
            table.insert(Pinned { tag: tag(id), id });
        }
        let (mut throughout, mut shown, mut from) = (there.clone(), BTreeSet::new(), 0);
        let visit = |table: &mut OrderedTable<Pinned>, from: u64, mut budget: usize, shown: &mut BTreeSet<u32>| {
            table.visit(from, |entry| {
                shown.extend(entry.map(|entry| entry.id));
                budget = budget.saturating_sub(1);
                budget > 0
            })
        };
        for (insert, id, budget) in changes {
            match (insert, table.find(tag(id), |entry| entry.id == id)) {
                (true, Err(_)) => { table.insert(Pinned { tag: tag(id), id }); there.insert(id); }
                (false, Ok(slot)) => { table.remove(slot); there.remove(&id); throughout.remove(&id); }
                _ => {}
            }
            if budget > 100 {
                from = visit(&mut table, from, budget, &mut shown);
            }
        }
        while from < TAGS {
            from = visit(&mut table, from, 100, &mut shown);
        }
        prop_assert!(throughout.is_subset(&shown));
        prop_assert_eq!(table.iter().map(|entry| entry.id).collect::<BTreeSet<_>>(), there);
    }

    #[test]
    fn tags_keep_the_order_of_hashes_and_use_the_whole_range(
        count in 1..u16::MAX, instance in 0..40_usize, more in 0..40_usize, one: u64, other: u64
    ) {
        let groups = groups(count);
        let owned = groups.range(instance, instance + 1 + more);
        let span = Span::new(groups, &owned);
        for hash in [one, other] {
            prop_assert_eq!(span.contains(hash), owned.contains(&groups.group_of(hash)));
        }
        if span.contains(one) && span.contains(other) {
            prop_assert_eq!(one.min(other) == one, span.tag(one) < span.tag(other) || span.tag(one) == span.tag(other) && one <= other);
            let group = groups.group_of(one);
            prop_assert!(u64::from(span.tag(one)) >= span.first_tag(groups, group));
            prop_assert!(u64::from(span.tag(one)) <= span.first_tag(groups, group + 1));
        }
        if !owned.is_empty() {
            prop_assert!(span.tag(groups.first_hash(owned.start) as u64) == 0);
            prop_assert!(span.tag((groups.first_hash(owned.end) - 1) as u64) > u32::MAX - 4);
        }
    }
}

#[test]
fn a_table_is_filled_evenly_and_is_no_larger_than_it_has_to_be_whatever_additions_hold() {
    // So many are changed, and so many come, from one snapshot to the next.
    for (changed, new) in [(40_000, 0), (1_000, 90_000), (30_000, 40_000)] {
        let mut table = table(128);
        table.always_save_changes();
        (0..100_000).for_each(|key| set(&mut table, key, 1));
        table.begin_snapshot(1);
        let mut saved = SavedInstance::from(finish(&mut table, usize::MAX));
        table.complete(1);
        let mut next = 100_000;
        for checkpoint in 2..4 {
            (0..changed).for_each(|key| set(&mut table, key * 2, checkpoint));
            (next..next + new).for_each(|key| set(&mut table, key, checkpoint));
            next += new;
            assert_eq!(table.begin_snapshot(checkpoint).base, Some(checkpoint - 1));
            saved.changes.push(finish(&mut table, usize::MAX));
            table.complete(checkpoint);
        }
        let mut filled = Counts::new(groups(128), 0..128);
        filled.restore_saved(&[saved]).unwrap();
        assert_eq!(contents(&filled), contents(&table));
        assert!(filled.entries.longest_run() < 400, "{}", filled.entries.longest_run());
        assert!(filled.entries.slots() < table.entries.slots() + 1_000, "{}", filled.entries.slots());
    }
}
