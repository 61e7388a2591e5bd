"""Forecasts of a model package, computed from its contract with numpy and onnxruntime.

The oracle of the inference tests: written from the description of the contract, it shares no code
with the worker. Scaling, calendar and recursion are done here; the calendar by Python's datetime.

    contract = load_contract("model.onnx")
    session = load_session("model.onnx")
    forecast(contract, session, values, origins_ms)

values       float64 [n, window, features], unscaled, oldest slot first, in the contract's order
origins_ms   n times of the newest slot, milliseconds since the Unix epoch

The result has per target, by name, "mean" [n, horizon] and "quantiles" [levels, n, horizon], all
float64 and unscaled, and under "valid" n booleans: false where there is no forecast to publish,
because a value of it is NaN or infinite or a scaled input does not fit a float32.
"""

import datetime
import json
import sys

import numpy as np
import onnx
import onnxruntime

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def load_contract(path):
    """The contract in the metadata of an ONNX file."""
    for entry in onnx.load(path).metadata_props:
        if entry.key == "foretell.contract":
            return json.loads(entry.value)
    raise ValueError(f"{path} carries no contract")


def load_session(path):
    """A session as the worker has it: one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def calendar_values(time_ms):
    """Minute of the day, day of the week and day of the year of a time."""
    # timedelta counts in integers, so this holds before 1970 and beyond 2038.
    time = EPOCH + datetime.timedelta(milliseconds=int(time_ms))
    return {
        "minute_of_day": (time.hour * 60 + time.minute, 1440.0),
        "day_of_week": (time.weekday(), 7.0),
        "day_of_year": (time.timetuple().tm_yday, 365.25),
    }


def calendar_inputs(contract, time_ms):
    """Sine and cosine of each calendar feature of the contract at a time, float32."""
    values = calendar_values(time_ms)
    inputs = []
    for name in contract.get("calendar", []):
        value, period = values[name]
        angle = 2.0 * np.pi * value / period
        inputs += [np.sin(angle), np.cos(angle)]
    return np.array(inputs, dtype=np.float64).astype(np.float32)


def scaling(contract):
    """Centers and scales of the features; a zero scale means 1."""
    centers = np.array([feature["center"] for feature in contract["features"]], dtype=np.float64)
    scales = np.array([feature["scale"] for feature in contract["features"]], dtype=np.float64)
    return centers, np.where(scales == 0.0, 1.0, scales)


def forecast(contract, session, values, origins_ms):
    """Forecasts n windows, each in a run of its own."""
    centers, scales = scaling(contract)
    names = [feature["name"] for feature in contract["features"]]
    columns = [names.index(target) for target in contract["targets"]]
    step_ms = round(contract["step_seconds"] * 1000)
    rows = [
        _forecast_row(contract, session, (np.asarray(row, np.float64) - centers) / scales, int(origin), step_ms, columns)
        for row, origin in zip(values, origins_ms, strict=True)
    ]
    outputs = np.array([row for row, _ in rows], dtype=np.float64)  # [n, outputs, horizon, targets]
    unscaled = outputs * scales[columns] + centers[columns]
    result = {
        target: {"mean": unscaled[:, 0, :, index], "quantiles": unscaled[:, 1:, :, index].transpose(1, 0, 2)}
        for index, target in enumerate(contract["targets"])
    }
    fits = np.array([fit for _, fit in rows])
    result["valid"] = fits & np.isfinite(unscaled).all(axis=(1, 2, 3))
    return result


def _forecast_row(contract, session, scaled, origin_ms, step_ms, columns):
    """Outputs of one row in scaled space, [outputs, horizon, targets], and whether its input fits."""
    window = contract["window"]
    assert scaled.shape == (window, len(contract["features"])), scaled.shape
    with np.errstate(over="ignore"):
        narrowed = scaled.astype(np.float32)
    fits = bool(np.isfinite(narrowed).all())
    slots = [
        np.concatenate([narrowed[slot], calendar_inputs(contract, origin_ms - (window - 1 - slot) * step_ms)])
        for slot in range(window)
    ]
    name = session.get_inputs()[0].name
    if contract["strategy"] == "direct":
        outputs = session.run(None, {name: np.stack(slots)[None]})
        return np.stack([output[0] for output in outputs]), fits
    steps = []
    for step in range(contract["horizon"]):
        [output] = session.run(None, {name: np.stack(slots)[None]})
        steps.append(output[0, 0])
        features = slots[-1][: len(contract["features"])].copy()
        features[columns] = output[0, 0]
        slots = slots[1:] + [np.concatenate([features, calendar_inputs(contract, origin_ms + (step + 1) * step_ms)])]
    return np.stack(steps)[None], fits


def main():
    """Prints the forecasts of windows given as JSON: {"values": [...], "origins_ms": [...]}."""
    path = sys.argv[1]
    rows = json.load(sys.stdin)
    contract = load_contract(path)
    result = forecast(contract, load_session(path), rows["values"], rows["origins_ms"])
    valid = result.pop("valid")
    plain = {target: {key: value.tolist() for key, value in parts.items()} for target, parts in result.items()}
    json.dump({"valid": valid.tolist(), "targets": plain}, sys.stdout)


if __name__ == "__main__":
    main()
