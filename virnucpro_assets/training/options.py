"""The options of a training with meanings and defaults: for the command line and for runs of the UI."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from virnucpro_assets.errors import InputError, describe_validation_error
from virnucpro_assets.models.cards import Inputs
from virnucpro_assets.training.labels import SourcesBy


class SetOptions(BaseModel):
    """How rows become a training set."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    sources: SourcesBy = Field(
        "names", description="names: the source of a read is in its name; drops: each drop is one source"
    )
    validation_share: float = Field(
        0.15, gt=0, lt=0.5, description="share of the rows that decide when the training stops"
    )
    test_share: float = Field(
        0.15, gt=0, lt=0.5, description="share of the rows that the classifier is evaluated on"
    )
    near_identical: float = Field(
        0.1, gt=0, le=1, description="share of 31-mers in another split from which on a row is left out"
    )
    source_factor: float = Field(
        4.0, ge=1, description="the most rows of a source, as a multiple of the median over the sources"
    )
    seed: int = Field(0, ge=0, description="of splits, subsampling, initial weights and order")


class TrainOptions(BaseModel):
    """How a classifier is trained; the defaults are those of the published training."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    inputs: Inputs = Field("both", description="the embeddings that it uses: both, dna or protein")
    learning_rate: float = Field(2e-4, gt=0, description="of stochastic gradient descent")
    momentum: float = Field(0.9, ge=0, lt=1, description="of stochastic gradient descent")
    rate_step_epochs: int = Field(10, ge=1, description="the rate falls every so many epochs")
    rate_factor: float = Field(0.85, gt=0, le=1, description="factor by which the rate falls")
    batch_size: int = Field(32, ge=2, description="rows of a step")
    epochs: int = Field(200, ge=1, description="at most")
    patience: int = Field(10, ge=0, description="epochs without a lower validation loss before it stops")
    seed: int = Field(0, ge=0, description=SetOptions.model_fields["seed"].description)


FIELDS = {**SetOptions.model_fields, **TrainOptions.model_fields}
"""All options by name; both kinds share the seed."""


def parse_options(values: Mapping[str, Any]) -> tuple[SetOptions, TrainOptions]:
    """The options with these values, by name; InputError names an invalid one."""
    try:
        return (
            SetOptions(**{name: values[name] for name in SetOptions.model_fields if name in values}),
            TrainOptions(**{name: values[name] for name in TrainOptions.model_fields if name in values}),
        )
    except ValidationError as error:
        raise InputError(
            "options of the training",
            found=describe_validation_error(error),
            expected="a valid value",
            advice="`virnucpro train --help` lists them with their meanings.",
        ) from error
