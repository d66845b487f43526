//! One topology in which everything fails somewhere.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::json;
use watershed::prelude::*;
use watershed::{Directive, End, Place, SimulatedDisk, Stage};

use super::{letters, payloads};
use crate::fixture::{compare, json as text, lines_in, seeded, seeds, simulated};

/// Somebody ordered something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) account: u64,
    pub(super) number: u64,
}

/// What [`Accounts`] says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Said {
    Order { account: u64, nth: u64, number: u64 },
    Reminder { account: u64, at: i64 },
}

const ORDERS: u64 = 120;
const ACCOUNTS: u64 = 5;

/// Numbers the orders of each account, and reminds of each a while later.
struct Accounts {
    large: SideOutput<u64>,
    /// How often the order that panics twice has panicked.
    twice: Arc<AtomicU32>,
}

fn is_unreadable(n: u64) -> bool {
    n % 37 == 11
}

fn is_refused(n: u64) -> bool {
    n % 29 == 5
}

const ALWAYS_PANICS: u64 = 61;
const PANICS_TWICE: u64 = 88;

fn reminds_wrongly(at: i64) -> bool {
    at == 40 || at == 91
}

fn is_large(n: u64) -> bool {
    n.is_multiple_of(9)
}

impl Process for Accounts {
    type Key = u64;
    type In = Order;
    type Out = Said;
    type State = u64;

    fn on_record(&self, order: Order, seen: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        let Order { account, number } = order;
        // Everything is written before it fails.
        *seen += 1;
        context.emit(Said::Order { account, nth: *seen, number });
        context.timer_at(number as i64 + 3);
        if is_large(number) || is_refused(number) {
            context.emit_to(&self.large, number);
        }
        if is_refused(number) {
            context.delete_timer_at(number as i64 + 3 - ACCOUNTS as i64);
            return Err(format!("order {number} is refused").into());
        }
        assert!(number != ALWAYS_PANICS, "order {number} cannot be handled");
        if number == PANICS_TWICE && self.twice.fetch_add(1, Ordering::Relaxed) < 2 {
            std::panic::resume_unwind(Box::new("not yet"));
        }
        Ok(())
    }

    fn on_timer(&self, timer: Timer, _seen: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        context.emit(Said::Reminder { account: *context.key(), at: timer.at });
        if reminds_wrongly(timer.at) {
            return Err("nobody is to be reminded now".into());
        }
        Ok(())
    }
}

fn accounts(supervision: Supervision) -> Topology {
    let topology = Topology::new("accounts");
    let large = SideOutput::new("large");
    let said = topology
        .source("orders", Generator::bounded(ORDERS, |n| n))
        .parallelism(1)
        .supervise(supervision)
        .try_map(|n| if is_unreadable(n) { Err(format!("order {n} is unreadable").into()) } else { Ok(n) })
        .map(|number| Order { account: number % ACCOUNTS, number })
        .event_time(|order| order.number as i64, Lateness::none())
        .key_by(|order| order.account)
        .actor("accounts", Accounts { large: large.clone(), twice: Arc::default() })
        .supervise(supervision);
    said.side(&large).sink_exactly_once("large", Files::jsonl("/out/large"));
    said.sink_exactly_once("said", Files::jsonl("/out/said"));
    topology
}

/// What is shown, by a plain loop.
fn expected() -> (Vec<String>, Vec<String>) {
    let (mut said, mut large) = (Vec::new(), Vec::new());
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    for number in (0..ORDERS).filter(|n| !is_unreadable(*n) && !is_refused(*n) && *n != ALWAYS_PANICS) {
        let account = number % ACCOUNTS;
        let nth = seen.entry(account).or_default();
        *nth += 1;
        said.push(text(&Said::Order { account, nth: *nth, number }));
        let at = number as i64 + 3;
        if !reminds_wrongly(at) {
            said.push(text(&Said::Reminder { account, at }));
        }
        if is_large(number) {
            large.push(text(&number));
        }
    }
    said.sort();
    large.sort();
    (said, large)
}

fn check(disk: &SimulatedDisk, when: &str) {
    let (said, large) = expected();
    let shown = ["/out/said", "/out/large"].map(|folder| (folder, lines_in(disk, folder))).into();
    compare(&shown, &[("/out/said", said), ("/out/large", large)].into(), when);
}

