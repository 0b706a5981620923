"""The parameters of what users call, their order and defaults, are those of Fluid 1.8, PyTorch 2.13 and MXNet Gluon."""

from __future__ import annotations

import ast
import inspect

import pytest

import graphloss as gl

# Where ours goes on after the last parameter, it may, with defaults; and it may have a default where there was none.
# A default of None that stands for a number is written as that number.
LAYERS = """
bpr_loss(input, label, name=None)
center_loss(input, label, num_classes, alpha, param_attr, update_center=True)
cross_entropy(input, label, soft_label=False, ignore_index=-100)
crf_decoding(input, param_attr, label=None, length=None)
ctc_greedy_decoder(input, blank, input_length=None, padding_value=0, name=None)
dice_loss(input, label, epsilon=1e-5, name=None)
edit_distance(input, label, normalized=True, ignored_tokens=None, input_length=None, label_length=None)
hsigmoid(input, label, num_classes, param_attr=None, bias_attr=None, name=None, path_table=None, path_code=None,
    is_custom=False, is_sparse=False)
huber_loss(input, label, delta)
kldiv_loss(x, target, reduction='mean', name=None)
label_smooth(label, prior_dist=None, epsilon=0.1, dtype='float32', name=None)
linear_chain_crf(input, label, param_attr=None, length=None)
log_loss(input, label, epsilon=1e-4, name=None)
margin_rank_loss(label, left, right, margin=0.1, name=None)
mse_loss(input, label)
nce(input, label, num_total_classes, sample_weight=None, param_attr=None, bias_attr=None, num_neg_samples=None,
    name=None, sampler='uniform', custom_dist=None, seed=0, is_sparse=False)
npair_loss(anchor, positive, labels, l2_reg=0.002)
rank_loss(label, left, right, name=None)
sampled_softmax_with_cross_entropy(logits, label, num_samples, num_true=1, remove_accidental_hits=True,
    use_customized_samples=False, customized_samples=None, customized_probabilities=None, seed=0)
sigmoid_cross_entropy_with_logits(x, label, ignore_index=-100, name=None, normalize=False)
sigmoid_focal_loss(x, label, fg_num, gamma=2.0, alpha=0.25)
smooth_l1(x, y, inside_weight=None, outside_weight=None, sigma=None)
softmax_with_cross_entropy(logits, label, soft_label=False, ignore_index=-100, numeric_stable_mode=True,
    return_softmax=False, axis=-1)
square_error_cost(input, label)
teacher_student_sigmoid_loss(input, label, soft_max_up_bound=15.0, soft_max_lower_bound=-15.0)
warpctc(input, label, blank=0, norm_by_times=False, input_length=None, label_length=None)
elementwise_add(x, y, axis=-1, act=None, name=None)
elementwise_sub(x, y, axis=-1, act=None, name=None)
elementwise_mul(x, y, axis=-1, act=None, name=None)
elementwise_div(x, y, axis=-1, act=None, name=None)
elementwise_max(x, y, axis=-1, act=None, name=None)
elementwise_min(x, y, axis=-1, act=None, name=None)
elementwise_pow(x, y, axis=-1, act=None, name=None)
elementwise_mod(x, y, axis=-1, act=None, name=None)
elementwise_floordiv(x, y, axis=-1, act=None, name=None)
scale(x, scale=1.0, bias=0.0, bias_after_scale=True, act=None, name=None)
reduce_sum(input, dim=None, keep_dim=False, name=None)
reduce_mean(input, dim=None, keep_dim=False, name=None)
reduce_max(input, dim=None, keep_dim=False, name=None)
reduce_min(input, dim=None, keep_dim=False, name=None)
reduce_prod(input, dim=None, keep_dim=False, name=None)
reduce_all(input, dim=None, keep_dim=False, name=None)
reduce_any(input, dim=None, keep_dim=False, name=None)
mean(x, name=None)
sum(x)
sums(input, out=None)
exp(x, name=None)
log(x, name=None)
sqrt(x, name=None)
rsqrt(x, name=None)
abs(x, name=None)
square(x, name=None)
reciprocal(x, name=None)
sigmoid(x, name=None)
logsigmoid(x, name=None)
tanh(x, name=None)
softplus(x, name=None)
softsign(x, name=None)
sign(x)
ceil(x, name=None)
floor(x, name=None)
round(x, name=None)
sin(x, name=None)
cos(x, name=None)
asin(x, name=None)
acos(x, name=None)
atan(x, name=None)
tanh_shrink(x, name=None)
erf(x)
relu(x, name=None)
relu6(x, threshold=6.0, name=None)
leaky_relu(x, alpha=0.02, name=None)
elu(x, alpha=1.0, name=None)
selu(x, scale=None, alpha=None, name=None)
soft_relu(x, threshold=40.0, name=None)
swish(x, beta=1.0, name=None)
hard_sigmoid(x, slope=0.2, offset=0.5, name=None)
brelu(x, t_min=0.0, t_max=24.0, name=None)
pow(x, factor=1.0, name=None)
clip(x, min, max, name=None)
clip_by_norm(x, max_norm, name=None)
softshrink(x, alpha=0.5)
hard_shrink(x, threshold=0.5)
thresholded_relu(x, threshold=1.0)
gelu(x, approximate=False)
cumsum(x, axis=None, exclusive=None, reverse=None)
softmax(input, use_cudnn=False, name=None, axis=-1)
l2_normalize(x, axis, epsilon=1e-12, name=None)
cos_sim(X, Y)
matmul(x, y, transpose_x=False, transpose_y=False, alpha=1.0, name=None)
mul(x, y, x_num_col_dims=1, y_num_col_dims=1, name=None)
fc(input, size, num_flatten_dims=1, param_attr=None, bias_attr=None, act=None, name=None)
reshape(x, shape, actual_shape=None, act=None, inplace=False, name=None)
transpose(x, perm, name=None)
squeeze(input, axes, name=None)
unsqueeze(input, axes, name=None)
expand(x, expand_times, name=None)
expand_as(x, target_tensor, name=None)
concat(input, axis=0, name=None)
split(input, num_or_sections, dim=-1, name=None)
stack(x, axis=0)
unstack(x, axis=0, num=None)
slice(input, axes, starts, ends)
flatten(x, axis=1, name=None)
shape(input)
size(input)
gather(input, index, overwrite=True)
gather_nd(input, index, name=None)
scatter(input, index, updates, name=None, overwrite=True)
one_hot(input, depth, allow_out_of_range=False)
topk(input, k, name=None)
argmax(x, axis=0)
argmin(x, axis=0)
argsort(input, axis=-1, descending=False, name=None)
where(condition)
embedding(input, size, is_sparse=False, is_distributed=False, padding_idx=None, param_attr=None, dtype='float32')
fill_constant(shape, dtype, value, force_cpu=False, out=None)
ones(shape, dtype, force_cpu=False)
zeros(shape, dtype, force_cpu=False)
ones_like(x, out=None)
zeros_like(x, out=None)
assign(input, output=None)
cast(x, dtype)
range(start, end, step, dtype)
linspace(start, stop, num, dtype='float32')
eye(num_rows, num_columns=None, batch_shape=None, dtype='float32')
diag(diagonal)
create_parameter(shape, dtype, name=None, attr=None, is_bias=False, default_initializer=None)
create_global_var(shape, value, dtype, persistable=False, force_cpu=False, name=None)
less_than(x, y, force_cpu=None, cond=None)
less_equal(x, y, cond=None)
greater_than(x, y, cond=None)
greater_equal(x, y, cond=None)
equal(x, y, cond=None)
not_equal(x, y, cond=None)
logical_and(x, y, out=None, name=None)
logical_or(x, y, out=None, name=None)
logical_xor(x, y, out=None, name=None)
logical_not(x, out=None, name=None)
has_inf(x)
has_nan(x)
isfinite(x)
data(name, shape, append_batch_size=True, dtype='float32', lod_level=0, type=None, stop_gradient=True)
accuracy(input, label, k=1, correct=None, total=None)
auc(input, label, curve='ROC', num_thresholds=4095, topk=1, slide_steps=1)
"""

