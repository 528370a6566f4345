"""Tiny networks of families of which timm has no test network; importing this tells timm their names."""

from timm.layers import LayerNorm
from timm.models import build_model_with_cfg, register_model
from timm.models.eva import Eva
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer

MADE_FOR = {"input_size": (3, 64, 64), "fixed_input_size": True, "mean": (0.5,) * 3, "std": (0.5,) * 3}


def _made(kind: type, name: str, args: dict, given: dict):
    args = {"img_size": 64, **args, **given, "pretrained_cfg": dict(MADE_FOR)}
    return build_model_with_cfg(kind, name, False, **args)


@register_model
def tiny_swin(pretrained: bool = False, **given) -> SwinTransformer:
    """Channels last, an average, and a shifted window."""
    args = {
        "patch_size": 4,
        "window_size": 4,
        "embed_dim": 16,
        "depths": (1, 2, 1, 1),
        "num_heads": (1, 2, 4, 8),
    }
    return _made(SwinTransformer, "tiny_swin", args, given)


@register_model
def tiny_dinov2(pretrained: bool = False, **given) -> VisionTransformer:
    """A class token beside registers, as vit_small_patch14_reg4_dinov2."""
    args = {
        "patch_size": 16,
        "embed_dim": 48,
        "depth": 3,
        "num_heads": 3,
        "init_values": 0.1,
        "reg_tokens": 4,
    }
    return _made(VisionTransformer, "tiny_dinov2", {**args, "no_embed_class": True}, given)


@register_model
def tiny_dinov3(pretrained: bool = False, **given) -> Eva:
    """An average without the class token and registers, rotary embeddings; as vit_small_patch16_dinov3."""
    args = {
        "patch_size": 16,
        "embed_dim": 48,
        "depth": 3,
        "num_heads": 3,
        "init_values": 0.1,
        "qkv_bias": False,
    }
    rope = {"rope_type": "dinov3", "rope_temperature": 100, "rope_rotate_half": True, "use_rot_pos_emb": True}
    rest = {"use_abs_pos_emb": False, "num_reg_tokens": 4, "use_fc_norm": False, "norm_layer": LayerNorm}
    return _made(Eva, "tiny_dinov3", args | rope | rest, given)
