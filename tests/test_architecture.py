"""The house: which room may import which, and the habits that no room may have. Reads source; runs nothing of it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "skvae"

# A module imports its own floor and those below.
FLOORS = {
    "skvae._warnings": -1,
    "skvae._lazy": -1,
    "skvae._table": 0,
    "skvae.nn": 1,
    "skvae._engine": 2,
    "skvae._sklearn": 3,
    "skvae._typing": 3,
    "skvae._model": 4,
    "skvae.metrics": 5,
    "skvae._explaining": 5,
    "skvae._base": 5,
    "skvae._vae": 6,
    "skvae._autoencoder": 6,
    "skvae._members": 6,
    "skvae._imputer": 6,
    "skvae._outlier": 6,
    "skvae.displays": 7,
    "skvae.__main__": 8,
}
COMPOSED = {"skvae.nn.networks", "skvae.nn.likelihoods", "skvae.nn.priors"}  # skvae.nn.models puts them together

# Library -> the rooms that may import it.
BORDERS = {
    "torch": ("skvae.nn", "skvae._engine"),
    "pandas": ("skvae._table.frames",),
    "polars": ("skvae._table.frames",),
    "matplotlib": ("skvae.displays", "skvae.__main__"),
    "joblib": (),
}
DOORS = {"skvae", "skvae._engine", "skvae.nn"}  # packages that import their modules on first use, and nothing else
NOT_OF_THE_CORE = {"sklearn", "scipy", "matplotlib"}  # what _table, nn and _engine do without
SPARED = {
    ("skvae._table.marginals", "scipy.special"),  # the normal distribution function and its inverse
    ("skvae.nn.likelihoods.counts", "scipy.special"),  # the distribution functions of counts
}

FORBIDDEN = {
    "torch.manual_seed": "the global stream is the user's",
    "torch.seed": "the global stream is the user's",
    "np.random.seed": "the global stream is the user's",
    "np.random.set_state": "the global stream is the user's",
    "torch.set_num_threads": "the number of threads is the user's",
    "torch.set_num_interop_threads": "the number of threads is the user's",
    "torch.set_default_dtype": "the default is the user's",
    "torch.set_default_device": "the default is the user's",
    "torch.use_deterministic_algorithms": "the setting is the user's",
    "torch.randn_like": "takes no generator",
    "torch.rand_like": "takes no generator",
    "torch.compile": "costs more than a small fit",
    "warnings.warn": "blames the line that calls it: skvae._warnings.warn finds the user's",
    "warnings.simplefilter": "silences the user's warnings",
    "warnings.filterwarnings": "silences the user's warnings",
    "logging.basicConfig": "logging is the user's",
    "F.dropout": "draws from the global stream",
    "nn.Dropout": "draws from the global stream",
    "nn.BatchNorm1d": "a batch of one row has no variance",
}
FORBIDDEN_MODULES = ("torch.utils.data", "torch.distributions", "multiprocessing", "random")
LENT = {  # the room that lends what is the user's, and gives it back
    ("skvae._engine.runtime", "np.random.seed"),
    ("skvae._engine.runtime", "np.random.set_state"),
    ("skvae._engine.runtime", "torch.set_default_dtype"),
}
DRAWS = {"randn", "rand", "randperm", "randint", "normal", "bernoulli", "multinomial", "poisson"}


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_of(path): path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
ROOMS = [module for module in SOURCES if module != "skvae"]

every_room = pytest.mark.parametrize("module", ROOMS)


def within(module, rooms):
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def floor_of(module):
    return next((floor for room, floor in FLOORS.items() if within(module, [room])), None)


def imports_of(source, outermost=False):
    """Absolute names that a source imports: modules, and what is taken from them."""
    tree = ast.parse(source)
    for node in tree.body if outermost else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
            yield from (f"{'.' * node.level}{node.module or ''}.{alias.name}" for alias in node.names)


def strayed_imports(module, source):
    """What a module imports and must not."""
    found = []
    for target in imports_of(source):
        library = target.split(".")[0]
        floor = floor_of(target)
        if target.startswith("."):
            found.append(f"relative import {target}")
        if floor is not None and floor > floor_of(module):
            found.append(f"{target} is upstairs")
        if library in BORDERS and not within(module, BORDERS[library]):
            found.append(f"{target} outside {BORDERS[library]}")
        spared = any(module == room and within(target, [part]) for room, part in SPARED)
        if library in NOT_OF_THE_CORE and floor_of(module) <= 2 and not spared:
            found.append(f"{target} in the core")
        if library == "sklearn" and module != "skvae._sklearn" and is_private(target):
            found.append(f"{target} outside _sklearn.py")
        if within(target, FORBIDDEN_MODULES):
            found.append(f"{target} is forbidden")
    if module in COMPOSED:
        found += [f"{target} beside it" for target in imports_of(source) if within(target, COMPOSED - {module})]
    return found


def is_private(target):
    """Whether scikit-learn may move a name without notice, or did not always have it."""
    return "._" in target or target.startswith("sklearn.callback")


def dotted(node):
    """The dotted name of an expression such as ``np.random.seed``, else ''."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        inner = dotted(node.value)
        return f"{inner}.{node.attr}" if inner else ""
    return ""


