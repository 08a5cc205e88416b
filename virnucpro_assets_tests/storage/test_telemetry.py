"""Telemetry of parts, put together to that of a shard."""

from virnucpro_assets.storage.provenance import Telemetry


def test_figures_of_parts_add_up_and_memory_is_the_largest() -> None:
    one = Telemetry(
        sequences=3,
        flops=40,
        possible_flops=100.0,
        loading=1.5,
        waited_for_input=0.5,
        waited_for_output=0.25,
        peak_memory=7,
    )
    other = Telemetry(
        sequences=2, flops=20, possible_flops=20.0, loading=2.0, waited_for_output=1.0, peak_memory=5
    )
    both = one + other
    assert both == Telemetry(
        sequences=5,
        flops=60,
        possible_flops=120.0,
        loading=3.5,
        waited_for_input=0.5,
        waited_for_output=1.25,
        peak_memory=7,
    )
    assert both.mfu == 0.5


def test_without_a_peak_there_is_no_utilisation() -> None:
    assert Telemetry(flops=40).mfu is None
