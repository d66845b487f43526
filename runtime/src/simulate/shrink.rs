//! Finds the fewest and earliest faults that a failure takes.

use crate::simulate::fault::Fault;

/// Runs that shrinking may take.
const RUNS_MAX: usize = 150;

/// Leaves out faults as long as `fails` says that the rest is enough, then moves what is left to the front and makes it
/// short. None of the faults that remain can be left out alone.
pub(crate) fn shrink(faults: Vec<Fault>, mut fails: impl FnMut(&[Fault]) -> bool) -> Vec<Fault> {
    let mut runs = 0;
    let mut fails = |faults: &[Fault]| {
        runs += 1;
        runs <= RUNS_MAX && fails(faults)
    };
    let mut faults = without_needless(faults, &mut fails);
    for index in 0..faults.len() {
        make_small(&mut faults, index, &mut fails);
    }
    // An earlier fault may have made another one needless.
    without_needless(faults, &mut fails)
}

/// Delta debugging: halves first, then ever smaller parts, until no single one can be left out.
fn without_needless(mut faults: Vec<Fault>, fails: &mut impl FnMut(&[Fault]) -> bool) -> Vec<Fault> {
    let mut size = faults.len();
    while size > 0 {
        let mut from = 0;
        let mut left_out = false;
        while from < faults.len() {
            let mut rest = faults.clone();
            rest.drain(from..(from + size).min(faults.len()));
            if fails(&rest) {
                faults = rest;
                left_out = true;
            } else {
                from += size;
            }
        }
        if size > 1 || !left_out {
            size /= 2;
        }
    }
    faults
}

/// Tries earlier places and shorter spans for one fault, in ever smaller strides.
fn make_small(faults: &mut [Fault], index: usize, fails: &mut impl FnMut(&[Fault]) -> bool) {
    let mut with = |change: &dyn Fn(&mut Fault)| {
        let before = faults[index].clone();
        change(&mut faults[index]);
        let better = faults[index] != before && fails(faults);
        if !better {
            faults[index] = before;
        }
        better
    };
    with(&|fault| fault.span = 1);
    for divisor in [8, 4, 2] {
        while with(&|fault| {
            let number = fault.place.number();
            fault.place = fault.place.at(number - (number - 1).div_ceil(divisor));
        }) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::fault::{FaultKind, FaultPlace};

    fn panics(steps: &[u64]) -> Vec<Fault> {
        let fault = |step: &u64| Fault {
            life: 0,
            kind: FaultKind::Panic,
            place: FaultPlace::Step(*step),
            span: 9,
            micros: 0,
        };
        steps.iter().map(fault).collect()
    }

    fn steps(faults: &[Fault]) -> Vec<u64> {
        faults.iter().map(|fault| fault.place.number()).collect()
    }

    #[test]
    fn what_is_not_needed_is_left_out_and_the_rest_comes_early() {
        let needs = |faults: &[Fault]| {
            let steps = steps(faults);
            steps.iter().any(|step| (50..=90).contains(step)) && steps.iter().any(|step| *step > 700)
        };
        let shrunk = shrink(panics(&[3, 80, 81, 200, 900, 901]), needs);
        assert_eq!(shrunk.len(), 2);
        assert!(needs(&shrunk), "{shrunk:?}");
        assert!(steps(&shrunk)[0] < 60 && steps(&shrunk)[1] < 800, "{shrunk:?}");
        assert!(shrunk.iter().all(|fault| fault.span == 1));
    }

    #[test]
    fn nothing_is_left_where_nothing_is_needed() {
        assert_eq!(shrink(panics(&[3, 80, 81]), |_| true), []);
    }
}
