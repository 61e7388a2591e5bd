//! From the configuration to what each room is configured by.

use std::num::NonZeroU32;

use super::StartError;
use crate::config::{self, Config, InputFormat};
use crate::consume::{ClientSettings, ConsumerSettings, QueueLimits, StartPosition};
use crate::decode::{
    Decoder, DecoderConfig, Projection, SchemaFolder, TimeUnit, WireFormat, WriterSchema,
};
use crate::models::{FetchSettings, MlflowSettings, PackageStoreSettings};
use crate::partition::{DEADLINE_HEADER, OutputSettings, RestoreSettings};
use crate::produce::{CARRIED_HEADERS, Guarantee, ProducerSettings};
use crate::registry::{Auth, RegistrySettings, Schemas, Tls};
use crate::snapshot::{Location, StoreSettings};
use crate::window::{
    ConflictPolicy, MissingPolicy, WindowConfig, WindowConfigError, WindowSettings,
};

fn milliseconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The checked keys that the fold reads.
///
/// # Errors
/// The first bound that does not hold; none does where `config` has checked the file.
pub fn windows(config: &Config) -> Result<WindowConfig, WindowConfigError> {
    let config::Window {
        grid,
        length,
        gap_max,
        features,
        future_max,
        grid_tolerance,
        series_max,
        series_idle,
        missing,
        on_conflict,
        collapse_after,
    } = &config.window;
    WindowConfig::new(WindowSettings {
        grid: *grid,
        length: length.get(),
        gap_max: *gap_max,
        features: features.len(),
        future_max_ms: milliseconds(*future_max),
        grid_tolerance_ms: milliseconds(*grid_tolerance),
        series_max: series_max.get(),
        series_idle_ms: milliseconds(*series_idle),
        missing: match missing {
            config::Missing::Impute => MissingPolicy::Impute,
            config::Missing::Reject => MissingPolicy::Reject,
        },
        on_conflict: match on_conflict {
            config::OnConflict::Keep => ConflictPolicy::Keep,
            config::OnConflict::Replace => ConflictPolicy::Replace,
        },
        collapse_after: collapse_after.get(),
    })
}

/// The decoder of the configuration, with its schemas loaded.
///
/// # Errors
/// When a schema cannot be used, or the projection names a field twice.
pub fn decoder(config: &Config) -> Result<Decoder, StartError> {
    let format = match &config.input.format {
        InputFormat::SingleObject { schema_folder } => WireFormat::SingleObject {
            schemas: SchemaFolder::load(schema_folder)?,
        },
        InputFormat::Datum { schema } => WireFormat::Datum {
            schema: WriterSchema::load(schema)?,
        },
        InputFormat::Confluent => WireFormat::Confluent,
    };
    let projection = Projection {
        series: config.input.series_field.clone(),
        time: config.input.time_field.clone(),
        time_unit: config.input.time_unit.map(|unit| match unit {
            config::TimeUnit::Seconds => TimeUnit::Seconds,
            config::TimeUnit::Milliseconds => TimeUnit::Millis,
            config::TimeUnit::Microseconds => TimeUnit::Micros,
            config::TimeUnit::Nanoseconds => TimeUnit::Nanos,
        }),
        features: config.window.features.clone(),
    };
    let value_bytes_max = config.input.value_bytes_max.get();
    Ok(Decoder::new(
        DecoderConfig {
            projection,
            value_bytes_max,
        },
        format,
    )?)
}

/// How clients of a worker of this configuration connect.
pub fn client(config: &Config) -> ClientSettings {
    ClientSettings {
        brokers: config.kafka.brokers.join(","),
        client_id: format!("foretell-{}", config.worker.id),
        properties: config
            .kafka
            .properties
            .expose()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    }
}

pub(super) fn consumer(config: &Config, client: ClientSettings) -> ConsumerSettings {
    let mut header_names = config.forecast.copy_headers.clone();
    header_names.push(DEADLINE_HEADER.to_owned());
    header_names.extend(CARRIED_HEADERS.map(str::to_owned));
    ConsumerSettings {
        client,
        topic: config.topics.observations.clone(),
        group_id: config.kafka.group_id.clone(),
        group_instance_id: config
            .kafka
            .static_membership
            .then(|| config.worker.id.clone()),
        session_timeout: config.kafka.session_timeout,
        max_poll_interval: config.kafka.max_poll_interval,
        skips_gaps: config.input.on_gap == config::OnGap::Skip,
        header_names,
    }
}

pub(super) fn producer(config: &Config, client: &ClientSettings) -> ProducerSettings {
    ProducerSettings {
        config: client.config(),
        guarantee: match config.commit.guarantee {
            config::Guarantee::ExactlyOnce => Guarantee::ExactlyOnce,
            config::Guarantee::AtLeastOnce => Guarantee::AtLeastOnce,
        },
        transactional_id: config.transactional_id(),
        transaction_timeout: config.commit.transaction_timeout,
        message_timeout: config.commit.message_timeout(),
        socket_timeout: config.commit.socket_timeout(),
        input_topic: config.topics.observations.clone(),
        forecasts_topic: config.topics.forecasts.clone(),
        dead_letters_topic: config.topics.dead_letters.clone(),
    }
}

pub(super) fn outputs(config: &Config, partitions: NonZeroU32) -> OutputSettings {
    OutputSettings {
        input_topic: config.topics.observations.clone(),
        step_ms: config.window.grid.step_ms(),
        partitions,
        copy_headers: config.forecast.copy_headers.clone(),
        max_age: config.forecast.max_age,
    }
}

