"""Lesson 2.3 solved in another style: cases instead of a minimum, whole numbers instead of logarithms."""

from __future__ import annotations

from fractions import Fraction


def rate_at(step, n, warmup=0, warmdown=0.4, last=0.0):
    if step not in range(n):
        raise ValueError(f"there is no step {step} in a run of {n}")
    steps_down = round(n * warmdown)
    begins = n - steps_down
    going_down = 1.0
    if step > begins:
        done = (step - begins) / steps_down
        going_down = 1.0 - done * (1.0 - last)
    going_up = 1.0
    if step < warmup:
        going_up = (step + 1) / warmup
    if going_up < going_down:
        return going_up
    return going_down


def momentum_at(step, first=0.85, last=0.95, over=300):
    if step >= over:
        return last
    return first + (last - first) * step / over


def set_rates(optimizers, share):
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            if "initial_lr" not in group:
                group["initial_lr"] = group["lr"]
            group.update(lr=share * group["initial_lr"])


def tokens_for(n_parameters, ratio=20.0):
    return int(n_parameters * ratio + 0.5)


def batch_tokens(tokens):
    size = 1024
    while size * size * 2 < 16 * tokens:  # while size times the root of 2 is below 4 sqrt(D)
        size = 2 * size
    return size


def parts_of_batch(tokens, batch_size, sequence_len, world_size=1):
    parts = Fraction(tokens, batch_size * sequence_len * world_size)
    if parts.denominator != 1 or parts <= 0:
        raise ValueError(f"{tokens} tokens make {parts} parts")
    return parts.numerator


def steps_for(tokens, tokens_per_step):
    full, rest = divmod(tokens, tokens_per_step)
    return full + (rest > 0) or 1