FLUID = """
data(name, shape, dtype='float32', lod_level=0)
embedding(input, size, is_sparse=False, is_distributed=False, padding_idx=None, param_attr=None, dtype='float32')
one_hot(input, depth, allow_out_of_range=False)
create_lod_tensor(data, recursive_seq_lens, place)
create_random_int_lodtensor(recursive_seq_lens, base_shape, place, low, high)
cpu_places(device_count=None)
CompiledProgram(program_or_graph, build_strategy=None)
CompiledProgram.with_data_parallel(loss_name=None, build_strategy=None, exec_strategy=None, share_vars_from=None,
    places=None)
Executor(place=None)
Executor.run(program=None, feed=None, fetch_list=None, feed_var_name='feed', fetch_var_name='fetch', scope=None,
    return_numpy=True, use_program_cache=False, return_merged=True, use_prune=False)
DataFeeder(feed_list, place, program=None)
DataFeeder.feed(iterable)
ParamAttr(name=None, initializer=None, learning_rate=1.0, regularizer=None, trainable=True, do_model_average=True)
Program.clone(for_test=False)
Program.to_string(throw_on_error, with_details=False)
Program.parse_from_string(binary_str)
Program.global_seed(seed=0)
name_scope(prefix=None)
program_guard(main_program, startup_program=None)
unique_name.guard(new_generator=None)
unique_name.switch(new_generator=None)
unique_name.generate(key)
backward.append_backward(loss, parameter_list=None, no_grad_set=None, callbacks=None, checkpoints=None)
backward.gradients(targets, inputs, target_gradients=None, no_grad_set=None)
clip.GradientClipByValue(max, min=None, need_clip=None)
clip.GradientClipByNorm(clip_norm, need_clip=None)
clip.GradientClipByGlobalNorm(clip_norm, group_name='default_group', need_clip=None)
clip.set_gradient_clip(clip, param_list=None, program=None)
regularizer.L1Decay(regularization_coeff=0.0)
regularizer.L2Decay(regularization_coeff=0.0)
initializer.Constant(value=0.0, force_cpu=False)
initializer.Uniform(low=-1.0, high=1.0, seed=0)
initializer.Normal(loc=0.0, scale=1.0, seed=0)
initializer.TruncatedNormal(loc=0.0, scale=1.0, seed=0)
initializer.Xavier(uniform=True, fan_in=None, fan_out=None, seed=0)
initializer.MSRA(uniform=True, fan_in=None, seed=0)
initializer.NumpyArrayInitializer(value)
optimizer.SGD(learning_rate, parameter_list=None, regularization=None, grad_clip=None, name=None)
optimizer.Momentum(learning_rate, momentum, parameter_list=None, use_nesterov=False, regularization=None,
    grad_clip=None, name=None)
optimizer.Adagrad(learning_rate, epsilon=1e-6, parameter_list=None, regularization=None, grad_clip=None, name=None,
    initial_accumulator_value=0.0)
optimizer.Adam(learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, parameter_list=None, regularization=None,
    grad_clip=None, name=None, lazy_mode=False)
optimizer.Adamax(learning_rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8, parameter_list=None, regularization=None,
    grad_clip=None, name=None)
optimizer.DecayedAdagrad(learning_rate, decay=0.95, epsilon=1e-6, parameter_list=None, regularization=None,
    grad_clip=None, name=None)
optimizer.Adadelta(learning_rate, epsilon=1e-6, rho=0.95, parameter_list=None, regularization=None, grad_clip=None,
    name=None)
optimizer.RMSProp(learning_rate, rho=0.95, epsilon=1e-6, momentum=0.0, centered=False, parameter_list=None,
    regularization=None, grad_clip=None, name=None)
optimizer.SGD.minimize(loss, startup_program=None, parameter_list=None, no_grad_set=None)
optimizer.SGD.apply_gradients(params_grads)
dygraph.guard(place=None)
dygraph.enable_dygraph(place=None)
dygraph.no_grad(func=None)
dygraph.to_variable(value, name=None, zero_copy=None)
dygraph.grad(outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=False, only_inputs=True,
    allow_unused=False, no_grad_vars=None, backward_strategy=None)
dygraph.VarBase.backward(backward_strategy=None)
dygraph.Layer(name_scope=None, dtype='float32')
dygraph.Layer.create_parameter(shape, attr=None, dtype='float32', is_bias=False, default_initializer=None)
dygraph.Layer.parameters(include_sublayers=True)
dygraph.Linear(input_dim, output_dim, param_attr=None, bias_attr=None, act=None, dtype='float32')
dygraph.NLLLoss(weight=None, reduction='mean', ignore_index=-100)
dygraph.BCELoss(weight=None, reduction='mean')
dygraph.L1Loss(reduction='mean')
dygraph.MSELoss(reduction='mean')
dygraph.CrossEntropyLoss(weight=None, reduction='mean', ignore_index=-100)
dygraph.NCE(num_total_classes, dim, sample_weight=None, param_attr=None, bias_attr=None, num_neg_samples=None,
    sampler='uniform', custom_dist=None, seed=0, is_sparse=False, dtype='float32')
save(program, model_path)
load(program, model_path, executor=None, var_list=None)
save_dygraph(state_dict, model_path)
load_dygraph(model_path)
io.save_vars(executor, dirname, main_program=None, vars=None, predicate=None, filename=None)
io.load_vars(executor, dirname, main_program=None, vars=None, predicate=None, filename=None)
io.save_params(executor, dirname, main_program=None, filename=None)
io.load_params(executor, dirname, main_program=None, filename=None)
io.save_persistables(executor, dirname, main_program=None, filename=None)
io.load_persistables(executor, dirname, main_program=None, filename=None)
io.save_inference_model(dirname, feeded_var_names, target_vars, executor, main_program=None, model_filename=None,
    params_filename=None, export_for_deployment=True, program_only=False)
io.load_inference_model(dirname, executor, model_filename=None, params_filename=None, pserver_endpoints=None)
metrics.Accuracy(name=None)
metrics.Accuracy.update(value, weight)
metrics.Precision.update(preds, labels)
metrics.EditDistance.update(distances, seq_num)
metrics.Auc(name=None, curve='ROC', num_thresholds=4095)
"""

