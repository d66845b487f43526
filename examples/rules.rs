//! Checks payments against rules that change while the job runs.
//!
//! ```sh
//! cargo run --release --example rules
//! cargo run --release --example rules -- --payments 1000000 --rate 200000
//! ```
//!
//! Shows broadcast state: every instance of `check` gets every rule, keeps them in its replica of a shared state, and
//! looks at them when a payment comes. Payments are divided by card, and each card has a state of its own: how often it
//! was stopped.

use std::collections::BTreeMap;
use std::fmt;

use clap::Parser;
use serde::{Deserialize, Serialize};
use watershed::hash_key;
use watershed::prelude::*;

/// What can be said on the command line.
#[derive(Parser)]
#[command(about = "Checks payments against rules that change")]
struct Options {
    /// How many payments there are.
    #[arg(long, default_value_t = 20_000)]
    payments: u64,
    /// Payments per second.
    #[arg(long, default_value_t = 10_000.0)]
    rate: f64,
}

/// Someone pays with a card.
#[derive(Clone, Serialize, Deserialize)]
struct Payment {
    card: u64,
    country: u64,
    amount: u64,
}

/// From now on, payments in a country may be no higher than this.
#[derive(Clone, Serialize, Deserialize)]
struct Rule {
    country: u64,
    at_most: u64,
}

/// A payment that was stopped.
#[derive(Clone, Serialize, Deserialize)]
struct Stopped {
    payment: Payment,
    at_most: u64,
    /// How many payments of the card have been stopped by now.
    nth: u64,
}

/// Stops payments that are too high for the rules of the moment.
struct Check;

impl BroadcastProcess for Check {
    type Key = u64;
    type In = Payment;
    type Broadcast = Rule;
    type Out = Stopped;
    /// How many payments of the card have been stopped.
    type State = u64;
    /// The highest amount in each country.
    type Shared = BTreeMap<u64, u64>;

    fn on_record(
        &self,
        payment: Payment,
        stopped: &mut u64,
        rules: &BTreeMap<u64, u64>,
        context: &mut ConnectedContext<'_, Self>,
    ) -> UserResult {
        if let Some(at_most) = rules.get(&payment.country).copied().filter(|most| payment.amount > *most) {
            *stopped += 1;
            context.emit(Stopped { payment, at_most, nth: *stopped });
        }
        Ok(())
    }

    fn on_broadcast(
        &self,
        rule: Rule,
        rules: &mut BTreeMap<u64, u64>,
        _context: &mut BroadcastContext<'_, Stopped>,
    ) -> UserResult {
        rules.insert(rule.country, rule.at_most);
        Ok(())
    }
}

/// Payment number `number`: five hundred cards, four countries, and now and then a high amount.
fn payment(number: u64) -> Payment {
    let dice = |name: &str, sides: u64| hash_key(&(name, number)) % sides;
    let amount = if dice("high", 1_000) == 0 { 5_000 + dice("amount", 5_000) } else { dice("amount", 200) };
    Payment { card: dice("card", 500), country: dice("country", 4), amount }
}

/// Rules that become stricter, one country after the other.
fn rule(number: u64) -> Rule {
    Rule { country: number % 4, at_most: 9_000 - 1_000 * (number / 4) }
}

fn main() -> watershed::Result<()> {
    let options = Options::parse();
    let topology = Topology::new("rules");
    let rules = topology.source("rules", Generator::bounded(20, rule)).parallelism(1).rate(10.0);
    topology
        .source("payments", Generator::bounded(options.payments, payment))
        .rate(options.rate)
        .key_by(|payment| payment.card)
        .connect_broadcast("check", &rules, Check)
        .sink("stopped", Stdout::new());
    topology.run(Config::local())?;
    Ok(())
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { payment: Payment { card, country, amount }, at_most, nth } = self;
        write!(
            f,
            "card {card}: {amount} is more than the {at_most} of country {country} (stopped {nth} times)"
        )
    }
}
