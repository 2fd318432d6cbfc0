"""A model in a folder: `model.json` holds its shape, `model.safetensors` its weights. Given with lesson 1.5.

Both can be read without our code, and neither can run code when it is read (a pickle can). The names of weights
map one to one to those of Hugging Face transformers' NanoChatForCausalLM; the numbers are the same.
"""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

SHAPE, WEIGHTS = "model.json", "model.safetensors"
HUGGINGFACE = {  # our names, and theirs; {} is the number of the block
    "wte.weight": "model.embed_tokens.weight",
    "blocks.{}.attn.c_q.weight": "model.layers.{}.self_attn.q_proj.weight",
    "blocks.{}.attn.c_k.weight": "model.layers.{}.self_attn.k_proj.weight",
    "blocks.{}.attn.c_v.weight": "model.layers.{}.self_attn.v_proj.weight",
    "blocks.{}.attn.c_proj.weight": "model.layers.{}.self_attn.o_proj.weight",
    "blocks.{}.mlp.c_fc.weight": "model.layers.{}.mlp.fc1.weight",
    "blocks.{}.mlp.c_proj.weight": "model.layers.{}.mlp.fc2.weight",
    "lm_head.weight": "lm_head.weight",
}
Config = TypeVar("Config")


def save_model(folder: Path, config: Any, model: nn.Module) -> None:
    """Writes the shape (a dataclass of numbers) and the weights; the folder is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    save_config(folder / SHAPE, config)
    save_weights(folder / WEIGHTS, model)


def save_config(path: Path, config: Any) -> None:
    """Writes the shape as JSON to this file."""
    path.write_text(json.dumps(dataclasses.asdict(config), indent=2) + "\n", encoding="utf-8")


def save_weights(path: Path, model: nn.Module) -> None:
    """Writes the weights as safetensors to this file."""
    save_file({name: one.contiguous() for name, one in model.state_dict().items()}, path)


def load_config(folder: Path, kind: type[Config]) -> Config:
    """The shape of the model in the folder. Raises ValueError, or FileNotFoundError, if it is none of this kind."""
    path = folder / SHAPE
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no model: {SHAPE} is missing")
    wanted = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(found, dict) or set(found) != wanted:
        given = sorted(found) if isinstance(found, dict) else type(found).__name__
        raise ValueError(f"{path} must hold {', '.join(sorted(wanted))}, got {given}")
    if not all(type(value) is int for value in found.values()):
        raise ValueError(f"{path} must hold whole numbers, got {found}")
    return kind(**found)


def load_weights(folder: Path, model: nn.Module) -> None:
    """Puts the weights of the folder into `model`. Raises ValueError if one is missing, unknown or of another shape.

    Nothing is changed unless all fit.
    """
    path = folder / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no weights: {WEIGHTS} is missing")
    try:
        found = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    fit(model, found, str(path))
    model.load_state_dict(found)


def fit(model: nn.Module, found: dict[str, Tensor], source: str) -> None:
    """Raises ValueError, with both sides, unless `found` holds exactly the weights that `model` has."""
    wanted = model.state_dict()
    for problem, names in (("lacks", wanted.keys() - found.keys()), ("has", found.keys() - wanted.keys())):
        if names:
            raise ValueError(f"{source} {problem} {', '.join(sorted(names)[:3])}: another kind of model?")
    for name, tensor in wanted.items():
        if found[name].shape != tensor.shape:
            theirs, ours = tuple(found[name].shape), tuple(tensor.shape)
            raise ValueError(f"{name} is {theirs} in {source}, and {ours} in the model")


def to_huggingface(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights under the names of transformers' NanoChatForCausalLM. Raises ValueError for an unknown name."""
    return _rename(state, HUGGINGFACE)


def from_huggingface(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a NanoChatForCausalLM under our names. Raises ValueError for an unknown name."""
    return _rename(state, {theirs: ours for ours, theirs in HUGGINGFACE.items()})


def _rename(state: dict[str, Tensor], names: dict[str, str]) -> dict[str, Tensor]:
    renamed = {}
    for name, tensor in state.items():
        block = re.search(r"(?<=\.)\d+(?=\.)", name)
        number = block.group() if block else ""
        pattern = name.replace(f".{number}.", ".{}.") if block else name
        if pattern not in names:
            raise ValueError(f"no weight of a GPT is called {name}")
        renamed[names[pattern].format(number)] = tensor
    return renamed
