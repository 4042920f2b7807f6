"""Times PyTorch on the cases of benches/tensor, by their names, on the same numbers.

Reads requests from standard input and answers each, a JSON a line, as `benches/tensor --serve` does:
`load` a case from its files of numbers, `measure` a pass of one form, tell `values`. Forms are memory formats (NCHW,
channels_last), each eager and compiled by torch.compile.
"""

import json
import math
import sys
import time

import numpy
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

TOLD = 64  # elements of a result that are told, as benches/tensor tells
STEP = 50.0  # the step of the diffusion that the network is told, as there
LIBRARY = "a single call into a library, which the compiler leaves as it is"
NOT_COMPILED = {  # by the beginning of the case's name
    "matmul/": LIBRARY,
    "attention/": LIBRARY,
    "fft/": LIBRARY,
    "index/": LIBRARY,
    "random/normal": LIBRARY,
    "random/uniform": LIBRARY,
    "recurrent/GRU": LIBRARY,
    "graph/": "the search for neighbours is a distance matrix and topk, calls into libraries",
    "optimiser/": "the fused optimiser is one kernel already",
}
NOT_COMPARED = ("random/",)  # PyTorch draws other random numbers
NO_IMAGES = ("attention/",)


def splat(x):
    """Means of the features of points near each cell: only cells within reach are touched, three deviations of 2."""
    features, places = x[0][0], x[1][0]
    sigma, reach, side = 2.0, 6, 384
    offsets = torch.arange(-reach - 1, reach + 2)
    near = torch.stack(torch.meshgrid(offsets, offsets, indexing="ij"), -1).reshape(-1, 2)
    cells = places.detach().round().long()[:, None] + near
    squared = (cells - places[:, None]).square().sum(-1)
    inside = (squared <= (3 * sigma) ** 2) & (cells >= 0).all(-1) & (cells < side).all(-1)
    weights = torch.exp(-squared / (2 * sigma**2)) * inside
    flat = (cells.clamp(0, side - 1) * torch.tensor([side, 1])).sum(-1)
    total = torch.zeros(side * side).index_add(0, flat.reshape(-1), weights.reshape(-1))
    sums = torch.zeros(side * side, features.shape[1])
    sums = sums.index_add(0, flat.reshape(-1), (weights[..., None] * features[:, None]).reshape(-1, features.shape[1]))
    return [(sums / total.where(total > 0, 1.0)[:, None]).T.reshape(1, -1, side, side)]


def neighbours(x):
    """Eight nearest of each point, not itself."""
    distances = torch.cdist(x[0], x[0])
    distances.diagonal(dim1=1, dim2=2).fill_(math.inf)
    return [distances.topk(8, largest=False).indices]


def conv_lstm(x):
    image, h, c, weight, bias = x
    i, f, o, g = F.conv2d(torch.cat([image, h], 1), weight, bias, padding=1).chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return [o.sigmoid() * c.tanh(), c]


def dpm_solver(x):
    """DPM-Solver++(2M) from ᾱ = 1/4 to 1/2, the step before 0.8 times as long."""
    before, after, ratio = 0.25, 0.5, 0.8
    sigma = lambda a: math.sqrt(1 - a)
    rate = lambda a: math.log(math.sqrt(a) / sigma(a))
    grown = -math.sqrt(after) * math.expm1(rate(before) - rate(after))
    state, noise, previous = x
    denoised = (state - sigma(before) * noise) / math.sqrt(before)
    ahead = 0.5 / ratio
    return [sigma(after) / sigma(before) * state + grown * ((1 + ahead) * denoised - ahead * previous), denoised]


def network(x, w):
    """ε(x, t) of the published diffusion network ddpm_ultra_minimal."""
    phases = STEP * torch.exp(-math.log(10000) * torch.arange(8) / 7)
    time = torch.cat([phases.sin(), phases.cos()])[None]
    linear = lambda x, name: F.linear(x, w[name + ".weight"], w[name + ".bias"])
    time = linear(F.silu(linear(time, "time_mlp.1")), "time_mlp.3")
    x = x[0]
    for block in ["enc1", "enc2", "enc3", "dec3", "dec2", "dec1"]:
        for half in "12":
            x = F.conv2d(x, w[f"{block}.conv{half}.weight"], w[f"{block}.conv{half}.bias"], padding=1)
            x = F.silu(F.group_norm(x, 8, w[f"{block}.norm{half}.weight"], w[f"{block}.norm{half}.bias"], 1e-5))
            if half == "1":
                x = x + linear(time, block + ".time_mlp")[:, :, None, None]
    return [F.conv2d(x, w["out_conv.weight"], w["out_conv.bias"])]


