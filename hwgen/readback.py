"""Generated Verilog read back by pyverilog: modules and ports as another tool sees them."""

import contextlib
import io
from dataclasses import dataclass

from designs.cache import cache_directory

__all__ = ["Port", "module_names", "read_ports"]


@dataclass(frozen=True, order=True)
class Port:
    """A port of a module.

    Attributes
    ----------
    name : str
    direction : str
        ``input`` or ``output``.
    width : int
        Bits.
    """

    name: str
    direction: str
    width: int


def _parse(verilog: str):
    from pyverilog.vparser.parser import ParseError, VerilogParser  # slow, and only needed here

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        parser = VerilogParser(outputdir=str(cache_directory("pyverilog")))
        try:
            return parser.parse(verilog, debug=0).description.definitions
        except ParseError as error:
            raise RuntimeError(f"pyverilog cannot read the Verilog:{error}") from None


def module_names(verilog: str) -> list[str]:
    """Names of all modules in the order of the text."""
    return [module.name for module in _parse(verilog)]


def read_ports(verilog: str, top: str) -> list[Port]:
    """Ports of module ``top``, sorted by name.

    Raises
    ------
    RuntimeError
        The text is not Verilog.
    KeyError
        There is no such module.
    """
    from pyverilog.vparser.ast import Decl, Input, Output

    for module in _parse(verilog):
        if module.name != top:
            continue
        ports = []
        for item in module.items:
            for declaration in item.list if isinstance(item, Decl) else ():
                if isinstance(declaration, Input | Output):
                    width = declaration.width
                    bits = 1 if width is None else int(width.msb.value) - int(width.lsb.value) + 1
                    direction = "input" if isinstance(declaration, Input) else "output"
                    ports.append(Port(declaration.name, direction, bits))
        return sorted(ports)
    raise KeyError(top)
