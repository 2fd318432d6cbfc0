"""What heads look at: captured right, told right, drawn without help from outside."""

import base64
import json
import math
import re
import subprocess
import sys

import pytest
import torch

from mini_nanochat.course import attention as tool
from mini_nanochat.course import heads, visualizer
from mini_nanochat.course.manifest import ROOT
from mini_nanochat.model import attention
from mini_nanochat.model.gpt import GPT, GPTConfig
from mini_nanochat.tokenizer.text import ByteTokenizer

TOOL = ROOT / "tools/visualizer/show_attention.py"


def model(n_kv_head=2, n_layer=2):
    made = GPT(GPTConfig(64, ByteTokenizer().vocab_size, n_layer, 2, n_kv_head, 32))
    made.init(0)
    return made


def view(*rows):
    """An attention of one layer and one head, given row by row."""
    t = len(rows)
    weights = torch.tensor([[*map(float, row), *[0.0] * (t - len(row))] for row in rows])
    return visualizer.AttentionView([f"t{i}" for i in range(t)], weights[None, None])


def test_queries_of_zero_look_at_all_positions_alike():
    made = model()
    with torch.no_grad():
        made.blocks[1].attn.c_q.weight.zero_()
    shown = visualizer.show_attention(made, ByteTokenizer(), "abcd")
    assert shown.tokens == ["a", "b", "c", "d"]
    assert shown.weights.shape == (2, 2, 4, 4)
    for i in range(4):
        assert shown.of(1, 0)[i].tolist() == pytest.approx([1 / (i + 1)] * (i + 1) + [0] * (3 - i))
    assert shown.of(0, 0)[3].tolist() != pytest.approx([0.25] * 4, abs=0.01)


@pytest.mark.parametrize("n_kv_head", [2, 1])
def test_the_weights_are_those_that_the_model_uses(n_kv_head):
    """Written anew from the weights: what enters layer 0 is known."""
    made = model(n_kv_head)
    ids = torch.tensor([list(b"look here")])
    got = heads.capture(made, ids)[0]  # (H, T, T)
    x = torch.nn.functional.rms_norm(made.wte.weight.detach()[ids], (32,), eps=1e-6)
    x = torch.nn.functional.rms_norm(x, (32,), eps=1e-6)

    def turned(matrix, n):
        y = (x @ matrix.weight.detach().T).view(1, 9, n, 16).transpose(1, 2)
        c, s = made.cos[:9], made.sin[:9]
        a, b = y[..., :8], y[..., 8:]
        y = torch.cat([a * c + b * s, b * c - a * s], -1)
        return torch.nn.functional.rms_norm(y, (16,), eps=1e-6)

    q, k = turned(made.blocks[0].attn.c_q, 2), turned(made.blocks[0].attn.c_k, n_kv_head)
    scores = q @ k.expand(1, 2, 9, 16).transpose(-1, -2) / 4
    wanted = scores.masked_fill(torch.ones(9, 9).triu(1).bool(), -math.inf).softmax(-1)[0]
    assert float((got - wanted).abs().max()) < 1e-5


def test_looking_changes_nothing_and_leaves_nothing():
    made = model()
    ids = torch.tensor([list(b"look")])
    before = made(ids)
    heads.capture(made, ids)
    assert torch.equal(made(ids), before)
    with pytest.raises(ValueError, match="ids"):
        heads.capture(made, torch.tensor([[999]]))
    assert not any(module._forward_pre_hooks for module in made.modules())


def test_a_head_in_five_numbers():
    alike = view([1], [0.5, 0.5], [1 / 3] * 3, [0.25] * 4).statistics()[0]
    assert alike.entropy == pytest.approx((1 + math.log2(3) + 2) / 3)
    assert alike.distance == pytest.approx((0.5 + 1 + 1.5) / 3)
    back = view([1], [1, 0], [0, 1, 0], [0, 0, 1, 0]).statistics()[0]
    assert (back.entropy, back.distance, back.previous, back.itself) == (0, 1, 1, 0)
    assert back.first == pytest.approx(1 / 3)
    alone = view([1]).statistics()[0]
    assert (alone.entropy, alone.distance, alone.first, alone.itself) == (0, 0, 1, 1)


def test_the_terminal_is_darker_where_more_is_taken():
    lines = view([1], [0.95, 0.05], [0.1, 0.35, 0.55]).terminal(0, 0).plain.split("\n")
    assert lines[0] == "  0 t0 |@@    | 100% to 0"
    assert lines[1] == "  1 t1 |@@    |  95% to 0"
    assert lines[2] == "  2 t2 |..--++|  55% to 2"


def test_the_terminal_shows_a_faulty_mask_and_counts_columns():
    faulty = heads.Attention(["\u4f60", "ab"], torch.tensor([[[[0.05, 0.95], [1.0, 0.0]]]]))
    assert faulty.terminal(0, 0).plain.split("\n")[:2] == [
        "  0 \u4f60 |  @@|  95% to 1",
        "  1 ab |@@  | 100% to 0",
    ]