TORCH = """
L1Loss(size_average=None, reduce=None, reduction='mean')
MSELoss(size_average=None, reduce=None, reduction='mean')
SmoothL1Loss(size_average=None, reduce=None, reduction='mean', beta=1.0)
HuberLoss(reduction='mean', delta=1.0)
NLLLoss(weight=None, size_average=None, ignore_index=-100, reduce=None, reduction='mean')
CrossEntropyLoss(weight=None, size_average=None, ignore_index=-100, reduce=None, reduction='mean', label_smoothing=0.0)
LinearCrossEntropyLoss(in_features, num_classes, *, out_features=(), bias=False, device=None, dtype=None,
    reduction='mean', weight=None, ignore_index=None, label_smoothing=0.0, options=None)
PoissonNLLLoss(log_input=True, full=False, size_average=None, eps=1e-8, reduce=None, reduction='mean')
GaussianNLLLoss(*, full=False, eps=1e-6, reduction='mean')
KLDivLoss(size_average=None, reduce=None, reduction='mean', log_target=False)
BCELoss(weight=None, size_average=None, reduce=None, reduction='mean')
BCEWithLogitsLoss(weight=None, size_average=None, reduce=None, reduction='mean', pos_weight=None)
HingeEmbeddingLoss(margin=1.0, size_average=None, reduce=None, reduction='mean')
MultiLabelMarginLoss(size_average=None, reduce=None, reduction='mean')
SoftMarginLoss(size_average=None, reduce=None, reduction='mean')
MultiLabelSoftMarginLoss(weight=None, size_average=None, reduce=None, reduction='mean')
CosineEmbeddingLoss(margin=0.0, size_average=None, reduce=None, reduction='mean')
MarginRankingLoss(margin=0.0, size_average=None, reduce=None, reduction='mean')
MultiMarginLoss(p=1, margin=1.0, weight=None, size_average=None, reduce=None, reduction='mean')
TripletMarginLoss(margin=1.0, p=2.0, eps=1e-6, swap=False, size_average=None, reduce=None, reduction='mean')
TripletMarginWithDistanceLoss(*, distance_function=None, margin=1.0, swap=False, reduction='mean')
CTCLoss(blank=0, reduction='mean', zero_infinity=False)
AdaptiveLogSoftmaxWithLoss(in_features, n_classes, cutoffs, div_value=4.0, head_bias=False, device=None, dtype=None)
NLLLoss2d(weight=None, size_average=None, ignore_index=-100, reduce=None, reduction='mean')
Softmax(dim=None)
LogSoftmax(dim=None)
Sigmoid()
LogSigmoid()
Softplus(beta=1.0, threshold=20.0)
functional.l1_loss(input, target, size_average=None, reduce=None, reduction='mean', weight=None)
functional.mse_loss(input, target, size_average=None, reduce=None, reduction='mean', weight=None)
functional.smooth_l1_loss(input, target, size_average=None, reduce=None, reduction='mean', beta=1.0)
functional.huber_loss(input, target, reduction='mean', delta=1.0, weight=None)
functional.nll_loss(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None, reduction='mean')
functional.cross_entropy(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None,
    reduction='mean', label_smoothing=0.0)
functional.linear_cross_entropy(input, linear_weight, target, *, linear_bias=None, weight=None, reduction='mean',
    ignore_index=None, label_smoothing=0.0, options=None)
functional.poisson_nll_loss(input, target, log_input=True, full=False, size_average=None, eps=1e-8, reduce=None,
    reduction='mean')
functional.gaussian_nll_loss(input, target, var, full=False, eps=1e-6, reduction='mean')
functional.kl_div(input, target, size_average=None, reduce=None, reduction='mean', log_target=False)
functional.binary_cross_entropy(input, target, weight=None, size_average=None, reduce=None, reduction='mean')
functional.binary_cross_entropy_with_logits(input, target, weight=None, size_average=None, reduce=None,
    reduction='mean', pos_weight=None)
functional.hinge_embedding_loss(input, target, margin=1.0, size_average=None, reduce=None, reduction='mean')
functional.multilabel_margin_loss(input, target, size_average=None, reduce=None, reduction='mean')
functional.soft_margin_loss(input, target, size_average=None, reduce=None, reduction='mean')
functional.multilabel_soft_margin_loss(input, target, weight=None, size_average=None, reduce=None, reduction='mean')
functional.cosine_embedding_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction='mean')
functional.margin_ranking_loss(input1, input2, target, margin=0, size_average=None, reduce=None, reduction='mean')
functional.multi_margin_loss(input, target, p=1, margin=1.0, weight=None, size_average=None, reduce=None,
    reduction='mean')
functional.triplet_margin_loss(anchor, positive, negative, margin=1.0, p=2, eps=1e-6, swap=False, size_average=None,
    reduce=None, reduction='mean')
functional.triplet_margin_with_distance_loss(anchor, positive, negative, *, distance_function=None, margin=1.0,
    swap=False, reduction='mean')
functional.ctc_loss(log_probs, targets, input_lengths, target_lengths, blank=0, reduction='mean', zero_infinity=False)
functional.softmax(input, dim=None, _stacklevel=3, dtype=None)
functional.log_softmax(input, dim=None, _stacklevel=3, dtype=None)
functional.logsigmoid(input)
functional.softplus(input, beta=1, threshold=20)
functional.one_hot(tensor, num_classes=-1)
functional.cosine_similarity(x1, x2, dim=1, eps=1e-8)
functional.pairwise_distance(x1, x2, p=2.0, eps=1e-6, keepdim=False)
functional.normalize(input, p=2.0, dim=1, eps=1e-12, out=None)
functional.sigmoid(input)
functional.relu(input, inplace=False)
"""

