"""FPGA devices and cards: what there is, what a shell takes, and where the counts are from."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from designs.checks import integer, text
from designs.errors import InputError
from designs.tables import named_file, parse_toml, structure

__all__ = ["RESOURCES", "DeviceMemory", "FpgaDevice", "Resource", "device_names", "load_device"]

_LIBRARY = Path(__file__).parent / "devices"

RESOURCES = {
    "amd": ("lut", "ff", "dsp", "bram36", "uram"),
    "intel": ("alm", "ff", "dsp", "m20k"),
}
"""Resources of a device by vendor; a file gives all of them."""

_CONFIDENCE = ("published", "recalled")


@dataclass(frozen=True)
class Resource:
    """One kind of resource.

    Parameters
    ----------
    count : int
        On the device.
    source : str
        Where the count comes from.
    confidence : str
        ``published``, or ``recalled``: not yet compared with the data sheet.
    shell : float
        What a card's fixed platform takes of it; halves are 18 Kb block RAMs.
    shell_source : str
        Where that comes from; empty without a shell.
    """

    count: int
    source: str
    confidence: str
    shell: float = 0.0
    shell_source: str = ""

    def __post_init__(self) -> None:
        integer("resources.count", self.count, 0, 1 << 30)
        if self.confidence not in _CONFIDENCE:
            allowed = " or ".join(_CONFIDENCE)
            raise InputError("device", "resources.confidence", self.confidence, allowed)
        if not self.source:
            raise InputError(
                "device", "resources.source", self.source, "where the count comes from"
            )
        if not 0 <= self.shell <= self.count:
            raise InputError("device", "resources.shell", self.shell, f"from 0 to {self.count}")
        if self.shell and not self.shell_source:
            raise InputError("device", "resources.shell_source", "", "where the shell comes from")

    @property
    def free(self) -> float:
        """What a design may use."""
        return self.count - self.shell


@dataclass(frozen=True)
class DeviceMemory:
    """External memory of the card.

    Parameters
    ----------
    technology : str
        What it is.
    capacity_bytes, bandwidth_bytes_per_second : int
        All of it together; peak.
    source, confidence : str
        As for `Resource`.
    """

    technology: str
    capacity_bytes: int
    bandwidth_bytes_per_second: int
    source: str
    confidence: str

    def __post_init__(self) -> None:
        text("memory.technology", self.technology)
        integer("memory.capacity_bytes", self.capacity_bytes, 1, 1 << 50)
        integer("memory.bandwidth_bytes_per_second", self.bandwidth_bytes_per_second, 1, 10**14)
        if self.confidence not in _CONFIDENCE:
            allowed = " or ".join(_CONFIDENCE)
            raise InputError("device", "memory.confidence", self.confidence, allowed)
        if not self.source:
            raise InputError("device", "memory.source", self.source, "where the figures come from")


@dataclass(frozen=True)
class FpgaDevice:
    """An FPGA, usually on a card.

    Parameters
    ----------
    name, description, part : str
        For reports.
    vendor : str
        ``amd`` or ``intel``: which resources there are, and how RAM blocks are shaped.
    multiplier_bits : tuple of (int, int)
        Signed operands of the multiplier of a DSP block.
    multipliers_per_dsp : int
        Such multipliers in a block.
    multiplier_source : str
        Where the two come from.
    resources : mapping of str to Resource
        Every resource of `RESOURCES` of the vendor.
    memory : tuple of DeviceMemory
        External memories; may be empty.
    """

    name: str
    description: str
    part: str
    vendor: str
    multiplier_bits: tuple[int, ...]
    multipliers_per_dsp: int
    multiplier_source: str
    resources: dict[str, Resource]
    memory: tuple[DeviceMemory, ...] = ()

    def __post_init__(self) -> None:
        for field in ("name", "description", "part"):
            text(field, getattr(self, field))
        if not self.multiplier_source:
            allowed = "where the multiplier's shape comes from"
            raise InputError("device", "multiplier_source", self.multiplier_source, allowed)
        if self.vendor not in RESOURCES:
            raise InputError("device", "vendor", self.vendor, " or ".join(RESOURCES))
        if len(self.multiplier_bits) != 2 or min(self.multiplier_bits) < 2:
            found = list(self.multiplier_bits)
            raise InputError("device", "multiplier_bits", found, "two widths of at least 2")
        integer("multipliers_per_dsp", self.multipliers_per_dsp, 1, 8)
        needed = RESOURCES[self.vendor]
        if sorted(self.resources) != sorted(needed):
            given = sorted(self.resources)
            raise InputError("device", "resources", given, f"exactly {', '.join(needed)}")

    @property
    def ram_block(self) -> str:
        """Name of the block RAM resource."""
        return "bram36" if self.vendor == "amd" else "m20k"

    @property
    def recalled(self) -> tuple[str, ...]:
        """Resources whose count is not yet compared with a data sheet."""
        return tuple(name for name, item in self.resources.items() if item.confidence == "recalled")


def device_names() -> list[str]:
    """Names of the devices that ship with silicast, sorted."""
    return sorted(path.stem for path in _LIBRARY.glob("*.toml"))


def load_device(name: str) -> FpgaDevice:
    """A device by name, or a TOML file by path.

    Raises
    ------
    InputError
        There is no such device, or its file is wrong.
    """
    return _device(*named_file(_LIBRARY, str(name), "silicon.device"))


@cache
def _device(content: str, where: str) -> FpgaDevice:
    return structure(parse_toml(content, where), FpgaDevice, where)