OPERATIONS = {  # by the beginning of the case's name
    "matmul/": lambda x: [x[0] @ x[1]],
    "conv/3x3": lambda x: [F.conv2d(x[0], x[1], x[2], padding=1)],
    "norm/group with silu": lambda x: [F.silu(F.group_norm(x[0], 8, x[1], x[2], 1e-5))],
    "attention/": lambda x: [F.scaled_dot_product_attention(*x)],
    "softmax/": lambda x: [F.softmax(x[0], -1)],
    "elementwise/silu": lambda x: [F.silu(x[0])],
    "elementwise/add": lambda x: [x[0] + x[1]],
    "reduce/sum": lambda x: [x[0].sum()],
    "index/select": lambda x: [x[0].index_select(0, x[1])],
    "pool/max": lambda x: [F.max_pool2d(x[0], 2)],
    "pool/mean": lambda x: [F.avg_pool2d(x[0], 2)],
    "resize/bilinear": lambda x: [F.interpolate(x[0], (1059, 1799), mode="bilinear", align_corners=False)],
    "resize/fit": lambda x: [F.pad(x[0], (4, 5, 6, 7))],
    "fft/rfft2": lambda x: [torch.view_as_real(torch.fft.rfft2(x[0]))],
    "fft/irfft2": lambda x: [torch.fft.irfft2(torch.view_as_complex(x[0]), (1059, 1799))],
    "splat/": splat,
    "graph/8 neighbours": neighbours,
    "data/standardise": lambda x: [(x[0] - x[1][:, None, None]) / x[2][:, None, None]],
    "diffusion/q_sample": lambda x: [math.sqrt(0.5) * x[0] + math.sqrt(0.5) * x[1]],
    "diffusion/DPM-Solver++": dpm_solver,
    "random/normal": lambda x: [torch.randn(16, 1059, 1799)],
    "random/uniform": lambda x: [torch.rand(16, 1059, 1799)],
    "random/dropout": lambda x: [F.dropout(x[0], 0.1)],
    "loss/Squared": lambda x: [F.mse_loss(x[0], x[1])],
    "loss/Absolute": lambda x: [F.l1_loss(x[0], x[1])],
    "loss/Huber(0.5)": lambda x: [F.huber_loss(x[0], x[1], delta=0.5)],
    "loss/SmoothAbsolute(0.75)": lambda x: [F.smooth_l1_loss(x[0], x[1], beta=0.75)],
    "loss/CrossEntropy(2.5)": lambda x: [F.binary_cross_entropy_with_logits(x[0], x[1], pos_weight=torch.tensor(2.5))],
    "recurrent/GRU": lambda x: [torch._VF.gru(x[0], x[1][None], x[2:], True, 1, 0.0, False, False, True)[0]],
    "recurrent/ConvLSTM": conv_lstm,
}


def starting(table, name):
    """What a table has for a name; None where nothing begins it."""
    return next((value for key, value in table.items() if name.startswith(key)), None)


