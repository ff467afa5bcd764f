"""Rows that follow from published figures, and from the geometry of the generated unit."""

from __future__ import annotations

import re
from statistics import mean

from designs.units.lut import LutSpec
from silicast.fidelity.gates import NO_GATE, Gate, GatedRow, between, equal, within
from silicast.fidelity.lut_inputs import inputs

__all__ = ["paper_rows", "unit_rows"]

_LUT, _FIGLUT, _UNPU, _TMAC = "LUT Tensor Core", "FIGLUT", "UNPU", "T-MAC"
_FP16_MACS = 1024
"""Multiply-accumulates a cycle of an SM's FP16 tensor cores (NVIDIA A100 whitepaper)."""

_PLANES = 2
"""Of the weights of Table 1, W2."""

_ADDER = re.compile(r"^\s*cell \$(?:add|sub|neg) ", re.MULTILINE)


def _row(
    row: str,
    publication: str,
    quantity: str,
    published: float,
    ours: float,
    gate: Gate,
    unit: str = "",
    note: str = "",
    grade: str = "A",
    method: str = "arithmetic",
) -> GatedRow:
    low = high = published
    return GatedRow(row, publication, quantity, unit, low, high, ours, gate, grade, method, note)


def generator_adders() -> int:
    """Adders, subtractors and negations in the netlist of one table's generator."""
    from amaranth.back import rtlil

    from hwgen.units.lut_table import LutTable

    return len(_ADDER.findall(rtlil.convert(LutTable(1, 8))))


def unit_rows() -> list[GatedRow]:
    """L2 and F1: sizes of the generated unit."""
    paper, figlut = inputs().lut_tensor_core, inputs().figlut
    m, n, k = paper.shape
    unit = LutSpec(m, n, k, paper.weight_bits, 1 << 14, table_bits=paper.table_bits)
    entries = 1 << (k - 1)
    tables = unit.lanes_m * unit.groups * 8 * unit.entry_bits
    exact = LutSpec(m, n, k, paper.weight_bits, 1 << 14).entry_bits
    rows = [
        _row(
            "L2",
            _LUT,
            f"bits of all tables, M{m} N{n} K{k}: M * 2^(K-1) * {paper.table_bits}",
            m * entries * paper.table_bits,
            tables,
            equal(m * entries * paper.table_bits),
            "bit",
            f"With table_bits = 8; exact entries of INT8 activations have {exact} bits.",
            method="unit",
        )
    ]
    for bits in paper.weight_bits:
        ours = 8 * unit.weight_word_bytes * unit.step_words(bits)
        published = k * n * bits
        rows.append(
            _row(
                "L2",
                _LUT,
                f"bits of weights a step, W{bits}: K * N * {bits}",
                published,
                float(ours),
                equal(published),
                "bit",
                method="unit",
            )
        )
    adders = generator_adders()
    one_by_one = 8 * 3
    return [
        *rows,
        _row(
            "F1",
            _FIGLUT,
            "adders of a table's generator, four activations",
            figlut.adds,
            adders,
            equal(figlut.adds),
            note="Counted in the generated netlist; negations count.",
            method="unit",
        ),
        _row(
            "F1",
            _FIGLUT,
            "fewer than eight entries of three adds each",
            figlut.fewer_percent,
            100 * (1 - adders / one_by_one),
            within(figlut.fewer_percent, 1),
            "%",
            method="unit",
        ),
    ]


def paper_rows() -> list[GatedRow]:
    """L10 to L14, T1, T2, F3, U1 and X1: one published figure from others."""
    return [*_densities(), *_areas(), *_shares(), *_overheads(), *_others()]


def _densities() -> list[GatedRow]:
    rows = []
    for line in inputs().table1:
        ours = line.peak / (line.area * line.sms)
        note = (
            "Not gated: of the printed density, area and peak one is a misprint."
            if line.misprint
            else ""
        )
        gate = NO_GATE if line.misprint else within(line.density, 0.5)
        what = f"Table 1, density of {line.name}: peak over area"
        rows.append(_row("L10", _LUT, what, line.density, ours, gate, "TOPS/mm2", note))
    return rows


def _areas() -> list[GatedRow]:
    """Arrays of Table 2 in an SM of Table 1, and energy of one of them."""
    found, last = inputs(), inputs().table2[-1]
    m, n, k = found.lut_tensor_core.shape
    rows = []
    for times in (4, 8):
        line = found.config(f"A100-LUT-{times}X")
        arrays = times * _FP16_MACS * _PLANES / (m * n * k)
        what = f"Table 1, area an SM of {line.name}: {arrays:g} arrays of Table 2"
        ours = arrays * last.area * 1e-6
        rows.append(_row("L11", _LUT, what, line.area, ours, within(line.area, 3), "mm2"))
    one_bit = 2 * m * n * k * found.lut_tensor_core.frequency_ghz / last.power
    two_bits = found.config("A100-LUT-4X").efficiency
    assert two_bits is not None
    published = found.lut_tensor_core.one_bit_tops_per_watt
    note = "From the power of Table 2 at 1 GHz; Table 1 is at 1.41 GHz."
    return [
        *rows,
        _row(
            "L12",
            _LUT,
            "efficiency, W2 A8",
            two_bits,
            one_bit / 2,
            within(two_bits, 6),
            "TOPS/W",
            note,
        ),
        _row("L12", _LUT, "efficiency, W1 A8", published, one_bit, within(published, 6), "TOPS/W"),
    ]


