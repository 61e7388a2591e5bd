//! Logs of any commands.

use foretell::control::{Command, CommandCodec, CommandRecord, Effect, Keys, Log, Order};
use foretell::domain::Digest;
use foretell::domain::{Offset, Timestamp};
use proptest::prelude::*;

use crate::{Control, SLOT, activate, command, retire, stage};

/// A command of a few ids, packages and times, so that they meet.
fn any_command() -> impl Strategy<Value = Command> {
    let order =
        (0..3_i32, 1..5_u8, prop::option::of(0..6_i64)).prop_map(|(kind, n, from)| match kind {
            0 => stage(n),
            1 => activate(n, from),
            _ => retire(n),
        });
    (0..40_i32, order).prop_map(|(id, order): (i32, Order)| command(&id.to_string(), order))
}

proptest! {
    /// By the words of the design: entries in log order, the last that covers an origin serves it.
    #[test]
    fn a_schedule_serves_what_the_list_of_all_activations_says(
        commands in prop::collection::vec(any_command(), 0..60)
    ) {
        let mut control = Control::new(Keys::default());
        let mut listed: Vec<(Digest, Option<i64>)> = Vec::new();
        for given in &commands {
            let effect = control.give(given);
            if let (Ok(Effect::Activated { digest, .. }), Order::Activate { effective_from, .. }) =
                (effect, &given.order)
            {
                listed.push((digest, *effective_from));
            }
        }
        for origin in -1..7 {
            let covers = |(_, from): &&(Digest, Option<i64>)| from.is_none_or(|from| from <= origin);
            let serves = listed.iter().rev().find(covers).map(|(digest, _)| *digest);
            prop_assert_eq!(control.at(origin), serves);
            // What serves is at hand.
            if let Some(serves) = serves {
                prop_assert!(control.log.slots()[SLOT].staged().contains_key(&serves));
            }
        }
    }

    /// A record that is read again, from wherever, changes nothing.
    #[test]
    fn a_log_that_is_read_again_says_the_same(
        commands in prop::collection::vec(any_command(), 1..60),
        back in prop::collection::vec((0..60_usize, 0..60_usize), 0..4),
    ) {
        let codec = CommandCodec::new().unwrap();
        let values: Vec<_> = commands.iter().map(|one| codec.write(one).unwrap()).collect();
        let record = |index: usize| CommandRecord {
            offset: Offset::new(i64::try_from(index).unwrap()).unwrap(),
            appended: Timestamp(0),
            key: Some(SLOT.as_bytes()),
            value: Some(&values[index]),
        };
        let new = || Log::new(CommandCodec::new().unwrap(), Keys::default());
        let (mut straight, mut jumping) = (new(), new());
        for index in 0..values.len() {
            let _effect = straight.fold(record(index));
            let _same = jumping.fold(record(index));
            for (when, to) in &back {
                if *when == index {
                    for again in (*to).min(index)..=index {
                        prop_assert_eq!(jumping.fold(record(again)).unwrap(), Effect::Repeated);
                    }
                }
            }
        }
        prop_assert_eq!(straight.slots(), jumping.slots());
        prop_assert_eq!(straight.position(), jumping.position());
    }

    /// Whatever bytes there are, the fold goes on behind them.
    #[test]
    fn no_bytes_end_the_fold(
        noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)
    ) {
        let mut control = Control::new(Keys::default());
        let head = control.codec.write(&command("s", stage(1))).unwrap()[..10].to_vec();
        for (framed, bytes) in noise.iter().enumerate().map(|(i, bytes)| (i % 2 == 0, bytes)) {
            let value = if framed { [&head[..], bytes].concat() } else { bytes.clone() };
            let _refused = control.log.fold(CommandRecord {
                offset: Offset::new(control.next).unwrap(),
                appended: Timestamp(0),
                key: Some(SLOT.as_bytes()),
                value: Some(&value),
            });
            control.next += 1;
        }
        prop_assert!(control.give(&command("s", stage(1))).is_ok());
    }
}
