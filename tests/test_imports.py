"""Imports run one way: designs <- mapping <- sim, hwgen <- silicast."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "designs": {"templates"},
    "templates": set(),
    "mapping": {"designs", "templates"},
    "sim": {"designs", "mapping", "templates"},
    "hwgen": {"designs", "mapping", "templates"},
    "silicast": {"designs", "mapping", "sim", "hwgen", "templates"},
    "benchmarks": {"designs", "mapping", "sim", "hwgen", "templates", "silicast"},
}


def _imported(path: Path) -> set[str]:
    packages = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            packages.add((node.module or "").split(".")[0])
    return packages & set(MAY_IMPORT)


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_imports_run_downward(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files or package == "templates"
    for path in files:
        upward = _imported(path) - MAY_IMPORT[package] - {package}
        assert not upward, f"{path.relative_to(ROOT)} imports {sorted(upward)}"


def test_the_check_sees_a_wrong_import(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.py"
    wrong.write_text("def f():\n    import hwgen.verilog\n    from sim import timeline\n")
    assert _imported(wrong) == {"hwgen", "sim"}
