//! Files that are fine, files that are not, and what becomes of them as Avro and on a topic.

mod files;
mod sending;
mod values;

use std::path::Path;

use clap::Parser;

use super::row::Row;
use super::*;

const SAMPLE: &str = "demo/sample.parquet";

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: Arguments,
}

fn args(line: &[&str]) -> Arguments {
    let fixed = ["foretell", "--topic", "t", "--brokers", "127.0.0.1:1"];
    Command::try_parse_from(fixed.iter().chain(line))
        .unwrap()
        .args
}

fn file(name: &str, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::File::create(&path)
        .unwrap()
        .write_all(content)
        .unwrap();
    (folder, path)
}

/// All rows, or the first error as a person reads it.
fn read(path: &Path, line: &[&str]) -> Result<Vec<Row>, String> {
    let mut all = vec![path.to_str().unwrap()];
    all.extend(line);
    let args = args(&all);
    let schema = args.schema(None).map_err(|error| error.to_string())?;
    let table = args.table(&schema).map_err(|error| error.to_string())?;
    let mut rows = table.rows().map_err(|error| error.to_string())?;
    let mut row = Row::sized(schema.numbers().len());
    let mut found = Vec::new();
    while rows.next(&mut row).map_err(|error| error.to_string())? {
        found.push(row.clone());
    }
    Ok(found)
}
