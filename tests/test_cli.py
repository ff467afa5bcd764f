"""The command line: its JSON contract, and one line with the right exit status for bad input."""

import json
import subprocess
import sys
from unittest.mock import Mock

import pytest
from tiny_gguf import write_tiny

import silicast.execution
import silicast.listing
import silicast.verification
from designs.files import design_to_toml, load_design
from silicast.output import write_json

PHASE = {
    "tokens", "cycles", "seconds", "tokens_per_second", "dram_bytes", "energy_joules",
    "utilization",
}  # fmt: skip
OPERATOR = {
    "name", "phase", "kind", "m", "n", "k", "count", "cycles", "compute_cycles", "memory_cycles",
    "dram_bytes", "bound", "lane_occupancy",
}  # fmt: skip


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("toy") / "toy.gguf")


@pytest.fixture
def images(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("images")
    monkeypatch.setattr(silicast.weights, "cache_directory", lambda part: folder)


def refused(call, *arguments):
    """The one line of a refused command."""
    status, out, err = call(*arguments)
    assert (status, out) == (2, "")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert err.startswith("silicast: ")
    return err


# ---- contract


@pytest.mark.parametrize(
    ("command", "name"), [("models", "llama2-7b"), ("designs", "dense-int8"), ("formats", "int4")]
)
def test_lists(call, command, name):
    status, out, err = call(command, "--json")
    assert (status, err) == (0, "")
    assert name in [row["name"] for row in json.loads(out)]
    status, out, err = call(command)
    assert (status, err) == (0, "")
    assert name in out


def test_simulate_contract(call):
    status, out, err = call(*SIMULATE, "--prefill", 8, "--decode", 2, "--json", "-")
    assert (status, err) == (0, "")
    result = json.loads(out)
    assert set(result) >= {"model", "design", "weights", "batch", "phases", "operators"}
    assert (result["model"], result["design"]) == ("gemma3-270m", "dense-int8")
    assert (result["weights"], result["batch"]) == ("int8", 1)
    assert set(result["phases"]) == {"prefill", "decode"}
    assert all(set(phase) >= PHASE for phase in result["phases"].values())
    assert all(set(operator) >= OPERATOR for operator in result["operators"])
    assert result["not_modelled"]


def test_simulate_defaults(call):
    def phases(*options):
        _, out, _ = call("simulate", "gemma3-270m", "dense-int8", *options, "--json", "-")
        return {name: phase["tokens"] for name, phase in json.loads(out)["phases"].items()}

    assert phases() == {"prefill": 256, "decode": 20}
    assert phases("--prefill", 0, "--decode", 1, "--context", 512) == {"prefill": 0, "decode": 1}
    assert phases("--context", 512) == {"prefill": 0, "decode": 1}
    assert phases("--prefill", 7, "--batch", 2) == {"prefill": 14, "decode": 40}


def test_simulate_table_and_file(call, tmp_path):
    status, out, err = call("simulate", "gemma3-270m", "dense-int8", "--json", "r.json")
    assert (status, err) == (0, "")
    assert "lm_head" in out
    assert "weight load" in out
    assert "vector operators*" in out
    assert "decode: Limited by DRAM bandwidth" in out
    assert "simulated only" in out
    assert json.loads((tmp_path / "r.json").read_text())["model"] == "gemma3-270m"
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_compile(call, tmp_path):
    status, out, err = call("compile", "gemma3-270m", "dense-int8", "-o", "out", "--tokens", 4)
    assert (status, err) == (0, "")
    assert len(out.splitlines()) == 3
    layout = json.loads((tmp_path / "out" / "layout.json").read_text())
    names = [program["name"] for program in layout["programs"]]
    assert names[0] == "layers.0.q"
    assert names[-1] == "lm_head"
    listing = (tmp_path / "out" / "program.lst").read_text()
    assert "layers.0.q: M=4 N=1024 K=640" in listing


def test_generate(call, tmp_path):
    status, out, err = call("generate", "dense-int8-tiny", "-o", "rtl")
    assert (status, out, err) == (0, "rtl\n", "")
    manifest = json.loads((tmp_path / "rtl" / "manifest.json").read_text())
    assert manifest
    assert list((tmp_path / "rtl").glob("*.v"))
    assert [p.name for p in tmp_path.iterdir()] == ["rtl"]


def test_generate_spares_a_folder_of_other_files(call, tmp_path):
    (tmp_path / "rtl").mkdir()
    (tmp_path / "rtl" / "notes.txt").write_text("mine")
    refused(call, "generate", "dense-int8-tiny", "-o", "rtl")
    assert [p.name for p in (tmp_path / "rtl").iterdir()] == ["notes.txt"]


@pytest.mark.rtl
def test_verify_contract(call):
    status, out, err = call(
        "verify", "dense-int8-tiny", "--gemm", "3x20x64", "--weights", "int4_g32",
        "--activations", "int8", "--seed", 5, "--backend", "rtl", "--json", "-",
    )  # fmt: skip
    assert (status, err) == (0, "")
    result = json.loads(out)
    expected = {
        "design": "dense-int8-tiny", "gemm": "3x20x64", "weights": "int4_g32", "outputs": 60,
        "mismatched_outputs": 0, "seed": 5,
    }  # fmt: skip
    assert result.items() >= expected.items()
    assert result["cycles_simulated"] == result["cycles_rtl"]
    status, out, err = call("verify", "dense-int8-tiny", "--gemm", "3x20x64")
    assert (status, err) == (0, "")
    assert "passed" in out


@pytest.mark.rtl
def test_a_failed_check_exits_with_1_and_still_reports(call, tmp_path, monkeypatch):
    monkeypatch.setattr(silicast.verification, "cycle_limit", lambda cycles: -1)
    status, out, err = call("verify", "dense-int8-tiny", "--gemm", "1x8x8", "--json", "v.json")
    assert (status, err) == (1, "")
    assert "FAILED" in out
    assert json.loads((tmp_path / "v.json").read_text())["passed"] is False


@pytest.mark.rtl
def test_run_contract(call, toy, images):
    arguments = ("run", toy, "dense-int8-tiny", "--prompt", "ab", "--tokens", 2)
    status, out, err = call(*arguments, "--json", "-")
    assert (status, err) == (0, "")
    result = json.loads(out)
    assert set(result) >= {
        "text", "token_ids", "cycles_rtl", "cycles_simulated", "mismatched_outputs",
        "wall_seconds", "prompt_token_ids", "operators",
    }  # fmt: skip
    assert result["mismatched_outputs"] == 0
    assert result["cycles_rtl"] == result["cycles_simulated"]
    assert len(result["token_ids"]) == 2
    assert set(result["operators"][0]) >= {
        "name", "kind", "m", "n", "k", "count", "cycles_simulated", "cycles_rtl"
    }  # fmt: skip


def test_run_on_the_golden_model(call, toy, images):
    arguments = ("run", toy, "dense-int8-tiny", "--prompt", "ab", "--tokens", 2)
    status, out, err = call(*arguments, "--backend", "golden", "--json", "-")
    assert (status, err) == (0, "")
    assert json.loads(out)["cycles_rtl"] is None
    status, out, err = call(*arguments, "--backend", "golden", "--weights", "int4")
    assert (status, err) == (0, "")
    assert "layers.*.gate" in out
    assert "tokens/s" in out


def test_a_failed_build_is_one_line(call, monkeypatch):
    from hwgen.verilated import runner
    from hwgen.verilated.build import BuildError

    def broken(*_):
        raise BuildError("no compiler\nat all")

    monkeypatch.setattr(runner, "build_shared_library", broken)
    status, out, err = call("verify", "dense-int8-tiny", "--gemm", "1x8x8", "--json", "v.json")
    assert (status, out, err) == (1, "", "silicast: no compiler at all\n")


def test_as_a_process():
    done = subprocess.run(
        [sys.executable, "-m", "silicast", "designs", "--json"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)
    done = subprocess.run(
        [sys.executable, "-m", "silicast", "simulate", "\udcff", "dense-int8"],
        capture_output=True,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.count(b"\n") == 1


def test_version_and_help(call):
    assert call("--version")[1] == f"silicast {silicast.__version__}\n"
    for arguments in ((), ("--help",), ("-h",)):
        status, out, err = call(*arguments)
        assert (status, err) == (0, "")
        assert "verify" in out


# ---- bad input

SIMULATE = ("simulate", "gemma3-270m", "dense-int8")
VERIFY = ("verify", "dense-int8-tiny")
RUN = ("run", "gemma3-270m", "dense-int8", "--prompt", "a")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("synthesise",), ("synthesise", "simulate")),
        (("simulate", "--no-such"), ("--no-such", "--prefill")),
        (("simulate",), ("MODEL",)),
        (("simulate", "gemma3-270m"), ("DESIGN",)),
        (("simulate", "gpt-7", "dense-int8"), ("gpt-7", "llama2-7b")),
        (("simulate", "gemma3-270m", "dense"), ("dense", "dense-int8-tiny")),
        (("simulate", "gemma3-270m", "none.toml"), ("none.toml",)),
        (("simulate", "none.gguf", "dense-int8"), ("none.gguf", "No such file")),
        (("simulate", "none.json", "dense-int8"), ("none.json",)),
        ((*SIMULATE, "--weights", "int9"), ("--weights", "int9", "int8")),
        ((*SIMULATE, "--weights", "int3"), ("int3", "int4")),
        ((*SIMULATE, "--weights", "int4_g48"), ("layers.*.q", "int4_g48", "640")),
        ((*SIMULATE, "--activations", "fp16"), ("--activations", "fp16", "int8")),
        ((*SIMULATE, "--prefill", "many"), ("--prefill", "many", ">= 0")),
        ((*SIMULATE, "--prefill", "-1"), ("--prefill", "-1", ">= 0")),
        ((*SIMULATE, "--prefill", ""), ("--prefill", ">= 0")),
        ((*SIMULATE, "--prefill", "0", "--decode", "0"), ("decode", ">= 1")),
        ((*SIMULATE, "--prefill", "99999999"), ("--prefill", "99999999", "1048576")),
        ((*SIMULATE, "--batch", "0"), ("--batch", "0", ">= 1")),
        ((*SIMULATE, "--context", "9", "--prefill", "2"), ("context", "9")),
        ((*SIMULATE, "--json", "no/such/folder.json"), ("--json", "no/such/folder.json")),
        ((*SIMULATE, "--json", "."), ("--json",)),
        ((*SIMULATE, "--html", "a", "--trace", "./a"), ("--html", "a", "--trace")),
        ((*SIMULATE, "--html", "no/page.html"), ("--html", "no/page.html")),
        ((*SIMULATE, "--conventions", "none"), ("--conventions: ", "none", "bitmod-hpca25")),
        (("memory", "ddr9"), ("TECHNOLOGY", "ddr9", "ddr4-2400")),
        (("resources", "dense-int8", "--device", "u9"), ("--device", "u9", "u280")),
        ((*VERIFY, "--gemm", "3x4"), ("--gemm", "3x4", "MxNxK")),
        ((*VERIFY, "--gemm", "3x4x5.5"), ("--gemm", "3x4x5.5")),
        ((*VERIFY, "--gemm", "axbxc"), ("--gemm", "axbxc")),
        ((*VERIFY, "--gemm=-1x4x4"), ("--gemm", "-1x4x4")),
        ((*VERIFY, "--gemm", "0x1x1"), ("--gemm", "0x1x1", "from 1")),
        ((*VERIFY, "--seed", "9" * 19), ("--seed", "at most 18 digits")),
        (("simulate", "", "dense-int8"), ("model", "gemma3-270m")),
        (("simulate", "gemma3-270m", ""), ("design", "dense-int8")),
        (("simulate", "gemma3-270m", "."), ("Is a directory",)),
        ((*SIMULATE, "--weights", "int4_g" + "1" * 5000), ("weight format",)),
        ((*VERIFY, "--gemm", "4x4x99999"), ("99999", "32768")),
        ((*VERIFY, "--gemm", "999999999x999999999x8"), ("--gemm", "at most 2^28")),
        ((*VERIFY, "--gemm", "4x4x100", "--weights", "int4_g64"), ("K", "100", "64")),
        ((*VERIFY, "--gemm", "4x4x64", "--weights", "int4_asym_g64"), ("zero points",)),
        ((*VERIFY, "--seed", "-1"), ("--seed", "-1", ">= 0")),
        ((*VERIFY, "--backend", "hls"), ("--backend", "hls", "rtl")),
        ((*VERIFY, "--simulator", "icarus"), ("--simulator", "icarus", "verilator")),
        ((*RUN, "--tokens", "0"), ("--tokens", "0", ">= 1")),
        ((*RUN, "--tokens", "-4"), ("--tokens", "-4", ">= 1")),
        ((*RUN, "--tokens", "1e3"), ("--tokens", "1e3", ">= 1")),
        (RUN, ("--tokens",)),
        ((*RUN, "--tokens", "1", "--backend", "hls"), ("--backend", "hls", "golden")),
        ((*RUN, "--tokens", "1", "--weights", "int3"), ("int3",)),
        (("run", "llama2-7b", "dense-int8", "--prompt", "a", "--tokens", "1"), ("gemma3-270m",)),
        (("generate", "dense-int8-tiny", "-o", "out", "--target", "hls"), ("hls", "verilog")),
        (("generate", "dense-int8-tiny"), ("-o",)),
        (("compile", "gemma3-270m", "dense-int8", "-o", "out", "--tokens", "0"), ("--tokens",)),
        (("compile", "llama2-70b", "dense-int8-tiny", "-o", "out"), ("capacity_bytes",)),
    ],
)
def test_bad_input_is_one_line(call, tmp_path, arguments, words):
    line = refused(call, *arguments)
    for word in words:
        assert word in line
    assert list(tmp_path.iterdir()) == []