def some(x):
    """Elements from the first to the last, evenly."""
    flat = x.detach().contiguous().reshape(-1)
    return flat[:: max(1, -(-flat.numel() // TOLD))].float().tolist()


class Adam:
    """The hundredth step of AdamW, each form on tensors of its own."""

    def __init__(self, inputs):
        self.inputs, self.fused = inputs, {}

    def forms(self):
        return ["fused", "foreach"]

    def fresh(self, form):
        value, gradient, mean, square = (x.clone() for x in self.inputs)
        value.grad = gradient
        adam = torch.optim.AdamW([value], lr=1e-3, weight_decay=0.05, **{form: True})
        adam.state[value] = {"step": torch.tensor(99.0), "exp_avg": mean, "exp_avg_sq": square}
        return adam, value

    def passes(self, form, _):
        adam, _ = self.fused.setdefault(form, self.fresh(form))
        return adam.step, lambda: None

    def values(self, _):
        adam, value = self.fresh("fused")
        adam.step()
        state = adam.state[value]
        return [some(x) for x in (value, state["exp_avg"], state["exp_avg_sq"])]


class Work:
    """A case with its inputs in each memory format."""

    def __init__(self, request):
        self.name, self.compiled = request["case"], {}
        numbers = lambda file, shape: torch.from_numpy(numpy.fromfile(file, numpy.float32)).reshape(shape)
        self.gradients = [given["gradient"] for given in request["inputs"]]
        self.inputs = [numbers(given["file"], given["shape"]) for given in request["inputs"]]
        for i, given in enumerate(request["inputs"]):
            if given["indices"]:
                self.inputs[i] = self.inputs[i].long()
        weights = load_file(request["weights"]) if request["weights"] else {}
        self.weights = [weights[name] for name in sorted(weights)]
        names, self.count = sorted(weights), len(self.inputs)
        if weights:
            self.run = lambda x: network(x[: self.count], dict(zip(names, x[self.count :])))
        else:
            self.run = starting(OPERATIONS, self.name)
        self.upstream = None
        if request["upstream"]:
            self.upstream = numbers(request["upstream"], -1)
        self.formatted = {}

    def forms(self):
        images = any(x.ndim == 4 for x in self.inputs) and not self.name.startswith(NO_IMAGES)
        formats = ["NCHW", "channels_last"] if images else ["contiguous"]
        ways = ["eager"] if starting(NOT_COMPILED, self.name) else ["eager", "compiled"]
        return [f"{memory} {way}" for way in ways for memory in formats]

    def leaves(self, memory):
        """Inputs, then weights, in a memory format; made once."""
        if memory not in self.formatted:
            format_of = lambda x: torch.channels_last if memory == "channels_last" and x.ndim == 4 else torch.contiguous_format
            made = [x.contiguous(memory_format=format_of(x)) for x in self.inputs + self.weights]
            wanted = self.gradients + [any(self.gradients)] * len(self.weights)
            self.formatted[memory] = [x.requires_grad_() if wish else x for x, wish in zip(made, wanted)]
        return self.formatted[memory]

    def passes(self, form, both):
        """One pass, and what is to be done before each."""
        memory, way = form.split()
        leaves = self.leaves(memory)
        run = self.run
        if way == "compiled":
            run = self.compiled.setdefault(form, torch.compile(self.run, dynamic=False))
        if not both:
            def forward():
                with torch.no_grad():
                    return run(leaves)
            return forward, lambda: None
        upstream = None

        def backward():
            nonlocal upstream
            outputs = run(leaves)
            if upstream is None:
                like = outputs[0]
                upstream = torch.empty_like(like).copy_(self.upstream.reshape(like.shape))
            torch.autograd.backward(outputs[0], upstream)
            return outputs

        def clear():
            for x in leaves:
                x.grad = None
        return backward, clear

    def values(self, both):
        if self.name.startswith(NOT_COMPARED):
            return None
        run, clear = self.passes(self.forms()[0], both)
        clear()
        outputs = run()
        gradients = [x.grad for x in self.leaves(self.forms()[0].split()[0]) if x.grad is not None] if both else []
        told = [some(x) for x in list(outputs) + gradients]
        clear()
        return told


def measure(work, request):
    """Milliseconds of each run after `warm` that are not counted, the first of which compiles."""
    torch.set_num_threads(request["threads"])
    run, clear = work.passes(request["form"], request["pass"] != "forward")
    for _ in range(request["warm"]):
        clear()
        run()
    start, times = time.perf_counter(), []
    while len(times) < request["fewest"] or time.perf_counter() - start < request["seconds"]:
        clear()
        begin = time.perf_counter()
        held = run()
        times.append((time.perf_counter() - begin) * 1e3)
        del held
    clear()
    return times


def answer(request, work):
    if request["ask"] == "measure":
        return {"times_ms": measure(work, request)}
    if request["ask"] == "values":
        return {"values": work.values(request["pass"] != "forward")}
    return {"version": torch.__version__, "not_compiled": NOT_COMPILED}


def main():
    work = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["ask"] == "load":
                work = None
                torch._dynamo.reset()
                known = request["weights"] or starting(OPERATIONS, request["case"])
                if request["case"].startswith("optimiser/AdamW"):
                    work = Adam(Work(request).inputs)
                elif known:
                    work = Work(request)
                reply = {"forms": work.forms() if work else []}
            else:
                reply = answer(request, work)
        except Exception as error:  # a form that PyTorch cannot run is a result
            reply = {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200] if str(error).strip() else ''}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
