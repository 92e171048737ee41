#!/usr/bin/env python3
"""Read a version's tensors with nothing but the published safetensors format, and check what docs/formats.md says.

check_safetensors.py VERSION_DIR
"""
import json
import struct
import sys

SIZES = {"F32": 4, "F64": 8, "U64": 8, "U32": 4, "U8": 1, "I64": 8}


def read(path):
    raw = open(path, "rb").read()
    (n,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + n])
    data, tensors, at = raw[8 + n :], {}, 0
    assert raw[8:9] == b"{" and (8 + n) % 64 == 0
    for name, t in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = t["data_offsets"]
        count = 1
        for size in t["shape"]:
            count *= size
        assert begin == at and end - begin == count * SIZES[t["dtype"]], name
        assert begin % SIZES[t["dtype"]] == 0, name
        letter = {"F32": "f", "F64": "d", "U64": "Q", "U32": "I", "U8": "B", "I64": "q"}[t["dtype"]]
        tensors[name] = (t["shape"], struct.unpack(f"<{count}{letter}", data[begin:end]))
        at = end
    assert at == len(data)
    return tensors


def mix64(x):
    mask = 2**64 - 1
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


def main(version):
    manifest = json.load(open(f"{version}/manifest.json"))
    model, train = read(f"{version}/model.safetensors"), read(f"{version}/train.safetensors")
    for table in manifest["schema"]["tables"]:
        name, n = table["name"], manifest["rows"][table["name"]]
        keys, index = model[f"table.{name}.keys"][1], model[f"table.{name}.index"][1]
        assert model[f"table.{name}.rows"][0] == [n, table["dim"]]
        assert len(keys) == n and list(keys) == sorted(set(keys))
        for row, key in enumerate(keys):
            at = mix64(key) % len(index)
            while index[at] != row + 1:
                assert index[at] != 0, "a key that the index does not find"
                at = (at + 1) % len(index)
        assert train[f"table.{name}.count"][0] == [n]
        assert train[f"table.{name}.seen_day"][0] == [n]
        assert train[f"table.{name}.stamp"][0] == [n]
    assert any(name.startswith("mlp.") for name in model), sorted(model)
    print(f"{version}: {len(model)} and {len(train)} tensors")


main(sys.argv[1])
