use watershed::prelude::*;

#[derive(Clone)]
struct Payment {
    amount: u64,
}

struct Sum;

impl Process for Sum {
    type Key = u64;
    type In = Payment;
    type Out = u64;
    type State = u64;

    fn on_record(&self, payment: Payment, sum: &mut u64, _: &mut Context<'_, Self>) -> UserResult {
        *sum += payment.amount;
        Ok(())
    }
}

fn main() {}