GLUON = """
L2Loss(weight=1.0, batch_axis=0)
L1Loss(weight=None, batch_axis=0)
SigmoidBinaryCrossEntropyLoss(from_sigmoid=False, weight=None, batch_axis=0)
SigmoidBCELoss(from_sigmoid=False, weight=None, batch_axis=0)
SoftmaxCrossEntropyLoss(axis=-1, sparse_label=True, from_logits=False, weight=None, batch_axis=0)
SoftmaxCELoss(axis=-1, sparse_label=True, from_logits=False, weight=None, batch_axis=0)
KLDivLoss(from_logits=True, axis=-1, weight=None, batch_axis=0)
CTCLoss(layout='NTC', label_layout='NT', weight=None)
HuberLoss(rho=1, weight=None, batch_axis=0)
HingeLoss(margin=1, weight=None, batch_axis=0)
SquaredHingeLoss(margin=1, weight=None, batch_axis=0)
LogisticLoss(weight=None, batch_axis=0, label_format='signed')
TripletLoss(margin=1, weight=None, batch_axis=0)
PoissonNLLLoss(weight=None, from_logits=True, batch_axis=0, compute_full=False)
CosineEmbeddingLoss(weight=None, batch_axis=0, margin=0)
SDMLLoss(smoothing_parameter=0.3, weight=1.0, batch_axis=0)
"""

