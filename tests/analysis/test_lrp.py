"""What a user of analysis.lrp notices: shapes, sharing, balance, purity, errors."""

import copy
import threading

import pytest
import torch
from lrp_networks import bounds, random_network
from torch import nn
from torchvision.models import VGG

from analysis.lrp import (
    COMPOSITES,
    LRP,
    AlphaBeta,
    Composite,
    Epsilon,
    Flat,
    Gamma,
    Pass,
    Row,
    WSquare,
    ZBox,
    ZPlus,
    relevance,
)
from study.memory import keep_heap

NAMES = (*COMPOSITES, "epsilon_gamma_box")
TARGETS = torch.tensor([1, 3])

pytestmark = pytest.mark.usefixtures("one_thread")


def network(bias: bool = True, dtype=torch.float64) -> nn.Sequential:
    torch.manual_seed(0)
    return (
        nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=bias), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
            nn.Sequential(nn.Conv2d(6, 8, 3, bias=bias), nn.ReLU(), nn.AvgPool2d(2)),
            nn.Flatten(),
            nn.Linear(72, 10, bias=bias),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(10, 4, bias=bias),
        )
        .to(dtype)
        .eval()
    )


def images(count: int = 2, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(count, 3, 16, 16, dtype=dtype, generator=torch.Generator().manual_seed(1))


def close(a, b, tolerance=1e-12):
    return (a - b).abs().max() <= tolerance * b.abs().max()


# Targets, heads, batches


@pytest.mark.parametrize("name", NAMES)
def test_several_targets_equal_one_at_a_time(name):
    model, x = network(), images(5)
    targets = torch.tensor([[0, 1, 3], [1, 1, 2], [3, 2, 0], [2, 0, 1], [0, 0, 0]])
    together = relevance(model, x, targets, name, **bounds(name))
    assert together.shape == (5, 3, 3, 16, 16)
    for i in range(3):
        assert close(together[:, i], relevance(model, x, targets[:, i], name, **bounds(name)))


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_equals_its_images_one_by_one(name, monkeypatch):
    monkeypatch.setattr("analysis.lrp.engine.CPU_ACTIVATIONS", 2 * 6 * 16 * 16)
    model, x, targets = network(), images(19), torch.arange(19) % 4
    together = LRP(model, name, **bounds(name)).explain(x, targets)
    for i in range(19):
        alone = LRP(model, name, **bounds(name)).explain(x[i : i + 1], targets[i : i + 1])
        for field in ("relevance", "logits", "start", "pixels", "biases"):
            assert torch.allclose(
                getattr(together, field)[i], getattr(alone, field)[0], rtol=1e-9, atol=1e-12
            )


def test_weights_over_outputs_are_linear():
    model, x = network(), images()
    weights = torch.tensor([[1.0, -1.0, 0.0, 0.0], [0.5, 0.0, 0.0, 2.0]])
    single = [relevance(model, x, torch.full((2,), k)) for k in range(4)]
    expected = sum(weights[:, k, None, None, None] * single[k] for k in range(4))
    assert close(relevance(model, x, weights), expected)
    assert close(relevance(model, x, torch.stack([weights, 2 * weights], 1))[:, 1], 2 * expected)


def test_relevance_starts_with_the_logit():
    model, x = network(), images()
    found = LRP(model).explain(x, TARGETS)
    assert torch.allclose(found.logits, model(x).detach())
    assert torch.equal(found.start, found.logits[range(2), TARGETS])


@pytest.mark.parametrize("cut", [2, 3, 4, 6])
@pytest.mark.parametrize("name", NAMES)
def test_heads_share_a_trunk(name, cut):
    """Cuts between convolutions, before and after flattening, and within the linear layers."""
    models = [network(), network()]
    with torch.no_grad():
        for parameter in models[1][cut:].parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(2))
    x, targets = images(3), [torch.tensor([[0, 1], [2, 3], [1, 0]]), torch.tensor([[3, 2], [1, 1], [0, 2]])]
    trunk, heads = models[0][:cut], [model[cut:] for model in models]
    box = bounds(name)
    shared = LRP(trunk, name, heads=heads, **box)
    each, mean = shared.explain(x, targets), shared.explain(x, targets, mean=True)
    assert each.relevance.shape == (3, 2, 2, 3, 16, 16)
    alone = [LRP(m, name, **box).explain(x, t) for m, t in zip(models, targets, strict=True)]
    for head in range(2):
        for field in ("relevance", "start", "pixels", "biases"):
            assert close(getattr(each, field)[:, head], getattr(alone[head], field), 1e-10)
    for field in ("relevance", "start", "pixels", "biases"):
        assert close(getattr(mean, field), (getattr(alone[0], field) + getattr(alone[1], field)) / 2, 1e-10)


