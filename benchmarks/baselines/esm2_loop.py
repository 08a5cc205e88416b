"""How the original embeds proteins: fair-esm's own model, padded batches of at most 2,048 tokens.

Proteins sorted by length are put into a batch as long as the longest of them times their number
is within the limit (`FastaBatchedDataset`), padded by `BatchConverter`, and run through `ESM2`,
which computes the logits of the language model as well; the mean of each protein's residues is
taken one by one. Facts from Li et al. 2025's published code; fair-esm 2.0.0 is used as it is.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from esm.data import Alphabet, FastaBatchedDataset
from esm.model.esm2 import ESM2
from torch.utils.data import DataLoader

from virnucpro_assets.models import esm2
from virnucpro_assets.models.configs import Esm2Config
from virnucpro_assets.models.weights import State

TOKENS_A_BATCH = 2048
LONGEST = 1024


def build_model(config: Esm2Config, state: State) -> ESM2:
    """fair-esm's module with the tensors of `state`, named as published.

    It computes its own rotary frequencies, and its heads for language and contacts keep weights of
    their own, which do not bear on the means. Raises ValueError if the state does not fit.
    """
    model = ESM2(config.num_hidden_layers, config.hidden_size, config.num_attention_heads).eval()
    keys = model.load_state_dict(state, strict=False)
    missing = [
        name for name in keys.missing_keys if not esm2.is_ignored(name) and not name.endswith(".inv_freq")
    ]
    if wrong := [*keys.unexpected_keys, *missing]:
        raise ValueError(f"weights and model differ in {', '.join(wrong)}")
    return model.requires_grad_(False)


def batches_of(proteins: Sequence[str]) -> list[tuple[int, int]]:
    """How many proteins each batch of the loop has, and the tokens to which each of them is padded."""
    dataset = FastaBatchedDataset(list(range(len(proteins))), list(proteins))
    batches = dataset.get_batch_indices(TOKENS_A_BATCH, extra_toks_per_seq=1)
    return [(len(batch), max(len(proteins[place]) for place in batch) + 2) for batch in batches]


def embed_proteins(model: ESM2, proteins: Sequence[str]) -> npt.NDArray[np.float32]:
    """float32 [n, width]: the mean over the residues of each protein, in the order given."""
    alphabet = Alphabet.from_architecture("ESM-1b")
    dataset = FastaBatchedDataset(list(range(len(proteins))), list(proteins))
    loader = DataLoader(
        dataset,
        batch_sampler=dataset.get_batch_indices(TOKENS_A_BATCH, extra_toks_per_seq=1),
        collate_fn=alphabet.get_batch_converter(LONGEST),
    )
    means = np.empty((len(proteins), model.embed_dim), np.float32)
    with torch.no_grad():
        for places, letters, tokens in loader:
            last = model.num_layers
            hidden = model(tokens, repr_layers=[last], return_contacts=False)["representations"][last]
            for number, place in enumerate(places):
                residues = min(LONGEST, len(letters[number]))
                means[place] = hidden[number, 1 : residues + 1].mean(0).clone().numpy()
    return means
