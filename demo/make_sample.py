#!/usr/bin/env python3
"""Writes demo/sample.parquet from the three `_test` files of the cell-traffic measurements.

    python3 demo/make_sample.py FOLDER_WITH_THE_CSV_FILES

Needs pyarrow (made with 26.0.1). No test runs it: the file it writes is in the repository.
Rows are ordered by series, then time; empty cells stay missing; times are UTC, as the publication gives them.
"""

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

SERIES = ["ElBorn", "LesCorts", "PobleSec"]
FEATURES = [
    "down", "up", "rnti_count", "mcs_down", "mcs_down_var", "mcs_up", "mcs_up_var",
    "rb_down", "rb_down_var", "rb_up", "rb_up_var",
]
LIMIT_BYTES = 1_000_000


def read(path: Path, series: str) -> pa.Table:
    types = {"time": pa.timestamp("s")} | {name: pa.float64() for name in FEATURES}
    options = pyarrow.csv.ConvertOptions(column_types=types, include_columns=["time", *FEATURES])
    table = pyarrow.csv.read_csv(path, convert_options=options)
    time = pc.assume_timezone(table["time"], "UTC").cast(pa.timestamp("ms", "UTC"))
    columns = [pa.array([series] * len(table), pa.string()), time, *(table[name] for name in FEATURES)]
    fields = [
        pa.field("series", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("ms", "UTC"), nullable=False),
        *(pa.field(name, pa.float64()) for name in FEATURES),
    ]
    return pa.table(columns, schema=pa.schema(fields))


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = Path(sys.argv[1])
    table = pa.concat_tables([read(folder / f"{name}_test.csv", name) for name in SERIES])
    out = Path(__file__).with_name("sample.parquet")
    pq.write_table(
        table,
        out,
        compression="zstd",
        compression_level=19,
        use_dictionary=["series"],
        # Splitting a double's bytes into streams lets zstd find what neighbours have in common.
        use_byte_stream_split=FEATURES,
        column_encoding={"time": "DELTA_BINARY_PACKED"},
        row_group_size=2_048,
        store_schema=False,
    )
    size = out.stat().st_size
    missing = sum(table[name].null_count for name in FEATURES)
    print(f"{out}: {table.num_rows} rows, {missing} missing cells, {size} bytes")
    assert size < LIMIT_BYTES, f"the sample must stay below {LIMIT_BYTES} bytes"


if __name__ == "__main__":
    main()
