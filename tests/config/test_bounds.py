"""A file that somebody made to be dear is refused in seconds, with one clear error."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.config.projects import config_of, only, problems_in, problems_of, write
from xml_pipeline.config import load
from xml_pipeline.errors import ConfigError

ORGANISM = "organism: {name: x}\n"


@pytest.fixture(autouse=True)
def seconds() -> Iterator[None]:
    """Each of these cases took minutes, or never ended."""
    started = time.process_time()
    yield
    assert time.process_time() - started < 20


@pytest.mark.parametrize("text", ["y" * 90_000, "$$" + "y" * 90_000], ids=["plain", "with variables"])
def test_a_long_text_that_is_used_often_is_refused(text: str) -> None:
    aliases = ", ".join(["*a"] * 10_000)
    problem = only(problems_of(f'organism: {{name: x, description: &a "{text}"}}\nlisteners: [{aliases}]\n'))
    assert "more than 10,000,000 characters of text" in problem.message
    assert problem.line == 1


def test_a_long_variable_that_is_used_often_is_refused() -> None:
    problem = only(
        problems_of("organism: {name: x, description: '" + "${A}" * 10_000 + "'}\n", A="y" * 100_000)
    )
    assert "more than 10,000,000 characters of text" in problem.message


def test_long_keys_are_refused() -> None:
    problems = problems_of(f"organism: {{name: x}}\n? {'k' * 100_000}\n: {{a: 1}}\n")
    assert "has a key of 100,000 characters; keys have at most 1,000" in problems[0].message
    assert len(str(problems[0])) < 500


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("-\n" * 400_000, "more than 50,000 values"),
        ("{" + "'k': 1," * 100_000, "more than 50,000 values"),
        ("[" * 900_000, "deeper than 50 levels"),
        ("? " * 400_000, "deeper than 50 levels"),
    ],
)
def test_a_file_of_too_much_is_not_read_to_its_end(text: str, says: str) -> None:
    assert says in only(problems_of(text)).message


def test_very_many_mistakes_are_summed_up() -> None:
    listeners = "".join(
        f"- {{name: agent_{number}, agent: true, model: m, peers: ["
        + ", ".join(f"agnt_{number}_{peer}" for peer in range(20))
        + "]}\n"
        for number in range(100)
    )
    with pytest.raises(ConfigError) as caught:
        config_of(f"{ORGANISM}listeners:\n{listeners}")
    assert len(caught.value.problems) == 100
    assert caught.value.more == 1_900
    assert str(caught.value).endswith("\nand 1,900 more")
    assert caught.value.problems[0].line == 3
    assert "did you mean 'agent_" in caught.value.problems[0].message


@pytest.mark.parametrize("mistake", ["human: 7", "handlr: x", "human: true, model: m", "name: 5"])
def test_mistakes_of_every_kind_are_summed_up(mistake: str) -> None:
    entry = mistake if mistake.startswith("name") else f"name: '{{}}', {mistake}"
    listeners = "".join(f"- {{{entry}}}\n".replace("{}", f"a{number}") for number in range(1_000))
    with pytest.raises(ConfigError) as caught:
        config_of(f"{ORGANISM}listeners:\n{listeners}")
    assert len(caught.value.problems) == 100
    assert caught.value.more >= 900


def test_a_mistake_that_is_used_often_is_one_mistake() -> None:
    aliases = "".join(f"- {{name: a{number}, agent: true, model: m, history: *a}}\n" for number in range(200))
    text = f"{ORGANISM}x-often: &a {{messages: 0}}\nlisteners:\n{aliases}"
    assert only([one for one in problems_of(text) if one.path.endswith("messages")]).line == 2


def test_import_paths_are_not_all_tried_when_many_lead_nowhere() -> None:
    listeners = "".join(f"- {{name: a{number}, handler: nowhere:f{number}}}\n" for number in range(2_000))
    problems = problems_of(f"{ORGANISM}listeners:\n{listeners}")
    assert len(problems) == 21
    assert "1,980 listeners were not tried" in problems[0].message


def test_aliases_of_models_cannot_multiply() -> None:
    doubled = ", ".join(f"a{number}: [a{number + 1}, a{number + 1}]" for number in range(90))
    assert config_of(f"{ORGANISM}llm: {{models: {{{doubled}}}}}\n").llm.models["a0"] == ("a1", "a1")
    long = ", ".join(f"a{number}: a{number + 1}" for number in range(3_000))
    assert "more than 100 aliases" in only(problems_of(f"{ORGANISM}llm: {{models: {{{long}}}}}\n")).message


def test_a_long_included_list_is_read(tmp_path: Path) -> None:
    entries = "".join(f"- {{name: person_{number:04}, human: true}}\n" for number in range(1_500))
    file = write(tmp_path, {"organism.yaml": f"{ORGANISM}listeners: parts\n", "parts/all.yaml": entries})
    assert len(load(file, environ={}).listeners) == 1_500


def test_all_files_together_are_bounded(tmp_path: Path) -> None:
    parts = {f"parts/{number}.yaml": "{}" + " " * 900_000 for number in range(9)}
    file = write(tmp_path, {"organism.yaml": f"{ORGANISM}listeners: parts\n", **parts})
    problems = problems_in(file)
    assert "all files together have more than 4,000,000 bytes" in problems[-1].message
    assert problems[-1].file.endswith("4.yaml")


def test_values_of_all_files_count_together(tmp_path: Path) -> None:
    aliases = "[" + ", ".join(["*a"] * 300) + "]"
    part = f"name: a\nhuman: true\nx: [&a [{', '.join('1' * 100)}], {aliases}]\n"
    parts = {f"parts/{number}.yaml": part for number in range(9)}
    file = write(tmp_path, {"organism.yaml": f"{ORGANISM}listeners: parts\n", **parts})
    problems = problems_in(file)
    assert "more than 50,000 values" in problems[-1].message
    assert problems[-1].file.endswith("1.yaml")


def test_all_prompts_together_are_bounded(tmp_path: Path) -> None:
    agents = "".join(
        f"- {{name: a{number}, agent: true, model: m, prompt: {{file: p.md}}}}\n" for number in range(20)
    )
    file = write(tmp_path, {"organism.yaml": f"{ORGANISM}listeners:\n{agents}", "p.md": "y" * 900_000})
    problem = only(problems_in(file))
    assert (problem.path, problem.line) == ("listeners[11].prompt.file", 14)
    assert "more than 10,000,000 characters" in problem.message


# --- files that are none ---


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _directory(path: Path) -> None:
    path.mkdir()


def _huge(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(1 << 40)  # sparse


def _no_text(path: Path) -> None:
    path.write_bytes(b"A=\xff\xfe")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_pipe, "it is a pipe, not a file"),
        (_device, "it is a device, not a file"),
        (_directory, "it is a directory, not a file"),
        (_huge, "more than 1,000,000 bytes"),
        (_no_text, "not UTF-8 text"),
        (_loop, "symbolic links"),
    ],
)
@pytest.mark.parametrize("role", ["organism.yaml", ".env", "p.md", "parts/a.yaml"])
def test_what_is_no_text_file_is_never_waited_for(
    tmp_path: Path, role: str, make: Callable[[Path], None], says: str
) -> None:
    agent = "[{name: a, agent: true, model: m, prompt: {file: p.md}}]"
    listeners = {"p.md": agent, "parts/a.yaml": "parts"}.get(role, "[]")
    file = write(tmp_path, {"organism.yaml": f"{ORGANISM}listeners: {listeners}\n"})
    odd = tmp_path / role
    odd.parent.mkdir(exist_ok=True)
    odd.unlink(missing_ok=True)
    make(odd)
    outside = make is _device and role in ("p.md", "parts/a.yaml")
    problem = only(problems_in(file))
    assert ("outside of" if outside else says) in problem.message
    assert "did you mean" not in problem.message


def test_a_line_of_env_that_sets_nothing_is_a_problem(tmp_path: Path) -> None:
    file = write(tmp_path, {"organism.yaml": ORGANISM, ".env": "A=1\n# note\nnot a setting\n"})
    problem = only(problems_in(file))
    assert (Path(problem.file).name, problem.line) == (".env", 3)
    assert "setting" not in problem.message


# --- files elsewhere ---


@pytest.mark.parametrize("name", ["../secret.md", "{secret}", "link.md", "linked/secret.md"])
def test_a_prompt_lies_below_the_file_s_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.md").write_text("the secret")
    home = tmp_path / "home"
    agent = f"[{{name: a, agent: true, model: m, prompt: {{file: '{name}'}}}}]".replace(
        "{secret}", str(tmp_path / "secret.md")
    )
    file = write(home, {"organism.yaml": f"{ORGANISM}listeners: {agent}\n"})
    (home / "link.md").symlink_to(tmp_path / "secret.md")
    (home / "linked").symlink_to(tmp_path)
    problem = only(problems_in(file))
    assert problem.path == "listeners[0].prompt.file"
    assert "--root DIR" in problem.message
    assert load(file, environ={}, root=tmp_path).listeners[0].prompt_text == "the secret"


def test_listener_files_lie_below_the_file_s_directory(tmp_path: Path) -> None:
    part = "name: a\nhuman: true\n"
    file = write(tmp_path, {"home/organism.yaml": f"{ORGANISM}listeners: ../parts\n", "parts/a.yaml": part})
    assert "--root DIR" in only(problems_in(tmp_path / "home" / "organism.yaml")).message
    assert len(load(file.parent / "home" / "organism.yaml", environ={}, root=tmp_path).listeners) == 1


def test_links_within_the_directory_are_followed(tmp_path: Path) -> None:
    agent = "[{name: a, agent: true, model: m, prompt: {file: p.md}}]"
    write(tmp_path, {"..data/organism.yaml": f"{ORGANISM}listeners: {agent}\n", "..data/p.md": "Be brief."})
    for name in ("organism.yaml", "p.md"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    assert load(tmp_path / "organism.yaml", environ={}).listeners[0].prompt_text == "Be brief."
