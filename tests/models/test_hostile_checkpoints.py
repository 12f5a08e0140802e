"""Hostile files: refused or harmless, within bounds, and no code of theirs runs."""

import io
import os
import pickle
import pickletools
import socket
import struct
import subprocess
import sys
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.bounded_reader import Outcome, outcomes
from tests.models.small_networks import hara_2018, pickled, tiny

# The files that cost much are read once, by one process.
pytestmark = pytest.mark.xdist_group("hostile_checkpoints")
torch.set_num_threads(1)
MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
SYSTEM = pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, 2)


class Calls:
    """Pickled, it is a call of `function` with `arguments`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


def legacy(what: bytes, keys: list[str] | None = None, storages: bytes = b"") -> bytes:
    """A file of torch.save before 1.6 around a pickle."""
    return MAGIC + SYSTEM + what + pickle.dumps(keys or [], 2) + storages


def zipped(what: bytes, records: dict[str, bytes] | None = None, **more: Any) -> bytes:
    """A zip archive as torch.save writes it around a pickle."""
    file = io.BytesIO()
    entries = {"data.pkl": what, "byteorder": b"little", "version": b"3\n", **(records or {})}
    with zipfile.ZipFile(file, "w", **more) as archive:
        for name, data in entries.items():
            archive.writestr(f"archive/{name}", data)
    return file.getvalue()


def tar(what: bytes) -> bytes:
    """As torch.save wrote before 0.1.10."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in {"storages": b"", "tensors": b"", "pickle": what}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {"zip": zipped, "legacy": legacy, "tar": tar, "bare": bytes}


def payloads(marker: Path, port: int) -> dict[str, bytes]:
    """Pickles that leave a mark when their code runs: a file, or a connection to `port`."""
    touch = f"touch {marker}"
    state = {name: tensor.tolist() for name, tensor in list(tiny("A").state_dict().items())[:1]}
    write = f"open({str(marker)!r}, 'w').close()"
    objects = {
        "os.system": Calls(os.system, touch),
        "exec": Calls(exec, write),
        "eval": Calls(eval, f"__import__('pathlib').Path({str(marker)!r}).touch()"),
        "subprocess": Calls(subprocess.getoutput, touch),
        "a connection": Calls(socket.create_connection, ("127.0.0.1", port), 1),
        "in a state dict": OrderedDict(state | {"conv1.weight": Calls(os.system, touch)}),
        "as a key": {"state_dict": state, (1, Calls(os.system, touch)): 2},
        "in the optimiser": {"state_dict": state, "optimizer": {"state": [Calls(os.system, touch)]}},
        "deep inside": [[[[{"a": ({"b": [Calls(exec, write)]},)}]]]],
        "torch.load again": Calls(torch.load, str(marker)),
        "runpy": Calls(__import__("runpy").run_path, str(marker)),
    }
    made = {name: pickle.dumps(value, 2) for name, value in objects.items()}
    made |= {
        f"{name}, protocol 4": pickle.dumps(value, 4) for name, value in objects.items() if name == "exec"
    }
    command = touch.encode()
    made["protocol 0"] = b"cos\nsystem\n(S'" + command + b"'\ntR."
    made["INST"] = b"\x80\x02(X" + struct.pack("<I", len(command)) + command + b"ios\nsystem\n."
    made["OBJ"] = b"\x80\x02(cos\nsystem\nX" + struct.pack("<I", len(command)) + command + b"o."
    made["BUILD"] = (
        b"\x80\x02ccollections\nOrderedDict\n)R}X\x0c\x00\x00\x00__setstate__cos\nsystem\nsb"
        b"X" + struct.pack("<I", len(command)) + command + b"b."
    )
    made["STACK_GLOBAL"] = (
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(command)]) + command + b"\x85R."
    )
    made["dotted name"] = (
        b"\x80\x04\x8c\x05torch\x8c\x10serialization.os\x93\x8c" + bytes([len(command)]) + command + b"\x85R."
    )
    return made


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, socket.socket]]:
    folder = tmp_path_factory.mktemp("hostile")
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield folder, folder / "marker", server


def test_the_payloads_work_where_pickle_is_trusted(scene: tuple[Path, Path, socket.socket]) -> None:
    """Otherwise the next test would prove nothing."""
    folder, marker, server = scene
    for name, data in payloads(marker, server.getsockname()[1]).items():
        if name in ("torch.load again", "runpy", "BUILD", "dotted name"):
            continue  # those need more than a pickle to do harm
        path = folder / "trusted.pkl"
        path.write_bytes(data)
        code = f"import pickle; pickle.load(open({str(path)!r}, 'rb'))"
        subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
        if name == "a connection":
            server.settimeout(5)
            server.accept()[0].close()
        else:
            assert marker.exists(), name
            marker.unlink()


