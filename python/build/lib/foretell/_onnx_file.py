"""The few fields of an ONNX file that are read before ONNX Runtime sees it.

The counterpart of the worker's ``infer/onnx.rs``: it finds the contract, and refuses files that are no
protobuf, tensors whose data lie in other files, operators that are neither of ONNX nor defined in the file,
and inputs or outputs that are no tensors. It walks the bytes rather than asking protobuf, so that what is
refused is what the worker refuses. Field numbers are those of ``onnx.proto``, which never change.
"""

from __future__ import annotations

from collections.abc import Iterator

from ._contract import KEY
from ._errors import RefusedError
from ._json import shown

#: Largest package, in bytes.
PACKAGE_BYTES_MAX = 256 * 1024 * 1024
# Most graphs within graphs (the bodies of If, Loop and Scan).
DEPTH_MAX = 8
# Field of a ModelProto: the functions that its graph may call.
_FUNCTIONS = 25
_DOMAINS_OF_ONNX = {b"", b"ai.onnx", b"ai.onnx.ml"}
# Exporters give all their functions one domain or two.
_FUNCTION_DOMAINS_MAX = 16
# Bytes of a domain in a message.
_DOMAIN_SHOWN_MAX = 64

EXTERNAL_DATA = (
    "a tensor keeps its data in another file: save the model in one file (onnx.save with save_as_external_data=False)"
)


def contract_text(data: bytes) -> str:
    """The contract that an ONNX file carries.

    Raises:
        RefusedError: When the bytes are too many, no ONNX file that may be loaded, or carry no contract.
    """
    contract = scan(data)
    if contract is None:
        raise RefusedError(
            f'the ONNX file carries no contract: its metadata has no key "{KEY}"; make a package of the model first'
        )
    try:
        return contract.decode()
    except UnicodeDecodeError as error:
        raise RefusedError("the contract in the ONNX file is not UTF-8 text") from error


def scan(data: bytes) -> bytes | None:
    """The value of the contract's metadata key, ``None`` without one; refuses what must not be loaded."""
    if len(data) > PACKAGE_BYTES_MAX:
        raise RefusedError(f"the model package has more than {PACKAGE_BYTES_MAX} bytes, the most that is loaded")
    try:
        return _scan_model(memoryview(data))
    except _UnusableError as error:
        raise RefusedError(f"the model package cannot be used: {error}") from error


class _UnusableError(Exception):
    pass


# A field of a message: its number, and its bytes with their place in the file, or its varint. Numbers of
# fixed width are skipped; nothing here reads one.
_Field = tuple[int, "memoryview | int", int]


def _scan_model(data: memoryview) -> bytes | None:
    graph, metadata = 7, 14
    domains = _domains(data)
    contract: bytes | None = None
    graphs = 0
    for number, value, at in _fields(data, 0):
        if not isinstance(value, memoryview):
            continue
        if number == graph:
            graphs += 1
            _scan_graph(value, at, 0, domains)
        elif number == metadata:
            pair = {1: b"", 2: b""}
            for part, text, _ in _fields(value, at):
                if part in pair and isinstance(text, memoryview):
                    pair[part] = bytes(text)
            if pair[1] == KEY.encode():
                contract = pair[2]
        elif number == _FUNCTIONS:
            _scan_function(value, at, domains)
    if not graphs:
        raise _UnusableError("it is not an ONNX file: it has no graph")
    return contract


def _domains(data: memoryview) -> set[bytes]:
    """The domains of operators that a model may use: those of ONNX, and those of its own functions.

    Functions may stand behind the graph that calls them, so this is a walk of its own.
    """
    domain = 10
    of_functions: set[bytes] = set()
    for number, function, at in _fields(data, 0):
        if number != _FUNCTIONS or not isinstance(function, memoryview):
            continue
        for part, value, _ in _fields(function, at):
            if part == domain and isinstance(value, memoryview) and len(of_functions) < _FUNCTION_DOMAINS_MAX:
                of_functions.add(bytes(value))
    return of_functions | _DOMAINS_OF_ONNX


