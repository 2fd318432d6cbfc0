"""A second device, played on the CPU: what a GPU would refuse can be seen on a machine that has none.

torch's own device without numbers, meta, could do this, but arithmetic on it loads half of torch: seconds that
a slow machine does not have within the time limit of a check. So its name stands on ordinary tensors here.
"""

import pytest
import torch
from torch.overrides import TorchFunctionMode

ELSEWHERE = torch.device("meta")


class Far(torch.Tensor):
    """A tensor that says it lies elsewhere, and refuses to meet one that lies on the CPU."""

    @property
    def device(self):
        return ELSEWHERE

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        near = [x for x in (*args, *kwargs.values()) if type(x) is torch.Tensor and x.ndim]
        if near and func not in (torch.Tensor.to, torch.Tensor.type_as):
            raise RuntimeError("one tensor lies on another device, the other on the CPU")
        return super().__torch_function__(func, types, args, kwargs)


class _Playing(TorchFunctionMode):
    """Whatever is made there, or moved there, becomes a Far."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}

        def there(x):
            return isinstance(x, torch.device | str) and str(x) == str(ELSEWHERE)

        if not any(map(there, (*args, *kwargs.values()))):
            return func(*args, **kwargs)
        args = ["cpu" if there(x) else x for x in args]
        made = func(*args, **{name: "cpu" if there(x) else x for name, x in kwargs.items()})
        return made.as_subclass(Far) if isinstance(made, torch.Tensor) else made


@pytest.fixture
def elsewhere():
    """A device. Tensors that are made on it, or moved to it, meet no others."""
    with _Playing():
        yield ELSEWHERE
