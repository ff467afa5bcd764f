"""AXI4 as one channel of external memory sees it (ARM IHI 0022)."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ADDRESS_BITS", "ID_BITS", "axi4_members", "axi4_signature"]

ADDRESS_BITS = 40
ID_BITS = 1


def axi4_members(data_bytes: int) -> dict[str, wiring.Member]:
    """Members of an AXI4 manager port, named as in the specification, in lower case.

    Parameters
    ----------
    data_bytes : int
        Width of RDATA and WDATA in bytes.
    """
    address = {"id": ID_BITS, "addr": ADDRESS_BITS, "len": 8, "size": 3, "burst": 2}
    members = {}
    for channel in ("aw", "ar"):
        for name, width in (address | {"cache": 4, "prot": 3}).items():
            members[channel + name] = Out(width)
        members[channel + "valid"] = Out(1)
        members[channel + "ready"] = In(1)
    members |= {
        "wdata": Out(8 * data_bytes),
        "wstrb": Out(data_bytes),
        "wlast": Out(1),
        "wvalid": Out(1),
        "wready": In(1),
        "bid": In(ID_BITS),
        "bresp": In(2),
        "bvalid": In(1),
        "bready": Out(1),
        "rid": In(ID_BITS),
        "rdata": In(8 * data_bytes),
        "rresp": In(2),
        "rlast": In(1),
        "rvalid": In(1),
        "rready": Out(1),
    }
    return members


def axi4_signature(data_bytes: int) -> wiring.Signature:
    """The manager side of one AXI4 port."""
    return wiring.Signature(axi4_members(data_bytes))
