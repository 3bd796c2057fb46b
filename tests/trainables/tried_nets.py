"""Networks of a user, as the source of a module `tried_nets`."""

import torch

EXAMPLE = torch.zeros(1, 1, 8, 8)
NETS = """
import torch
from torch import nn

def block(i, o):
    return nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU())

def head(width, classes):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))

class Net(nn.Module):
    def __init__(self, classes, channels, before=lambda x: x, after=lambda y: y):
        super().__init__()
        self.body, self.head = block(channels, 8), head(8, classes)
        self.before, self.after = before, after

    def forward(self, x):
        return self.after(self.head(self.body(self.before(x))))

class Volume(Net):
    def __init__(self, classes, channels):
        super().__init__(classes, channels)
        self.v, self.b, self.head = nn.Conv3d(1, 2, 3, padding=1), block(16, 16), head(16, classes)

    def forward(self, x):
        return self.head(self.b(self.v(self.body(x).unsqueeze(1)).flatten(1, 2)))

class Upwards(Net):
    def __init__(self, classes, channels):
        super().__init__(classes, channels)
        self.up, self.b, self.head = nn.ConvTranspose2d(8, 64, 4, 2, 1), block(64, 16), head(16, classes)

    def forward(self, x):
        return self.head(self.b(self.up(self.body(x)).relu()))

class Shuffled(Net):
    def __init__(self, classes, channels):
        super().__init__(classes, channels)
        self.b, self.head = block(8, 16), head(16, classes)

    def forward(self, x):
        return self.head(self.b(self.body(x).unflatten(1, (2, 4)).transpose(1, 2).flatten(1, 2)))

class Gate(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(width, 4), nn.ReLU(), nn.Linear(4, width), nn.Sigmoid())

    def forward(self, x):
        y = self.layers(x.mean((2, 3))).view(*x.shape[:2], 1, 1)
        return x * y.expand_as(x)

class Noted(Net):
    def get_extra_state(self):
        return {"epoch": 1}

    def set_extra_state(self, state):
        pass

def plain(num_classes, in_channels):
    return Net(num_classes, in_channels)

def reads_values(num_classes, in_channels):
    net = plain(num_classes, in_channels)
    net.rates = [rate.item() for rate in torch.linspace(0, 0.1, 3)]
    net.spread = net.body[0].weight.detach().numpy().std()
    return net

def numpy_parameter(num_classes, in_channels):
    net = plain(num_classes, in_channels)
    net.body[0].weight = nn.Parameter(torch.from_numpy(net.body[0].weight.detach().numpy().copy()))
    return net

def volume(num_classes, in_channels):
    return Volume(num_classes, in_channels)

def table(num_classes, in_channels):
    net = plain(num_classes, in_channels)
    net.register_buffer("table", torch.ones(1, 1, in_channels, 1, 1))
    return net

def upwards(num_classes, in_channels):
    return Upwards(num_classes, in_channels)

def shuffled(num_classes, in_channels):
    return Shuffled(num_classes, in_channels)

def gated(num_classes, in_channels):
    return nn.Sequential(block(in_channels, 16), Gate(16), block(16, 32), Gate(32), head(32, num_classes))

def frozen(num_classes, in_channels):
    net = plain(num_classes, in_channels)
    net.body.requires_grad_(False)
    return net

def half(num_classes, in_channels):
    return plain(num_classes, in_channels).half()

def double(num_classes, in_channels):
    return plain(num_classes, in_channels).double()

def scripted(num_classes, in_channels):
    return torch.jit.script(nn.Sequential(block(in_channels, 8), head(8, num_classes)))

def compiled(num_classes, in_channels):
    return torch.compile(plain(num_classes, in_channels))

def compiled_inside(num_classes, in_channels):
    net = plain(num_classes, in_channels)
    net.body.compile()
    return net

def wrapped(num_classes, in_channels):
    return nn.DataParallel(plain(num_classes, in_channels))

def noted(num_classes, in_channels):
    return Noted(num_classes, in_channels)

def lazy(num_classes, in_channels):
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))

def noisy(num_classes, in_channels):
    return Net(num_classes, in_channels, before=lambda x: x + torch.randn_like(x))

def hidden(num_classes, in_channels):
    pattern = torch.randn(8, 8)
    return Net(num_classes, in_channels, before=lambda x: x * pattern)

def listed(num_classes, in_channels):
    return Net(num_classes, in_channels, after=lambda y: {"logits": y})

def probabilities(num_classes, in_channels):
    return Net(num_classes, in_channels, after=lambda y: y.softmax(1))

def infinite(num_classes, in_channels):
    return Net(num_classes, in_channels, after=lambda y: y / 0)

def detached(num_classes, in_channels):
    return Net(num_classes, in_channels, after=lambda y: y.detach())

def raising(num_classes, in_channels):
    raise KeyError("width")
"""