def _scan_graph(data: memoryview, start: int, depth: int, domains: set[bytes]) -> None:
    node, initializer, inputs, outputs, sparse_initializer = 1, 5, 11, 12, 15
    if depth > DEPTH_MAX:
        raise _UnusableError(f"it has graphs nested more than {DEPTH_MAX} deep")
    for number, value, at in _fields(data, start):
        if not isinstance(value, memoryview):
            continue
        if number == node:
            _scan_node(value, at, depth, domains)
        elif number == initializer:
            _scan_tensor(value, at)
        elif number == sparse_initializer:
            _scan_sparse_tensor(value, at)
        # Bodies may pass sequences to each other; only the model's own ports must be tensors.
        elif number == inputs and depth == 0:
            _scan_port(value, at, "input")
        elif number == outputs and depth == 0:
            _scan_port(value, at, "output")


def _scan_function(data: memoryview, start: int, domains: set[bytes]) -> None:
    """Nodes, and the attributes that have a default."""
    node, attribute_proto = 7, 11
    for number, value, at in _fields(data, start):
        if not isinstance(value, memoryview):
            continue
        if number == node:
            _scan_node(value, at, 0, domains)
        elif number == attribute_proto:
            _scan_attribute(value, at, 0, domains)


def _scan_node(data: memoryview, start: int, depth: int, domains: set[bytes]) -> None:
    attribute, domain = 5, 7
    for number, value, at in _fields(data, start):
        if not isinstance(value, memoryview):
            continue
        if number == attribute:
            _scan_attribute(value, at, depth, domains)
        elif number == domain and bytes(value) not in domains:
            found = shown(bytes(value[:_DOMAIN_SHOWN_MAX]).decode("utf-8", "replace"))
            raise _UnusableError(
                f"it uses an operator of the domain {found}: only the operators of ONNX itself are run; export "
                "the model without custom or fused operators"
            )


def _scan_attribute(data: memoryview, start: int, depth: int, domains: set[bytes]) -> None:
    tensors, graphs, sparse_tensors = (5, 10), (6, 11), (22, 23)
    for number, value, at in _fields(data, start):
        if not isinstance(value, memoryview):
            continue
        if number in tensors:
            _scan_tensor(value, at)
        elif number in sparse_tensors:
            _scan_sparse_tensor(value, at)
        elif number in graphs:
            _scan_graph(value, at, depth + 1, domains)


def _scan_tensor(data: memoryview, start: int) -> None:
    external_data, data_location, location_default = 13, 14, 0
    for number, value, _ in _fields(data, start):
        is_bytes = isinstance(value, memoryview)
        if (number == external_data and is_bytes) or (
            number == data_location and not is_bytes and value != location_default
        ):
            raise _UnusableError(EXTERNAL_DATA)


def _scan_sparse_tensor(data: memoryview, start: int) -> None:
    for number, value, at in _fields(data, start):
        if number in (1, 2) and isinstance(value, memoryview):
            _scan_tensor(value, at)


def _scan_port(data: memoryview, start: int, port: str) -> None:
    kind, tensor_type, denotation = 2, 1, 6
    refused = _UnusableError(
        f"the graph's {port} is not a dense tensor: a model has one float32 tensor as its input "
        "and float32 tensors as its outputs"
    )
    is_tensor = False
    for number, value, at in _fields(data, start):
        if number != kind or not isinstance(value, memoryview):
            continue
        for part, inner, _ in _fields(value, at, fixed=True):
            if not isinstance(inner, memoryview) or part not in (tensor_type, denotation):
                raise refused
            is_tensor |= part == tensor_type
    if not is_tensor:
        raise refused


def _fields(data: memoryview, start: int, *, fixed: bool = False) -> Iterator[_Field]:
    """The fields of a protobuf message that starts at byte ``start`` of the file.

    ``fixed`` also yields numbers of fixed width, as 0.
    """
    at = 0
    while at < len(data):
        begin = at
        try:
            tag, at = _varint(data, at)
            number, wire = tag >> 3, tag & 7
            if number == 0:
                raise IndexError
            if wire == 0:
                value, at = _varint(data, at)
                yield number, value, start + at
            elif wire == 2:
                length, at = _varint(data, at)
                if length > len(data) - at:
                    raise IndexError
                at += length
                yield number, data[at - length : at], start + at - length
            elif wire in (1, 5):
                at += 8 if wire == 1 else 4
                if at > len(data):
                    raise IndexError
                if fixed:
                    yield number, 0, start + at
            else:
                # Groups were never part of ONNX.
                raise IndexError
        except IndexError as error:
            raise _UnusableError(
                f"it is not an ONNX file: the protobuf is broken or cut off at byte {start + begin}"
            ) from error


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise IndexError