pub(super) fn queue(config: &Config) -> QueueLimits {
    let config::Queue {
        records_high,
        records_low,
        bytes_high,
    } = config.input.queue;
    QueueLimits {
        records_high: records_high.get(),
        records_low,
        bytes_high: bytes_high.get(),
        bytes_low: config.input.queue.bytes_low(),
    }
}

/// The registry, for whoever asks it: the worker and the commands.
pub fn registry(registry: &config::Registry) -> RegistrySettings {
    let config::Registry {
        urls,
        credentials,
        ca_file,
        client_files,
        connect_timeout,
        request_timeout,
        unknown_schema_grace,
        register: _,
        allow_insecure: _,
    } = registry;
    RegistrySettings {
        urls: urls.clone(),
        auth: auth(credentials.as_ref()),
        tls: Tls {
            ca_file: ca_file.clone(),
            client: client_files.clone(),
        },
        connect_timeout: *connect_timeout,
        request_timeout: *request_timeout,
        unknown_schema_grace: *unknown_schema_grace,
    }
}

fn auth(credentials: Option<&config::Credentials>) -> Auth {
    match credentials {
        None => Auth::Nobody,
        Some(config::Credentials::Basic { username, password }) => Auth::Basic {
            username: username.clone(),
            password: password.expose().to_owned(),
        },
        Some(config::Credentials::Bearer { token }) => Auth::Bearer {
            token: token.expose().to_owned(),
        },
    }
}

/// Where model packages may come from.
pub fn fetch(promotion: &config::Promotion) -> FetchSettings {
    let config::Promotion {
        fetch_timeout,
        package_bytes_max,
        file_roots,
        s3_buckets,
        variables,
        https_hosts,
        private_hosts,
        ca_file,
        mlflow,
        allow_insecure: _,
        verify_timeout: _,
        verify_memory_max: _,
        hold_max: _,
    } = promotion;
    FetchSettings {
        bytes_max: package_bytes_max.get(),
        timeout: *fetch_timeout,
        file_roots: file_roots.clone(),
        s3_buckets: s3_buckets.clone(),
        variables: variables.iter().map(exposed).collect(),
        https_hosts: https_hosts.clone(),
        private_hosts: private_hosts.clone(),
        ca_file: ca_file.clone(),
        mlflow: mlflow.as_ref().map(|server| MlflowSettings {
            url: server.url.clone(),
            auth: auth(server.credentials.as_ref()),
        }),
    }
}

/// Where model packages are kept by their digests; `None` where nothing is kept.
pub fn package_store(config: &Config) -> Option<PackageStoreSettings> {
    let (location, variables) = place(&config.snapshots)?;
    Some(PackageStoreSettings {
        location,
        variables,
        timeout: config.promotion.fetch_timeout,
    })
}

fn exposed((name, value): &(String, config::Secret)) -> (String, String) {
    (name.clone(), value.expose().to_owned())
}

/// The folder or bucket of the snapshots, and the variables that open it.
fn place(snapshots: &config::Snapshots) -> Option<(Location, Vec<(String, String)>)> {
    match snapshots.location.as_ref()? {
        config::SnapshotLocation::Folder(folder) => {
            Some((Location::Folder(folder.clone()), Vec::new()))
        }
        config::SnapshotLocation::S3 {
            bucket,
            prefix,
            variables,
        } => {
            let location = Location::S3 {
                bucket: bucket.clone(),
                prefix: prefix.clone(),
            };
            Some((location, variables.iter().map(exposed).collect()))
        }
    }
}

/// Where snapshots are kept; `None` where none are.
pub(super) fn snapshots(config: &Config, restore: &RestoreSettings) -> Option<StoreSettings> {
    let config::Snapshots {
        location: _,
        interval: _,
        keep,
        upload_timeout,
        restore_timeout,
    } = &config.snapshots;
    let (location, variables) = place(&config.snapshots)?;
    Some(StoreSettings {
        location,
        variables,
        group_id: config.kafka.group_id.clone(),
        topic: config.topics.observations.clone(),
        config_hash: restore.config_hash,
        windows: restore.windows,
        keep: keep.get(),
        upload_timeout: *upload_timeout,
        restore_timeout: *restore_timeout,
    })
}

/// Hash of everything that the fold reads, as a worker of this configuration commits it.
///
/// # Errors
/// When there is no decoder of this configuration.
pub fn fold_hash(config: &Config) -> Result<u64, StartError> {
    let windows = windows(config)?;
    Ok(windows.config_hash(&decoder(config)?.config_keys()))
}

/// How a worker of this configuration rebuilds its windows.
pub fn restore(
    config: &Config,
    windows: WindowConfig,
    decoder: Decoder,
    schemas: Schemas,
) -> RestoreSettings {
    RestoreSettings {
        topic: config.topics.observations.clone(),
        start: match config.input.start {
            config::Start::Earliest => StartPosition::Earliest,
            config::Start::Latest => StartPosition::Latest,
            config::Start::At(time) => StartPosition::At(time),
        },
        skips_gaps: config.input.on_gap == config::OnGap::Skip,
        lookback: config.rebuild.lookback,
        config_hash: windows.config_hash(&decoder.config_keys()),
        windows,
        decoder,
        schemas,
    }
}
