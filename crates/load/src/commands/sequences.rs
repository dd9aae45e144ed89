//! Any commands, one after another.

use proptest::prelude::*;

use super::{Bench, number, sum};
use crate::command::{Command, Fault, Setting, Unit};

/// A command of a random sequence.
fn command() -> impl Strategy<Value = Command<'static>> {
    let bytes = || prop_oneof![3 => 1_u64..200, 2 => 1_u64..40_000, 1 => Just(u64::MAX)];
    prop_oneof![
        4 => bytes().prop_map(|bytes| Command::Alloc { bytes }),
        2 => bytes().prop_map(|bytes| Command::Free { bytes: Some(bytes), unit: Unit::B }),
        1 => Just(Command::Free { bytes: None, unit: Unit::B }),
        2 => bytes().prop_map(|bytes| Command::Realloc { bytes, unit: Unit::B }),
        1 => (1_u64..100, 0_u64..5000, 1_u64..9000)
            .prop_map(|(min, more, total)| Command::RandomAlloc { min, max: min + more, total }),
        1 => (0_u64..2).prop_map(|value| Command::Set(Setting::CheckContent, value)),
        1 => (0_u64..200).prop_map(|value| Command::Set(Setting::ReallocPercent, value)),
        1 => Just(Command::Check),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_commands_hold_what_they_say_and_never_more_than_they_may(
        commands in prop::collection::vec(command(), 1..60), most in 12_000_u64..400_000,
    ) {
        let mut bench = Bench::new(most);
        let (mut bytes, mut random) = (0_i128, false);
        for command in commands {
            match (command, bench.try_to(command)) {
                (Command::Alloc { bytes: more }, Ok(_)) => bytes += i128::from(more),
                (Command::Free { bytes: least, .. }, Ok(reply)) => {
                    let (freed, _) = sum(&reply);
                    prop_assert!(i128::from(freed) >= i128::from(least.unwrap_or(u64::MAX)).min(bytes));
                    bytes -= i128::from(freed);
                }
                (Command::Realloc { .. }, Ok(reply)) => {
                    bytes += i128::from(reply["difference"].as_i64().expect("a number"));
                }
                (Command::RandomAlloc { total, .. }, Ok(reply)) => {
                    prop_assert_eq!(number(&reply, "bytes"), total);
                    bytes += i128::from(total);
                }
                // What it allocated before it failed is held.
                (Command::RandomAlloc { .. }, Err(_)) => random = true,
                (_, Ok(reply)) => prop_assert!(reply["overwritten_count"].as_u64().is_none_or(|count| count == 0)),
                (_, Err(fault)) => prop_assert!(!matches!(fault, Fault::NoMemory { .. }), "{fault:?}"),
            }
            let (used, chunks) = bench.used();
            if std::mem::take(&mut random) {
                bytes = i128::from(used);
            }
            prop_assert_eq!(i128::from(used), bytes);
            prop_assert_eq!(bench.host().chunks(), (chunks, used));
            let budget = bench.load.budget();
            let exact = bench.host().cost() + budget.bookkeeping();
            prop_assert!(budget.held() == exact && exact <= most, "{} {exact} {most}", budget.held());
        }
        bench.leave();
    }
}