def test_no_code_of_a_file_runs(scene: tuple[Path, Path, socket.socket]) -> None:
    folder, marker, server = scene
    paths = []
    for name, data in payloads(marker, server.getsockname()[1]).items():
        for wrapping, wrap in WRAPPINGS.items():
            path = folder / f"{name} in {wrapping}.pth".replace("/", "-")
            path.write_bytes(wrap(data))
            paths.append(path)
    found = outcomes(paths)
    assert not marker.exists()
    server.settimeout(0.2)
    with pytest.raises(TimeoutError):
        server.accept()
    assert {each.outcome for each in found} == {"BadCheckpoint"}
    details = {each.path.stem: each.detail for each in found}
    for wrapping in ("zip", "legacy"):
        assert "'posix.system'" in details[f"os.system in {wrapping}"]
        assert "nothing of it was run" in details[f"os.system in {wrapping}"]
    assert "tar archive" in details["exec in tar"]
    for detail in details.values():
        assert "weights_only" not in detail
        assert "Traceback" not in detail


def nested_lists(depth: int) -> bytes:
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."


def laughs(*, hashed: bool) -> bytes:
    """Sixty levels, each naming the one below twice: 2^60 elements for whoever walks them, or hashes them."""
    level = b"K\x01"
    for index in range(60):
        level += b"q" + bytes([index]) + b"h" + bytes([index]) + b"\x86"
    # ... and the last one as the key of a dict
    return b"\x80\x02" + (b"}" + level + b"K\x01s." if hashed else level + b".")


def storage(kind: str, key: str, place: str, values: int) -> bytes:
    """Opcodes of a storage's persistent id, values on the stack afterwards: the storage."""
    words = [b"X" + struct.pack("<I", len(word)) + word.encode() for word in ("storage", key, place)]
    # ... and None where the older format tells of a view.
    return b"(" + words[0] + f"ctorch\n{kind}\n".encode() + words[1] + words[2] + number(values) + b"N"


