"""What programs for Fluid 1.8 name exists under that name, and small ones run with nothing changed but the import."""

from __future__ import annotations

import numpy as np
import pytest

import graphloss as fluid
from graphloss.errors import ArgumentTypeError, AttrError, UnsupportedError

NAMES = """
Program program_guard CPUPlace CUDAPlace CUDAPinnedPlace cpu_places data Executor ParamAttr Variable
Program.global_block Program.current_block Program.block Program.num_blocks Program.clone Program.to_string
Program.parse_from_string Program.random_seed Program.global_seed Program.list_vars Program.all_parameters
name_scope default_main_program default_startup_program in_dygraph_mode require_version set_flags get_flags device_guard
is_compiled_with_cuda unique_name.generate unique_name.guard unique_name.switch
create_lod_tensor create_random_int_lodtensor LoDTensor Scope Scope.var Scope.find_var Scope.new_scope Scope.drop_kids
global_scope scope_guard Executor.run Executor.close
CompiledProgram CompiledProgram.with_data_parallel BuildStrategy ExecutionStrategy
backward.append_backward backward.gradients gradients
optimizer.SGD optimizer.SGDOptimizer optimizer.Momentum optimizer.MomentumOptimizer optimizer.Adagrad
optimizer.AdagradOptimizer optimizer.Adam optimizer.AdamOptimizer optimizer.RMSProp optimizer.RMSPropOptimizer
optimizer.Adamax optimizer.AdamaxOptimizer optimizer.Adadelta optimizer.AdadeltaOptimizer optimizer.DecayedAdagrad
optimizer.DecayedAdagradOptimizer
regularizer.L1Decay regularizer.L2Decay regularizer.L1DecayRegularizer regularizer.L2DecayRegularizer
clip.GradientClipByValue clip.GradientClipByNorm clip.GradientClipByGlobalNorm clip.set_gradient_clip
initializer.Constant initializer.Uniform initializer.Normal initializer.TruncatedNormal initializer.Xavier
initializer.MSRA initializer.NumpyArrayInitializer initializer.ConstantInitializer initializer.UniformInitializer
initializer.NormalInitializer initializer.TruncatedNormalInitializer initializer.XavierInitializer
initializer.MSRAInitializer
dygraph.guard dygraph.to_variable dygraph.no_grad dygraph.grad dygraph.Layer dygraph.Linear dygraph.NLLLoss
dygraph.BCELoss dygraph.L1Loss dygraph.MSELoss dygraph.enable_dygraph dygraph.disable_dygraph dygraph.enabled
dygraph.save_dygraph dygraph.load_dygraph enable_dygraph disable_dygraph save_dygraph load_dygraph save load
io.save_inference_model io.load_inference_model io.save_params io.load_params io.save_persistables
io.load_persistables io.save_vars io.load_vars io.save io.load io.load_program_state io.set_program_state
metrics.MetricBase metrics.CompositeMetric metrics.Precision metrics.Recall metrics.Accuracy metrics.EditDistance
metrics.Auc
core.EnforceNotMet core.VarDesc.VarType.FP32 core.CPUPlace core.Scope core.LoDTensor core.VarBase
DataFeeder framework.Program framework.Variable framework.Parameter embedding one_hot nn.CrossEntropyLoss
"""

LAYERS = """
elementwise_add elementwise_sub elementwise_mul elementwise_div elementwise_max elementwise_min elementwise_pow
elementwise_mod elementwise_floordiv scale reduce_sum reduce_mean reduce_max reduce_min reduce_prod reduce_all
reduce_any mean sum sums exp log sqrt rsqrt abs square reciprocal sigmoid logsigmoid tanh softplus softsign sign ceil
floor round sin cos asin acos atan tanh_shrink erf relu relu6 leaky_relu elu selu soft_relu swish hard_sigmoid brelu
pow clip clip_by_norm softshrink hard_shrink thresholded_relu gelu cumsum softmax l2_normalize cos_sim matmul mul fc
reshape transpose squeeze unsqueeze expand expand_as concat split stack unstack slice flatten shape size gather
gather_nd scatter one_hot topk argmax argmin argsort where embedding fill_constant ones zeros ones_like zeros_like
assign cast range linspace eye diag create_parameter create_global_var less_than less_equal greater_than greater_equal
equal not_equal logical_and logical_or logical_xor logical_not has_inf has_nan isfinite data accuracy auc
"""


@pytest.mark.parametrize("path", NAMES.split())
def test_name(path: str) -> None:
    found: object = fluid
    for part in path.split("."):
        found = getattr(found, part)
    assert found is not None


@pytest.mark.parametrize("name", LAYERS.split())
def test_layer(name: str) -> None:
    assert callable(getattr(fluid.layers, name))
    assert name in fluid.layers.__all__


