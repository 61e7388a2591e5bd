//! What the control topic must be like, so that every worker folds the same log whenever it does.

/// A setting of the control topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    pub setting: &'static str,
    pub wanted: &'static str,
    pub why: &'static str,
    /// Only where commands are signed.
    pub of_signed: bool,
}

/// What is looked at when a worker starts, and what `topics create` makes.
pub const NEEDS: [Need; 3] = [
    Need {
        setting: "cleanup.policy",
        wanted: "delete",
        why: "compaction would lose what a bad record hides",
        of_signed: false,
    },
    Need {
        setting: "retention.ms",
        wanted: "-1",
        why: "a restart folds all of it",
        of_signed: false,
    },
    Need {
        setting: "message.timestamp.type",
        wanted: "LogAppendTime",
        why: "a signature is valid by the broker's clock",
        of_signed: true,
    },
];

/// The needs that settings do not meet, each with what was found; one that is not told counts as met.
pub fn unmet(
    is_signed: bool,
    setting: impl Fn(&str) -> Option<String>,
) -> impl Iterator<Item = (Need, String)> {
    let needed = NEEDS
        .into_iter()
        .filter(move |need| is_signed || !need.of_signed);
    needed.filter_map(move |need| {
        let found = setting(need.setting)?;
        (found != need.wanted).then_some((need, found))
    })
}