def bad_habits(module, source):
    """Calls and clauses that no room may have."""
    found = []
    for node in ast.walk(ast.parse(source)):
        name = dotted(node)
        if name in FORBIDDEN and (module, name) not in LENT:
            found.append(f"{name}: {FORBIDDEN[name]}")
        if isinstance(node, ast.ExceptHandler) and all(isinstance(line, ast.Pass) for line in node.body):
            found.append("an error swallowed")
        if isinstance(node, ast.Call) and dotted(node.func) == "NotImplementedError" and not node.args:
            found.append("unfinished")
    return found


def draws_without_a_stream(module, source):
    """Draws from torch's global stream."""
    return [
        dotted(node.func)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and dotted(node.func).startswith("torch.")
        and dotted(node.func).removeprefix("torch.") in DRAWS
        and "generator" not in {keyword.arg for keyword in node.keywords}
    ]


@every_room
def test_room_stands_on_a_floor(module):
    assert floor_of(module) is not None, f"say in FLOORS where {module} stands"


@every_room
def test_imports_go_down_and_respect_the_borders(module):
    assert strayed_imports(module, SOURCES[module]) == []


@every_room
def test_no_bad_habits(module):
    assert bad_habits(module, SOURCES[module]) == []


# What one file of the package may ask of the classes of another, and of libraries, beyond public names.
SHARED = {"_model", "_without_warnings", "_replace", "_parameter_constraints", "_getframe", "_standard_gamma"}
SHARED |= {"_fused_adam_"}