def test_the_trunk_runs_once_for_all_targets_and_heads(monkeypatch):
    calls = {"conv2d": 0, "conv_transpose2d": 0}

    def counting(name, plain):
        def call(x, *args):
            calls[name] += x.device.type != "meta"
            return plain(x, *args)

        return call

    for name in calls:
        monkeypatch.setattr(f"torch.nn.functional.{name}", counting(name, getattr(nn.functional, name)))

    def counted(engine, targets, **options):
        calls.update(dict.fromkeys(calls, 0))
        engine.explain(images(), targets, **options)
        return dict(calls)

    one = counted(LRP(network()), TARGETS)
    many = counted(LRP(network()), TARGETS[:, None].expand(2, 16))
    assert many == one | {"conv_transpose2d": 16 * one["conv_transpose2d"]}
    heads = LRP(network()[:3], heads=[network()[3:]] * 5)
    assert counted(heads, [TARGETS] * 5, mean=True) == one


# Balance


@pytest.mark.parametrize("name", NAMES)
def test_books_balance(name):
    """What the stabilisers take is checked against the rules' equations in test_lrp_agreement."""
    for seed in range(25):
        model, x = random_network(seed)
        found = LRP(model, name, **bounds(name)).explain(x, TARGETS)
        assert close(found.pixels, found.relevance.sum((1, 2, 3)))
        assert close(found.pixels + found.biases + found.epsilon, found.start)
        assert close(sum(found.biases_by_layer.values(), torch.zeros(2)), found.biases)


def test_epsilon_share_is_what_the_stabilisers_take():
    """One layer: sum of R_j e / (z_j + e), by hand."""
    torch.manual_seed(0)
    layer = nn.Linear(12, 4).double()
    table = Composite("strong", (Row("any", "any", Epsilon(0.5)),))
    x = images()[:, :, :2, :2]
    found = LRP(nn.Sequential(nn.Flatten(), layer), table).explain(x, TARGETS)
    z = found.start
    share = z / (z + 0.5 * z.sign())
    assert close(found.epsilon, 0.5 * z.sign() * share)
    assert close(found.biases, layer.bias.detach()[TARGETS] * share)


@pytest.mark.parametrize("name", NAMES)
def test_conserves_exactly_without_biases(name):
    found = LRP(network(bias=False), name, **bounds(name)).explain(images(), TARGETS)
    assert (found.biases == 0).all()
    assert torch.allclose(found.pixels, found.start, rtol=1e-4)


@pytest.mark.parametrize(
    "rule",
    [
        ZPlus(1e-12, bias=False),
        AlphaBeta(2, 1, 1e-12, bias=False),
        Epsilon(1e-12, bias=False),
    ],
)
def test_conserves_exactly_with_biases_left_out(rule):
    table = Composite("no biases", (Row("average_pool", "any", Epsilon(1e-12)), Row("any", "any", rule)))
    found = LRP(network(), table).explain(images(), TARGETS)
    assert torch.allclose(found.pixels, found.start, rtol=1e-7)
    kept = Composite("biases", (Row("average_pool", "any", Epsilon()), Row("any", "any", type(rule)())))
    assert (LRP(network(), kept).explain(images(), TARGETS).biases.abs() > 1e-3).all()