def rebuilt(stored: bytes, size: bytes, stride: bytes, offset: int = 0) -> bytes:
    """Opcodes of `_rebuild_tensor_v2`."""
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + stored
        + b"tQ\x8a\x08"
        + struct.pack("<q", offset)
        + size
        + stride
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def number(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def row(values: int, *, key: str = "0", place: str = "cpu") -> bytes:
    """Opcodes of an ordinary tensor with all values of a storage."""
    return rebuilt(storage("FloatStorage", key, place, values), number(values) + b"\x85", number(1) + b"\x85")


def one_tensor(tensor: bytes) -> bytes:
    """The pickle of {"fc.weight": tensor}."""
    return b"\x80\x02}X\x09\x00\x00\x00fc.weight" + tensor + b"s."


def expensive() -> dict[str, bytes]:
    """Files that are small and cost much, or lie about how large they are."""
    huge = 10**12
    made: dict[str, bytes] = {
        "nested lists": legacy(nested_lists(200_000)),
        "laughs": legacy(laughs(hashed=False)),
        "bytearray": legacy(b"\x80\x02cbuiltins\nbytearray\n" + number(huge) + b"\x85R."),
        "many bytearrays": legacy(
            b"\x80\x02](" + (b"cbuiltins\nbytearray\n" + number(2**30) + b"\x85R") * 64 + b"e."
        ),
        "a tensor by its size": legacy(b"\x80\x02ctorch\nTensor\n" + number(huge) + b"\x85R."),
        "a storage by its size": legacy(
            b"\x80\x02ctorch.storage\nUntypedStorage\n" + number(huge) + b"\x85R."
        ),
        "a length beyond the file": legacy(b"\x80\x02X\xff\xff\xff\x7fabc."),
        "a long beyond the file": legacy(b"\x80\x02\x8b\xff\xff\xff\x7f."),
        "a memo far away": legacy(b"\x80\x02]r\xff\xff\xff\xff."),
        "no end": legacy(b"\x80\x02" + b"K\x01" * 1_000_000),
    }
    for place in ("cpu", "cuda:0"):
        tensor = one_tensor(row(huge, place=place))
        made[f"huge storage, legacy, {place}"] = legacy(tensor, ["0"], struct.pack("<q", huge))
        made[f"huge storage, zip, {place}"] = zipped(tensor, {"data/0": b"\0" * 64})
    for name, (size, stride, offset) in {
        "expanded": (number(huge) + b"\x85", number(0) + b"\x85", 0),
        "beyond its storage": (number(1000) + b"\x85", number(1) + b"\x85", 0),
        "negative stride": (number(2) + b"\x85", number(-1) + b"\x85", 1),
        "negative offset": (number(2) + b"\x85", number(1) + b"\x85", -(2**40)),
        "negative size": (number(-2) + b"\x85", number(1) + b"\x85", 0),
        "overflow": (number(2**40) + number(2**40) + b"\x86", number(0) + number(0) + b"\x86", 0),
        "stride overflow": (number(2) + b"\x85", number(2**62) + b"\x85", 0),
        "6 dimensions": ((number(1) * 6).join((b"(", b"t")), (number(1) * 6).join((b"(", b"t")), 0),
    }.items():
        tensor = rebuilt(storage("FloatStorage", "0", "cpu", 16), size, stride, offset)
        made[f"{name}, legacy"] = legacy(one_tensor(tensor), ["0"], struct.pack("<q", 16) + b"\0" * 64)
        made[f"{name}, zip"] = zipped(one_tensor(tensor), {"data/0": b"\0" * 64})
    made["compressed"] = zipped(
        one_tensor(row(2**24)), {"data/0": bytes(2**26)}, compression=zipfile.ZIP_DEFLATED
    )
    made["storage outside"] = zipped(one_tensor(row(4, key="../../../etc/passwd")))
    made["strange place"] = zipped(one_tensor(row(16, place="evil:0")), {"data/0": b"\0" * 64})
    made["TorchScript"] = zipped(
        b"\x80\x02}.", {"constants.pkl": b"\x80\x02).", "code/__torch__.py": b"import os"}
    )
    made["no data"] = zipped(b"").replace(b"data.pkl", b"date.pkl")
    made["two of a name"] = two_entries()
    made["safetensors, huge header"] = struct.pack("<Q", 2**31) + b"{" + b" " * 1000
    made["safetensors, deep header"] = struct.pack("<Q", 100_001) + b"{" + b"[" * 100_000
    made["safetensors, lying offsets"] = safetensors(
        '{"fc.weight":{"dtype":"F32","shape":[1000000],"data_offsets":[0,4]}}'
    )
    made["safetensors, overflow"] = safetensors(
        '{"fc.weight":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,4]}}'
    )
    made["safetensors, overlapping"] = safetensors(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    )
    made["safetensors, evil card"] = safetensors(
        '{"__metadata__":{"multav":"{}"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    )
    return made


def safetensors(header: str) -> bytes:
    return struct.pack("<Q", len(header)) + header.encode() + b"\0\0\0\0"


def two_entries() -> bytes:
    """Which data.pkl is meant depends on who reads: one looks at the first of a name, another at the last."""
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
        archive.writestr("archive/data.pkl", pickle.dumps(Calls(os.system, "true"), 2))
    return file.getvalue()


@pytest.fixture(scope="module")
def costs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    folder = tmp_path_factory.mktemp("expensive")
    paths = []
    for name, data in expensive().items():
        paths.append(folder / name)
        paths[-1].write_bytes(data)
    return {each.path.name: each for each in outcomes(paths, memory_bytes=4 * 2**30)}


@pytest.mark.parametrize("name", expensive())
def test_small_files_that_cost_much_are_refused(name: str, costs: dict[str, Outcome]) -> None:
    found = costs[name]
    assert found.outcome in ("BadCheckpoint", "MemoryError"), found.detail
    assert found.seconds < 20
    # Torch alone takes 300 MiB. What asks for memory in many small parts is stopped by the limit only.
    assert found.peak < (4.1 if name == "many bytearrays" else 0.6) * 2**30


@pytest.mark.slow
def test_what_takes_for_ever_is_ended(tmp_path: Path) -> None:
    """A tuple of tuples that takes 2^60 steps to hash, as the key of a dict: only the processor's limit ends it."""
    path = tmp_path / "hash.pth"
    path.write_bytes(legacy(laughs(hashed=True)))
    (found,) = outcomes([path], cpu_seconds=12)
    assert found.outcome == "died"


@pytest.mark.slow
def test_an_optimisers_state_costs_no_memory_that_is_kept(tmp_path: Path) -> None:
    """Of a zip archive it is not even read into memory; of the older format it is, and let go."""
    network = tiny("A")
    saved = hara_2018(network)
    saved["optimizer"]["state"] = {index: {"momentum_buffer": torch.zeros(2**24)} for index in range(8)}
    paths = [tmp_path / "small.pth", tmp_path / "zip.pth", tmp_path / "legacy.pth"]
    paths[0].write_bytes(pickled(hara_2018(network)))
    paths[1].write_bytes(pickled(saved))
    paths[2].write_bytes(pickled(saved, legacy=True))
    small, zip_file, old = outcomes(paths, memory_bytes=6 * 2**30)
    assert [each.outcome for each in (small, zip_file, old)] == ["converted"] * 3
    assert zip_file.tensors == small.tensors == old.tensors
    assert paths[1].stat().st_size > 500 * 2**20
    assert old.peak - small.peak < 800 * 2**20


def test_pickles_are_what_they_are_meant_to_be() -> None:
    """Those written by hand can be disassembled, so that a refusal is not one of a slip in the test."""
    for data in (one_tensor(row(4)), laughs(hashed=True), laughs(hashed=False), nested_lists(10)):
        pickletools.dis(data, out=io.StringIO())
