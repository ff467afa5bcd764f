"""What there is: built-in models, library designs and weight formats, as plain values."""

from designs.errors import InputError
from designs.files import library_names, load_design
from designs.spec import Design
from mapping.formats import WeightFormat, list_formats, storage_bits
from mapping.matmul_free import MATMUL_FREE
from mapping.models import list_models, resolve_model
from mapping.tiling import choose_weight_tiling
from sim.conventions import list_conventions, load_conventions
from sim.phases import check_format

__all__ = ["conventions", "designs", "formats", "models"]

_SAMPLE = 4096  # a matrix of this many rows and columns stands for the bits a weight takes


def models() -> list[dict]:
    """The built-in models: sizes, and whether their weights can be run."""
    found = []
    for name in list_models():
        resolved = resolve_model(name)
        spec = resolved.spec
        found.append(
            {
                "name": name,
                "family": spec.family,
                "layers": spec.layers,
                "hidden": spec.hidden,
                "heads": spec.heads,
                "kv_heads": spec.kv_heads,
                "ffn": spec.ffn,
                "vocab": spec.vocab,
                "max_context": spec.max_context,
                "parameters": spec.parameters(),
                "linear_weights": spec.linear_weights(),
                "has_weights": resolved.has_weights,
            }
        )
    found += [
        {
            "name": name,
            "family": "matmulfree",
            "layers": model.layers,
            "hidden": model.hidden,
            "heads": None,
            "kv_heads": None,
            "ffn": model.ffn,
            "vocab": model.vocab,
            "max_context": model.max_context,
            "parameters": model.block_weights + 2 * model.vocab * model.hidden,
            "linear_weights": model.block_weights + model.vocab * model.hidden,
            "has_weights": False,
        }
        for name, model in MATMUL_FREE.items()
    ]
    return found


def designs() -> list[dict]:
    """The library designs: unit, peak rates and what they are."""
    found = []
    for name in library_names():
        design = load_design(name)
        unit, dram, clock = design.unit, design.dram, design.clock
        found.append(
            {
                "name": name,
                "description": design.description,
                "unit": unit.kind,
                "simulated_only": unit.simulated_only,
                "lanes_m": unit.lanes_m,
                "lanes_n": unit.lanes_n,
                "lanes_k": unit.lanes_k,
                "macs": unit.macs,
                "weight_bits": list(unit.weight_bits),
                "frequency_hz": clock.frequency_hz,
                "peak_macs_per_second": {
                    str(bits): unit.macs * clock.frequency_hz // unit.beats(bits)
                    for bits in unit.weight_bits
                },
                "dram": dram.technology,
                "dram_bytes_per_second": dram.channels * dram.bandwidth_bytes_per_second,
                "dram_capacity_bytes": dram.capacity_bytes,
                "digest": design.digest,
            }
        )
    return found


def formats() -> list[dict]:
    """The usual weight formats, and the library designs that run them.

    ``bits_per_weight`` counts scales and zero points at K = 4096.
    """
    library = [load_design(name) for name in library_names()]
    return [
        {
            "name": fmt.name,
            "bits": fmt.bits,
            "group": fmt.group,
            "asymmetric": fmt.asymmetric or fmt.offset,
            "planes": fmt.planes,
            "family": fmt.family,
            "lowest_code": fmt.lowest if fmt.executable else None,
            "highest_code": fmt.highest if fmt.executable else None,
            "bits_per_weight": storage_bits(fmt, _SAMPLE, _SAMPLE) / _SAMPLE**2,
            "designs": [design.name for design in library if _runs(design, fmt)],
        }
        for fmt in list_formats()
    ]


def _runs(design: Design, fmt: WeightFormat) -> bool:
    try:
        check_format(design, fmt)
        if not design.unit.simulated_only:
            choose_weight_tiling(design, _SAMPLE, _SAMPLE, fmt)
    except InputError:
        return False
    return True


def conventions() -> list[dict]:
    """Publications whose way of counting can be reproduced, and the switches each one sets."""
    return [
        {
            "name": rules.name,
            "description": rules.description,
            "switches": list(rules.changed()),
        }
        for rules in map(load_conventions, list_conventions())
    ]