def test_a_flat_region_keeps_its_relevance():
    """All positions of a pooling tie; relevance goes to one of them, once."""
    table = Composite("epsilon", (Row("any", "any", Epsilon(1e-12)),))
    found = LRP(network(bias=False), table).explain(torch.full_like(images(), 0.7), TARGETS)
    assert torch.allclose(found.pixels, found.start, rtol=1e-6)


# Layers


def test_intermediate_layers():
    model, x = network(), images()
    names = ("0.0", "0.1", "0.2", "1.1", "2", "3", "5", "6")
    with pytest.raises(ValueError, match="no layer '5'"):
        LRP(model, layers=names)
    names = tuple(name for name in names if name != "5")
    plain = LRP(model, "epsilon_plus").explain(x, TARGETS)
    found = LRP(model, "epsilon_plus", layers=names).explain(x, TARGETS)
    assert close(found.relevance, plain.relevance)
    assert {name: value.shape[1:] for name, value in found.layers.items()} == {
        "0.0": (6, 16, 16),
        "0.1": (6, 16, 16),
        "0.2": (6, 8, 8),
        "1.1": (8, 6, 6),
        "2": (72,),
        "3": (10,),
        "6": (4,),
    }
    assert torch.allclose(found.layers["6"].sum(1), found.start)
    assert close(found.layers["0.0"], found.layers["0.1"])
    above = LRP(model[1:], "epsilon_plus")
    x1 = model[0](x).detach()
    below = Composite(
        "first is not first", (Row("convolution", "any", ZPlus()), Row("any", "any", Epsilon()))
    )
    assert close(found.layers["0.2"], relevance(model[1:], x1, TARGETS, below), 1e-9)
    assert above.explain(x1, TARGETS).relevance.shape == (2, 6, 8, 8)


def test_heads_keep_layers_of_the_trunk():
    model, x = network(), images()
    found = LRP(model[:3], heads=[model[3:]] * 2, layers=("0.2",)).explain(x, [TARGETS, 3 - TARGETS])
    alone = LRP(model, layers=("0.2",)).explain(x, 3 - TARGETS)
    assert close(found.layers["0.2"][:, 1], alone.layers["0.2"])


# Composites


def test_positions_in_a_table():
    model, x = network(), images()
    rows = (
        Row("weighted", "first", Flat()),
        Row("convolution", 1, Gamma(0.5)),
        Row("linear", "last", Epsilon(0.1)),
        Row("linear", range(0, 1), ZPlus()),
        Row("average_pool", "any", Epsilon()),
    )
    table = Composite("mine", rows)
    kinds = ["convolution", "convolution", "average_pool", "linear", "linear"]
    assert table.rules(kinds) == [Flat(), Gamma(0.5), Epsilon(), ZPlus(), Epsilon(0.1)]
    assert relevance(model, x, TARGETS, table).shape == x.shape
    last = Composite("last", (Row("linear", -1, Flat()), Row("any", "any", Epsilon())))
    assert last.rules(kinds[3:]) == [Epsilon(), Flat()]


def test_input_free_rules_may_stand_anywhere():
    """Below them relevance travels as itself, through ReLU and pooling; conservation shows nothing was lost."""
    model, x = network(bias=False), images()
    model[1][2] = nn.MaxPool2d(2)
    for rule in (Flat(1e-12), WSquare(1e-12), ZBox(-9.0, 9.0, 1e-12)):
        for position in ("any", 0, 1, 2, 3):
            rows = (Row("weighted", position, rule), Row("any", "any", Flat(1e-12)))
            found = LRP(model, Composite("odd", rows)).explain(x, TARGETS)
            assert torch.allclose(found.pixels, found.start)


