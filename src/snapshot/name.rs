//! Names of snapshots. They sort by position, and say what may be skipped without reading it.

use object_store::path::Path;

use crate::domain::{NextOffset, PartitionId};

/// `{position:020}-{config hash:016x}-{random:016x}.arrow` in the folder `{group}/{topic}/{partition}`.
///
/// The last part keeps two workers that believe to own a partition at the same time from writing one
/// object: both are right about what the windows were at that position, so either will do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    pub position: NextOffset,
    pub config_hash: u64,
    pub random: u64,
}

impl Name {
    pub(super) const SUFFIX: &str = ".arrow";

    /// The folder of a partition's snapshots. Characters that a path cannot have are escaped.
    pub(super) fn folder(
        prefix: &Path,
        (group, topic): (&str, &str),
        partition: PartitionId,
    ) -> Path {
        let folder = prefix.clone().join(group).join(topic);
        folder.join(partition.to_string())
    }

    pub(super) fn path(&self, folder: &Path) -> Path {
        folder.clone().join(self.to_string())
    }

    /// The name behind a path, if it is one of these.
    pub(super) fn parse(path: &Path) -> Option<Self> {
        let text = path.filename()?.strip_suffix(Self::SUFFIX)?;
        let mut parts = text.split('-');
        let (position, config, random) = (parts.next()?, parts.next()?, parts.next()?);
        let name = Self {
            position: NextOffset::new(position.parse().ok()?)?,
            config_hash: u64::from_str_radix(config, 16).ok()?,
            random: u64::from_str_radix(random, 16).ok()?,
        };
        // Only what would be written is read: one snapshot has one name.
        (parts.next().is_none() && path.filename() == Some(&name.to_string())).then_some(name)
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            position,
            config_hash,
            random,
        } = self;
        let position = position.get();
        write!(
            f,
            "{position:020}-{config_hash:016x}-{random:016x}{}",
            Self::SUFFIX
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_by_position_and_are_read_as_they_are_written() {
        let name = |position| Name {
            position: NextOffset::new(position).unwrap(),
            config_hash: 7,
            random: u64::MAX,
        };
        let folder = Name::folder(&Path::from("a/b"), ("g", "topic/../x"), PartitionId(3));
        assert_eq!(folder.to_string(), "a/b/g/topic%2F..%2Fx/3");
        let mut paths: Vec<_> = [99, 1_000, 5, i64::MAX]
            .map(|position| name(position).path(&folder))
            .into();
        paths.sort();
        let read: Vec<_> = paths
            .iter()
            .map(|path| Name::parse(path).unwrap().position.get())
            .collect();
        assert_eq!(read, [5, 99, 1_000, i64::MAX]);
    }

    #[test]
    fn other_names_are_none_of_ours() {
        let good = "00000000000000000005-0000000000000007-00000000000000ff.arrow";
        assert!(Name::parse(&Path::from(good)).is_some());
        for other in [
            "x.arrow",
            "5-7-ff.arrow",
            "00000000000000000005-0000000000000007-00000000000000FF.arrow",
            "00000000000000000005-0000000000000007-00000000000000ff-1.arrow",
            "-0000000000000000005-0000000000000007-00000000000000ff.arrow",
            "00000000000000000005-0000000000000007-00000000000000ff.arrow.tmp",
        ] {
            assert_eq!(Name::parse(&Path::from(other)), None, "{other}");
        }
    }
}