def _changed(old, new):
    text = design_to_toml(load_design("dense-int8-tiny"))
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("lanes_m = 2", "lanes_m = 2\nlanes_x = 77", ("unit.lanes_x", "77", "kind, lanes_m")),
        ("lanes_m = 2", "lanes_m = " + "[" * 5000, ("nested",)),
        ("lanes_m = 2", "lanes_m = " + "1" * 5000, ("digits",)),
        ("lanes_m = 2", "lanes_m = 0x" + "1" * 5000, ("lanes_m", "too long to show")),
        ("latency_ns = 200.0", "latency_ns = " + "1" * 400, ("latency_ns", "308 digits")),
        ("weight_bits = [4, 8]", "weight_bits = 8", ("found 8", "a list of integers")),
        ('kind = "dense"', "kind = [1]", ("unit.kind", "[1]", "dense")),
        ("[clock]", "[[clock]]", ("clock", "a table")),
        ("[clock]", "[clock]  # \udcff", ("not UTF-8",)),
        ("lanes_m = 2", "lanes_m = 3", ("unit.lanes_m", "3", "power of two")),
        ("weight_bytes = 16384", "weight_bytes = 0", ("buffers.weight_bytes", "0")),
        (
            "activation_bytes = 16384",
            "activation_bytes = 2048",
            ("my.toml: buffers.activation_bytes", "8192"),
        ),
        ("[clock]", "[clock", ("TOML",)),
    ],
)
def test_a_bad_design_is_one_line(call, tmp_path, old, new, words):
    (tmp_path / "my.toml").write_text(_changed(old, new), errors="surrogateescape")
    line = refused(call, "verify", "my.toml", "--gemm", "4x4x4096", "--json", "v.json")
    for word in ("my.toml", *words):
        assert word in line
    assert [p.name for p in tmp_path.iterdir()] == ["my.toml"]


