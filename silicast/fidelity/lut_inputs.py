"""What is published about look-up hardware: `published/lut.toml`, typed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from designs.errors import InputError
from designs.tables import parse_toml, structure
from silicast.fidelity.rows import GRADES

__all__ = ["Inputs", "Layer", "Listed", "Table1", "inputs"]

_FILE = Path(__file__).parent / "published" / "lut.toml"


@dataclass(frozen=True)
class LutTensorCore:
    """Figures of the LUT Tensor Core paper that are no table (ISCA'25, arXiv 2408.06003)."""

    shape: tuple[int, ...]
    weight_bits: tuple[int, ...]
    table_bits: int
    best_k_int8: int
    best_k_fp16: int
    widest_add: int
    widest_full_table: int
    widest_lookup: int
    one_bit_gain: tuple[float, ...]
    dot4_lookup: float
    dot4_multiply: float
    share_1x: float
    share_4x: float
    share_8x: float
    frequency_ghz: float
    one_bit_tops_per_watt: float
    log_shape: tuple[int, ...]
    log_cycles: int


@dataclass(frozen=True)
class Table1:
    """A line of its Table 1: milliseconds, TOPS, mm2 an SM, TOPS a mm2, TOPS a watt."""

    name: str
    model: str
    sms: int
    prefill_ms: float
    decode_ms: float
    peak: float
    area: float
    density: float
    efficiency: float | None = None
    misprint: bool = False


@dataclass(frozen=True)
class Step:
    """A line of its Table 2: um2, density, mW, efficiency."""

    step: str
    area: float
    density: float
    power: float
    efficiency: float


@dataclass(frozen=True)
class Layer:
    """A line of its Table 4: milliseconds of one layer."""

    model: str
    batch: int
    tokens: int
    baseline: float
    separate: float
    fused: float


@dataclass(frozen=True)
class Overheads:
    """Mean overheads of its Table 4, in percent."""

    prefill_separate: float
    decode_separate: float
    prefill_fused: float
    decode_fused: float


@dataclass(frozen=True)
class Figlut:
    """FIGLUT (HPCA'25, arXiv 2503.06862)."""

    adds: int
    fewer_percent: float
    half_table: float
    half_decoder: float
    bits: tuple[float, ...]
    over_figna: tuple[float, ...]


@dataclass(frozen=True)
class Unpu:
    """UNPU (JSSC'19)."""

    gops_16: float
    gops_1: float
    frequency_ghz: float
    activations_16: int
    activations_1: int


@dataclass(frozen=True)
class Energy:
    """Watts, tokens a second, joules a token (T-MAC, EuroSys'25)."""

    system: str
    watts: float
    tokens_per_second: float
    joules: float


@dataclass(frozen=True)
class Scaling:
    """Tokens a second of 2- and 4-bit weights (T-MAC)."""

    device: str
    w2: float
    w4: float


@dataclass(frozen=True)
class AxCore:
    """Elements of FIGLUT and FIGNA in AxCore's artifact (MICRO'25)."""

    figlut_nw: float
    figna_nw: float
    figlut_energy: float
    figna_energy: float


@dataclass(frozen=True)
class Tl2:
    """Kernel TL2 of BitNet.cpp (arXiv 2502.11880)."""

    weights: int
    entries: int
    bits_per_weight: float


@dataclass(frozen=True)
class Listed:
    """A row without a figure of ours.

    Attributes
    ----------
    row, publication, what : str
        Which.
    grade : str
        A key of `silicast.fidelity.rows.GRADES`.
    why : str
        What is missing.
    """

    row: str
    publication: str
    what: str
    grade: str
    why: str

    def __post_init__(self) -> None:
        if self.grade not in GRADES:
            raise InputError(_FILE.name, "grade", self.grade, ", ".join(GRADES))


@dataclass(frozen=True)
class Inputs:
    """The whole file."""

    lut_tensor_core: LutTensorCore
    table1: tuple[Table1, ...]
    table2: tuple[Step, ...]
    table4: tuple[Layer, ...]
    overheads: Overheads
    figlut: Figlut
    unpu: Unpu
    tmac_energy: tuple[Energy, ...]
    tmac_scaling: tuple[Scaling, ...]
    axcore: AxCore
    tl2: Tl2
    listed: tuple[Listed, ...]

    def config(self, name: str) -> Table1:
        """A line of Table 1 by its name."""
        return next(line for line in self.table1 if line.name == name)


@cache
def inputs() -> Inputs:
    """Read the file once.

    Raises
    ------
    InputError
        A field is missing, unknown or of the wrong type.
    """
    table = parse_toml(_FILE.read_text(encoding="utf-8"), _FILE.name)
    return structure(table, Inputs, _FILE.name)
