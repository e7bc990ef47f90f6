"""Any torch optimizer over a model: groups with and without decay, L1, fused kernels, and sparse gradients where it knows none."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Collection, Mapping
from typing import Any, Literal

import torch
from torch import nn, optim

from recipes.config import check, check_settings, fail, resolve
from recipes.config.check import TARGET
from recipes.config.types import NonNegativeFloat, PositiveFloat
from recipes.errors import ConfigError
from recipes.optim.groups import Groups, auto_sparse_modules, parameter_groups, sparse_modules, split_by_rate

log = logging.getLogger(__name__)

OWN_SETTINGS: dict[str, Any] = {
    "l1": NonNegativeFloat,
    "decay": Literal["weights", "all"],
    "sam_rho": PositiveFloat | None,
    "sam_adaptive": bool,
}
# Parameters of torch's constructors that are not the user's to set.
GIVEN = ("params", "maximize", "differentiable", "capturable")

# Where torch has a fused kernel in every version that we support.
_FUSED = {optim.Adam: ("cpu", "cuda"), optim.AdamW: ("cpu", "cuda"), optim.SGD: ("cpu", "cuda"), optim.Adagrad: ("cpu",)}
_LIKE_ADAM = (optim.Adam, optim.AdamW, optim.NAdam, optim.RAdam, optim.Adamax)
_SAM_AND_SPARSE = (
    "optimizer.sam_rho: a step up in all weights needs dense gradients, and those of this model's embedding are sparse; "
    "use model.sparse=false, or optimizer.sam_rho=null"
)


class Combined:
    """Torch optimizers over disjoint parameters, driven as one: the dense part first, then the one for sparse gradients."""

    def __init__(self, *parts: optim.Optimizer) -> None:
        self.parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for part, own in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(own)


def optimizer_problems(settings: Any, trust: Collection[str] = ()) -> list[str]:
    """What is wrong with the settings of `optimizer`, before there is a model: names and types, and then whatever torch refuses."""
    problems = check(optim.Optimizer, settings, "optimizer", GIVEN, OWN_SETTINGS, trust)
    if problems:
        return problems
    if settings.get("sam_adaptive") and settings.get("sam_rho") is None:
        return ["optimizer.sam_adaptive: it changes the step up of optimizer.sam_rho, which is null; give a radius such as 0.5"]
    cls = resolve(optim.Optimizer, settings, "optimizer", trust)
    if inspect.signature(cls.step).parameters["closure"].default is inspect.Parameter.empty:
        return [f"optimizer.{TARGET}: {cls.__name__} computes the loss several times a step, and the loop once; use optimizer=adamw"]
    try:
        _create(cls, [{"params": [nn.Parameter(torch.zeros(1, 1))]}], _torch_settings(settings))
    except ConfigError as error:
        return [str(error)]
    return []


def check_sam(settings: Mapping[str, Any], model_settings: Mapping[str, Any], precision: str) -> None:
    """ConfigError where the settings of `optimizer` ask for `sam_rho`, and the run cannot have it."""
    if settings.get("sam_rho") is None:
        return
    if precision == "fp16":
        raise ConfigError(
            "optimizer.sam_rho: the radius is measured on gradients as they are, and fp16's are scaled and may overflow in either pass; "
            "use trainer.precision=bf16 or fp32, or optimizer.sam_rho=null"
        )
    if model_settings.get("sparse") is True:
        raise ConfigError(_SAM_AND_SPARSE)


def make_optimizer(settings: Mapping[str, Any], model: nn.Module, trust: Collection[str] = ()) -> optim.Optimizer | Combined:
    """The optimizer that the settings of `optimizer` describe, over the trainable parameters of `model` where they are now.

    Settings are `_target_`, keyword arguments of that torch optimizer, and ours: `decay` (`weights`: `weight_decay` and `l1` leave
    biases, norm layers and embeddings alone; `all`), `l1`, and `sam_rho` and `sam_adaptive`, which the training step reads. After each
    step every decayed weight w becomes sign(w) * max(|w| - lr * l1, 0), the proximal step of an L1 penalty, which makes exact zeros;
    like AdamW's decay it does not pass through the moments.

    Embeddings that leave it to the optimizer have sparse gradients where the updates are the same with them (`_choose_sparse`).
    Sparse gradients: SGD without momentum, Adagrad and SparseAdam take them as they are. Beside Adam and its kin, SparseAdam updates
    those embeddings, and beside SparseAdam, Adam updates the rest. For any other optimizer the embeddings' gradients are made dense,
    by setting `sparse` of these modules to False. The log says what was chosen. Sparse gradients are never decayed.

    A plain torch optimizer is returned wherever one suffices. Parameters learn at the rate of the settings times their factor in the
    model's `lr_scales`. Each group keeps its learning rate as `initial_lr`; see `set_lr`.
    """
    cls = resolve(optim.Optimizer, settings, "optimizer", trust)
    fail(check_settings(cls, settings, "optimizer", GIVEN, OWN_SETTINGS))
    chosen = _torch_settings(settings)
    _choose_sparse(cls, settings, chosen, model)
    sparse_cls = _sparse_form(cls, chosen)
    if sparse_cls is None:
        _make_dense(cls, model)
    groups = parameter_groups(model, settings.get("decay", "weights"))
    if groups.sparse and settings.get("sam_rho") is not None:
        raise ConfigError(_SAM_AND_SPARSE)
    parts = []
    if groups.decayed or groups.plain:
        dense_cls = optim.Adam if cls is optim.SparseAdam else cls
        parts.append(_create(dense_cls, split_by_rate(_decay_groups(dense_cls, groups, chosen), model), chosen))
        if settings.get("l1"):
            _shrink_after_step(parts[0], groups.decayed, settings["l1"])
        if dense_cls is not cls:
            log.info("optimizer: SparseAdam is for sparse gradients; Adam updates the parameters that have none")
    if groups.sparse and sparse_cls is not None:
        _silence_invariants()
        rows = split_by_rate([{"params": list(groups.sparse.values())}], model)
        parts.append(_create(sparse_cls, rows, _for_sparse(sparse_cls, chosen)))
        if sparse_cls is not cls:
            log.info("optimizer: SparseAdam updates %s, whose gradients are sparse", ", ".join(groups.sparse))
        if settings.get("decay") == "all":
            log.info("optimizer.decay: 'all' leaves out %s, whose gradients are sparse", ", ".join(groups.sparse))
    if not parts:
        raise ConfigError("optimizer: the model has no parameter that can be trained")
    for part in parts:
        for group in part.param_groups:
            group["lr"] *= group.pop("lr_scale", 1.0)
            group["initial_lr"] = group["lr"]
    return parts[0] if len(parts) == 1 else Combined(*parts)


def is_plain_sgd(optimizer: optim.Optimizer | Combined) -> bool:
    """Whether an update is w -= lr * gradient and nothing else."""
    return all(
        type(part) is optim.SGD
        and not part._optimizer_step_post_hooks  # where l1 is at work
        and not any(group["momentum"] or group["weight_decay"] or group["maximize"] for group in part.param_groups)
        for part in (optimizer.parts if isinstance(optimizer, Combined) else [optimizer])
    )


def set_lr(optimizer: optim.Optimizer | Combined, factor: float) -> None:
    """Set every group's learning rate to `factor` times the one from the settings."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def _torch_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments for torch: ours taken out, and lists as the tuples of floats that torch checks for."""
    chosen = {key: value for key, value in settings.items() if key != TARGET and key not in OWN_SETTINGS}
    return {k: tuple(float(x) if isinstance(x, int) else x for x in v) if isinstance(v, list | tuple) else v for k, v in chosen.items()}


