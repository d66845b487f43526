use serde::{Deserialize, Serialize};
use watershed::prelude::*;

#[derive(Clone, Serialize, Deserialize)]
struct Seen(u64);

struct Count;

impl Process for Count {
    type Key = u64;
    type In = u64;
    type Out = u64;
    type State = Seen;

    fn on_record(&self, _: u64, seen: &mut Seen, _: &mut Context<'_, Self>) -> UserResult {
        seen.0 += 1;
        Ok(())
    }
}

fn main() {}
