"""Forecasts of a stream of observations, from the raw CSV to the last number.

The oracle of tests/worker_core: what the worker must publish for tests/data, computed with numpy,
onnxruntime and xxhash from the description of the product. It reads the CSV itself and keeps its
windows as dictionaries from slot to cells; it shares no code with the worker.

    pip install -r tests/oracle/requirements.txt
    python3 tests/oracle/stream.py

writes stream/plain.json, the rows as they were measured, and stream/disturbed.json, the same rows
doubled, late, altered, beside the grid, with gaps and with missing cells. The records themselves are
in the files too, so that both sides read the same ones:

events      one per record: [series, row of the CSV, milliseconds added to its time, features whose
            cells are dropped, summand of `down`]; the offset of a record is its place in the list
outcomes    one per record, for a model that never is due
forecasts   per model, one per forecast: [offset, origin, imputed, window_hash, values], the values
            flat: per target the mean, then the quantiles in their order
"""

import csv
import datetime
import json
import pathlib
import struct

import numpy as np
import xxhash

import forecast as oracle

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
SERIES = ["ElBorn", "LesCorts", "PobleSec"]
MODELS = ["demo/last_value.onnx", "tests/models/gru_quantiles.onnx", "tests/models/linear_recursive.onnx"]
# What the worker keeps: one feature more than the models read, and the one that has missing values.
FEATURES = ["mcs_up", "down", "up", "rnti_count"]
STEP_MS, LENGTH, GAP_MAX, TOLERANCE_MS = 120_000, 64, 3, 12_000
MISSING = struct.pack("<Q", 0x7FF8000000000000)


def measured(series):
    """Rows of a CSV as (milliseconds, {feature: value or None})."""
    with open(ROOT / "tests/data" / f"{series}.csv", newline="") as file:
        rows = []
        for row in csv.DictReader(file):
            time = datetime.datetime.fromisoformat(row["time"]).replace(tzinfo=datetime.timezone.utc)
            milliseconds = (time - oracle.EPOCH) // datetime.timedelta(milliseconds=1)
            rows.append((milliseconds, {name: float(row[name]) if row[name] else None for name in FEATURES}))
        return rows


class Windows:
    """The kept observations of one series."""

    def __init__(self):
        self.rows, self.newest, self.held = {}, None, None

    def fold(self, slot, cells):
        """What becomes of an observation; changes the windows accordingly."""
        if self.newest is None:
            return self._newest(slot, cells)
        if slot <= self.newest - (LENGTH + GAP_MAX):
            return "late"
        if slot in self.rows:
            return self._against(self.rows[slot], cells)
        if slot < self.newest:
            self.rows[slot] = dict(cells)
            return "late_filled"
        if self.held is not None:
            held_slot, held_cells = self.held
            if slot == held_slot:
                return self._against(held_cells, cells)
            if held_slot < slot <= held_slot + GAP_MAX + 1:
                self.held = None
                self._newest(held_slot, held_cells)
                return self._newest(slot, cells)
            self.held = None
        if slot > self.newest + GAP_MAX + 1:
            self.held = (slot, dict(cells))
            return "held"
        return self._newest(slot, cells)

    def _newest(self, slot, cells):
        self.rows[slot], self.newest = dict(cells), slot
        self.rows = {at: row for at, row in self.rows.items() if at > slot - (LENGTH + GAP_MAX)}
        return "folded"

    @staticmethod
    def _against(known, cells):
        both = [name for name in FEATURES if known[name] is not None and cells[name] is not None]
        if any(known[name] != cells[name] for name in both):
            return "conflicting_duplicate"
        fills = [name for name in FEATURES if known[name] is None and cells[name] is not None]
        for name in fills:
            known[name] = cells[name]
        return "late_filled" if fills else "duplicate"

    def hash(self):
        """The window_hash, as the signed number that Avro has."""
        total = 0
        for slot, row in self.rows.items():
            cells = [MISSING if row[name] is None else struct.pack("<d", row[name] + 0.0) for name in FEATURES]
            total += xxhash.xxh3_64_intdigest(struct.pack("<q", slot) + b"".join(cells))
        total %= 2**64
        return total - 2**64 if total >= 2**63 else total

    def complete(self, contract):
        """Values [window, features] and the number of imputed cells, or None."""
        values, imputed = [], 0
        for slot in range(self.newest - contract["window"] + 1, self.newest + 1):
            row = []
            for feature in contract["features"]:
                known = [
                    self.rows[at][feature["name"]]
                    for at in range(slot, slot - GAP_MAX - 1, -1)
                    if at in self.rows and self.rows[at][feature["name"]] is not None
                ]
                here = self.rows.get(slot, {}).get(feature["name"])
                if here is None:
                    if not known:
                        return None
                    imputed += 1
                row.append(here if here is not None else known[0])
            values.append(row)
        most = contract.get("imputed_max")
        return None if most is not None and imputed > most else (values, imputed)


