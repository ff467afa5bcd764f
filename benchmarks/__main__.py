"""Run every benchmark and write docs/benchmarks.md."""

import os
import platform
import sys
from pathlib import Path

from benchmarks import (
    dram_patterns,
    llm_simulation,
    perplexity,
    quantisation,
    rtl_speed,
    weight_bits,
    whole_model,
)

DOCUMENT = Path(__file__).parent.parent / "docs" / "benchmarks.md"

_TABLES = (
    rtl_speed,
    quantisation,
    weight_bits,
    llm_simulation,
    whole_model,
    dram_patterns,
    perplexity,
)
_INTRODUCTION = """# Benchmarks

Written by `make bench`. Times are wall-clock seconds of one run on {machine}; they are a record,
not a promise, and no test depends on them.
"""


def _machine() -> str:
    model = platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{os.cpu_count()} cores of {model}, Python {platform.python_version()}"


def main() -> None:
    """All tables, in order."""
    parts = [_INTRODUCTION.format(machine=_machine())]
    for module in _TABLES:
        print(f"running {module.__name__}", file=sys.stderr)
        parts.append(module.table())
    DOCUMENT.write_text("\n".join(parts), encoding="utf-8")
    print(f"wrote {DOCUMENT.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
