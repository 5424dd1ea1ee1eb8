"""`listeners: directory`: one file a listener, or several in one."""

from __future__ import annotations

from pathlib import Path

from tests.config.projects import HANDLERS, only, problems_in, write
from xml_pipeline.config import load

ORGANISM = "organism: {name: x}\nlisteners: parts\n"
GREETER = "name: greeter\nhandler: handlers:greet\npeers: [shouter]\n"
SHOUTER = "- name: shouter\n  handler: handlers:shout\n"
AGENT = "- name: agent\n  agent: true\n  model: m\n  prompt: {file: agent.md}\n"


def project(tmp_path: Path, **parts: str) -> Path:
    files = {f"parts/{name.replace('_', '.')}": text for name, text in parts.items()}
    return write(tmp_path, {"organism.yaml": ORGANISM, "handlers.py": HANDLERS, **files})


def test_the_files_make_one_list_in_the_order_of_their_names(tmp_path: Path) -> None:
    file = project(tmp_path, b_yaml=GREETER, a_yml=SHOUTER + AGENT, agent_md="Be brief.", c_txt="a: [")
    config = load(file, environ={})
    assert [one.name for one in config.listeners] == ["shouter", "agent", "greeter"]
    assert config.listeners[1].prompt_text == "Be brief."


def test_problems_name_the_file_and_the_path_in_it(tmp_path: Path) -> None:
    file = project(
        tmp_path,
        a_yaml=SHOUTER + "  bradcast: true\n- name: shouter\n  human: true\n",
        b_yaml=GREETER.replace("[shouter]", "[shoutr]"),
        c_yaml="name: [\n",
        d_yaml="",
        e_yaml="- 7\n",
    )
    found = problems_in(file)
    places = [(Path(one.file).relative_to(tmp_path).as_posix(), one.line, one.path) for one in found]
    assert places == [
        ("parts/a.yaml", 3, "[0].bradcast"),
        ("parts/a.yaml", 4, "[1].name"),
        ("parts/b.yaml", 3, "peers[0]"),
        ("parts/c.yaml", 2, ""),
        ("parts/d.yaml", 1, ""),
        ("parts/e.yaml", 1, "[0]"),
    ]
    assert "did you mean 'broadcast'?" in found[0].message
    assert "parts/a.yaml, line 1" in found[1].message
    assert "did you mean 'shouter'?" in found[2].message
    assert "holds no listener" in found[4].message


def test_variables_work_in_listener_files(tmp_path: Path) -> None:
    file = project(tmp_path, a_yaml="name: ${WHO}\nhuman: true\n", b_yaml="name: b\nhuman: ${NOT_SET}\n")
    problem = only(problems_in(file, WHO="anna"))
    assert (Path(problem.file).name, problem.path) == ("b.yaml", "human")
    write(tmp_path, {"parts/b.yaml": "name: b\nhuman: ${NOT_SET:-true}\n"})
    assert [one.name for one in load(file, environ={"WHO": "anna"}).listeners] == ["anna", "b"]


def test_a_missing_directory_names_the_nearest(tmp_path: Path) -> None:
    file = write(tmp_path, {"organism.yaml": ORGANISM, "part/a.yaml": GREETER})
    problem = only(problems_in(file))
    assert problem.path == "listeners"
    assert "No such file or directory; did you mean 'part'?" in problem.message


def test_an_empty_directory_is_a_mistake(tmp_path: Path) -> None:
    file = write(tmp_path, {"organism.yaml": ORGANISM, "parts/readme.md": ""})
    assert "holds no *.yaml files" in only(problems_in(file)).message


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    file = project(tmp_path, a_yaml=SHOUTER)
    (tmp_path / "parts" / "b.yaml").mkdir()
    problem = only(problems_in(file))
    assert problem.file.endswith("b.yaml")
    assert "cannot be read" in problem.message


def test_a_file_that_is_there_is_not_what_was_meant(tmp_path: Path) -> None:
    agent = "organism: {name: x}\nlisteners: [{name: a, agent: true, model: m, prompt: {file: p.md}}]\n"
    file = write(tmp_path, {"organism.yaml": agent, "p.txt": ""})
    (tmp_path / "p.md").write_bytes(b"\xff")
    assert only(problems_in(file)).message == "the file p.md cannot be read: it is not UTF-8 text"


def test_a_long_name_of_a_directory_is_shown_whole_as_the_place(tmp_path: Path) -> None:
    name = "parts/" + "d" * 120
    text = ORGANISM.replace("parts", name)
    file = write(tmp_path, {"organism.yaml": text, f"{name}/a.yaml": "name: a\nhuman: 7\n"})
    problem = only(problems_in(file))
    assert problem.file == str(tmp_path / name / "a.yaml")
    assert problem.line == 2
