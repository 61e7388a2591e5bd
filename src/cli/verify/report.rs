//! What a check came to, for people and for programs.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use super::check::{Checked, Told};
use super::compare::ULPS_MAX;
use super::finding::{About, Difference, Finding, Findings, Weight};
use super::gaps::{Gaps, Skipped};
use super::scope::StateProof;
use crate::cli::output::printable;
use crate::cli::progress::grouped;
use crate::config::Config;
use crate::domain::PartitionId;

/// Everything that is told, as it is written for programs.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Everything that can be checked was, and is as it should be.
    pub(super) clean: bool,
    observations: String,
    forecasts: String,
    dead_letters: String,
    /// Every finding by its label, those that were not made too.
    counts: BTreeMap<&'static str, u64>,
    partitions: Vec<Partition>,
    /// Partitions in which the group has committed nothing.
    uncommitted: Vec<i32>,
    unknown_models: Vec<UnknownModel>,
    /// The largest difference of a value that another runtime made, in ULPs.
    largest_ulps: f64,
    /// What cannot be checked any more, in a sentence each.
    notes: Vec<String>,
    /// The first of each kind.
    differences: Vec<Difference>,
}

#[derive(Debug, Serialize)]
struct Partition {
    #[serde(rename = "partition")]
    number: i32,
    /// The first record that was folded.
    first: i64,
    committed: i64,
    records: u64,
    /// `agree`, `differ` or `untold`.
    windows: &'static str,
    /// Why nothing is said of them.
    reason: Option<String>,
    /// What was deleted before it was read, in the order of the offsets.
    skipped: Vec<Gap>,
    notes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Gap {
    from: i64,
    /// The first offset that was not skipped.
    to: i64,
    offsets: u64,
}

#[derive(Debug, Serialize)]
struct UnknownModel {
    digest: String,
    name: String,
    forecasts: u64,
}

impl Report {
    pub(super) fn of(config: &Config, told: &Told) -> Self {
        let Told {
            judgement,
            partitions,
            uncommitted,
            notes,
        } = told;
        let findings = &judgement.findings;
        let unknown = judgement.unknown_models.iter();
        Self {
            clean: findings.is_clean(),
            observations: config.topics.observations.clone(),
            forecasts: config.topics.forecasts.clone(),
            dead_letters: config.topics.dead_letters.clone(),
            counts: counts(findings),
            partitions: partitions
                .iter()
                .map(|checked| Partition::of(checked, &judgement.gaps))
                .collect(),
            uncommitted: uncommitted.iter().map(|partition| partition.0).collect(),
            unknown_models: unknown
                .map(|(digest, (name, forecasts))| UnknownModel {
                    digest: digest.clone(),
                    name: name.clone(),
                    forecasts: *forecasts,
                })
                .collect(),
            largest_ulps: judgement.ulps,
            notes: notes.clone(),
            differences: findings.differences().cloned().collect(),
        }
    }

    fn count(&self, finding: Finding) -> u64 {
        self.counts.get(finding.label()).copied().unwrap_or(0)
    }

    fn weight(&self, weight: Weight) -> u64 {
        let of = Finding::ALL.into_iter().filter(|it| it.weight() == weight);
        of.map(|finding| self.count(finding)).sum()
    }
}

fn counts(findings: &Findings) -> BTreeMap<&'static str, u64> {
    let all = Finding::ALL.into_iter();
    all.map(|finding| (finding.label(), findings.get(finding)))
        .collect()
}

impl Partition {
    fn of(checked: &Checked, gaps: &BTreeMap<PartitionId, Gaps>) -> Self {
        let Checked { planned, state } = checked;
        let scope = &planned.scope;
        let skipped = gaps.get(&scope.partition).map_or(&[][..], Gaps::list);
        let notes = planned.notes.iter().cloned().chain(gaps_note(skipped));
        let (windows, reason) = match state {
            StateProof::Agrees => ("agree", None),
            StateProof::Differs { .. } => ("differ", None),
            StateProof::Untold(reason) => ("untold", Some(reason.clone())),
        };
        Self {
            number: scope.partition.0,
            first: scope.first.get(),
            committed: scope.committed.get(),
            records: planned.fold.records,
            windows,
            reason,
            skipped: skipped.iter().map(Gap::of).collect(),
            notes: notes.collect(),
        }
    }
}

impl Gap {
    fn of(skipped: &Skipped) -> Self {
        Self {
            from: skipped.from.get(),
            to: skipped.to.get(),
            offsets: skipped.offsets(),
        }
    }
}

/// What was skipped, in a sentence.
fn gaps_note(gaps: &[Skipped]) -> Option<String> {
    let end = gaps.last()?.to;
    let all: u64 = gaps.iter().map(|gap| gap.offsets()).sum();
    let list: Vec<_> = gaps.iter().map(ToString::to_string).collect();
    Some(format!(
        "{} were deleted before they were read and skipped, {} offsets in all: windows began empty at offset {}, and what was made of records before cannot be checked any more",
        list.join(", "),
        grouped(all),
        end
    ))
}

