"""GGUF files that are cut or damaged."""

import numpy
import pytest
from test_gguf_structure import write

from designs.errors import InputError
from mapping.frontends.gguf_file import read_gguf_structure


def test_every_cut_is_found(tmp_path):
    path = write(tmp_path / "m.gguf", "qwen3moe")
    whole = path.read_bytes()
    random = numpy.random.default_rng(5)
    for size in sorted(random.integers(0, len(whole) - 64, 60)):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError) as error:
            read_gguf_structure(path)
        assert error.value.where == str(path)


def test_damaged_bytes_raise_nothing_else(tmp_path):
    path = write(tmp_path / "m.gguf", "qwen2moe")
    whole = path.read_bytes()
    random = numpy.random.default_rng(6)
    for _ in range(200):
        damaged = bytearray(whole)
        for position in random.integers(0, 6000, 3):
            damaged[position] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read_gguf_structure(path)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017
