"""A context that sees each operation of torch, without the import of torch's compiler."""

from torch.utils._python_dispatch import TorchDispatchMode


class OperationMode(TorchDispatchMode):
    """Sees each operation inside this context, in `__torch_dispatch__`. A compiler may see that method, too.

    By default torch hides the method from torch.compile. The first operation then imports torch._dynamo, which takes
    every new process more than a second.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
