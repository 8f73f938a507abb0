"""Ways to break a model file, each a function of the parts of a sound one and of a generator of random numbers."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes

from samovar_forecast.training.fingerprints import digest_of

Mutant = bytes | None  # None: this mutation does not apply
ODD_VALUES: list[Any] = [None, True, -1, 0, 1, 7, 10**6, 10**9, 2**63, 10**40, 0.5, float("nan"), float("inf"), "", "x",
                         "../../../etc/passwd", "os.system", [], [None], ["x"], {}, {"tuple": []}, {"tuple": [1, "x"]},
                         [[[[[[[[]]]]]]]], "s0" * 1000, "\ud800"]  # fmt: skip
DTYPES = [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool]


class Material:
    """The parts of a model file."""

    def __init__(self, content: bytes, payload: bytes) -> None:
        self.content, self.payload = content, payload
        self.length = int.from_bytes(content[:8], "little")
        self.outer = json.loads(content[8 : 8 + self.length])
        self.text = self.outer["__metadata__"]["samovar_forecast"]

    def header(self) -> dict[str, Any]:
        return dict(json.loads(self.text))

    def tensors(self) -> dict[str, torch.Tensor]:
        tensors = from_bytes(self.content)
        del tensors["sha256"]
        return tensors

    def with_outer(self, text: bytes) -> bytes:
        return len(text).to_bytes(8, "little") + text + self.content[8 + self.length :]


def signed(tensors: dict[str, torch.Tensor], text: str) -> bytes:
    """A file with a digest that fits."""
    digest = torch.tensor(list(bytes.fromhex(digest_of(tensors, text))), dtype=torch.uint8)
    return to_bytes(tensors | {"sha256": digest}, {"samovar_forecast": text})


def flipped(m: Material, r: random.Random) -> Mutant:
    changed = bytearray(m.content)
    for _ in range(r.choice([1, 1, 1, 2, 20])):
        changed[r.randrange(len(changed))] ^= 1 << r.randrange(8)
    return bytes(changed)


def flipped_in_header(m: Material, r: random.Random) -> Mutant:
    changed = bytearray(m.content)
    changed[r.randrange(8 + m.length)] ^= 1 << r.randrange(8)
    return bytes(changed)


def truncated(m: Material, r: random.Random) -> Mutant:
    return m.content[: r.choice([r.randrange(len(m.content)), r.randrange(9), len(m.content) - 1])]


def prolonged(m: Material, r: random.Random) -> Mutant:
    more = r.randbytes(r.choice([1, 8, 1000]))
    return r.choice([m.content + more, more + m.content])


def zeroed(m: Material, r: random.Random) -> Mutant:
    begin = r.randrange(len(m.content))
    end = min(len(m.content), begin + r.choice([16, 512, 4096]))
    return m.content[:begin] + bytes(end - begin) + m.content[end:]


def shuffled_blocks(m: Material, r: random.Random) -> Mutant:
    blocks = [m.content[at : at + 512] for at in range(0, len(m.content), 512)]
    first, second = r.sample(range(len(blocks)), 2)
    blocks[first], blocks[second] = blocks[second], blocks[first]
    return b"".join(blocks)


def claimed_length(m: Material, r: random.Random) -> Mutant:
    length = r.choice([0, 1, m.length - 1, m.length + 1, len(m.content), 10**8, 2**26, 2**31, 2**63, 2**64 - 1])
    return length.to_bytes(8, "little") + m.content[8:]


def no_model(m: Material, r: random.Random) -> Mutant:
    return r.choice([b"", m.payload, r.randbytes(500), b"PK\x03\x04" + r.randbytes(90), m.payload + m.content,
                     to_bytes({"weight": torch.zeros(3)}), to_bytes({}, {"samovar_forecast": "{}"})])  # fmt: skip


def nested(m: Material, r: random.Random) -> Mutant:
    depth = r.choice([500, 5_000, 200_000])
    opening, closing = r.choice([("[", "]"), ('{"a":', "}"), ('{"tuple":[', "]}")])
    deep = opening * depth + "0" * ("a" in opening) + closing * depth
    if r.random() < 0.3:
        return m.with_outer(deep.encode())
    return signed(m.tensors(), m.text[:-1] + f', "{r.choice(["columns", "other", "training"])}": {deep}}}')


def repeated(m: Material, r: random.Random) -> Mutant:
    name = r.choice(list(m.header()))
    text = m.text[:-1] + f", {json.dumps(name)}: {json.dumps(m.header()[name])}}}"
    if r.random() < 0.5:
        return signed(m.tensors(), text)
    return m.with_outer(json.dumps(m.outer).encode()[:-1] + b', "__metadata__": {"samovar_forecast": "{}"}}')


def foreign_class(m: Material, r: random.Random) -> Mutant:
    name = r.choice(["os.system", "Forecaster", "sklearn.svm.SVC", "__import__('os').system('id')", None, 3, ["x"],
                     "SAMoVARForecaster", "LinTransForecaster", "SAMformerForecaster", {"tuple": []}])  # fmt: skip
    return None if name == m.header()["class"] else signed(m.tensors(), json.dumps(m.header() | {"class": name}))


def odd_field(m: Material, r: random.Random) -> Mutant:
    """Any value anywhere in the header."""
    header = m.header()
    place: Any = header
    while True:
        key = r.choice(list(place)) if isinstance(place, dict) else r.randrange(len(place))
        if isinstance(place[key], (dict, list)) and place[key] and r.random() < 0.7:
            place = place[key]
            continue
        place[key] = r.choice(ODD_VALUES)
        return signed(m.tensors(), json.dumps(header))


def missing_field(m: Material, r: random.Random) -> Mutant:
    header = m.header()
    place = r.choice([header, header["hyperparameters"], header["layout"], header["series"][0], header["training"]])
    del place[r.choice(list(place))]
    return signed(m.tensors(), json.dumps(header))


def huge_number(m: Material, r: random.Random) -> Mutant:
    header = m.header()
    names = [name for name, value in header["hyperparameters"].items() if isinstance(value, int)]
    header["hyperparameters"][r.choice(names)] = r.choice([10**5, 10**7, 10**9, 10**18, 10**40])
    if r.random() < 0.3:
        header["series"][0]["n_rows"] = r.choice([10**9, 2**62, -5])
    return signed(m.tensors(), json.dumps(header))


def path_trick(m: Material, r: random.Random) -> Mutant:
    header, path = m.header(), r.choice(["../../etc/passwd", "/dev/zero", "/etc/localtime", "C:\\x", "\0", "file:///x"])
    index = header["series"][0]["index"]
    index |= {r.choice(["zone", "frequency", "unit", "kind"]): r.choice([path, f"dateutil/{path}", "tzlocal()"])}
    return signed(m.tensors(), json.dumps(header))


def other_tensor(m: Material, r: random.Random) -> Mutant:
    """Tensors swapped, renamed, reshaped, cast, missing or one too many, under a digest that fits."""
    tensors = m.tensors()
    name, other = r.sample(list(tensors), 2)
    match r.randrange(6):
        case 0:
            if torch.equal(tensors[name], tensors[other]):
                return None
            tensors[name], tensors[other] = tensors[other], tensors[name]
        case 1:
            tensors[r.choice(["../" + name, "network.", "x" * 10_000, "network.__class__"])] = tensors.pop(name)
        case 2:
            tensors[name] = tensors[name].unsqueeze(r.randrange(tensors[name].ndim + 1))
        case 3:
            tensors[name] = tensors[name].to(r.choice([kind for kind in DTYPES if kind != tensors[name].dtype]))
        case 4:
            del tensors[name]
        case 5:
            tensors[name] = tensors[name][:0] if tensors[name].ndim else tensors[name].unsqueeze(0)
    return signed(tensors, m.text)


def swapped_weights(m: Material, r: random.Random) -> Mutant:
    """Two tensors of one size swapped, without a new digest."""
    entries = {name: entry for name, entry in m.outer.items() if name not in ("__metadata__", "sha256")}
    values = from_bytes(m.content)
    pairs = [(a, b) for a in entries for b in entries
             if a < b and entries[a]["shape"] == entries[b]["shape"] and entries[a]["dtype"] == entries[b]["dtype"]
             and not torch.equal(values[a], values[b])]  # fmt: skip
    a, b = r.choice(pairs)
    outer = dict(m.outer)
    outer[a], outer[b] = outer[b], outer[a]
    return m.with_outer(json.dumps(outer).encode())


def broken_weights(m: Material, r: random.Random) -> Mutant:
    tensors = m.tensors()
    name = r.choice([name for name in tensors if name.startswith("network.")])
    tensors[name].view(-1)[r.randrange(tensors[name].numel())] = r.choice([torch.nan, torch.inf, -torch.inf])
    return signed(tensors, m.text)


def huge_shape(m: Material, r: random.Random) -> Mutant:
    outer = json.loads(json.dumps(m.outer))
    entry = outer[r.choice([name for name in outer if name != "__metadata__"])]
    match r.randrange(3):
        case 0:
            entry["shape"] = [r.choice([2**31, 2**62, 2**64 - 1])] * r.choice([1, 2, 4])
        case 1:
            entry["data_offsets"] = [r.choice([-1, 0, 2**40]), r.choice([1, 2**40, 2**63])]
        case 2:
            entry["dtype"] = r.choice(["F64", "F4", "C64", "I128", "", "BOOL", "F8_E4M3"])
    return m.with_outer(json.dumps(outer).encode())


def pickle_inside(m: Material, r: random.Random) -> Mutant:
    """Code in the tensors, in the header and after the end of the file."""
    payload = torch.frombuffer(bytearray(m.payload), dtype=torch.uint8)
    name = r.choice(["history", "pickle", "network.payload", "__reduce__", "sha256"])
    header = m.header() | {r.choice(["class", "training", "extra"]): m.payload.decode("latin-1")}
    return r.choice([signed(m.tensors() | {name: payload}, m.text), m.content + m.payload,
                     signed(m.tensors(), json.dumps(header)), m.with_outer(m.payload)])  # fmt: skip


def other_format(m: Material, r: random.Random) -> Mutant:
    header = m.header() | {"format": r.choice([0, 1, 2, 3, 99, -1, 10**30, None, "3", 3.5, True, []])}
    return signed(m.tensors(), json.dumps(header))


def unsigned(m: Material, r: random.Random) -> Mutant:
    """Of an older format by its own word, whose header no digest protects."""
    header = m.header() | {"format": r.choice([1, 2, 3])}
    header["sha256"] = digest_of(m.tensors()) if r.random() < 0.7 else "0" * 64
    header["hyperparameters"] |= {r.choice(list(header["hyperparameters"])): r.choice(ODD_VALUES)}
    return to_bytes(m.tensors(), {"samovar_forecast": json.dumps(header)})


MUTATIONS: list[Callable[[Material, random.Random], Mutant]] = [
    flipped, flipped_in_header, truncated, prolonged, zeroed, shuffled_blocks, claimed_length, no_model, nested,
    repeated, foreign_class, odd_field, odd_field, missing_field, huge_number, path_trick, other_tensor,
    swapped_weights, broken_weights, huge_shape, pickle_inside, other_format, unsigned,
]  # fmt: skip