def test_pass_rule_goes_through_layers_of_one_shape():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Flatten(), nn.Linear(48, 4)).double()
    x = images()[:, :, :4, :4]
    rows = (Row("convolution", "any", Pass()), Row("any", "any", Epsilon()))
    found = relevance(model, x, TARGETS, Composite("pass", rows))
    above = relevance(model[1:], model[0](x).detach(), TARGETS, "epsilon")
    assert close(found, above)
    with pytest.raises(ValueError, match=r"pass rule at '0\.0'"):
        relevance(network(), images(), TARGETS, Composite("pass", (Row("any", "any", Pass()),)))


def test_rules_are_values():
    assert Gamma(0.25) == Gamma() and hash(Gamma()) == hash(Gamma(0.25))
    with pytest.raises(AttributeError):
        Gamma().gamma = 1.0
    model = network()
    assert torch.equal(relevance(model, images(), TARGETS), relevance(model, images(), TARGETS))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: AlphaBeta(2, 2), "alpha - beta must be 1"),
        (lambda: Epsilon(-1e-6), "epsilon=-1e-06"),
        (lambda: Gamma(float("nan")), "gamma=nan"),
        (lambda: ZBox(1.0, 0.0), "low must be below high"),
        (lambda: ZBox((0.0, 0.0), (1.0, 1.0, 1.0)), "equally many"),
        (lambda: Row("conv", "any", Epsilon()), "'conv' is unknown"),
        (lambda: Row("any", "middle", Epsilon()), "'middle' is unknown"),
        (lambda: Row("any", "any", Epsilon), "not the class"),
    ],
)
def test_impossible_rules_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# The model is never touched


def test_the_model_is_never_touched():
    model = network(dtype=torch.float32)
    before, attributes = copy.deepcopy(model.state_dict()), [set(vars(m)) for m in model.modules()]
    x = images(dtype=torch.float32)
    x_before = x.clone()
    for name in NAMES:
        relevance(model, x, TARGETS, name, **bounds(name))
    relevance(model, x, TARGETS, mixed=True)
    assert torch.equal(x, x_before)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert attributes == [set(vars(m)) for m in model.modules()]
    assert not model.training and all(p.requires_grad and p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in model.modules())


def test_results_do_not_change_when_used_again():
    """Explanations own their memory: a second call does not write into the first one's maps."""
    engine = LRP(network(), layers=("0.2",))
    first = engine.explain(images(), TARGETS)
    kept = first.relevance.clone(), first.layers["0.2"].clone(), first.logits.clone()
    engine.explain(-images(), TARGETS)
    assert all(map(torch.equal, kept, (first.relevance, first.layers["0.2"], first.logits)))


def test_one_module_used_twice():
    torch.manual_seed(0)
    relu = nn.ReLU()
    shared = nn.Sequential(
        nn.Flatten(), nn.Linear(768, 9), relu, nn.Linear(9, 9), relu, nn.Linear(9, 4)
    ).double()
    apart = nn.Sequential(*(nn.ReLU() if layer is relu else layer for layer in shared))
    found = LRP(shared).explain(images(), TARGETS)
    assert torch.allclose(found.logits, shared(images()))
    assert torch.equal(found.relevance, relevance(apart, images(), TARGETS))


def test_vgg_layout():
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(3, 512, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(2))
    model = VGG(features, num_classes=4, init_weights=False).eval()
    model.classifier = nn.Sequential(nn.Linear(512 * 49, 8), nn.ReLU(True), nn.Dropout(), nn.Linear(8, 4))
    model.eval()
    x = images(dtype=torch.float32)
    found = LRP(model, layers=("features.0", "avgpool", "classifier.0")).explain(x, TARGETS)
    assert torch.allclose(found.logits, model(x), atol=1e-6)
    assert set(found.layers) == {"features.0", "avgpool", "classifier.0"}
    flat = nn.Sequential(model.features, model.avgpool, nn.Flatten(), model.classifier)
    assert torch.equal(found.relevance, relevance(flat, x, TARGETS))


