"""What the roofline is made of: operations per byte, shares of kernels, and the table."""

import pytest

from benchmarks.roofline import on_gpu, operations_per_byte, shares_of, table
from virnucpro_assets.models.configs import Esm2Config

CONFIG = Esm2Config(num_hidden_layers=1, hidden_size=8, num_attention_heads=2)


def test_each_matrix_and_each_row_moves_once() -> None:
    # Matrices 8 x 24, 8 x 8, 8 x 32, 32 x 8; 7 rows go in and out of each; numbers of 2 bytes.
    operations = 2 * 7 * (192 + 64 + 256 + 256)
    moved = 2 * (192 + 64 + 256 + 256 + 7 * (32 + 16 + 40 + 40))
    assert operations_per_byte(CONFIG, 7, 2) == pytest.approx(operations / moved)


def test_kernels_are_told_by_their_names_and_the_unknown_is_the_rest() -> None:
    times = {
        "mkldnn::_linear_pointwise": 60.0,
        "aten::_scaled_dot_product_flash_attention_for_cpu": 20.0,
        "aten::native_layer_norm": 5.0,
        "aten::mul_": 10.0,
        "aten::copy_": 5.0,
    }
    assert shares_of(times) == {"products": 0.6, "attention": 0.2, "norms": 0.05, "rest": 0.15}


def test_the_fastest_float16_variant_of_a_gpu_stands_beside_its_own_bound() -> None:
    row = {"budget": 32768, "MFU": 0.5, "share of matrix rate": 0.8, "matrix TFLOP a second": 640.0}
    rows = [
        row | {"variant": "float16, dense-runs", "TFLOP a second": 500.0},
        row | {"variant": "float16, varlen, fused", "TFLOP a second": 512.0},
        row | {"variant": "bfloat16, varlen, fused", "TFLOP a second": 550.0},
    ]
    variants = {"esm2_3b": {"kernels": {"nvjet_a": 0.75, "triton_poi_fused_gelu_1": 0.25}}}
    found = on_gpu({"throughput": {"found": {"esm2_3b": rows}}, "variants": {"found": variants}})
    case = found["esm2_3b"]
    assert (case["variant"], case["gflops"], case["limit_gflops"]) == (
        "float16, varlen, fused",
        512000,
        640000,
    )
    assert case["time"] == {"products": 0.75, "attention": 0.0, "norms": 0.0, "rest": 0.25}
    line = table({"cpu": {}, "gpu": found}).splitlines()[-1]
    assert line.startswith(
        "| esm2_3b | H200, float16, varlen, fused | 5.66 | 1,814 | 640,000 | 512,000 | 80% |"
    )
