"""Says what forecasts the rows of traffic.py must give, and compares with those read back.

    oracle.py CHECK.json < records

CHECK.json names the model package, the CSV folder, the topics' positions (publish.py's lines), the
features of the windows, length and gap_max. Standard input has the forecasts as ReadCommitted.java
prints them. Windows, imputation and hashes are computed here from the raw CSV with numpy and xxhash;
scaling, calendar and the model's run by tests/oracle/forecast.py, with numpy and onnxruntime; decoding
by fastavro. Nothing of the worker takes part.

Prints a summary; exits 1 with the first differences if there are any.
"""

import base64
import hashlib
import io
import json
import pathlib
import struct
import sys

import fastavro
import fastavro.schema
import numpy as np
import xxhash

import traffic

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "oracle"))
import forecast as model_oracle  # noqa: E402

STEP_MS = 120_000
RELATIVE = 1e-6
MISSING_BITS = struct.pack("<Q", 0x7FF8000000000000)


class Windows:
    """The newest length + gap_max slots of one series: slot -> cells, None where missing."""

    def __init__(self, features, length, gap_max):
        self.features, self.length, self.gap_max = features, length, gap_max
        self.rows = {}
        self.newest = None

    def fold(self, time, values):
        slot = time // STEP_MS
        assert time % STEP_MS == 0 and (self.newest is None or slot > self.newest)
        assert self.newest is None or slot - self.newest <= self.gap_max + 1, "the input has a long gap"
        self.rows[slot] = [values[feature] for feature in self.features]
        self.newest = slot
        for old in [old for old in self.rows if old <= slot - (self.length + self.gap_max)]:
            del self.rows[old]

    def hash(self):
        """Wrapping sum of the rows' xxh3-64, as a signed 64-bit number."""
        total = 0
        for slot, cells in self.rows.items():
            row = struct.pack("<q", slot)
            for cell in cells:
                # -0.0 counts as 0.0, which adding 0.0 makes of it.
                row += MISSING_BITS if cell is None else struct.pack("<d", cell + 0.0)
            total += xxhash.xxh3_64_intdigest(row, seed=0)
        return struct.unpack("<q", struct.pack("<Q", total % 2**64))[0]

    def complete(self, window, names):
        """([window, names] values, imputed cells), or None where a cell cannot be filled."""
        values, imputed = np.empty((window, len(names))), 0
        for column, name in enumerate(names):
            feature = self.features.index(name)
            for row in range(window):
                slot = self.newest - window + 1 + row
                for back in range(self.gap_max + 1):
                    cell = self.rows.get(slot - back, [None] * len(self.features))[feature]
                    if cell is not None:
                        values[row, column] = cell
                        imputed += back > 0
                        break
                else:
                    return None
        return values, imputed


def expected(check, contract, session):
    """{(series, origin): what its forecast must say}."""
    positions = {(series, time): at for series, time, *at in map(tuple, check["written"])}
    names = [feature["name"] for feature in contract["features"]]
    windows, due = {}, []
    for series, time, values in traffic.read(check["csv"], check["rows_max"], check["copies"]):
        window = windows.setdefault(series, Windows(check["features"], check["length"], check["gap_max"]))
        window.fold(time, values)
        filled = window.complete(contract["window"], names)
        if filled is None or filled[1] > contract.get("imputed_max", sys.maxsize):
            continue
        due.append((series, time, *filled, window.hash(), positions[series, time]))
    result = model_oracle.forecast(contract, session, [row[2] for row in due], [row[1] for row in due])
    assert result.pop("valid").all(), "the input must give a forecast everywhere"
    forecasts = {}
    for index, (series, time, _, imputed, window_hash, at) in enumerate(due):
        forecasts[series, time] = {
            "imputed": imputed,
            "window_hash": window_hash,
            "source": {"topic": check["observations"], "partition": at[0], "offset": at[1]},
            "targets": [
                (name, parts["mean"][index], parts["quantiles"][:, index]) for name, parts in result.items()
            ],
        }
    return forecasts


def read_back(lines):
    """Yields (key, forecast) of each record, decoded by fastavro."""
    file = ROOT / "schemas" / "forecast.avsc"
    canonical = fastavro.schema.to_parsing_canonical_form(fastavro.schema.load_schema(str(file)))
    prefix = b"\xc3\x01" + bytes.fromhex(fastavro.schema.fingerprint(canonical, "CRC-64-AVRO"))
    schema = fastavro.schema.load_schema(str(file))
    for line in lines:
        record = json.loads(line)
        value = base64.b64decode(record["value"])
        assert value.startswith(prefix), f"not a forecast in single-object encoding: {value[:16].hex()}"
        datum = io.BytesIO(value[len(prefix) :])
        forecast = fastavro.schemaless_reader(datum, schema)
        assert not datum.read(), "bytes after the forecast"
        forecast["origin"] = round(forecast["origin"].timestamp() * 1000)
        yield base64.b64decode(record["key"]).decode(), forecast


def differences(found, wanted, contract, model):
    """What of one forecast is not as it must be."""
    for name in ["imputed", "window_hash", "source"]:
        if found[name] != wanted[name]:
            yield f"{name} is {found[name]}, must be {wanted[name]}"
    for name, value in [("step_ms", STEP_MS), ("partial", False), ("model", model)]:
        if found[name] != value:
            yield f"{name} is {found[name]}, must be {value}"
    if [target["name"] for target in found["targets"]] != [name for name, _, _ in wanted["targets"]]:
        yield f"targets are {[target['name'] for target in found['targets']]}"
        return
    for target, (name, mean, quantiles) in zip(found["targets"], wanted["targets"], strict=True):
        levels = [quantile["level"] for quantile in target["quantiles"]]
        if levels != contract.get("quantiles", []):
            yield f"{name}: quantiles are {levels}"
            continue
        pairs = [("mean", target["mean"], mean)]
        pairs += [(q["level"], q["values"], v) for q, v in zip(target["quantiles"], quantiles, strict=True)]
        for what, values, right in pairs:
            values = np.array(values)
            tolerance = RELATIVE * np.abs(right)
            if values.shape != right.shape or not (np.abs(values - right) <= tolerance).all():
                yield f"{name} {what} is {values}, must be {right}"


def main():
    check = json.loads(pathlib.Path(sys.argv[1]).read_text())
    package = pathlib.Path(check["model"])
    contract = model_oracle.load_contract(package)
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    model = {"name": contract["name"], "version": contract["version"], "digest": digest}
    wanted = expected(check, contract, model_oracle.load_session(package))
    problems, seen = [], set()
    for key, found in read_back(sys.stdin):
        identity = found["series"], found["origin"]
        if key != found["series"]:
            problems.append(f"{identity}: the key is {key}")
        if identity in seen:
            problems.append(f"{identity}: twice")
        elif identity not in wanted:
            problems.append(f"{identity}: none was due")
        else:
            problems += [f"{identity}: {text}" for text in differences(found, wanted[identity], contract, model)]
        seen.add(identity)
    problems += [f"{identity}: missing" for identity in wanted.keys() - seen]
    for problem in problems[:20]:
        print(problem, file=sys.stderr)
    if problems:
        sys.exit(f"{len(problems)} differences in {len(wanted)} forecasts")
    imputed = sum(forecast["imputed"] > 0 for forecast in wanted.values())
    print(json.dumps({"forecasts": len(wanted), "imputed": imputed}))


if __name__ == "__main__":
    main()
