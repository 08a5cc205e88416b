"""Training the classifier on embeddings.

Stochastic gradient descent on the cross-entropy, with the learning rate lowered in steps. The weights of the epoch
with the lowest validation loss are kept, and training stops when that loss has not fallen for some epochs. All random
numbers come from one seed; the random state of the process is restored.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional
from torch.optim import SGD
from torch.optim.lr_scheduler import StepLR

from virnucpro_assets.errors import counted
from virnucpro_assets.models.classifier import Classifier
from virnucpro_assets.models.weights import State


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How to train. Rate, momentum and the steps of the rate are those of the published training."""

    learning_rate: float = 2e-4
    momentum: float = 0.9
    rate_step_epochs: int = 10
    rate_factor: float = 0.85
    batch_size: int = 32
    epochs: int = 200
    patience: int = 10
    validation_share: float = 0.1
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Epoch:
    """Mean losses of an epoch, in nats, and the share of validation rows called correctly."""

    training_loss: float
    validation_loss: float
    validation_accuracy: float


@dataclass(frozen=True, slots=True)
class Trained:
    """The best epoch's weights (names as in `Classifier`), every epoch in order, and the position of the best."""

    state: State
    history: tuple[Epoch, ...]
    best: int


def train_classifier(
    rows: npt.NDArray[np.float32],
    is_virus: npt.NDArray[np.bool_],
    settings: TrainingSettings,
    *,
    is_validation: npt.NDArray[np.bool_] | None = None,
    on_epoch: Callable[[int, Epoch], None] = lambda _, __: None,
) -> Trained:
    """Train on float32 [n, width] `rows` with bool [n] labels, on the CPU.

    The validation part is drawn at random by the settings' share, or given as bool [n]: reads overlap, so a part from
    other regions of the genomes is better for validation. `on_epoch` is called after each epoch, with its number from
    1. Raises ValueError unless there are at least two rows for training and one for validation.
    """
    if is_validation is None:
        order = np.random.default_rng(settings.seed).permutation(len(rows))
        validation, training = np.split(order, [round(len(rows) * settings.validation_share)])
    else:
        validation, training = np.flatnonzero(is_validation), np.flatnonzero(~is_validation)
    if len(validation) < 1 or len(training) < 2:
        raise ValueError(f"{counted(len(rows), 'row')}, too few: {len(validation)} of them for validation")
    data = torch.tensor(rows, dtype=torch.float32)
    labels = torch.tensor(is_virus, dtype=torch.int64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return _train(
            data,
            labels,
            torch.from_numpy(training),
            torch.from_numpy(validation),
            settings,
            on_epoch=on_epoch,
        )


def _train(
    data: torch.Tensor,
    labels: torch.Tensor,
    training: torch.Tensor,
    validation: torch.Tensor,
    settings: TrainingSettings,
    *,
    on_epoch: Callable[[int, Epoch], None],
) -> Trained:
    classifier = Classifier(data.shape[1])
    optimiser = SGD(classifier.parameters(), lr=settings.learning_rate, momentum=settings.momentum)
    scheduler = StepLR(optimiser, step_size=settings.rate_step_epochs, gamma=settings.rate_factor)
    history: list[Epoch] = []
    best, state = 0, _copy_of_state(classifier)
    while len(history) < settings.epochs and len(history) - best <= settings.patience:
        batches = _batches(training, settings.batch_size)
        training_loss = _learn(classifier, optimiser, data, labels, batches)
        scheduler.step()
        history.append(Epoch(training_loss, *_judge(classifier, data[validation], labels[validation])))
        on_epoch(len(history), history[-1])
        if len(history) == 1 or history[-1].validation_loss < history[best].validation_loss:
            best, state = len(history) - 1, _copy_of_state(classifier)
    return Trained(state, tuple(history), best)


def _batches(rows: torch.Tensor, size: int) -> list[torch.Tensor]:
    """The positions in `rows` in a new random order, `size` at a time.

    A last batch of one row is left out: batch norm has no variance of one row.
    """
    shuffled = rows[torch.randperm(len(rows))]
    batches = [shuffled[first : first + size] for first in range(0, len(rows), size)]
    return [batch for batch in batches if len(batch) > 1]


def _learn(
    classifier: Classifier,
    optimiser: SGD,
    data: torch.Tensor,
    labels: torch.Tensor,
    batches: list[torch.Tensor],
) -> float:
    classifier.train()
    total = 0.0
    for batch in batches:
        optimiser.zero_grad()
        loss = functional.cross_entropy(classifier(data[batch]), labels[batch])
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        total += loss.item() * len(batch)
    return total / sum(map(len, batches))


@torch.no_grad()
def _judge(classifier: Classifier, data: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    classifier.eval()
    logits = classifier(data)
    loss = functional.cross_entropy(logits, labels).item()
    return loss, (logits.argmax(dim=1) == labels).float().mean().item()


def _copy_of_state(classifier: Classifier) -> State:
    return {name: tensor.detach().clone() for name, tensor in classifier.state_dict().items()}
