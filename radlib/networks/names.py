"""The names under which people publish tensors, and from them timm's.

A file may wrap the network (`state_dict`, `model_state`, `module.`, `teacher.backbone.`), hold others beside
it (an optimiser, a student, a classifier), and name its layers by another library's habit. Which wrapper and
which habit is found by trying: those under which most of the network's own names occur.
"""

import math
import re
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
import torchvision
from torch import Tensor

from radlib.errors import UserError
from radlib.networks.backbones import CANNOT, layout, outline

TIMM = "timm's"
# Habit -> what to replace in a name, one after the other. timm's names are torchvision's and DINO's, too.
HABITS: dict[str, list[tuple[str, str]]] = {
    TIMM: [],
    "DINOv2's": [
        (r"\bblocks\.\d+\.(\d+)\.", r"blocks.\1."),  # blocks were kept in chunks
        (r"\bregister_tokens$", "reg_token"),
        (r"\bmlp\.w12\.", "mlp.fc1."),
        (r"\bmlp\.w3\.", "mlp.fc2."),
    ],
    "transformers'": [
        (r"\bembeddings\.(cls_token|mask_token)$", r"\1"),
        (r"\bembeddings\.register_tokens$", "reg_token"),
        (r"\bembeddings\.position_embeddings$", "pos_embed"),
        (r"\bembeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"\bencoder\.layer\.", "blocks."),
        (r"\battention\.attention\.([qkv])(?:uery|ey|alue)\.", r"attn.\1."),
        (r"\battention\.output\.dense\.", "attn.proj."),
        (r"\blayernorm_before\.", "norm1."),
        (r"\blayernorm_after\.", "norm2."),
        (r"\bintermediate\.dense\.", "mlp.fc1."),
        (r"(?<=\d\.)output\.dense\.", "mlp.fc2."),
        (r"\blayer_scale([12])\.lambda1$", r"ls\1.gamma"),
        (r"\bmlp\.weights_in\.", "mlp.fc1."),
        (r"\bmlp\.weights_out\.", "mlp.fc2."),
        (r"\blayernorm\.", "norm."),
    ],
}
# By a word of the wrapper, where several hold the whole network: the average over a training comes first, as
# in timm, then a network by itself, then the one that learnt from an average (`encoder_k` is MoCo's queue).
RANKS = {"teacher": 0, "ema": 0, "student": 2, "k": 2, "momentum": 2}
# What changes the answer where it is left out, though a network without it does not know it.
NEEDED = ("reg_token", "dist_token")


@dataclass(frozen=True)
class Fitted:
    """Tensors by timm's names, float32, and what was done to a file's to get them.

    names: whose names the file has. taken: the wrapper, such as `teacher.backbone`. dropped: how many tensors
    of each group were left out. made: what was computed, in words. grey: the network was shown one channel.
    """

    state: dict[str, Tensor]
    names: str
    taken: str = ""
    dropped: dict[str, int] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)
    grey: bool = False


def fitted(tensors: dict[str, Tensor], backbone: str, path: Path) -> Fitted:
    """The tensors of a network within those of a file.

    What belongs to the network and does not fit it stays in the state under its own name, for `check_state`
    to refuse: only what stands beside the network (classifiers, optimisers, other networks) is dropped.

    Raises:
        UserError: the file lacks most of the network's names, or holds several networks of equal right.
    """
    expected = {key for key in layout(backbone) if not key.endswith("num_batches_tracked")}
    state, wrapper, habit = _unwrapped(tensors, expected, backbone, path)
    within = {key.removeprefix(wrapper): tensor for key, tensor in state.items() if key.startswith(wrapper)}
    dropped = Counter(key.partition(".")[0] for key in state if not key.startswith(wrapper))
    converted = {} if within.keys() >= expected else _by_timm(within, backbone)
    if converted.keys() >= expected:
        within, habit = converted, "names that timm converts"
    parts = {*NEEDED, *(key.partition(".")[0] for key in expected)}
    foreign = layout(backbone, classes=2).keys() - layout(backbone).keys()  # the classifier
    kept = {k: v for k, v in within.items() if k.partition(".")[0] in parts and k not in foreign}
    if 2 * len(expected & kept.keys()) < len(expected):
        lacking = next(key for key in layout(backbone) if key in expected - kept.keys())
        raise UserError(
            f"{path} is not a {backbone}: '{lacking}' is missing in the file, which has "
            f"'{next(iter(tensors))}' and the like; name the right backbone or file"
        )
    dropped.update(key.partition(".")[0] for key in within if key not in kept)
    return finished(Fitted(kept, habit, wrapper.rstrip("."), dict(dropped)), backbone)


