"""Makes the Verilog that Yosys writes plain: simple names, no attributes."""

import re

__all__ = ["plain_verilog"]

_ESCAPED = re.compile(r"\\(\S+) ?")
_ATTRIBUTE = re.compile(r"\(\*[^*]*\*\)\s*")
_MODULE = re.compile(r"^(?=module )", re.MULTILINE)
_REGISTER = re.compile(r"^\s+(\w+) <= (n_\d+);", re.MULTILINE)
_ANONYMOUS = re.compile(r"\bn_\d+\b")
_LONGEST_LINE = 100
_PLAIN = re.compile(r"(?<![\\\w$.'])[A-Za-z_]\w*")
# IEEE 1800-2017, annex B: names that need an escape in SystemVerilog.
_KEYWORD_LIST = """
    accept_on alias always always_comb always_ff always_latch and assert assign assume
    automatic before begin bind bins binsof bit break buf bufif0 bufif1 byte case casex
    casez cell chandle checker class clocking cmos config const constraint context continue
    cover covergroup coverpoint cross deassign default defparam design disable dist do edge
    else end endcase endchecker endclass endclocking endconfig endfunction endgenerate
    endgroup endinterface endmodule endpackage endprimitive endprogram endproperty
    endsequence endspecify endtable endtask enum event eventually expect export extends
    extern final first_match for force foreach forever fork forkjoin function generate
    genvar global highz0 highz1 if iff ifnone ignore_bins illegal_bins implements implies
    import incdir include initial inout input inside instance int integer interconnect
    interface intersect join join_any join_none large let liblist library local localparam
    logic longint macromodule matches medium modport module nand negedge nettype new
    nexttime nmos nor noshowcancelled not notif0 notif1 null or output package packed
    parameter pmos posedge primitive priority program property protected pull0 pull1
    pulldown pullup pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase
    randsequence rcmos real realtime ref reg reject_on release repeat restrict return rnmos
    rpmos rtran rtranif0 rtranif1 s_always s_eventually s_nexttime s_until s_until_with
    scalared sequence shortint shortreal showcancelled signed small soft solve specify
    specparam static string strong strong0 strong1 struct super supply0 supply1
    sync_accept_on sync_reject_on table tagged task this throughout time timeprecision
    timeunit tran tranif0 tranif1 tri tri0 tri1 triand trior trireg type typedef union
    unique unique0 unsigned until until_with untyped use uwire var vectored virtual void
    wait wait_order wand weak weak0 weak1 while wildcard wire with within wor xnor xor
"""
_KEYWORDS = frozenset(_KEYWORD_LIST.split())


def _simple(name: str) -> str:
    """A plain identifier as close to an escaped one as can be."""
    if "verilog_backend" in name:
        name = "time_zero" + name.rsplit("dump_module", 1)[-1]
    elif name.startswith("$"):
        name = "n" + name
    name = re.sub(r"\W+", "_", name).strip("_")
    return name if name[:1].isalpha() else "n_" + name


def plain_verilog(text: str) -> str:
    r"""Verilog with every escaped identifier (``\data.last$12``) replaced by a plain one.

    Names stay unique in the whole text. Attributes (``(* full_case *)``) are dropped: simulators
    ignore them, and some parsers cannot read them.

    Parameters
    ----------
    text : str
        Verilog as Yosys writes it.
    """
    text = _ATTRIBUTE.sub("", text)
    taken = set(_PLAIN.findall(text)) | _KEYWORDS
    names: dict[str, str] = {}

    def replace(match: re.Match) -> str:
        escaped = match.group(1)
        if escaped not in names:
            simple = _simple(escaped)
            candidate, suffix = simple, 1
            while candidate in taken:
                suffix += 1
                candidate = f"{simple}_{suffix}"
            taken.add(candidate)
            names[escaped] = candidate
        return names[escaped]

    text = _ESCAPED.sub(replace, text)
    text = "".join(_name_next_values(part) for part in _MODULE.split(text))
    return "\n".join(_wrapped(line) for line in text.split("\n"))


def _wrapped(line: str) -> str:
    """A long line broken behind commas; simulators limit the tokens of one line."""
    if len(line) <= _LONGEST_LINE:
        return line
    lines, current = [], ""
    for part in re.split(r"(?<=,) ?", line):
        if current and len(current) + len(part) > _LONGEST_LINE:
            lines.append(current)
            current = "    "
        current += part + (" " if part.endswith(",") else "")
    return "\n".join(part.rstrip() for part in [*lines, current])


def _name_next_values(module: str) -> str:
    """Call the value a register takes at the next edge after the register."""
    taken = set(_PLAIN.findall(module))
    names = {}
    for register, value in _REGISTER.findall(module):
        if value not in names and f"{register}_next" not in taken:
            names[value] = f"{register}_next"
    return _ANONYMOUS.sub(lambda match: names.get(match.group(), match.group()), module)
