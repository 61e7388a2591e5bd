"""Reads a snapshot with pyarrow and computes the state checksum of its windows by the definition in
src/window/checksum.rs. Prints JSON: position, series, rows, the computed checksum and the one that the commit
metadata in the snapshot has."""

import base64
import json
import struct
import sys

import numpy
import pyarrow
import xxhash

SEAL = 24
MASK = (1 << 64) - 1


def cells_of(values):
    return numpy.asarray(values, dtype="<f8").tobytes()


def series_hash(name, newest, held, last_change, window_hash):
    encoded = name.encode()
    parts = struct.pack("<Q", len(encoded)) + encoded + struct.pack("<q", newest)
    if held is None:
        parts += b"\0"
    else:
        slot, cells = held
        parts += b"\1" + struct.pack("<q", slot) + cells_of(cells)
    return xxhash.xxh3_64_intdigest(parts + struct.pack("<qQ", last_change, window_hash))


def main(path):
    raw = open(path, "rb").read()
    assert raw[-SEAL:-16] == b"foretell", "no seal"
    assert raw[-16:] == xxhash.xxh3_128_intdigest(raw[:-16]).to_bytes(16, "little"), "damaged"
    source = pyarrow.BufferReader(raw)
    moves = pyarrow.ipc.open_stream(source)
    moves_read = moves.read_all().num_rows
    about = {key.decode(): value.decode() for key, value in moves.schema.metadata.items()}
    checksum, series, rows = 0, 0, 0
    for batch in pyarrow.ipc.open_stream(source):
        columns = {name: batch.column(name) for name in batch.schema.names}
        slots = columns["offsets"].type.list_size
        offsets = columns["offsets"].values.to_numpy().reshape(-1, slots)
        cells = columns["cells"].values.to_numpy().reshape(len(offsets), slots, -1)
        for index, name in enumerate(columns["series"].to_pylist()):
            newest = columns["newest_slot"][index].as_py()
            window_hash = 0
            for place in range(slots):
                if offsets[index, place] >= 0:
                    rows += 1
                    row = struct.pack("<q", newest - slots + 1 + place) + cells_of(cells[index, place])
                    window_hash = (window_hash + xxhash.xxh3_64_intdigest(row)) & MASK
            slot = columns["held_slot"][index].as_py()
            held = None if slot is None else (slot, columns["held_cells"][index].as_py())
            last_change = columns["last_change_ms"][index].as_py()
            checksum += series_hash(name, newest, held, last_change, window_hash)
            series += 1
    metadata = about["foretell.commit_metadata"]
    committed = base64.b64decode(metadata + "=" * (-len(metadata) % 4))
    assert series == int(about["foretell.series"])
    print(json.dumps({
        "position": int(about["foretell.position"]),
        "series": series,
        "rows": rows,
        "moves": moves_read,
        "computed": checksum & MASK,
        "committed": struct.unpack("<Q", committed[47:55])[0],
    }))


main(sys.argv[1])