def plain(counts):
    """Every row, the cells in turn."""
    return [[series, row, 0, [], 0] for row in range(max(counts)) for series in range(3) if row < counts[series]]


def disturbed(counts):
    """The rows in turn, and what happens to data on its way."""
    random = np.random.default_rng(7)
    events, waiting = [], []
    skip = [0, 0, 0]
    for event in plain(counts):
        series, row = event[:2]
        if row > 20:
            if skip[series] > 0:
                skip[series] -= 1
                continue
            kind = random.integers(0, 30)
            if kind == 0:
                skip[series] = int(random.integers(1, 7))
                continue
            if kind == 1:
                event[3] = [str(name) for name in random.choice(FEATURES, random.integers(1, 3), replace=False)]
            if kind == 2:
                event[2] = int(random.integers(-TOLERANCE_MS, TOLERANCE_MS + 1))
            if kind == 3:
                waiting.append((len(events) + int(random.integers(3, 12)), event))
                continue
        events.append(event)
        if row > 20:
            if kind == 4:
                events.append(list(event))
            if kind == 5:
                events.append([series, row, 0, [], 1000])
            if kind == 1 and random.integers(0, 2):
                events.append([series, row, 0, [], 0])
            if kind == 6:
                events.append([series, row - 20, 0, [], 0])
            if kind == 7 and row > 90:
                events.append([series, row - 80, 0, [], 0])
        for due in [pair for pair in waiting if pair[0] <= len(events)]:
            waiting.remove(due)
            events.append(due[1])
    return events


def run(events):
    """The outcomes and, per model, the forecasts of a stream."""
    data = [measured(series) for series in SERIES]
    models = {path: (oracle.load_contract(ROOT / path), oracle.load_session(ROOT / path)) for path in MODELS}
    windows = [Windows() for _ in SERIES]
    outcomes, forecasts = [], {pathlib.Path(path).stem: [] for path in MODELS}
    for offset, (series, row, moved_ms, dropped, summand) in enumerate(events):
        time, measurement = data[series][row]
        cells = {name: None if name in dropped else value for name, value in measurement.items()}
        if cells["down"] is not None:
            cells["down"] += summand
        # moved_ms is within the tolerance, so the nearest slot is the row's own.
        slot = (time + moved_ms + STEP_MS // 2) // STEP_MS
        outcome = windows[series].fold(slot, cells)
        outcomes.append(outcome)
        if outcome != "folded":
            continue
        for path, (contract, session) in models.items():
            complete = windows[series].complete(contract)
            if complete is None:
                continue
            values, imputed = complete
            origin = slot * STEP_MS
            result = oracle.forecast(contract, session, np.array([values]), [origin])
            assert result["valid"][0]
            flat = []
            for target in contract["targets"]:
                flat += result[target]["mean"][0].tolist()
                flat += result[target]["quantiles"][:, 0].ravel().tolist()
            forecasts[pathlib.Path(path).stem].append([offset, origin, imputed, windows[series].hash(), flat])
    return outcomes, forecasts


def text(forecast):
    offset, origin, imputed, window_hash, values = forecast
    return f'[{offset},{origin},{imputed},{window_hash},[{",".join(f"{value:.9g}" for value in values)}]]'


def main():
    counts = [len(measured(series)) for series in SERIES]
    folder = HERE / "stream"
    folder.mkdir(exist_ok=True)
    for name, events in (("plain", plain(counts)), ("disturbed", disturbed(counts))):
        outcomes, forecasts = run(events)
        parts = [f'"{model}": [\n' + ",\n".join(map(text, rows)) + "\n]" for model, rows in forecasts.items()]
        (folder / f"{name}.json").write_text(
            '{\n"events": ' + json.dumps(events, separators=(",", ":"))
            + ',\n"outcomes": ' + json.dumps(outcomes, separators=(",", ":"))
            + ',\n"forecasts": {\n' + ",\n".join(parts) + "\n}\n}\n"
        )
        histogram = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
        print(name, histogram, {model: len(rows) for model, rows in forecasts.items()})
        print("  imputed:", {model: sum(row[2] > 0 for row in rows) for model, rows in forecasts.items()})


if __name__ == "__main__":
    main()