def reaches_into_others(source):
    """Attributes with private names that the source does not itself define."""
    nodes, own = list(ast.walk(ast.parse(source))), set(SHARED)
    own |= {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    own |= {node.attr for node in nodes if isinstance(node, ast.Attribute) and dotted(node.value) in ("self", "cls")}
    private = (node for node in nodes if isinstance(node, ast.Attribute) and node.attr.startswith("_"))
    return [ast.unparse(node) for node in private if not (node.attr.startswith("__") or node.attr in own)]


@every_room
def test_no_room_reaches_into_another(module):
    assert reaches_into_others(SOURCES[module]) == []


def test_a_reach_into_another_is_seen():
    assert reaches_into_others("model._engine.encode(x)") == ["model._engine"]
    assert reaches_into_others("self._engine.encode(x)\nmember._model.codes(table)") == []


@every_room
def test_every_draw_takes_a_generator(module):
    assert draws_without_a_stream(module, SOURCES[module]) == []


@every_room
def test_matplotlib_waits_until_something_is_drawn(module):
    assert not [name for name in imports_of(SOURCES[module], outermost=True) if within(name, ["matplotlib"])]


def test_no_room_imports_in_a_circle():
    graph = {
        module: {target for target in imports_of(source) if target in SOURCES and target not in {*DOORS, module}}
        for module, source in SOURCES.items()
    }
    while graph:
        leaves = {module for module, targets in graph.items() if not targets & graph.keys()}
        assert leaves, f"a circle among {sorted(graph)}"
        graph = {module: targets for module, targets in graph.items() if module not in leaves}


def test_every_floor_has_a_room():
    assert [room for room in FLOORS if not any(within(module, [room]) for module in SOURCES)] == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("skvae._table.schema", "from skvae.nn import priors"),
        ("skvae.nn.models", "import skvae._engine.engine"),
        ("skvae._base", "def f():\n    from skvae._vae import VAETransformer"),
        ("skvae._vae", "import torch"),
        ("skvae._table.kinds", "import pandas as pd"),
        ("skvae._engine.engine", "from sklearn.base import BaseEstimator"),
        ("skvae._base", "from sklearn.utils.validation import _check_sample_weight"),
        ("skvae._base", "from sklearn.utils._param_validation import Interval"),
        ("skvae._base", "from sklearn.callback import CallbackSupportMixin"),
        ("skvae.nn.priors", "from skvae.nn.likelihoods import Gaussian"),
        ("skvae.nn.priors", "from . import likelihoods"),
        ("skvae._engine.batches", "from torch.utils.data import DataLoader"),
        ("skvae._table.schema", "from scipy.special import ndtr"),
        ("skvae._table.marginals", "from scipy.stats import norm"),
    ],
)
def test_a_strayed_import_is_seen(module, source):
    assert strayed_imports(module, source)


@pytest.mark.parametrize(
    "source",
    [
        "torch.manual_seed(0)",
        "np.random.seed(0)",
        "seed = torch.manual_seed\nseed(0)",
        "torch.set_num_threads(1)",
        "try:\n    f()\nexcept Exception:\n    pass",
        "raise NotImplementedError()",
        "warnings.warn('careful', stacklevel=2)",
    ],
)
def test_a_bad_habit_is_seen(source):
    assert bad_habits("skvae._base", source)


def test_a_draw_from_the_global_stream_is_seen():
    assert draws_without_a_stream("skvae.nn.priors", "torch.randn(3)") == ["torch.randn"]
    assert draws_without_a_stream("skvae.nn.priors", "torch.randn(3, generator=g)") == []


@pytest.mark.parametrize(
    ("imported", "absent"),
    [("skvae", {"torch", "sklearn"}), ("skvae._table.schema", {"torch"}), ("skvae._vae", {"matplotlib", "polars"})],
)
def test_imports_do_not_wait_for_what_they_do_not_need(imported, absent):
    code = f"import sys, {imported}; sys.exit(bool({absent!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", sorted(DOORS - {"skvae"}))
def test_every_module_of_a_lazy_package_is_there_before_it_was_imported(package):
    own = sorted({name.split(".")[2] for name in SOURCES if name.startswith(f"{package}.")})
    code = f"import {package} as door; [getattr(door, name) for name in {own!r}]; assert not hasattr(door, 'nothing')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert own
    assert done.returncode == 0, done.stderr


def test_estimators_are_made_and_searched_over_without_torch():
    code = """
import sys
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_html_repr
import skvae
clone(skvae.AutoencoderTransformer())
for name in ("VAEImputer", "VAEOutlierDetector", "VAETransformer"):
    made = clone(getattr(skvae, name)()).set_params(random_state=0)
    search = GridSearchCV(make_pipeline(made), {f"{name.lower()}__random_state": [0, 1]})
    repr(search), estimator_html_repr(search), search.get_params()
sys.exit("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_fit_does_not_wait_for_torchs_compiler():
    """Its import takes two seconds, and an optimiser of torch's classes makes it."""
    fit = "skvae.VAETransformer(max_iter=1, random_state=0).partial_fit([[0.0, 1.0], [1.0, 3.0], [2.0, 2.0]])"
    code = f"import sys, skvae; {fit}; sys.exit('torch._dynamo' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
