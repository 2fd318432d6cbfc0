"""The picture of a run: what is in the metrics is in the picture, and what is missing there breaks nothing."""

import pytest
from matplotlib.figure import Figure

from mini_nanochat import records
from mini_nanochat.train import picture

LOOK = {"val_bpb": 2.0, "mini_core": 0.1, "facts": 0.5, "story_recall": 0.25}


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """drawn(rows): the figure that is made of these metrics."""
    figures = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **kw: (figures.append(self), save(self, *args, **kw))
    )

    def draw(rows):
        metrics = tmp_path / f"metrics_{len(figures)}.jsonl"
        for row in rows:
            records.append(metrics, **row)
        assert picture.draw(metrics, tmp_path / "run.png") == f"A picture of the run: {tmp_path / 'run.png'}"
        return figures[-1]

    return draw


def axes_by_title(figure):
    return {axes.get_title(): axes for axes in figure.axes}


def test_each_task_is_a_row_and_each_look_a_column(drawn):
    steps = [{"step": step, "loss": 3.0 - step} for step in range(2)]
    figure = drawn([{"step": -1, **LOOK}, *steps, {"step": 1, **LOOK, "facts": 1.0}])
    skills = axes_by_title(figure)["Which skill came when: share of right answers"]
    assert skills.images[0].get_array().tolist() == [[0.5, 1.0], [0.25, 0.25]]
    assert [text.get_text() for text in skills.get_yticklabels()] == ["facts", "story recall"]
    assert [text.get_text() for text in skills.get_xticklabels()] == ["0", "2"]
    assert [text.get_text() for text in skills.texts] == ["0.50", "1.00", "0.25", "0.25"]


def test_other_data_have_no_tasks(drawn):
    titles = axes_by_title(drawn([{"step": 0, "loss": 3.0}, {"step": 0, "val_bpb": 2.0}]))
    assert [title for title in titles if title] == [
        "Loss on the training text",
        "On text that it has not seen",
    ]


def test_a_look_without_exams_is_a_gap(drawn):
    figure = drawn([{"step": 0, "val_bpb": 2.0}, {"step": 1, **LOOK}])
    image = axes_by_title(figure)["Which skill came when: share of right answers"].images[0]
    assert str(image.get_array().tolist()) == "[[None, 0.5], [None, 0.25]]"


def test_many_looks_have_colours_and_no_numbers(drawn):
    figure = drawn([{"step": step, **LOOK} for step in range(30)])
    skills = axes_by_title(figure)["Which skill came when: share of right answers"]
    assert not skills.texts and len(skills.get_xticks()) == 10


def test_a_run_without_a_look_can_be_drawn(drawn):
    drawn([{"step": 0, "loss": 3.0}])