/// Writes the report as a page.
pub(super) fn text(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let topic = |name: &str| printable(name);
    writeln!(out, "Forecasts in {}", topic(&report.forecasts))?;
    table(out, report, About::Forecasts)?;
    writeln!(out, "Dead letters in {}", topic(&report.dead_letters))?;
    table(out, report, About::Letters)?;
    writeln!(out, "Observations in {}", topic(&report.observations))?;
    partitions(out, report)?;
    if report.count(Finding::Close) > 0 {
        writeln!(
            out,
            "Another runtime made some of the forecasts: they differ by up to {:.1} ULPs of a float32 in the model's scaled units, and {ULPS_MAX} are allowed.",
            report.largest_ulps
        )?;
    }
    let of_partitions = report.partitions.iter().flat_map(|partition| {
        let notes = partition.notes.iter();
        notes.map(|note| format!("Partition {}: {note}.", partition.number))
    });
    let of_topics = report.notes.iter().map(|note| format!("{note}."));
    for note in of_topics.chain(of_partitions) {
        writeln!(out, "{}", printable(&note))?;
    }
    for model in &report.unknown_models {
        writeln!(
            out,
            "{} forecasts were made by {}, a package that was not given and that workers do not keep: name its file with --model; its SHA-256 is {}",
            grouped(model.forecasts),
            printable(&model.name),
            printable(&model.digest)
        )?;
    }
    differences(out, report)?;
    writeln!(out, "{}", verdict(report))
}

fn table(out: &mut impl Write, report: &Report, about: About) -> io::Result<()> {
    let mut lines = 0;
    for finding in Finding::ALL {
        let count = report.count(finding);
        // What is wrong has its line even where there is none: that is what was asked.
        let is_shown = count > 0 || finding.weight() == Weight::Wrong;
        if finding.about() == about && is_shown {
            writeln!(out, "  {:<42} {:>14}", finding.words(), grouped(count))?;
            lines += 1;
        }
    }
    if lines == 0 {
        writeln!(out, "  none")?;
    }
    Ok(())
}

fn partitions(out: &mut impl Write, report: &Report) -> io::Result<()> {
    writeln!(
        out,
        "  {:>9} {:>14} {:>14} {:>14}  windows at the committed offset",
        "partition", "from", "committed", "records"
    )?;
    for partition in &report.partitions {
        let Partition {
            number,
            first,
            committed,
            records,
            windows,
            reason,
            skipped: _,
            notes: _,
        } = partition;
        let windows = match (*windows, reason) {
            ("agree", _) => "have the committed checksum".to_owned(),
            ("differ", _) => "DIFFER from the committed checksum".to_owned(),
            (_, reason) => reason.clone().unwrap_or_default(),
        };
        writeln!(
            out,
            "  {number:>9} {first:>14} {committed:>14} {:>14}  {}",
            grouped(*records),
            printable(&windows)
        )?;
    }
    if !report.uncommitted.is_empty() {
        let numbers: Vec<_> = report.uncommitted.iter().map(ToString::to_string).collect();
        let numbers = numbers.join(", ");
        writeln!(out, "  nothing is committed in partition {numbers}")?;
    }
    Ok(())
}

fn differences(out: &mut impl Write, report: &Report) -> io::Result<()> {
    if report.differences.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nThe first of each kind")?;
    for difference in &report.differences {
        let Difference {
            finding,
            source,
            output,
            what,
        } = difference;
        let place = |place: &Option<super::finding::Place>| {
            place
                .as_ref()
                .map_or_else(|| "-".to_owned(), ToString::to_string)
        };
        let label = match finding.about() {
            About::Forecasts | About::State => finding.label().replace('_', " "),
            About::Letters => finding
                .label()
                .replace("letter_", "dead letter ")
                .replace('_', " "),
        };
        let (source, found) = (place(source), place(output));
        writeln!(
            out,
            "  {label:<22} {}  {}\n    {}",
            printable(&source),
            printable(&found),
            printable(what)
        )?;
    }
    writeln!(out)
}

fn verdict(report: &Report) -> String {
    let wrong = report.weight(Weight::Wrong);
    let unchecked = report.weight(Weight::Unchecked);
    let untold = report.weight(Weight::Untold);
    let mut verdict = match (wrong, unchecked) {
        (0, 0) => "Everything that can be checked is as it should be.".to_owned(),
        (0, unchecked) => format!("{} forecasts were not checked.", grouped(unchecked)),
        (wrong, 0) => format!("{} differences.", grouped(wrong)),
        (wrong, unchecked) => format!(
            "{} differences, and {} forecasts were not checked.",
            grouped(wrong),
            grouped(unchecked)
        ),
    };
    if untold > 0 {
        verdict = format!("{verdict} Of {} nothing can be said.", grouped(untold));
    }
    if report.count(Finding::Doubled) > 0 {
        verdict.push_str(
            " Where an operator has set the group's offsets back, forecasts are published again by intent and show as doubled.",
        );
    }
    verdict
}
