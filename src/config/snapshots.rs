//! `[snapshots]`: where the windows of partitions are kept, and how often.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::reader::Section;
use super::{Environment, Secret, dump, kind};

/// Copies of windows that make restores short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshots {
    /// `None`: restores replay the log.
    pub location: Option<SnapshotLocation>,
    pub interval: Duration,
    /// Snapshots of a partition that are kept.
    pub keep: NonZeroUsize,
    pub upload_timeout: Duration,
    pub restore_timeout: Duration,
}

/// Where snapshots are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotLocation {
    Folder(PathBuf),
    S3 {
        bucket: String,
        prefix: String,
        /// Variables of the process that begin with `AWS_`: credentials, region, endpoint.
        variables: Vec<(String, Secret)>,
    },
}

impl Snapshots {
    const FOLDER: &str = "snapshots";
    const INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);
    const INTERVAL: Duration = Duration::from_mins(1);
    const KEEP_MAX: usize = 1_000;
    const KEEP: NonZeroUsize = NonZeroUsize::MIN.saturating_add(2);
    const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(1);
    const UPLOAD_TIMEOUT: Duration = Duration::from_mins(5);
    const RESTORE_TIMEOUT: Duration = Duration::from_mins(1);

    pub(super) fn read(section: &mut Section<'_>, environment: &Environment) -> Option<Self> {
        let base = section.reader().base();
        let folder = Some(SnapshotLocation::Folder(base.join(Self::FOLDER)));
        let location = section.or("location", folder, &{
            location_kind(base, environment).or_off()
        });
        let interval = section.or("interval", Self::INTERVAL, &kind::duration(Self::INTERVALS));
        let keep = section.or("keep", Self::KEEP, &kind::positive(Self::KEEP_MAX));
        let mut timeout = |key, default| {
            let kind = kind::duration(Self::TIMEOUTS);
            section.or(key, default, &kind)
        };
        let upload_timeout = timeout("upload_timeout", Self::UPLOAD_TIMEOUT);
        let restore_timeout = timeout("restore_timeout", Self::RESTORE_TIMEOUT);
        Some(Self {
            location: location?,
            interval: interval?,
            keep: keep?,
            upload_timeout: upload_timeout?,
            restore_timeout: restore_timeout?,
        })
    }

    pub(super) fn dump(&self) -> toml::Table {
        let Self {
            location,
            interval,
            keep,
            upload_timeout,
            restore_timeout,
        } = self;
        let location = match location {
            None => "off".into(),
            Some(SnapshotLocation::Folder(folder)) => dump::path(folder),
            Some(SnapshotLocation::S3 { bucket, prefix, .. }) if prefix.is_empty() => {
                format!("s3://{bucket}").into()
            }
            Some(SnapshotLocation::S3 { bucket, prefix, .. }) => {
                format!("s3://{bucket}/{prefix}").into()
            }
        };
        dump::table([
            ("location", location),
            ("interval", dump::duration(*interval)),
            ("keep", dump::count(keep.get())),
            ("upload_timeout", dump::duration(*upload_timeout)),
            ("restore_timeout", dump::duration(*restore_timeout)),
        ])
    }
}

fn location_kind(base: PathBuf, environment: &Environment) -> kind::Kind<'_, SnapshotLocation> {
    kind::Kind::new(
        "the path of a folder, or s3://bucket or s3://bucket/prefix",
        move |value| {
            let text = kind::text_of(value)?;
            let Some(rest) = text.strip_prefix("s3://") else {
                let is_path = !text.is_empty() && !text.contains("://") && !text.contains('\0');
                return is_path.then(|| SnapshotLocation::Folder(base.join(text)));
            };
            bucket_and_prefix(rest).map(|(bucket, prefix)| SnapshotLocation::S3 {
                bucket: bucket.to_owned(),
                prefix: prefix.to_owned(),
                variables: aws_variables(environment),
            })
        },
    )
}

/// `bucket` or `bucket/prefix`, and the prefix without slashes behind it.
pub(super) fn bucket_and_prefix(text: &str) -> Option<(&str, &str)> {
    let (bucket, prefix) = text.split_once('/').unwrap_or((text, ""));
    let is_bucket = (3..=63).contains(&bucket.len())
        && bucket
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    let is_prefix = !prefix.contains(['?', '#', '@']) && !prefix.contains("//");
    (is_bucket && is_prefix).then(|| (bucket, prefix.trim_end_matches('/')))
}

/// What a client of a bucket is configured by.
pub(super) fn aws_variables(environment: &Environment) -> Vec<(String, Secret)> {
    environment
        .starting_with("AWS_")
        .map(|(name, set)| (name.to_owned(), Secret::new(set.to_owned())))
        .collect()
}