# Ours differs, and why.
DIFFERENT = {
    "Program.parse_from_string": "it reads text, not a binary string",
    "dygraph.Layer.create_parameter": "dtype=None is the layer's own",
}

Row = tuple[str, bool, object]  # name, by keyword only, default


def rows_of(text: str) -> list[Row]:
    """The parameters that `name(a, b=1, *, c=2)` lists."""
    made = ast.parse(f"def f{text[text.index('(') :]}: pass").body[0]
    assert isinstance(made, ast.FunctionDef)
    a = made.args
    first: list[object] = [inspect.Parameter.empty] * (len(a.args) - len(a.defaults))
    defaults = first + [ast.literal_eval(d) for d in a.defaults]
    by_name = [ast.literal_eval(d) for d in a.kw_defaults if d is not None]
    positional: list[Row] = [(p.arg, False, d) for p, d in zip(a.args, defaults, strict=True)]
    return positional + [(p.arg, True, d) for p, d in zip(a.kwonlyargs, by_name, strict=True)]


def same(have: object, want: object) -> bool:
    """Equal, with 1 and 1.0 the same, but not 1 and True."""
    return have == want and isinstance(have, bool) == isinstance(want, bool)


def differences(found: inspect.Signature, want: list[Row]) -> list[str]:
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    have = [p for p in found.parameters.values() if p.name != "self" and p.kind not in kinds]
    faults = []
    for i, (name, by_keyword, default) in enumerate(want):
        p = have[i] if i < len(have) else None
        if p is None or p.name != name:
            faults.append(f"parameter {i} is {p and p.name}, not {name}")
        elif (p.kind is p.KEYWORD_ONLY) != by_keyword:
            faults.append(f"{name} is {p.kind.description}")
        elif default is not p.empty and not same(p.default, default):
            faults.append(f"{name} = {p.default!r}, not {default!r}")
    return faults + [f"{p.name} has no default" for p in have[len(want) :] if p.default is p.empty]


ALL = [
    (f"{prefix}{line.partition('(')[0]}", line)
    for prefix, table in (("layers.", LAYERS), ("", FLUID), ("nn.", TORCH), ("gluon.loss.", GLUON))
    for line in table.replace("\n    ", " ").strip().splitlines()
]


@pytest.mark.parametrize(("path", "line"), ALL, ids=[path for path, _ in ALL])
def test_parameters(path: str, line: str) -> None:
    found: object = gl
    for part in path.split("."):
        found = getattr(found, part)
    assert callable(found)
    faults = differences(inspect.signature(found), rows_of(line))
    assert bool(faults) == (path in DIFFERENT), faults


def test_a_difference_is_seen() -> None:
    def f(a: int, b: int = 1, *, c: float = 2.0) -> None: ...

    have = inspect.signature(f)
    for same in ("f(a, b=1, *, c=2.0)", "f(a, b=1)", "f(a, b, *, c=2.0)"):
        assert differences(have, rows_of(same)) == []
    for other in ("f(b=1)", "f(a, b=2)", "f(a, b=1, c=2.0)", "f(a, c=2.0)", "f()", "f(a, b=None)", "f(a, b=1, *, d=3)"):
        assert differences(have, rows_of(other)) != []