# Precision


def test_mixed_precision_is_close_and_bfloat16_throughout_refused():
    model, x = network(dtype=torch.float32), images(8, torch.float32)
    targets = torch.arange(8) % 4
    for name in NAMES:
        full = relevance(model, x, targets, name, **bounds(name))
        mixed = relevance(model, x, targets, name, mixed=True, **bounds(name))
        assert mixed.dtype == torch.float32
        pair = torch.stack([full.flatten(), mixed.flatten()])
        assert torch.corrcoef(pair)[0, 1] > 0.999
    with pytest.raises(ValueError, match="mixed=True"):
        relevance(network(dtype=torch.bfloat16), x.bfloat16(), targets)
    with pytest.raises(ValueError, match="mixed=True is for float32"):
        relevance(network(), images(), TARGETS, mixed=True)


def test_accurate_maps_are_the_same_in_contiguous_layout():
    for seed in range(60):
        model, x = random_network(seed)
        for name in NAMES:
            fast = LRP(model, name, **bounds(name)).explain(x, TARGETS)
            accurate = LRP(model, name, accurate=True, **bounds(name)).explain(x, TARGETS)
            largest = fast.relevance.abs().max()
            assert (accurate.relevance - fast.relevance).abs().max() <= 1e-8 * largest, f"seed {seed}"
            assert torch.allclose(accurate.biases, fast.biases)
    with pytest.raises(ValueError, match="choose one"):
        LRP(network(dtype=torch.float32), mixed=True, accurate=True)


def test_autocast_around_the_call_changes_nothing():
    model, x = network(dtype=torch.float32), images(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        inside = relevance(model, x, TARGETS)
    assert torch.equal(inside, relevance(model, x, TARGETS))


# Streams


def test_stream_writes_every_batch_in_order_beside_the_computation():
    engine, x = LRP(network()), images(11)
    targets = torch.arange(11) % 4
    written, threads = {}, set()

    def write(first, explanation):
        threads.add(threading.get_ident())
        written[first] = explanation.relevance

    batches = ((x[i : i + 4], targets[i : i + 4]) for i in range(0, 11, 4))
    assert engine.stream(batches, write) == 11
    assert list(written) == [0, 4, 8] and threads != {threading.get_ident()}
    assert close(torch.cat(list(written.values())), engine.explain(x, targets).relevance)


def test_stream_holds_one_batch_back_and_raises_the_writers_error():
    engine, taken = LRP(network()), []

    def batches():
        for i in range(50):
            taken.append(i)
            yield images(), TARGETS

    def write(first, explanation):
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        engine.stream(batches(), write)
    assert len(taken) <= 3


# Hostile input


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([nn.Conv2d(3, 4, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(784, 4)], "Sigmoid at '1'"),
        ([nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU())], "GELU at '0.1'"),
        ([nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")], "Conv2d at '0' pads with 'reflect'"),
        ([nn.Conv2d(3, 4, 4, padding="same")], "padding='same'"),
        ([nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)], "BatchNorm2d at '0' does not follow"),
        ([nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)], "no running statistics"),
        ([nn.Flatten(0), nn.Linear(4, 4)], "Flatten at '0'"),
        ([nn.MaxPool2d(2, return_indices=True), nn.Flatten(), nn.Linear(4, 4)], "return_indices=False"),
        ([nn.ReLU(), nn.Flatten()], "no Conv2d or Linear"),
        ([nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(7, 4)], "Linear at '2' cannot take an input of shape"),
        (
            [nn.Conv2d(5, 4, 3), nn.Flatten(), nn.Linear(784, 4)],
            "Conv2d at '0' cannot take an input of shape",
        ),
        ([nn.Conv2d(3, 4, 3), nn.Linear(14, 4)], "nn.Flatten()"),
        ([nn.Conv2d(3, 4, 16)], "end it with nn.Flatten"),
    ],
)
def test_networks_that_cannot_be_explained(layers, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(").replace(")", r"\)")):
        relevance(nn.Sequential(*layers), images(dtype=torch.float32), TARGETS)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (torch.tensor([1, 4]), "classes 0 to 3"),
        (torch.tensor([-1, 2]), "span -1 to 2"),
        (torch.tensor([1]), r"shape \(2,\) or \(2, T\)"),
        (torch.tensor([True, False]), "bool"),
        (torch.zeros(2, 0, dtype=torch.long), "class indices"),
        (torch.zeros(2), "class indices must be integers"),
        (torch.zeros(2, 5), r"\(2, 4\)"),
        (torch.full((2, 4), torch.nan), "not finite"),
    ],
)
def test_impossible_targets(targets, words):
    with pytest.raises(ValueError, match=words):
        relevance(network(), images(), targets)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (images()[0], r"\(N, C, H, W\)"),
        (images()[:0], "N >= 1"),
        (images().float(), "float32"),
        (images() * torch.inf, "not finite"),
        (images().numpy(), "ndarray"),
    ],
)
def test_impossible_images(x, words):
    with pytest.raises(ValueError, match=words):
        relevance(network(), x, TARGETS)