def test_errors_name_the_file_of_a_design(call, tmp_path, toy, images):
    (tmp_path / "s.toml").write_text(_changed("activation_bytes = 16384", "activation_bytes = 16"))
    for command, *options in (("simulate",), ("run", "--prompt", "a", "--tokens", 1)):
        line = refused(call, command, toy, "s.toml", *options)
        assert line.startswith("silicast: s.toml: buffers.activation_bytes: ")
    small = _changed("capacity_bytes = 1073741824", "capacity_bytes = 4096")
    (tmp_path / "c.toml").write_text(small)
    assert "silicast: c.toml: " in refused(call, "compile", toy, "c.toml", "-o", "new/out")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("redirection", "status", "words"),
    [
        (">/dev/full", 1, "silicast: standard output: No space left on device\n"),
        (">&-", 1, "silicast: standard output: Bad file descriptor\n"),
        (">&- 2>&-", 1, ""),
    ],
)
@pytest.mark.parametrize("option", ["", "--json"])
def test_streams_that_cannot_be_written(redirection, status, words, option):
    command = f"{sys.executable} -m silicast models {option} {redirection}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (status, words)


def test_an_interrupt_is_one_line(call, monkeypatch):
    monkeypatch.setattr(silicast.listing, "models", Mock(side_effect=KeyboardInterrupt))
    assert call("models") == (130, "", "silicast: interrupted\n")


