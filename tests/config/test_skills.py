"""Folders of skills: read whole at load, in the convention of SKILL.md; what is wrong with them has its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.config.projects import only, problems_in, write
from xml_pipeline.config import load
from xml_pipeline.errors import Problem

ORGANISM = "organism: {name: x}\nlisteners:\n  - {name: a, agent: true, model: m, skills: [%s]}\n"
GOOD = "---\nname: refunds\ndescription: When money goes back.\n---\n# Refunds\n\nAsk ${ORDER} for {{x}}.\n"
NO_PLACE = (0, 0)


def project(tmp_path: Path, files: dict[str, str], named: str = "skills/refunds") -> Path:
    return write(tmp_path, {"organism.yaml": ORGANISM % named, **files})


def test_a_skill_is_read_whole(tmp_path: Path) -> None:
    files = {
        "SKILL.md": GOOD.replace("\n", "\r\n"),
        "reference/limits.md": "At most {{50}} ${EUR}.",
        ".hidden": "x",
        "__pycache__/x.txt": "x",
    }
    file = project(tmp_path, {f"skills/refunds/{name}": text for name, text in files.items()})
    (tmp_path / "skills/refunds/logo.png").write_bytes(b"\x89PNG\xff\x00")
    (skill,) = load(file, environ={}).skills[0]
    assert (skill.name, skill.description) == ("refunds", "When money goes back.")
    assert skill.text == "# Refunds\n\nAsk ${ORDER} for {{x}}."
    assert dict(skill.files) == {"reference/limits.md": "At most {{50}} ${EUR}."}


def test_what_other_tools_write_into_the_beginning_is_let_be(tmp_path: Path) -> None:
    more = (
        'license: MIT\nmetadata:\n  version: "1.0"\n  cost: $5 ${x}\nallowed-tools: Bash(git:*) Read\n---\n#'
    )
    front = GOOD.replace("---\n#", more)
    front = front.replace("When money goes back.", ">\n  Two lines: $5,\n  of ${TEXT}.")
    file = project(tmp_path, {"skills/refunds/SKILL.md": "\ufeff" + front})
    (skill,) = load(file, environ={}).skills[0]
    assert skill.description == "Two lines: $5, of ${TEXT}."


def test_a_skill_with_nothing_in_it_is_one(tmp_path: Path) -> None:
    file = project(tmp_path, {"skills/refunds/SKILL.md": GOOD.partition("# Ref")[0]})
    assert load(file, environ={}).skills[0][0].text == "(It is empty.)"


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("# Refunds\n", 1, 1, "begins with no name and description"),
        ("", 1, 1, "begins with no name and description"),
        ("---\nname: refunds\ndescription: x\n", 1, 1, "begins with no name and description"),
        ("---\ndescription: x\n---\n", 1, 1, "`name` is missing"),
        ("---\nname: refunds\n---\n", 1, 1, "`description` is missing"),
        ("---\nname: refunds\ndescription:\n---\n", 1, 1, "`description` is missing"),
        ("---\nname: refunds\ndescription: ' '\n---\n", 3, 14, "allowed: 1 to 1,024"),
        (
            f"---\nname: refunds\ndescription: {'x' * 1025}\n---\n",
            3,
            14,
            "has 1,025 characters; allowed: 1 to 1,024",
        ),
        ("---\nname: Refunds\ndescription: x\n---\n", 2, 7, "small letters, digits, and `-`"),
        ("---\nname: refunds--2\ndescription: x\n---\n", 2, 7, "is no name of a skill"),
        ("---\nname: <refunds>\ndescription: x\n---\n", 2, 7, "is no name of a skill"),
        (f"---\nname: {'r' * 65}\ndescription: x\n---\n", 2, 7, "has 65 characters"),
        ("---\nname: 7\ndescription: x\n---\n", 2, 7, "must be text; put it into quotes"),
        ("---\nname: payback\ndescription: x\n---\n", 2, 7, "its folder is called 'refunds'"),
        ("---\nname: refunds\ndescription: [\n---\n", 4, 1, "is no valid YAML"),
        ("---\nname: refunds\nname: refunds\ndescription: x\n---\n", 3, 1, "is here twice"),
        ("---\n- name\n---\n", 1, 1, "`name` is missing"),
    ],
)
def test_a_mistake_in_a_skill_has_its_place_in_the_skill(
    tmp_path: Path, text: str, line: int, column: int, said: str
) -> None:
    found = problems_in(project(tmp_path, {"skills/refunds/SKILL.md": text}))
    problem = found[0]
    assert said in problem.message
    assert Path(problem.file) == tmp_path / "skills/refunds/SKILL.md"
    if line > 1 and "YAML" not in said:
        assert (problem.line, problem.column) == (line, column)
    assert len(found) == (2 if text.startswith("---\n- name") else 1)


def in_organism(problem: Problem, number: int = 0) -> str:
    assert problem.path == f"listeners[0].skills[{number}]"
    assert Path(problem.file).name == "organism.yaml"
    assert problem.line == 3
    return problem.message


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("skills/refund", "No such file or directory; did you mean 'refunds'?"),
        ("skills", "holds no SKILL.md, with which a skill begins; skills are in it, so name them: refunds"),
        ("empty", "holds no SKILL.md"),
        ("skills/refunds/SKILL.md", "is a file; name the folder in which SKILL.md is"),
        ("..", "it is outside of"),
        ("/etc", "it is outside of"),
        ('"skills\\0"', "it is no path"),
    ],
)
def test_a_folder_that_is_no_skill_is_told_where_it_is_named(tmp_path: Path, named: str, said: str) -> None:
    (tmp_path / "here/empty").mkdir(parents=True)
    file = project(tmp_path / "here", {"skills/refunds/SKILL.md": GOOD}, named)
    assert said in in_organism(only(problems_in(file)))


def test_two_skills_of_one_name_are_told_at_the_second(tmp_path: Path) -> None:
    both = {"a/refunds/SKILL.md": GOOD, "b/refunds/SKILL.md": GOOD}
    file = project(tmp_path, both, "a/refunds, b/refunds")
    assert "another skill with the name 'refunds'" in in_organism(only(problems_in(file)), 1)
    twice = project(tmp_path, both, "a/refunds, a/refunds")
    assert "another skill with the name 'refunds'" in in_organism(only(problems_in(twice)), 1)


def test_what_is_too_large_is_told_and_not_cut(tmp_path: Path) -> None:
    for name, size, said in (
        ("SKILL.md", 100_001, "SKILL.md has 100,093 characters; a model reads at most 100,000"),
        ("more.md", 100_001, "more.md has 100,001 characters"),
        ("more.md", 1_000_001, "more.md cannot be read: it has more than 1,000,000 bytes"),
    ):
        text = "x" * size
        files = {"SKILL.md": GOOD, name: GOOD + text if name == "SKILL.md" else text}
        file = project(tmp_path, {f"skills/refunds/{each}": text for each, text in files.items()})
        assert said in in_organism(only(problems_in(file)))
        (tmp_path / "skills/refunds" / name).unlink()


def test_too_many_files_are_told(tmp_path: Path) -> None:
    many = {f"skills/refunds/{number}.md": "" for number in range(101)}
    file = project(tmp_path, {"skills/refunds/SKILL.md": GOOD, **many})
    assert "holds more than 100 files" in in_organism(only(problems_in(file)))


@pytest.mark.parametrize("target", ["../../secret.txt", "/etc/passwd", "..", "../../skills"])
def test_a_link_that_leads_out_of_the_folder_is_refused(tmp_path: Path, target: str) -> None:
    file = project(tmp_path, {"skills/refunds/SKILL.md": GOOD, "secret.txt": "s3cret"})
    os.symlink(target, tmp_path / "skills/refunds/more.md")
    said = in_organism(only(problems_in(file)))
    assert "more.md leads out of the skill's folder; put a copy there" in said
    assert "s3cret" not in said


def test_a_folder_that_is_a_link_is_followed_and_has_to_stay_below_the_root(tmp_path: Path) -> None:
    home = tmp_path / "home"
    file = project(home, {"store/refunds/SKILL.md": GOOD})
    write(tmp_path, {"outside/refunds/SKILL.md": GOOD})
    (home / "skills").mkdir()
    os.symlink("../store/refunds", home / "skills/refunds")
    assert load(file, environ={}).skills[0][0].name == "refunds"
    (home / "skills/refunds").unlink()
    os.symlink("../../outside/refunds", home / "skills/refunds")
    assert "it is outside of" in in_organism(only(problems_in(file)))
    assert load(file, environ={}, root=tmp_path).skills[0]


def test_a_link_within_the_folder_is_a_file_of_it_and_a_circle_ends(tmp_path: Path) -> None:
    file = project(tmp_path, {"skills/refunds/SKILL.md": GOOD, "skills/refunds/a.md": "A"})
    os.symlink("a.md", tmp_path / "skills/refunds/b.md")
    os.symlink(".", tmp_path / "skills/refunds/again")
    assert dict(load(file, environ={}).skills[0][0].files) == {"a.md": "A", "b.md": "A"}


def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    file = project(tmp_path, {"skills/refunds/SKILL.md": GOOD})
    os.mkfifo(tmp_path / "skills/refunds/pipe")
    assert "pipe cannot be read: it is a pipe, not a file" in in_organism(only(problems_in(file)))


def test_a_skill_is_relative_to_the_file_that_names_it(tmp_path: Path) -> None:
    agent = "name: a\nagent: true\nmodel: m\nskills: [refunds]\n"
    files = {
        "organism.yaml": "organism: {name: x}\nlisteners: parts\n",
        "parts/a.yaml": agent,
        "parts/refunds/SKILL.md": GOOD,
    }
    assert load(write(tmp_path, files), environ={}).skills[0][0].name == "refunds"


def test_a_skill_of_two_agents_is_read_and_told_of_once(tmp_path: Path) -> None:
    two = "organism: {name: x}\nlisteners:\n" + "".join(
        f"  - {{name: {name}, agent: true, model: m, skills: [refunds]}}\n" for name in "ab"
    )
    write(tmp_path, {"organism.yaml": two, "refunds/SKILL.md": "no beginning"})
    assert "begins with no name" in only(problems_in(tmp_path / "organism.yaml")).message


def test_all_folders_together_are_bounded(tmp_path: Path) -> None:
    """Also what no model reads."""
    names = [f"s{number}" for number in range(3)]
    file = project(
        tmp_path,
        {f"{name}/SKILL.md": GOOD.replace("refunds", name) for name in names},
        ", ".join(names),
    )
    for name in names:
        for number in range(4):
            (tmp_path / name / f"{number}.png").write_bytes(b"\xff" * 1_000_000)
    assert "have more than 10,000,000 characters" in in_organism(only(problems_in(file)), 2)
