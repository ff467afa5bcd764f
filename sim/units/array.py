"""Costs of a published ``array`` of processing elements: the process file knows the element."""

from designs.process import Constant, Process
from designs.spec import Design
from designs.units import ArraySpec, UnitSpec
from sim.units.base import Logic, NotModelled
from sim.units.parts import Part

__all__ = ["ArrayCosts"]


class ArrayCosts:
    """``pes`` equal elements, all clocked in every working cycle, whatever part of them is used.

    That is how BitMoD's simulator charges its arrays (bitmod_sim/accelerator.py,
    calc_compute_energy), and what an array without gating by row and column does.
    """

    def elements(self, spec: UnitSpec) -> tuple[str, ...]:
        assert isinstance(spec, ArraySpec)
        return (spec.pe,)

    def cycle_picojoules(
        self, spec: UnitSpec, process: Process, element_picojoules: float | None
    ) -> tuple[float, float]:
        assert isinstance(spec, ArraySpec)
        element = process.element(spec.pe)
        each = element.picojoules if element_picojoules is None else element_picojoules
        encoder = process.element(element.encoder).picojoules if element.encoder else 0.0
        return spec.pes * each, spec.pes * encoder

    def area(self, spec: UnitSpec, process: Process) -> tuple[float, float]:
        assert isinstance(spec, ArraySpec)
        element = process.element(spec.pe)
        encoder = process.element(element.encoder).square_micrometres if element.encoder else 0.0
        return spec.pes * element.square_micrometres, spec.pes * encoder

    def constants(self, spec: UnitSpec, process: Process) -> list[Constant]:
        return []

    def parts(self, spec: UnitSpec) -> tuple[Part, ...]:
        return ()

    def includes_leakage(self, spec: UnitSpec, process: Process) -> bool:
        assert isinstance(spec, ArraySpec)
        return process.element(spec.pe).includes_leakage

    def not_modelled(self, spec: UnitSpec) -> dict[str, str]:
        return {
            "column accumulators": "adders that collect the sums of several elements are counted "
            "where the element's figures hold them",
        }

    def logic(self, design: Design) -> Logic | NotModelled:
        return NotModelled("a published array has no RTL: its look-up tables are not known")