fn check_letters(disk: &SimulatedDisk, when: &str) {
    let unreadable: Vec<_> = (0..ORDERS).filter(|n| is_unreadable(*n)).map(|n| json!(n)).collect();
    let mut found = letters(disk, "orders");
    found.sort_by_key(|letter| letter.evidence.payload.as_u64());
    assert_eq!(payloads(&found), unreadable, "{when}");
    for letter in found {
        let n = letter.evidence.payload.as_u64().unwrap();
        assert!(matches!(&letter.evidence.place, Place::Closure { number: 0, name } if name == "try_map"));
        assert_eq!((letter.cause, letter.attempts), (format!("order {n} is unreadable"), 1));
        // The generator counts its records: where a batch began and how many came before add up.
        let position = letter.evidence.position.unwrap();
        let begin: u64 = position.position.parse().unwrap();
        assert_eq!(begin + position.record as u64, n, "{when}");
    }

    let refused = (0..ORDERS).filter(|n| !is_unreadable(*n) && (is_refused(*n) || *n == ALWAYS_PANICS));
    let mut refused: Vec<_> =
        refused.map(|n| json!({ "account": n % ACCOUNTS, "number": n }).to_string()).collect();
    refused.extend([40, 91].map(|at: u64| json!((at - 3) % ACCOUNTS).to_string()));
    refused.sort();
    let found = letters(disk, "accounts");
    let left_out: Vec<_> = payloads(&found).iter().map(ToString::to_string).collect();
    assert_eq!(left_out, refused, "{when}");
    for letter in found {
        let evidence = &letter.evidence;
        if let Place::Timer { at, .. } = &evidence.place {
            assert!(reminds_wrongly(*at));
            assert_eq!((evidence.stage, &*letter.cause), (Stage::Timer, "nobody is to be reminded now"));
            continue;
        }
        let order: Order = serde_json::from_value(evidence.payload.clone()).unwrap();
        assert_eq!(evidence.key, Some(order.account.to_string()), "{when}");
        assert_eq!((evidence.timestamp, evidence.channel), (Some(order.number as i64), Some(0)));
        let panicked = order.number == ALWAYS_PANICS;
        let attempts = if panicked { 3 } else { 1 };
        assert_eq!((letter.panicked, letter.attempts), (panicked, attempts), "{when}");
        if panicked {
            assert_eq!(letter.cause, "order 61 cannot be handled");
            assert!(letter.backtrace.unwrap().contains("accounts.rs"));
        }
    }
}

#[test]
fn every_other_record_is_processed_exactly_once_and_every_one_left_out_is_a_dead_letter() {
    for seed in seeds(40) {
        let disk = SimulatedDisk::new(seed);
        let config = simulated(seeded(seed).on_disk(&disk)).parallelism(1 + seed as usize % 3);
        let outcome = accounts(Supervision::quarantine()).run(config).unwrap();
        let when = format!("with seed {seed}");
        assert_eq!(outcome.end, End::Finished);
        // Three times for the one that always panics, twice for the other, which may coincide: no loop.
        assert!((3..=5).contains(&outcome.restarts), "{when}: {} restarts", outcome.restarts);
        check(&disk, &when);
        check_letters(&disk, &when);
    }
}

#[test]
fn records_can_be_left_out_without_a_trace_but_a_count() {
    let disk = SimulatedDisk::new(1);
    let supervision = Supervision::skip().on(Stage::Timer, Directive::Quarantine);
    accounts(supervision).run(simulated(seeded(1).on_disk(&disk))).unwrap();
    check(&disk, "skipped");
    assert_eq!(letters(&disk, "accounts").len(), 2);
    assert!(letters(&disk, "orders").is_empty());
}

#[test]
fn crashes_of_the_process_change_nothing_of_it() {
    for seed in seeds(60) {
        let disk = SimulatedDisk::new(seed);
        let topology = accounts(Supervision::quarantine());
        let config = |simulation| simulated(simulation).parallelism(1 + seed as usize % 3);
        for life in 0..4 {
            let simulation = seeded(seed + 1_000 * life).on_disk(&disk);
            let (panic, death) = (50 + seed * 13 % 300, 200 + (seed + life) * 29 % 900);
            topology.run(config(simulation.panic_at(panic).die_at(death))).unwrap();
        }
        let when = format!("with seed {seed}");
        let outcome = topology.run(config(seeded(seed).on_disk(&disk)));
        assert!(outcome.is_ok(), "{when}: {outcome:?}");
        check(&disk, &when);
        let found = letters(&disk, "accounts");
        let unique: std::collections::BTreeSet<_> = found.iter().map(|letter| &letter.id).collect();
        assert_eq!(unique.len(), found.len(), "{when}");
        let panicked = found.iter().filter(|letter| letter.panicked).count();
        assert_eq!(
            (found.len(), panicked),
            (2 + (0..ORDERS).filter(|n| is_refused(*n)).count() + 1 - skipped_twice(), 1),
            "{when}"
        );
    }
}

/// Orders that would be refused had they been readable.
fn skipped_twice() -> usize {
    (0..ORDERS).filter(|n| is_refused(*n) && is_unreadable(*n)).count()
}
