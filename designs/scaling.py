"""From one logic node to another: energy and area factors of a published rule.

Rule: A. Stillmaker and B. Baas, "Scaling equations for the accurate prediction of CMOS device
performance from 180 nm to 7 nm", Integration 58 (2017), pages 74-81. The numbers below are its
area factors and its energy polynomials (high-performance devices below 65 nm), as transcribed in
UCLA NanoCAD's open nodeScale tool. Leakage has no rule there, so nothing here scales leakage.
"""

from math import exp, log

__all__ = ["NODES", "NOMINAL_VOLTS", "RULE", "area_factor", "energy_factor"]

RULE = "Stillmaker and Baas, Integration 58 (2017), pages 74-81"

_AREA = {
    90: 2.8,
    65: 1.5,
    45: 1.0,
    32: 0.46,
    20: 0.21,
    16: 0.19,
    14: 0.17,
    10: 0.10,
    7: 0.059,
}
"""Area of the same circuit, 45 nm = 1 (the 45 nm row of the area table)."""

_ENERGY = {
    90: (4.762, -4.781, 2.092),
    65: (3.755, -4.398, 1.975),
    45: (1.018, -0.3107, 0.1539),
    32: (0.8367, -0.4341, 0.1701),
    20: (0.373, -0.1582, 0.04104),
    16: (0.2958, -0.1241, 0.03024),
    14: (0.2363, -0.09675, 0.02239),
    10: (0.2068, -0.09311, 0.02375),
    7: (0.1776, -0.09097, 0.02447),
}
"""Energy of a transition as a2 * V^2 + a1 * V + a0, the same unit at every node."""

NODES = tuple(sorted(_AREA))
"""Nodes of the rule, in nanometres; between two of them it is interpolated."""

NOMINAL_VOLTS = {45: 1.0, 32: 0.9, 20: 0.9, 16: 0.85, 14: 0.8, 10: 0.75, 7: 0.7}
"""Supply of the transistor models behind the rule: Predictive Technology Model, high performance
(Sinha et al., DAC 2012, for 20 nm and below)."""


def _between(table: dict[int, float], nanometres: float) -> float:
    """Value at a node, a straight line in log-log between the two nearest of the rule.

    28 nm and 40 nm are no nodes of the rule; that line is our addition to it.
    """
    if not NODES[0] <= nanometres <= NODES[-1]:
        raise ValueError(f"a node from {NODES[0]} to {NODES[-1]} nm, not {nanometres!r}")
    low = max(node for node in NODES if node <= nanometres)
    high = min(node for node in NODES if node >= nanometres)
    if low == high:
        return table[low]
    share = log(nanometres / low) / log(high / low)
    return exp((1 - share) * log(table[low]) + share * log(table[high]))


def _energy(nanometres: float, volts: float) -> float:
    if not 0.5 <= volts <= 1.2:
        raise ValueError(f"a supply from 0.5 to 1.2 V, not {volts!r}")
    table = {node: a2 * volts**2 + a1 * volts + a0 for node, (a2, a1, a0) in _ENERGY.items()}
    return _between(table, nanometres)


def energy_factor(nanometres: float, volts: float, to_nanometres: float, to_volts: float) -> float:
    """What to multiply a switching energy by to carry it to another node and supply.

    Parameters
    ----------
    nanometres, to_nanometres : float
        7 to 90.
    volts, to_volts : float
        0.5 to 1.2.

    Raises
    ------
    ValueError
        A node or supply is outside the rule.

    Examples
    --------
    >>> round(energy_factor(45, 0.9, 28, 0.9), 3)
    0.518
    """
    return _energy(to_nanometres, to_volts) / _energy(nanometres, volts)


def area_factor(nanometres: float, to_nanometres: float) -> float:
    """What to multiply a logic area by to carry it to another node.

    Raises
    ------
    ValueError
        A node is outside the rule.

    Examples
    --------
    >>> round(area_factor(45, 28), 3)
    0.368
    """
    area = {node: float(value) for node, value in _AREA.items()}
    return _between(area, to_nanometres) / _between(area, nanometres)
