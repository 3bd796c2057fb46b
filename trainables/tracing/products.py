"""Rules for functions that compute: products, convolutions, norms, reductions, pooling."""

import numpy as np

from trainables.tracing.labels import Ids, Traced, combine
from trainables.tracing.operation import Operation, Rule, elementwise, hold_all


def _sum_over(op: Operation, one: Traced, dim: int, other: Traced, other_dim: int) -> None:
    """Sum products over a dimension of two tensors: their labels go together, and one of them must be stored.

    Labels over several dimensions are united along this one first.
    """
    ids, partner = one.entries.get((dim,)), other.entries.get((other_dim,))
    if ids is None and partner is None:
        return
    for traced, of_traced in ((one, ids), (other, partner)):
        if of_traced is not None and traced.stored:
            op.tracer.summed(of_traced)
        if of_traced is not None and (ids is None or partner is None or not (one.stored or other.stored)):
            op.hold(of_traced)
    if ids is not None and partner is not None:
        op.labels.unite(ids, partner)


def _collapsed(op: Operation, traced: Traced, dim: int) -> Traced:
    """Unite labels over several dimensions along one of them, so that it has none."""
    dims = traced.along(dim)
    return op.keep_whole(traced, {dim}) if dims and len(dims) > 1 else traced


def _matmul(op: Operation, one: Traced, other: Traced) -> Traced:
    """Multiply (..., rows, summed) by (..., summed, columns), with the same dimensions before."""
    n = len(one.shape)
    one, other = _collapsed(op, one, n - 1), _collapsed(op, other, n - 2)
    _sum_over(op, one, n - 1, other, n - 2)
    rows = Traced((*one.shape[:-1], 1), {d: ids for d, ids in one.entries.items() if n - 1 not in d})
    columns = Traced(
        (*other.shape[:-2], 1, other.shape[-1]), {d: ids for d, ids in other.entries.items() if n - 2 not in d}
    )
    shape = (*one.shape[:-1], other.shape[-1])
    out = combine(op.labels, [rows, columns], shape, op.reason)
    summed = next((ids for ids in (one.entries.get((n - 1,)), other.entries.get((n - 2,))) if ids is not None), None)
    op.factors = Traced((*shape, one.shape[-1]), dict(out.entries) | ({} if summed is None else {(n,): summed}))
    return out


def _mm(op: Operation) -> list[Traced]:
    return [_matmul(op, op.of(0), op.of(1))]


def _addmm(op: Operation) -> list[Traced]:
    product = _matmul(op, op.of(1), op.of(2))
    return [combine(op.labels, [product, op.of(0)], op.shape, op.reason)]


def _convolution(op: Operation) -> list[Traced]:
    """Convolve (1, inputs, ...); the weight is (outputs, inputs of a group, ...), or (inputs, outputs of a group, ...).

    Around groups, a unit is one position in each group.
    """
    images, weight, bias = op.of(0), op.of(1), op.arg(2, "bias")
    transposed, groups = bool(op.arg(6, "transposed", False)), int(op.arg(8, "groups", 1))
    n = len(images.shape)
    images = op.keep_whole(images, {0, *range(2, n)})
    weight = op.keep_whole(weight, {*range(2, n)})
    entered = images.entries.get((1,))
    of_rows, of_columns = (weight.entries.get((dim,), op.labels.new(weight.shape[dim])) for dim in (0, 1))
    if not weight.stored:
        return hold_all(op)
    depthwise = groups == images.shape[1] == op.shape[1] > 1
    if depthwise:
        _pass_by(op, entered, of_rows)
        outputs = of_rows
    elif transposed:  # outputs of all groups share their columns
        _read_by(op, entered, _in_groups(op, of_rows, groups).ravel(), of_rows)
        outputs = np.tile(of_columns, groups)
    else:
        if groups > 1:
            op.labels.join(of_columns, op.tracer.where("convolution with groups"))
        _read_by(op, entered, np.tile(of_columns, groups), of_columns)
        outputs = _in_groups(op, of_rows, groups).ravel()
    out = Traced(op.shape, {(1,): outputs})
    if bias is not None:
        _pass_by(op, op.tracer.of(bias).entries.get((0,)), outputs)
    op.factors = Traced(weight.shape[:2], dict(weight.entries))
    return [out]


def _pass_by(op: Operation, ids: Ids | None, partner: Ids) -> None:
    """Unite labels with those of another tensor; hold them where this has none."""
    if ids is None:
        op.hold(partner)
    else:
        op.labels.unite(ids, partner)


def _read_by(op: Operation, entered: Ids | None, readers: Ids, stored: Ids) -> None:
    """Unite the input channels with the weights that read them."""
    op.tracer.summed(stored)
    _pass_by(op, entered, readers)


def _in_groups(op: Operation, ids: Ids, groups: int) -> Ids:
    """Unite channels of one position in their groups."""
    if groups > 1:
        op.labels.collapse(ids.reshape(groups, -1), 0, op.tracer.where(f"{op.name} with groups"))
    return ids


def _batch_norm(op: Operation) -> list[Traced]:
    """Normalise each channel by itself: (B, channels, ...), scale, shift, mean and variance."""
    traced = op.first
    vectors = [each for each in op.inputs[1:] if len(each.shape) == 1]
    columns = [Traced((*each.shape, *[1] * (len(traced.shape) - 2)), dict(each.entries)) for each in vectors]
    out = combine(op.labels, [op.keep_whole(traced, {0}), *columns], traced.shape, op.reason)
    return [out, *op.blank()[1:]]