def _shares() -> list[GatedRow]:
    found = inputs()
    paper = found.lut_tensor_core
    ours = found.config("A100-LUT-8X").area / found.config("A100 FP16 TC").area
    return [
        _row(
            "L13",
            _LUT,
            "area of eight times the rate, W2 A8, over FP16's",
            100 * paper.share_8x,
            100 * ours,
            within(100 * paper.share_8x, 0.5),
            "%",
        ),
        _row(
            "L13",
            _LUT,
            "area of four times the rate, W1 A_FP16, over FP16's: four times one array's",
            100 * paper.share_4x,
            400 * paper.share_1x,
            within(100 * paper.share_4x, 0.1),
            "%",
        ),
    ]


def _overheads() -> list[GatedRow]:
    found, rows = inputs(), []
    for phase in ("prefill", "decode"):
        lines = [line for line in found.table4 if (line.tokens > 1) == (phase == "prefill")]
        for kind in ("separate", "fused"):
            published = getattr(found.overheads, f"{phase}_{kind}")
            ours = mean(100 * (getattr(line, kind) / line.baseline - 1) for line in lines)
            what = f"Table 4, mean overhead of tables, {phase}, {kind}"
            rows.append(_row("L14", _LUT, what, published, ours, within(published, 1), "%"))
    return rows


def _others() -> list[GatedRow]:
    found = inputs()
    figlut, unpu, axcore = found.figlut, found.unpu, found.axcore
    rows = [
        _row(
            "T1",
            _TMAC,
            f"energy a token, {line.system}: power over rate",
            line.joules,
            line.watts / line.tokens_per_second,
            within(line.joules, 1),
            "J",
        )
        for line in found.tmac_energy
    ]
    unit = LutSpec(2, 64, 4, (1, 2, 4), 1 << 14)
    for device in found.tmac_scaling:
        rows.append(
            _row(
                "T2",
                _TMAC,
                f"time of W4 over W2, {device.device}, one thread",
                device.w2 / device.w4,
                unit.beats(4) / unit.beats(2),
                NO_GATE,
                note="Cycles of the unit's steps. On a CPU what does not depend on weights, as "
                "tables and attention, takes the rest."
                if device is found.tmac_scaling[0]
                else "",
                grade="B",
                method="unit",
            )
        )
    first = figlut.over_figna[0]
    for bits, published in zip(figlut.bits[1:], figlut.over_figna[1:], strict=True):
        ours = first * figlut.bits[0] / bits
        what = f"Figure 17, TOPS/W over FIGNA at {bits:g} bits: {first:g} * 4 / {bits:g}"
        rows.append(_row("F3", _FIGLUT, what, published, ours, within(published, 2)))
    lookups = unpu.gops_16 * 16 / (2 * unpu.frequency_ghz) / unpu.activations_16
    one_bit = lookups * unpu.activations_1 * 2 * unpu.frequency_ghz
    from_one = unpu.gops_1 / (2 * unpu.frequency_ghz) / unpu.activations_1
    rows += [
        _row(
            "U1",
            _UNPU,
            "look-ups a cycle: from the rate at 1 bit (published), at 16 bits (ours)",
            from_one,
            lookups,
            within(from_one, 0.1),
            note="Tables over four activations at one bit, over three at more.",
        ),
        _row(
            "U1",
            _UNPU,
            "rate at 1 bit, from the look-ups at 16 bits",
            unpu.gops_1,
            one_bit,
            within(unpu.gops_1, 0.1),
            "GOPS",
        ),
        _row(
            "X1",
            "AxCore",
            "energy of FIGLUT's cores over FIGNA's, W4-FP16: from the power of their elements",
            axcore.figlut_energy / axcore.figna_energy,
            axcore.figlut_nw / axcore.figna_nw,
            # Both energies have two digits.
            between(
                round((axcore.figlut_energy - 0.005) / (axcore.figna_energy + 0.005), 3),
                round((axcore.figlut_energy + 0.005) / (axcore.figna_energy - 0.005), 3),
            ),
            note="The gate is the rounding of two digits. Contradicts FIGLUT, which ranks itself "
            "before FIGNA at 4 bits.",
        ),
    ]
    return rows
