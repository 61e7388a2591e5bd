//! The configuration file of a job's workers and commands.

use std::fmt::Write as _;

use anyhow::Result;

use super::{GAP_MAX, Job, WINDOW, WireFormat};
use crate::observation::FEATURES;

impl Job {
    pub(super) fn config(&self, id: &str, port: u16) -> Result<String> {
        let schemas = self.schemas.display();
        let mut registry = String::new();
        let mut output = None;
        let (wire_format, schema) = match &self.wire_format {
            WireFormat::SingleObject => ("single_object", format!("schema_folder = \"{schemas}\"")),
            WireFormat::Datum => ("datum", format!("schema = \"{schemas}/cell_load.avsc\"")),
            WireFormat::Confluent(url) | WireFormat::ConfluentInput(url) => {
                if let WireFormat::ConfluentInput(_) = &self.wire_format {
                    output = Some("single_object");
                }
                registry = format!("[registry]\nurls = [\"{url}\"]");
                ("confluent", String::new())
            }
        };
        let features: Vec<String> = FEATURES.iter().map(|name| format!("{name:?}")).collect();
        let mut text = String::new();
        write!(
            text,
            r#"
[kafka]
brokers = {brokers:?}
group_id = {group:?}
session_timeout = "6s"
[worker]
id = {id:?}
lanes = 1
[topics]
observations = {observations:?}
forecasts = {forecasts:?}
dead_letters = {dead_letters:?}
control = "off"
status = "off"
[input]
wire_format = "{wire_format}"
{schema}
series_field = "series"
time_field = "time"
[window]
step = "2m"
length = {WINDOW}
gap_max = {GAP_MAX}
features = [{features}]
[model]
initial = "{model}"
[forecast]
wire_format = "{output}"
[admin]
listen = "127.0.0.1:{port}"
{registry}
"#,
            brokers = self.brokers.split(',').collect::<Vec<_>>(),
            group = self.name,
            observations = self.observations,
            forecasts = self.forecasts(),
            dead_letters = self.dead_letters(),
            features = features.join(", "),
            model = self.model.display(),
            output = output.unwrap_or(wire_format),
        )?;
        Ok(text)
    }
}