def test_a_context_beyond_the_model_is_a_warning(call):
    status, out, err = call(*SIMULATE, "--context", 9999999, "--json", "-")
    (warning,) = json.loads(out)["warnings"]
    assert (status, err) == (0, f"silicast: warning: {warning}\n")


def test_bad_checkpoints_are_one_line(call, tmp_path, toy):
    content = toy.read_bytes()
    (tmp_path / "cut.gguf").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.gguf").write_bytes(b"")
    write_tiny(tmp_path / "other.gguf", architecture="mamba")
    options = ("dense-int8-tiny", "--prompt", "a", "--tokens", "1", "--json", "r.json")
    for name, word in (("cut", "cut.gguf"), ("empty", "empty.gguf"), ("other", "mamba")):
        assert word in refused(call, "run", f"{name}.gguf", *options)
    assert "128" in refused(call, "run", toy, *options[:2], "a" * 200, *options[3:])
    assert "character" in refused(call, "run", toy, *options[:2], "\udcff", *options[3:])
    assert not (tmp_path / "r.json").exists()


def test_json_is_whole_or_not_there(tmp_path):
    target = tmp_path / "r.json"
    target.write_text("old")
    with pytest.raises(ValueError):
        write_json(str(target), {"rate": float("nan")})
    assert target.read_text() == "old"
    write_json(str(target), {"text": "é"})
    assert json.loads(target.read_text()) == {"text": "é"}
    link = tmp_path / "link.json"
    link.symlink_to(target)
    write_json(str(link), [1])
    assert link.is_symlink()
    assert json.loads(target.read_text()) == [1]
    write_json("/dev/null", [1])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.json", "r.json"]
