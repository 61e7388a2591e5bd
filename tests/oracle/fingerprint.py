"""CRC-64-AVRO fingerprints of our schemas, from the text of the Avro specification.

For the tests that write single-object encoding themselves: apache-avro 0.22 keeps logical types in the
Parsing Canonical Form, against the specification, and so has other fingerprints than Java.

    python3 tests/oracle/fingerprint.py
"""

import json
import pathlib

SCHEMAS = pathlib.Path(__file__).parent.parent.parent / "schemas"
EMPTY = 0xC15D213AA4D7A795
PRIMITIVES = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}


def rabin(data):
    fingerprint = EMPTY
    for byte in data:
        fingerprint ^= byte
        for _ in range(8):
            fingerprint = (fingerprint >> 1) ^ (EMPTY if fingerprint & 1 else 0)
    return fingerprint


def canonical(schema, namespace=None):
    """The Parsing Canonical Form."""
    if isinstance(schema, str):
        named = schema in PRIMITIVES or "." in schema or not namespace
        return json.dumps(schema if named else f"{namespace}.{schema}")
    if isinstance(schema, list):
        return "[" + ",".join(canonical(branch, namespace) for branch in schema) + "]"
    kind = schema["type"]
    if kind in PRIMITIVES:
        return json.dumps(kind)
    if kind == "array":
        return '{"type":"array","items":' + canonical(schema["items"], namespace) + "}"
    namespace = schema.get("namespace", namespace)
    name = schema["name"] if "." in schema["name"] or not namespace else f"{namespace}.{schema['name']}"
    if kind == "enum":
        symbols = ",".join(map(json.dumps, schema["symbols"]))
        return f'{{"name":{json.dumps(name)},"type":"enum","symbols":[{symbols}]}}'
    fields = (
        f'{{"name":{json.dumps(field["name"])},"type":{canonical(field["type"], namespace)}}}'
        for field in schema["fields"]
    )
    return f'{{"name":{json.dumps(name)},"type":"record","fields":[{",".join(fields)}]}}'


if __name__ == "__main__":
    assert rabin(b'"int"') == 0x7275D51A3F395C8F  # the example of the specification
    for path in sorted(SCHEMAS.glob("*.avsc")):
        print(path.name, f"{rabin(canonical(json.loads(path.read_text())).encode()):016x}")