def _unwrapped(
    tensors: dict[str, Tensor], expected: set[str], backbone: str, path: Path
) -> tuple[dict[str, Tensor], str, str]:
    """The tensors renamed by the habit, and behind the wrapper, under which most of the names occur."""
    habits = {**HABITS, "numbers of torchvision's": _children(backbone)}
    renamed = {habit: _renamed(tensors, table) for habit, table in habits.items()}
    found = [
        (-count, _rank(wrapper), place, len(wrapper), wrapper, habit)
        for place, (habit, state) in enumerate(renamed.items())
        for wrapper, count in _wrappers(state, expected).items()
    ]
    count, rank, _, _, wrapper, habit = min(found, default=(0, 1, 0, 0, "", TIMM))
    for *equal, _, _, other, kind in found:
        whole = -2 * count > len(expected) and equal == [count, rank] and kind == habit
        if whole and not _alike(renamed[habit], wrapper, other, expected):
            raise UserError(
                f"{path} holds several networks ({wrapper.rstrip('.')}, {other.rstrip('.')}); save the one "
                "you mean alone: `torch.save(model.state_dict(), 'name.pt')`"
            )
    return renamed[habit], wrapper, habit


def finished(found: Fitted, backbone: str) -> Fitted:
    """As the network of timm has it: float32, three channels."""
    state, made, grey = dict(found.state), list(found.made), False
    # Files of half precision are common; every number of this study is computed from float32.
    for key, own in layout(backbone).items():
        tensor = state.get(key)
        if tensor is None:
            continue
        if own.is_floating_point() and tensor.is_floating_point():
            tensor = state[key] = tensor.float()
        if own.ndim == 4 and own.shape[1] == 3 and tensor.shape == (own.shape[0], 1, *own.shape[2:]):
            state[key], grey = tensor.repeat(1, 3, 1, 1) / 3, True
            made.append(f"{key}: three channels from one, each a third, which is the same for grey images")
    places = state["pos_embed"].shape[1] if "reg_token" in state and "pos_embed" in state else 0
    if math.isqrt(places) ** 2 != places and getattr(outline(backbone), "no_embed_class", False):
        # DINOv2 adds a place to its class token, which timm adds once for all.
        state["cls_token"] = state["cls_token"] + state["pos_embed"][:, :1]
        state["pos_embed"] = state["pos_embed"][:, 1:]
        made.append("cls_token: with the place that DINOv2 adds to it")
    return replace(found, state=state, made=made, grey=grey)


def _wrappers(state: dict[str, Tensor], expected: set[str]) -> Counter[str]:
    """How many of the network's names occur behind each wrapper, such as `model.` or nothing."""
    counts: Counter[str] = Counter()
    for key in state:
        places = [0, *(found.end() for found in re.finditer(r"\.", key))]
        counts.update(key[:place] for place in places if key[place:] in expected)
    return counts


def _rank(wrapper: str) -> int:
    return min((RANKS[word] for word in re.split(r"[._]", wrapper) if word in RANKS), default=1)


def _alike(state: dict[str, Tensor], one: str, other: str, names: set[str]) -> bool:
    """Whether the tensors behind two wrappers are the same, as where a program calls one network twice."""
    pairs = ((state.get(one + name), state.get(other + name)) for name in names)
    return all(a is b or a is None or b is None or torch.equal(a, b) for a, b in pairs)


def _renamed(tensors: dict[str, Tensor], table: list[tuple[str, str]]) -> dict[str, Tensor]:
    """By other names; queries, keys and values of attention become one tensor, as timm has them."""
    state = {}
    for key, tensor in tensors.items():
        for pattern, replacement in table:
            key = re.sub(pattern, replacement, key)
        state[key] = tensor
    for key in [key for key in state if re.search(r"\battn\.q\.(weight|bias)$", key)]:
        parts = [re.sub(r"\bq(?=\.\w+$)", letter, key) for letter in "qkv"]
        if all(part in state for part in parts):
            state[re.sub(r"\bq(?=\.\w+$)", "qkv", key)] = torch.cat([state.pop(part) for part in parts])
    return state


def _children(backbone: str) -> list[tuple[str, str]]:
    """The first number in a name counts the children of torchvision's network; none where it has no such."""
    options = {"aux_logits": False, "init_weights": False} if backbone == "inception_v3" else {}
    if backbone not in torchvision.models.list_models():
        return []
    with torch.device("meta"):
        children = torchvision.models.get_model(backbone, weights=None, **options).named_children()
    first = r"^((?:[A-Za-z_]\w*\.)*)"
    return [(rf"{first}{place}\.", rf"\1{name}.") for place, (name, _) in enumerate(children)]


def _by_timm(state: dict[str, Tensor], backbone: str) -> dict[str, Tensor]:
    """As timm itself reads the published files of the network's family; empty where it cannot."""
    network = outline(backbone)
    convert = getattr(sys.modules[type(network).__module__], "checkpoint_filter_fn", None)
    try:
        return dict(convert(dict(state), network)) if convert else {}
    except (*CANNOT, KeyError):
        return {}
