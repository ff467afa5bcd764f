"""Cast a language model into silicon: simulate an accelerator, generate it, prove it.

    import silicast

    silicast.simulate("llama2-7b", "dense-int8", prefill=256, decode=20)
    silicast.memory_efficiency("hbm2", "random")
    silicast.resources("dense-int8", "u280")
    silicast.generate("dense-int8", "rtl")
    silicast.synthesise("lut", "xcup")
    silicast.quantize("gemma3-270m", ["int4_g128", "bitmod_fp4_g128"])
    silicast.verify("dense-int8-tiny", m=5, n=40, k=256, weights="int4_g128")
    silicast.run("gemma3-270m", "dense-int8", "The capital of France is", tokens=8)

Every function takes a name, a path or an object for its model and its design, and raises
`InputError` for wrong input. Names are imported on their first use, so that
``import silicast`` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from designs.errors import InputError as InputError
    from designs.files import load_design as load_design
    from silicast.building import compile_model as compile_model
    from silicast.building import generate as generate
    from silicast.errors import FailedCheck as FailedCheck
    from silicast.execution import RunResult as RunResult
    from silicast.execution import run as run
    from silicast.listing import conventions as conventions
    from silicast.listing import designs as designs
    from silicast.listing import formats as formats
    from silicast.listing import models as models
    from silicast.memory_patterns import memory_efficiency as memory_efficiency
    from silicast.quantization import quantize as quantize
    from silicast.quantize_results import QuantizeResult as QuantizeResult
    from silicast.silicon import resources as resources
    from silicast.simulation import load_model as load_model
    from silicast.simulation import simulate as simulate
    from silicast.synthesis import SynthResult as SynthResult
    from silicast.synthesis import synthesise as synthesise
    from silicast.verification import VerifyResult as VerifyResult
    from silicast.verification import verify as verify
    from sim.model import ModelResult as ModelResult

_HOMES = {
    "FailedCheck": "silicast.errors",
    "InputError": "designs.errors",
    "ModelResult": "sim.model",
    "QuantizeResult": "silicast.quantize_results",
    "RunResult": "silicast.execution",
    "SynthResult": "silicast.synthesis",
    "VerifyResult": "silicast.verification",
    "compile_model": "silicast.building",
    "conventions": "silicast.listing",
    "designs": "silicast.listing",
    "formats": "silicast.listing",
    "generate": "silicast.building",
    "load_design": "designs.files",
    "load_model": "silicast.simulation",
    "models": "silicast.listing",
    "memory_efficiency": "silicast.memory_patterns",
    "quantize": "silicast.quantization",
    "resources": "silicast.silicon",
    "run": "silicast.execution",
    "simulate": "silicast.simulation",
    "synthesise": "silicast.synthesis",
    "verify": "silicast.verification",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("silicast")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'silicast' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
