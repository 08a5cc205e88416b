"""What a run says when it gets its devices, and what of it the terminal shows."""

import logging

import dagster as dg
import pytest

from virnucpro_assets.defs.gpu_pool import gpu_pool
from virnucpro_assets.defs.terminal import terminal_logger
from virnucpro_assets.settings import Settings

LINE = "demo model in use (dnabert_s, esm2, classifier_300): results show how the platform works"


class Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_a_run_says_once_that_a_model_in_use_is_the_demos() -> None:
    kept = Kept()
    logger = logging.Logger("kept", logging.INFO)
    logger.addHandler(kept)
    log = dg.DagsterLogManager.create(loggers=[logger], handlers=[])
    settings = Settings(devices="cpu:1")
    with dg.build_resources({"gpu_pool": gpu_pool(settings)}, log_manager=log):
        pass
    assert [LINE in line for line in kept.lines] == [True]


@pytest.mark.parametrize(
    ("message", "shown"), [(LINE, ""), ("esm2: 3 of 3 sequences", "esm2: 3 of 3 sequences\n")]
)
def test_the_terminal_leaves_to_the_command_what_each_run_says(
    message: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = terminal_logger(None)
    logger.info(message, extra={"dagster_meta": {"orig_message": message, "dagster_event": None}})
    assert capsys.readouterr().err == shown
