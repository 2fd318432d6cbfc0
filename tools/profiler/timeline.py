"""One step of training as a picture: phases, modules, and what the processor did meanwhile, one below the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from measuring import Span


def draw(spans: list[Span], lanes: dict[str, Any], facts: dict[str, Any], path: Path) -> str:
    """One step as a picture, 1200 pixels wide; returns what became of it, in a phrase."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return "left out: it needs matplotlib (pip install 'mini_nanochat[learn]')"
    groups = [name for name in facts["groups_ms"] if name in lanes]
    figure = Figure(figsize=(12, 3.7 + 0.42 * len(groups)), dpi=100, layout="constrained")
    renderer = FigureCanvasAgg(figure).get_renderer()
    axes = figure.add_subplot()
    begin, length = spans[0].start, 1000 * (spans[-1].end - spans[0].start)
    heights = [1.6, 2.2, *[0.55] * len(groups)]
    tops = [-sum(heights[:i]) - 0.25 * i for i in range(len(heights))]
    axes.set(
        xlim=(0, length),
        ylim=(tops[-1] - heights[-1] - 0.15, 0.15),
        xlabel="milliseconds since the step began",
    )
    middles = [top - height / 2 for top, height in zip(tops, heights)]
    axes.set_yticks(middles, ["phases", "modules", *groups])
    side = axes.secondary_yaxis("right")
    total = facts["profiled_step_ms"]
    shares = [f"{facts['groups_ms'][name]:.1f} ms, {facts['groups_ms'][name] / total:.0%}" for name in groups]
    side.set_yticks(middles, ["", "own time\nof a mean step:", *shares])
    for one in (axes, side):
        one.tick_params(length=0)
        one.spines[:].set_visible(False)
    bars, thin = [], list[str]()
    for row, key in enumerate(("phase", "module")):
        for i, (name, start, end) in enumerate(merged(spans, key, begin)):
            face = ("#d9e6f2", "#ffffff")[i % 2]
            axes.broken_barh([(start, end - start)], (tops[row] - heights[row], heights[row]), facecolor=face,
                             edgecolor="black", linewidth=0.8)  # fmt: skip
            bars.append((name, start, end, row))
    for row, name in enumerate(groups, 2):
        axes.broken_barh(
            lanes[name], (tops[row] - heights[row], heights[row]), facecolor="#1f4e79", linewidth=0
        )
        axes.axhline(tops[row] - heights[row], color="#bbbbbb", linewidth=0.6)
    axes.set_title(
        f"One step of training under the profiler: {length:.1f} ms (a mean step without it: {facts['step_ms']:.1f} ms)",
        loc="left", fontsize=11,
    )  # fmt: skip
    figure.draw_without_rendering()  # settles the layout, so that texts can be measured
    for name, start, end, row in bars:
        left, bottom = axes.transData.transform((start, tops[row] - heights[row]))
        right, top = axes.transData.transform((end, tops[row]))
        for turn in (0, 90):
            text = axes.text(
                (start + end) / 2, middles[row], name, rotation=turn, ha="center", va="center", fontsize=9
            )
            box = text.get_window_extent(renderer)
            if box.width < right - left - 4 and box.height < top - bottom - 4:
                break
            text.remove()
        else:
            thin.append(name)
    thin = [name for name in dict.fromkeys(thin) if name not in {text.get_text() for text in axes.texts}]
    more = ", ..." if len(thin) > 6 else ""
    note = f" (too thin for a label: {', '.join(thin[:6])}{more})" if thin else ""
    axes.set_xlabel(f"milliseconds since the step began{note}")
    figure.savefig(path)
    return str(path)


def merged(spans: list[Span], key: str, begin: float) -> list[tuple[str, float, float]]:
    """(name, start, end) in ms of spans by phase or module; neighbours of one name are one."""
    found: list[tuple[str, float, float]] = []
    for span in spans:
        name, start, end = getattr(span, key), 1000 * (span.start - begin), 1000 * (span.end - begin)
        if found and found[-1][0] == name:
            found[-1] = (name, found[-1][1], end)
        else:
            found.append((name, start, end))
    return found