def _sparse_form(cls: type[optim.Optimizer], chosen: Mapping[str, Any]) -> type[optim.Optimizer] | None:
    """The optimizer that updates sparse gradients beside or as part of `cls`; None where only dense gradients do."""
    if cls in (optim.Adagrad, optim.SparseAdam) or (cls is optim.SGD and not chosen.get("momentum")):
        return cls
    return optim.SparseAdam if cls in _LIKE_ADAM else None


def _choose_sparse(cls: type[optim.Optimizer], settings: Mapping[str, Any], chosen: Mapping[str, Any], model: nn.Module) -> None:
    """Set `sparse` of the embeddings that leave it to the optimizer: true where a row without gradient stays as it is.

    That is so for SGD without momentum and Adagrad, and SparseAdam is made for it; not where these rows would be decayed, nor with
    `sam_rho`. On CUDA it is not worth it: the device would be waited for in each backward pass, to leave the padding out.
    """
    decayed = settings.get("decay") == "all" and bool(chosen.get("weight_decay") or settings.get("l1"))
    exact = _sparse_form(cls, chosen) is cls and not decayed and settings.get("sam_rho") is None
    for module in auto_sparse_modules(model):
        module.sparse = exact and module.weight.device.type == "cpu"


def _make_dense(cls: type[optim.Optimizer], model: nn.Module) -> None:
    for module in sparse_modules(model):
        log.warning(
            "optimizer: %s cannot use sparse gradients, so all %s rows of an embedding are updated in each step, which is slow for large "
            "ones; optimizer=sgd, adagrad or adam update only the rows of the batch",
            cls.__name__,
            f"{module.num_embeddings:,}",
        )
        module.sparse = False


