//! Finds cards that are declined three times within a minute, in payments that come out of order.
//!
//! ```sh
//! cargo run --release --example declines
//! cargo run --release --example declines -- --payments 1000000 --rate 50000
//! ```
//!
//! Shows a `Process` with state and event-time timers for each card, and a side output. A decline is only noted when
//! it comes; its timer looks at it when the watermark has passed it, and by then every decline before it is there too.
//! A payment that comes after the watermark has passed it is too late for that, and goes to the side output `late`.

use std::fmt;
use std::io::{self, IsTerminal};

use clap::Parser;
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use watershed::hash_key;
use watershed::prelude::*;

/// What can be said on the command line.
#[derive(Parser)]
#[command(about = "Finds cards that are declined again and again")]
struct Options {
    /// How many payments there are.
    #[arg(long, default_value_t = 20_000)]
    payments: u64,
    /// Payments per second. There are fifty in a second of their own time, so that this is a hundred times as fast.
    #[arg(long, default_value_t = 5_000.0)]
    rate: f64,
}

/// Someone pays with a card, or tries to.
#[derive(Clone, Serialize, Deserialize)]
struct Payment {
    card: u64,
    /// When, in milliseconds since midnight.
    at: i64,
    declined: bool,
}

/// A card that somebody should look at.
#[derive(Clone, Serialize, Deserialize)]
struct Alert {
    card: u64,
    declines: usize,
    /// When the last of them was.
    at: i64,
}

/// Counts the declines of each card.
struct Declines {
    limit: usize,
    within_ms: i64,
    late: SideOutput<Payment>,
}

impl Process for Declines {
    type Key = u64;
    type In = Payment;
    type Out = Alert;
    /// Times of the declines that still matter, in the order in which they came.
    type State = Vec<i64>;

    fn on_record(
        &self,
        payment: Payment,
        declines: &mut Vec<i64>,
        context: &mut Context<'_, Self>,
    ) -> UserResult {
        if payment.at <= context.watermark() {
            context.emit_to(&self.late, payment);
        } else if payment.declined {
            declines.push(payment.at);
            context.timer_at(payment.at);
            // By then it no longer matters, and can be forgotten.
            context.timer_at(payment.at + self.within_ms);
        }
        Ok(())
    }

    fn on_timer(&self, timer: Timer, declines: &mut Vec<i64>, context: &mut Context<'_, Self>) -> UserResult {
        declines.retain(|at| *at > timer.at - self.within_ms);
        // Some may be later than the timer: they came early, and have timers of their own.
        let count = declines.iter().filter(|at| **at <= timer.at).count();
        if count >= self.limit {
            declines.retain(|at| *at > timer.at);
            context.emit(Alert { card: *context.key(), declines: count, at: timer.at });
        }
        if declines.is_empty() {
            context.clear();
        }
        Ok(())
    }
}

/// Payment number `number` from nine o'clock on: fifty a second with five hundred cards, up to eight seconds out of
/// order, and now and then one that was under way for two minutes.
fn payment(number: u64) -> Payment {
    let dice = |name: &str, sides: u64| hash_key(&(name, number)) % sides;
    let under_way = if dice("late", 2_000) == 0 { 120_000 } else { dice("order", 8_000) };
    let at = 9 * 3_600_000 + 20 * number - under_way;
    Payment { card: dice("card", 500), at: at as i64, declined: dice("declined", 20) == 0 }
}

fn main() -> watershed::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(io::stderr().is_terminal());
    // Someone who stops reading the log must not end the job with it.
    log.with_writer(io::stderr).log_internal_errors(false).init();
    let options = Options::parse();

    let topology = Topology::new("declines");
    let late = SideOutput::new("late");
    let declines = topology
        .source("payments", Generator::bounded(options.payments, payment))
        .parallelism(1)
        .rate(options.rate)
        .event_time(|payment| payment.at, Lateness::up_to(seconds(10)))
        .key_by(|payment| payment.card)
        .actor("declines", Declines { limit: 3, within_ms: 60_000, late: late.clone() });
    declines.sink("alerts", Stdout::new());
    declines.side(&late).sink("late", Stdout::new());

    let outcome = topology.run(Config::local())?;
    println!("{}", outcome.tree);
    Ok(())
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { card, declines, at } = self;
        write!(f, "{} card {card} was declined {declines} times within a minute", Time(*at))
    }
}

impl fmt::Display for Payment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} card {}: this payment came too late to be looked at", Time(self.at), self.card)
    }
}

/// Milliseconds since midnight, for people.
struct Time(i64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        write!(f, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }
}
