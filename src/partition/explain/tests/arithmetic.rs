//! How many observations a window needs, held against the windows themselves.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The arithmetic agrees with the windows themselves: now, and for every further observation.
    #[test]
    fn what_is_needed_is_what_completes_the_window(
        steps in proptest::collection::vec((1..5_i64, 0..12_u8), 1..60),
    ) {
        let mut rig = Rig::new();
        let mut step = 0;
        for (distance, missing) in steps {
            step += distance.max(1);
            let cell = |bit: u8| (missing != bit).then_some(1.0);
            rig.fold(step, [cell(0), cell(1), cell(2), cell(3)]);
        }
        let window = rig.table.window_of("cell").unwrap();
        let newest = window.newest().0 - FIRST;
        let needed = rig.explain().model.observations_needed.unwrap();
        prop_assert_eq!(rig.explain().verdict == Verdict::Complete, rig.is_complete());
        for further in 1..=needed {
            prop_assert!(!rig.is_complete(), "complete {} early", needed + 1 - further);
            rig.whole(newest + i64::try_from(further).unwrap()..newest + 1 + i64::try_from(further).unwrap());
        }
        prop_assert!(rig.is_complete());
    }
}