def test_tokens_are_made_visible():
    tokenizer = ByteTokenizer()
    assert [heads.label(tokenizer, i) for i in (65, 32, 10, 0xC3)] == ["A", "\u00b7", "\\n", "<195>"]


def test_pictures_are_made():
    shown = visualizer.show_attention(model(), ByteTokenizer(), "a $x$ _b^")
    for figure in (shown.heatmap(1, 1), shown.grid()):
        assert visualizer.picture(figure, "png").startswith(b"\x89PNG")
    assert visualizer.picture(shown.heatmap(0, 0), "svg").lstrip().startswith(b"<?xml")
    assert shown._repr_png_().startswith(b"\x89PNG")


def test_what_may_not_be_seen_is_grey_unless_it_is_seen():
    axes = view([1], [0.5, 0.5]).heatmap(0, 0).axes[0]
    assert axes.images[0].get_array().mask.tolist() == [[False, True], [False, False]]
    faulty = visualizer.AttentionView(["a", "b"], torch.full((1, 1, 2, 2), 0.5))
    assert not faulty.heatmap(0, 0).axes[0].images[0].get_array().mask.any()


def test_the_page_needs_nothing_from_outside_and_holds_the_weights():
    page = visualizer.show_attention(model(), ByteTokenizer(), "abc").page()
    assert not re.search(r"https?:|src=|@import|<link", page)
    data = json.loads(re.search(r"const data = (\{.*\});", page).group(1))
    levels = base64.b64decode(data["weights"])
    assert (data["tokens"], data["layers"], data["heads"]) == (["a", "b", "c"], 2, 2)
    assert len(levels) == 2 * 2 * 3 * 3 and levels[:3] == b"\xff\x00\x00"
    assert len(data["statistics"]) == 4


def test_a_text_cannot_break_out_of_the_page():
    view = visualizer.AttentionView(["</script><script>alert(1)"], torch.ones(1, 1, 1, 1))
    assert view.page().count("</script>") == 1
    assert 'srcdoc="' in view._repr_html_() and "<script>" not in view._repr_html_()


def test_mistakes_are_answered_in_a_sentence():
    with pytest.raises(ValueError, match=r"layers 0\.\.1 and heads 0\.\.1, got layer 2, head 0"):
        visualizer.show_attention(model(), ByteTokenizer(), "abc").heatmap(2, 0)
    with pytest.raises(ValueError, match="no token"):
        visualizer.show_attention(model(), ByteTokenizer(), "")
    with pytest.raises(ValueError, match="64 positions, got 65"):
        visualizer.show_attention(model(), ByteTokenizer(), "x" * 65)
    with pytest.raises(ValueError, match="Linear holds no CausalSelfAttention"):
        heads.capture(torch.nn.Linear(2, 2), torch.ones(1, 2))


def test_the_tool_draws_a_saved_model(tmp_path):
    model(n_layer=3).save(tmp_path / "model")
    page = tmp_path / "new" / "page.html"
    argv = ["--checkpoint", tmp_path / "model", "--layer", 2, "--head", 1, "--out", page]
    done = subprocess.run(
        [sys.executable, str(TOOL), *map(str, argv)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "Layer 2, head 1" in done.stdout and "100% to 0" in done.stdout
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    "argv, sentence",
    [
        (("--checkpoint", "MODEL"), "the model knows 300 ids and the tokenizer 265"),
        (("--checkpoint", "nowhere"), "nowhere holds no model"),
        (("--out", "picture.gif"), "out must end in .png, .svg, .html, got picture.gif"),
        (("--prompt", ""), "no token"),
        (("--layer", 4), "layers 0..3 and heads 0..1, got layer 4, head 0"),
        (("--depth", 0), "depth must be at least 1 and head_dim 2, got 0 and 128"),
    ],
)
def test_the_tool_refuses_in_a_sentence(tmp_path, capsys, argv, sentence):
    made = GPT(GPTConfig(64, 300, 1, 2, 2, 32))
    made.init(0)
    made.save(tmp_path / "model")
    argv = [str(one).replace("MODEL", str(tmp_path / "model")) for one in argv]
    try:
        code = tool.main(argv)
    except SystemExit as stop:  # flags refuse in this way
        code = stop.code
    assert code == 2
    said = capsys.readouterr()
    assert sentence in said.err and not said.out


def test_the_readable_weights_of_lesson_1_2_are_what_is_shown(monkeypatch):
    """A learner's own attention_weights are shown, not ours."""
    monkeypatch.setattr(heads, "attention_weights", lambda q, k: torch.full((1, 2, 3, 3), 0.125))
    assert attention.attention_weights is not heads.attention_weights
    assert heads.capture(model(), torch.tensor([[1, 2, 3]])).unique().tolist() == [0.125]