def _layer_norm(op: Operation) -> list[Traced]:
    """Normalise over the last dimensions."""
    traced, shape = op.first, op.arg(1, "normalized_shape")
    last = range(len(traced.shape) - len(shape), len(traced.shape))
    out = _normalised(op, traced, set(last))
    scales = [each for each in op.inputs[1:] if len(each.shape) == len(shape)]
    return [combine(op.labels, [out, *scales], traced.shape, op.reason), *op.blank()[1:]]


def _group_norm(op: Operation) -> list[Traced]:
    """Normalise over groups of channels: each group loses the same positions."""
    groups, traced = int(op.arg(6, "group")), op.keep_whole(op.first, {0, *range(2, len(op.first.shape))})
    if (ids := traced.entries.get((1,))) is not None:
        _in_groups(op, ids, groups)
    out = _normalised(op, traced, {1})
    columns = [Traced((*t.shape, *[1] * (len(traced.shape) - 2)), dict(t.entries)) for t in op.inputs[1:]]
    return [combine(op.labels, [out, *columns], traced.shape, op.reason), *op.blank()[1:]]


def _normalised(op: Operation, traced: Traced, dims: set[int]) -> Traced:
    """Keep the labels along a dimension over which a norm takes its statistics."""
    for dim in dims:
        if (at := traced.along(dim)) and not (len(dims) == len(at) == 1 and op.tracer.norm(traced.entries[at])):
            traced = op.keep_whole(traced, {dim})
    return traced


def _reduction(op: Operation) -> list[Traced]:
    """Reduce dimensions: channels are held, but in a norm."""
    if len(op.inputs) > 1:
        return elementwise(op)  # the greater one of two tensors
    at = 2 if op.name == "linalg_vector_norm" else 1
    dims, traced, out = op.dims(at), op.first, op.shape
    reduced = list[tuple[Ids, str]]()  # attention averages its weights over heads for a caller who may not ask
    for dim in dims:
        if entry := traced.along(dim):
            alone = len(dims) == len(entry) == 1 and op.tracer.norm(traced.entries[entry])
            rest = {at: ids for at, ids in traced.entries.items() if at != entry}
            if len(entry) == 1 and not alone:
                reduced.append((traced.entries[entry], op.reason))
            traced = Traced(traced.shape, rest) if len(entry) == 1 else op.keep_whole(traced, {dim})
    if len(out) == len(traced.shape):
        return [Traced(tuple(each.shape), dict(traced.entries), reduced=reduced) for each in op.outputs]
    left = [dim for dim in range(len(traced.shape)) if dim not in dims]
    results = [traced.moved(tuple(each.shape), {dim: n for n, dim in enumerate(left)}) for each in op.outputs]
    return [Traced(each.shape, each.entries, reduced=reduced) for each in results]


def _softmax(op: Operation) -> list[Traced]:
    return [op.keep_whole(op.first, op.dims(1))]


def _by_channel(op: Operation) -> list[Traced]:
    """Treat each channel of (B, channels, ...) by itself: pooling and resizing."""
    kept = op.keep_whole(op.first, {*range(2, len(op.first.shape))})
    return [Traced(tuple(each.shape), dict(kept.entries)) for each in op.outputs]


def _glu(op: Operation) -> list[Traced]:
    """Multiply one half of a dimension by the sigmoid of the other one."""
    dim = op.arg(1, "dim", -1) % len(op.first.shape)
    out = Traced(op.shape, {d: ids for d, ids in op.first.entries.items() if dim not in d})
    if (ids := op.first.entries.get((dim,))) is not None:
        out.entries[dim,] = op.labels.collapse(ids.reshape(2, -1), 0, op.reason)
    return [out]


_POOLS = ("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d", "avg_pool1d")
_RESIZES = (
    "upsample_nearest",
    "_upsample_nearest_exact",
    "upsample_bilinear",
    "upsample_bicubic",
    "upsample_trilinear",
)

COMPUTE: dict[str, Rule] = {
    **dict.fromkeys(("mm", "bmm"), _mm),
    **dict.fromkeys(("addmm", "baddbmm"), _addmm),
    **dict.fromkeys(("convolution", "_convolution", "cudnn_convolution", "_slow_conv2d_forward"), _convolution),
    **dict.fromkeys(
        (
            *("native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit"),
            *("cudnn_batch_norm", "_batch_norm_with_update", "_batch_norm_no_update"),
        ),
        _batch_norm,
    ),
    **dict.fromkeys(("native_layer_norm", "_fused_rms_norm"), _layer_norm),
    "native_group_norm": _group_norm,
    **dict.fromkeys(("mean", "sum", "amax", "amin", "max", "min", "var", "std", "var_mean"), _reduction),
    **dict.fromkeys(("linalg_vector_norm", "logsumexp", "prod", "any", "all", "norm"), _reduction),
    **dict.fromkeys(("_softmax", "_log_softmax", "_safe_softmax"), _softmax),
    **dict.fromkeys(_POOLS, _by_channel),
    **dict.fromkeys(
        ("adaptive_avg_pool2d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d"), _by_channel
    ),
    **dict.fromkeys((f"{name}{n}d" for name in _RESIZES for n in (1, 2, 3)), _by_channel),
    "glu": _glu,
    **dict.fromkeys(("new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided"), Operation.blank),
    **dict.fromkeys(
        (
            *("clone", "contiguous", "detach", "alias", "lift_fresh", "_to_copy", "native_dropout", "dropout"),
            *("hardswish", "hardswish_", "_prelu_kernel", "zeros_like", "ones_like", "empty_like", "full_like"),
            *("fill_", "zero_", "rand_like", "bernoulli"),
        ),
        elementwise,
    ),
}