def _silence_invariants() -> None:
    """Newer torch warns at the first sparse tensor unless its checks were turned on or off by name: off is what they are."""
    if not torch.sparse.check_sparse_tensor_invariants.is_enabled():
        torch.sparse.check_sparse_tensor_invariants.disable()


def _decay_groups(cls: type[optim.Optimizer], groups: Groups, chosen: Mapping[str, Any]) -> list[Any]:
    """Parameters for a constructor, in one group where decay makes no difference: each group costs a kernel call per step."""
    decay = inspect.signature(cls).parameters.get("weight_decay")
    if decay is None or not chosen.get("weight_decay", decay.default) or not groups.plain:
        return [{"params": groups.decayed + groups.plain}]
    plain = {"params": groups.plain, "weight_decay": 0.0}
    return [{"params": groups.decayed}, plain] if groups.decayed else [plain]


def _for_sparse(cls: type[optim.Optimizer], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Settings for sparse gradients: those that `cls` knows, without decay and without the kernels that are for dense ones."""
    known = inspect.signature(cls).parameters
    kept = {key: value for key, value in chosen.items() if key in known}
    return kept | {key: value for key, value in (("weight_decay", 0.0), ("fused", False), ("foreach", False)) if key in known}


def _create(cls: type[optim.Optimizer], params: list[Any], chosen: Mapping[str, Any]) -> optim.Optimizer:
    """Construct with the fastest kernels there are; what torch refuses becomes a ConfigError."""
    known = inspect.signature(cls).parameters
    kernels: dict[str, Any] = {}
    if "fused" not in chosen and "foreach" not in chosen:
        device = params[0]["params"][0].device.type
        kernels = {"fused": True} if device in _FUSED.get(cls, ()) else {"foreach": True} if "foreach" in known else {}
    try:
        return cls(params, **chosen, **kernels)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"optimizer: {cls.__name__} refuses these settings or parameters: {error}") from error


def _shrink_after_step(optimizer: optim.Optimizer, decayed: list[nn.Parameter], l1: float) -> None:
    """The proximal step of `l1`, as a hook, so that it is a plain torch optimizer that is returned."""
    # A fused kernel may skip the step on the device when fp16 overflowed, out of the hook's sight: let the scaler decide on the host.
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]

    shrunk = {id(p) for p in decayed}

    @torch.no_grad()
    def shrink(optimizer: optim.Optimizer, args: Any, kwargs: Any) -> None:
        for group in optimizer.param_groups:
            for p in group["params"]:
                if id(p) in shrunk and p.grad is not None:
                    p.copy_(nn.functional.softshrink(p, group["lr"] * l1))

    optimizer.register_step_post_hook(shrink)
