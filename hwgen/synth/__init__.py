"""Synthesis of generated Verilog with Yosys (PyPI ``pyosys``): resources, gates, area, proofs."""

from hwgen.synth.liberty import Library, read_liberty
from hwgen.synth.process import SynthesisError
from hwgen.synth.prove import Proof, prove_components_equal, prove_equal, prove_zero
from hwgen.synth.records import Memory, SynthesisReport
from hwgen.synth.scripts import TARGETS
from hwgen.synth.yosys import synthesise, synthesise_component

__all__ = [
    "TARGETS",
    "Library",
    "Memory",
    "Proof",
    "SynthesisError",
    "SynthesisReport",
    "prove_components_equal",
    "prove_equal",
    "prove_zero",
    "read_liberty",
    "synthesise",
    "synthesise_component",
]
