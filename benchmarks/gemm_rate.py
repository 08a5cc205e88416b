"""The rate of this machine's matrix products, at the shapes of an encoder's own matrices.

    python -m benchmarks.gemm_rate [--threads 1]

The products of one layer, with weights and rows of their own, are computed one after the other, over
and over, by torch's operator and by the kernel with weights laid out for it; the faster of the two
counts. There are enough rows for full speed and few enough for the cache. An encoder does more than
products, so its rate is given as a share of this one.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.shapes import ENCODERS
from virnucpro_assets.models.configs import EncoderConfig
from virnucpro_assets.models.fused_linear import FusedLinear, prepack_weights
from virnucpro_assets.models.hardware import limit_threads
from virnucpro_assets.models.loading import DTYPES
from virnucpro_assets.vocabulary import Precision

ROWS = 1024


class LayerProducts:
    """The products of one layer of an encoder, random, in both forms."""

    def __init__(self, config: EncoderConfig, precision: Precision) -> None:
        torch.manual_seed(1)
        dtype, shapes = DTYPES[precision], config.matrix_shapes
        self._rows = [torch.randn(ROWS, inner).to(dtype) for inner, _ in shapes]
        self._forms: list[list[FusedLinear]] = []
        for packed in (False, True):
            products = nn.ModuleList(FusedLinear(inner, outer) for inner, outer in shapes)
            products.requires_grad_(False).to(dtype)
            if packed:
                prepack_weights(products)
            self._forms.append([one for one in products if isinstance(one, FusedLinear)])
        self.operations = sum(2 * ROWS * inner * outer for inner, outer in shapes)

    def rates(self, *, at_least: float) -> list[float]:
        """Operations a second of torch's operator and of the kernel, each repeated for `at_least` seconds."""
        return [self._rate(products, at_least) for products in self._forms]

    @torch.inference_mode()
    def _rate(self, products: list[FusedLinear], at_least: float) -> float:
        clock, passes = clock_of(torch.get_num_threads()), -1
        started = clock()
        while passes < 1 or clock() - started < at_least:
            if passes == 0:
                # The first pass warms up.
                started = clock()
            for rows, product in zip(self._rows, products, strict=True):
                product(rows)
            passes += 1
        return self.operations * passes / (clock() - started)


def clock_of(threads: int) -> Callable[[], float]:
    """Seconds of processor time for one thread, which a busy machine disturbs least; else of the clock."""
    return time.process_time if threads == 1 else time.perf_counter


def main() -> None:
    """Measure and print a line for each encoder and precision: the operator and the kernel."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    limit_threads(options.threads)
    for name, config in ENCODERS.items():
        for precision in DTYPES:
            operator, kernel = LayerProducts(config, precision).rates(at_least=0.5)
            print(f"{name:10} {precision:9} {operator / 1e9:7.1f} and {kernel / 1e9:7.1f} GFLOP/s")


if __name__ == "__main__":
    main()