def test_a_program_of_the_guide() -> None:
    fluid.require_version("1.6.0")
    main, startup = fluid.Program(), fluid.Program()
    main.random_seed = startup.random_seed = 1
    with fluid.program_guard(main, startup), fluid.unique_name.guard():
        image = fluid.data(name="image", shape=[None, 4], dtype="float32")
        label = fluid.data(name="label", shape=[None, 1], dtype=fluid.core.VarDesc.VarType.INT64)
        prediction = fluid.layers.fc(input=image, size=3, act="softmax")
        cost = fluid.layers.cross_entropy(input=prediction, label=label)
        avg_cost = fluid.layers.mean(cost)
        acc = fluid.layers.accuracy(input=prediction, label=label, k=1)
        test_program = main.clone(for_test=True)
        optimizer = fluid.optimizer.AdamOptimizer(learning_rate=0.05)
        optimizer.minimize(avg_cost)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)).astype("float32")
    y = np.argmax(x[:, :3], 1)[:, None]
    exe = fluid.Executor(fluid.CPUPlace())
    with fluid.scope_guard(fluid.Scope()):
        exe.run(startup)
        compiled = fluid.CompiledProgram(main).with_data_parallel(loss_name=avg_cost.name)
        first, *_, last = (
            exe.run(compiled, feed={"image": x, "label": y}, fetch_list=[avg_cost])[0] for _ in range(60)
        )
        assert last < 0.6 * first
        metric = fluid.metrics.Accuracy()
        for part in range(0, 60, 20):
            feed = {"image": x[part : part + 20], "label": y[part : part + 20]}
            value, share = exe.run(program=test_program, feed=feed, fetch_list=[avg_cost, acc])
            metric.update(value=share, weight=20)
            assert value.shape == (1,)
        assert metric.eval() > 0.8


def test_errors_are_enforce_not_met() -> None:
    with fluid.program_guard(fluid.Program()), pytest.raises(fluid.core.EnforceNotMet):
        fluid.layers.matmul(fluid.data("x", [2, 3]), fluid.data("y", [2, 3]))


def test_shapes_as_values() -> None:
    main = fluid.Program()
    with fluid.program_guard(main):
        shape = fluid.layers.shape(fluid.data("x", [None, 3, None]))
    (value,) = fluid.Executor().run(main, feed={"x": np.zeros((5, 3, 2), "float32")}, fetch_list=[shape])
    assert (value.tolist(), value.dtype) == ([5, 3, 2], np.int32)


def test_indices_without_a_last_dimension() -> None:
    main, startup = fluid.Program(), fluid.Program()
    with fluid.program_guard(main, startup):
        i = fluid.data("i", [None, 2], "int64")
        rows = fluid.embedding(i, (5, 3), padding_idx=0, param_attr=fluid.initializer.Constant(1.0))
        hot = fluid.one_hot(i, 5)
    exe = fluid.Executor()
    with fluid.scope_guard(fluid.Scope()):
        exe.run(startup)
        a, b = exe.run(main, feed={"i": np.array([[0, 4]])}, fetch_list=[rows, hot])
    assert (a.shape, b.shape) == ((1, 2, 3), (1, 2, 5))
    assert a.tolist() == [[[0, 0, 0], [1, 1, 1]]]
    assert b.argmax(-1).tolist() == [[0, 4]]


def test_global_seed() -> None:
    try:
        fluid.Program.global_seed(9)
        assert fluid.Program().random_seed == 9
    finally:
        fluid.Program.global_seed()
    assert fluid.Program().random_seed == 0
    with pytest.raises(ArgumentTypeError):
        fluid.Program.global_seed("9")  # type: ignore[arg-type]


def test_versions_flags_and_devices() -> None:
    fluid.require_version("1.8", "1.8.5")
    for low, high in (("1.9", None), ("1.0", "1.7.9"), ("2", None)):
        with pytest.raises(UnsupportedError, match=r"got 1\.8\.5"):
            fluid.require_version(low, high)
    for bad, error in ((1.8, ArgumentTypeError), ("1.x", AttrError), ("", AttrError)):
        with pytest.raises(error):
            fluid.require_version(bad)
    fluid.set_flags({"FLAGS_test_surface": 3})
    assert fluid.get_flags("FLAGS_test_surface") == fluid.get_flags(["FLAGS_test_surface"])
    for call in (lambda: fluid.set_flags({"x": 1}), lambda: fluid.get_flags("FLAGS_of_nobody")):
        with pytest.raises(AttrError):
            call()
    for wrong in (lambda: fluid.set_flags("x"), lambda: fluid.get_flags(3)):  # type: ignore[arg-type]
        with pytest.raises(ArgumentTypeError):
            wrong()
    with fluid.device_guard("cpu"), fluid.device_guard():
        pass
    for device, error in (("gpu", UnsupportedError), ("npu", AttrError)):
        with pytest.raises(error), fluid.device_guard(device):
            pass
