"""The commands around the simulator: conventions, memory, resources, formats, bad input."""

import json

import pytest

SIMULATE = ("simulate", "gemma3-270m", "dense-int8")


def test_conventions_count_as_the_publication_did(call):
    options = ("--prefill", 256, "--decode", 0, "--conventions", "bitmod-hpca25", "--json", "-")
    status, out, _ = call("simulate", "llama2-7b", "bitmod-28nm", *options)
    result = json.loads(out)
    assert status == 0
    assert result["weights"] == "bitmod_fp4_g128"  # the design's own
    assert result["conventions"] == "bitmod-hpca25"
    assert result["phases"]["prefill"]["cycles"] == 926_097_408  # bitmod_simulator.csv, e445a5f
    status, out, _ = call("conventions", "--json")
    assert "bitmod-hpca25" in [row["name"] for row in json.loads(out)]


def test_memory_patterns(call):
    status, out, _ = call("memory", "ddr4-2400", "--requests", 5000, "--json", "-")
    found = {row["pattern"]: row["efficiency"] for row in json.loads(out)}
    assert status == 0
    assert 1 > found["sequential"] > found["random"] > 0


def test_resources_of_a_design(call):
    status, out, _ = call("resources", "dense-int8", "--json", "-")
    found = json.loads(out)
    fits = {device["device"]: device["fits"] for device in found["devices"]}
    assert status == 0
    assert fits["u280"]
    assert not fits["kv260"]
    assert sum(found["area_mm2"].values()) > 1
    status, out, _ = call("resources", "dense-int8", "--device", "kv260")
    assert "DOES NOT FIT" in out


def test_resources_say_what_is_not_certain(call):
    status, out, _ = call("resources", "dense-int8")
    assert status == 0
    assert "kv260: DOES NOT FIT" in out
    assert "too many" in out
    assert "vector engine (it has no RTL yet)" in out
    parts = {part.split(":")[0]: part for part in out.split("\n\n")}
    assert "not yet compared with the data sheet" in parts["zcu102"]
    assert "not yet compared" not in parts["u280"]


def test_all_logits_and_caches(call):
    def operators(*options):
        _, out, _ = call("simulate", "llama2-7b", "dense-int8", *options, "--json", "-")
        return {o["kind"]: o for o in json.loads(out)["operators"] if o["phase"] == "prefill"}

    short = ("--prefill", 8, "--decode", 0)
    assert operators(*short)["lm_head"]["m"] == 1
    assert operators(*short, "--all-logits")["lm_head"]["m"] == 8
    eight = operators(*short)["kv_append"]["dram_bytes"]
    four = operators(*short, "--kv-cache", "int4")["kv_append"]["dram_bytes"]
    assert four < eight


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*SIMULATE, "--conventions", "isca99"), ("--conventions", "isca99", "bitmod-hpca25")),
        ((*SIMULATE, "--activations", "fp16"), ("--activations", "fp16", "int8")),
        ((*SIMULATE, "--kv-cache", "int3"), ("--kv-cache", "int3", "int4, int8, fp16")),
        ((*SIMULATE, "--trace", "no/where.json"), ("--trace", "no/where.json")),
        ((*SIMULATE, "--html", "-"), ("--html", "a file")),
        (("simulate", "llama2-7b", "fp16-28nm", "--weights", "int8"), ("fp16-28nm", "int8", "fp")),
        (("simulate", "llama3-70b", "dense-int8-tiny"), ("dense-int8-tiny", "activation_bytes")),
        (("simulate", "nothing.onnx", "dense-int8"), ("nothing.onnx",)),
        (("generate", "olive-28nm", "-o", "x"), ("unit.kind", "array", "dense")),
        (("verify", "fp16-28nm"), ("unit.kind", "array", "dense")),
        (("compile", "mixtral-8x7b", "dense-int8", "-o", "x"), ("experts", "8")),
        (("memory", "ddr9"), ("ddr9", "ddr4-2400")),
        (("memory", "hbm2", "--pattern", "zigzag"), ("--pattern", "zigzag", "random")),
        (("memory", "hbm2", "--mapping", "rowcol"), ("--mapping", "rowcol")),
        (("memory", "hbm2", "--pattern", "random", "--stride", "64"), ("--stride", "64")),
        (("resources", "dense-int8", "--device", "u9"), ("u9", "u280")),
    ],
)
def test_bad_input_of_the_simulator_is_one_line(call, tmp_path, arguments, words):
    status, out, err = call(*arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    for word in words:
        assert word in err
    assert list(tmp_path.iterdir()) == []


def test_matmul_free_models_can_be_simulated(call):
    _, out, _ = call("models", "--json")
    rows = {row["name"]: row for row in json.loads(out)}
    assert rows["matmulfree-370m"]["heads"] is None
    status, out, _ = call(
        "simulate", "matmulfree-370m", "mmfree-kv260", "--context", 5, "--json", "-"
    )
    result = json.loads(out)
    assert status == 0
    assert not any("attention" in o["kind"] for o in result["operators"])
    macs = sum(o["macs"] for o in result["operators"])
    assert macs == rows["matmulfree-370m"]["linear_weights"]
    assert call("simulate", "matmulfree-9b", "mmfree-kv260")[0] == 2
    assert call("run", "matmulfree-370m", "dense-int8", "--prompt", "x", "--tokens", 1)[0] == 2
