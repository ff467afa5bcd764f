"""A standard cell library small enough to check areas by hand."""

__all__ = ["AREAS", "liberty_text"]

AREAS = {"BUF": 1.5, "INV": 1.0, "NAND2": 2.0, "NOR2": 2.0, "DFF": 8.0}

_GATE = """
  cell ({name}) {{
    area : {area};
{inputs}    pin (Y) {{ direction : output; function : "{function}"; }}
  }}
"""

_FLIP_FLOP = """
  cell (DFF) {{
    area : {area};
    ff (IQ, IQN) {{ clocked_on : "C"; next_state : "D"; }}
    pin (C) {{ direction : input; clock : true; }}
    pin (D) {{ direction : input; }}
    pin (Q) {{ direction : output; function : "IQ"; }}
  }}
"""


def liberty_text(areas: dict[str, float]) -> str:
    """A library of a buffer, an inverter, two gates and a flip-flop."""
    functions = {"BUF": ("A", "A"), "INV": ("A", "!A")}
    functions |= {"NAND2": ("AB", "!(A&B)"), "NOR2": ("AB", "!(A|B)")}
    gates = ""
    for name, (pins, function) in functions.items():
        inputs = "".join(f"    pin ({pin}) {{ direction : input; }}\n" for pin in pins)
        gates += _GATE.format(name=name, area=areas[name], inputs=inputs, function=function)
    return f"library (small) {{{gates}{_FLIP_FLOP.format(area=areas['DFF'])}}}\n"
