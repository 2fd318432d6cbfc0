"""The device of a run: the one that was asked for, and what it could do at best."""

import pytest
import torch

from mini_nanochat import runtime


def test_a_device_that_is_not_here_is_named():
    assert runtime.pick_device("cpu") == torch.device("cpu")
    with pytest.raises(ValueError, match="device quantum cannot be used here"):
        runtime.pick_device("quantum")


@pytest.mark.parametrize(
    "name, peak",
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40", None),  # not the L4
    ],
)
def test_a_peak_is_that_of_the_very_card_or_none(monkeypatch, name, peak):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert runtime.peak_flops(torch.device("cuda")) == peak
    assert runtime.peak_flops(torch.device("cpu")) is None