def test_outputs_that_overflow():
    model = network(dtype=torch.float32)
    with torch.no_grad():
        model[6].weight.mul_(1e3)
    with pytest.raises(ValueError, match=r"outputs are not finite.*overflow torch.float32 at Linear at '6'"):
        relevance(model, images(dtype=torch.float32) * 7e37, TARGETS)


def test_other_impossible_calls():
    model = network()
    with pytest.raises(ValueError, match="'epsilon_minus' is unknown"):
        relevance(model, images(), TARGETS, "epsilon_minus")
    with pytest.raises(ValueError, match="give low= and high="):
        relevance(model, images(), TARGETS, "epsilon_gamma_box")
    with pytest.raises(ValueError, match="leave them out"):
        relevance(model, images(), TARGETS, "epsilon", low=0.0)
    with pytest.raises(ValueError, match="2 values for 3 channels"):
        relevance(model, images(), TARGETS, "epsilon_gamma_box", low=(0.0, 0.0), high=(1.0, 1.0))
    with pytest.raises(ValueError, match="has no row for layer 2"):
        relevance(model, images(), TARGETS, Composite("short", (Row("weighted", "any", Epsilon()),)))
    with pytest.raises(ValueError, match=r"Average pooling at '1\.2'"):
        relevance(model, images(), TARGETS, Composite("odd", (Row("any", "any", ZPlus()),)))
    with pytest.raises(ValueError, match="heads is empty"):
        LRP(model, heads=[])
    with pytest.raises(ValueError, match="given none"):
        LRP(model).explain(images(), TARGETS, mean=True)
    with pytest.raises(ValueError, match="2 heads need"):
        LRP(model[:3], heads=[model[3:]] * 2).explain(images(), [TARGETS])
    with pytest.raises(ValueError, match="different rules under different heads"):
        table = Composite("last", (Row("linear", 1, ZPlus()), Row("any", "any", Epsilon())))
        deeper = nn.Sequential(nn.Linear(10, 6), nn.ReLU(), nn.Linear(6, 4)).double()
        counted = Composite("end", (Row("weighted", -2, ZPlus()), Row("any", "any", Epsilon())))
        LRP(model[:3], table, heads=[model[3:], model[3:]])
        LRP(model[:4], counted, heads=[model[4:], deeper])
    with torch.no_grad():
        model[3].weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="weight of Linear at '3' is not finite"):
        relevance(model, images(), TARGETS)


def test_keep_heap_says_whether_it_worked():
    assert keep_heap() in (True, False)
