"""Keys by name: looked up when a backend could be asked first, once, and for nobody else."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from keyring.backend import KeyringBackend

from tests.emulators import OpenAIEmulator
from tests.keys.backends import HangingKeyring, LockedKeyring, MemoryKeyring
from xml_pipeline.errors import ConfigError, NoBackendError
from xml_pipeline.keys.keys import Keys
from xml_pipeline.keys.os_keyring import OSKeyring
from xml_pipeline.llm import Router, forbid_real_requests
from xml_pipeline.llm.providers.openai import OpenAIBackend
from xml_pipeline.llm.providers.scripted import ScriptedBackend
from xml_pipeline.llm.section import build_router

KEY = OpenAIEmulator.default_key
HERE = "http://127.0.0.1:9"


def named(server: OpenAIEmulator, reference: str = "work", **more: Any) -> dict[str, Any]:
    return {"provider": "openai", "api_key_ref": reference, "base_url": server.base_url, **more}


def keep(memory: MemoryKeyring, name: str = "work", key: str = KEY) -> None:
    memory.set_password("xml-pipeline", name, key)


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of keys but the test's own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


async def test_it_is_looked_up_at_the_first_call_and_never_again(
    memory: MemoryKeyring, tmp_path: Path
) -> None:
    keep(memory)
    async with OpenAIEmulator() as server:
        server.script.say("one").say("two").say("three").say("four")
        section = {"backends": [named(server, name="a"), named(server, name="b", priority=2)]}
        environ = {"XDG_CONFIG_HOME": str(tmp_path)}
        async with build_router(section, environ=environ) as router:
            assert [each.key for each in router.describe()] == ["not looked up"] * 2
            assert [each.health for each in router.describe()] == ["not tried"] * 2
            assert router.supports("tools", "gpt-4o")
            assert memory.asked == []
            answers = await asyncio.gather(*(router.complete("gpt-4o", "Hi") for _ in range(3)))
            assert sorted(each.content for each in answers) == ["one", "three", "two"]
            async for _ in router.stream("gpt-4o", "Hi"):
                pass
            assert memory.asked == ["work"]
            assert [each.key for each in router.describe()] == ["present"] * 2


async def test_a_stream_looks_it_up_too(memory: MemoryKeyring) -> None:
    keep(memory)
    async with OpenAIEmulator() as server:
        server.script.say("one")
        async with Router([OpenAIBackend(api_key_ref="work", base_url=server.base_url)]) as router:
            assert [type(event).__name__ async for event in router.stream("gpt-4o", "Hi")][-1] == "StreamEnd"
    assert memory.asked == ["work"]


async def test_whoever_has_a_variable_opens_no_keyring(memory: MemoryKeyring) -> None:
    async with OpenAIEmulator() as server:
        server.script.say("one")
        environ = {"XML_PIPELINE_KEY_WORK": f" {KEY}\n"}
        async with build_router({"backends": [named(server)]}, environ=environ) as router:
            assert router.describe()[0].key == "present"
            assert (await router.complete("gpt-4o", "Hi")).content == "one"
    assert memory.asked == []


async def test_only_backends_that_could_be_asked_are_looked_up(memory: MemoryKeyring) -> None:
    keep(memory)
    async with OpenAIEmulator() as server:
        server.script.say("one")
        section = {
            "backends": [named(server), {"provider": "anthropic", "api_key_ref": "other", "base_url": HERE}]
        }
        async with build_router(section, environ={}) as router:
            await router.complete("gpt-4o", "Hi")
            assert memory.asked == ["work"]
            assert [each.key for each in router.describe()] == ["present", "not looked up"]
            with pytest.raises(NoBackendError, match="xp auth set other"):
                await router.complete("claude-x", "Hi")
    assert memory.asked == ["work", "other"]


async def test_where_real_requests_are_forbidden_nobody_is_asked_for_their_keys(
    memory: MemoryKeyring,
) -> None:
    section = {"backends": [{"provider": "openai", "api_key_ref": "work"}]}
    with forbid_real_requests():
        async with build_router(section, environ={}) as router:
            with pytest.raises(NoBackendError, match="real requests are forbidden"):
                await router.complete("gpt-4o", "Hi")
    assert memory.asked == []


async def test_a_key_that_is_nowhere_is_told_with_all_three_places(
    memory: MemoryKeyring, tmp_path: Path
) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path)}
    section = {"backends": [{"provider": "openai", "api_key_ref": "work", "base_url": HERE}]}
    async with build_router(section, environ=environ) as router:
        for _ in range(2):
            with pytest.raises(NoBackendError) as caught:
                await router.complete("gpt-4o", "Hi")
            for place in (
                "environment: XML_PIPELINE_KEY_WORK is not set",
                "keyring: it is not",
                "file: it is not",
            ):
                assert place in str(caught.value)
        (status,) = router.describe()
        assert (status.key, status.health, status.key_ref) == ("missing", "no key", "work")
    assert memory.asked == ["work"]


@pytest.mark.parametrize("kind", [MemoryKeyring, LockedKeyring, HangingKeyring])
async def test_the_next_backend_is_asked_when_there_is_no_key(
    use_keyring: Callable[[KeyringBackend], None], kind: type[KeyringBackend], tmp_path: Path
) -> None:
    use_keyring(kind())
    keys = Keys({"XDG_CONFIG_HOME": str(tmp_path)}, keyring=OSKeyring(seconds=0.1))
    backends = [
        OpenAIBackend(api_key_ref="work", base_url="http://127.0.0.1:9"),
        ScriptedBackend(name="next", supported_models=("gpt-4o",), priority=2),
    ]
    async with Router(backends, keys=keys, retries=0) as router:
        assert (await router.complete("gpt-4o", "Hi")).backend == "next"


async def test_what_a_keyring_has_that_is_no_key_is_not_sent(memory: MemoryKeyring) -> None:
    keep(memory, key="two words")
    async with OpenAIEmulator() as server, build_router({"backends": [named(server)]}, environ={}) as router:
        with pytest.raises(NoBackendError, match="no key that can be sent") as caught:
            await router.complete("gpt-4o", "Hi")
        assert "two words" not in str(caught.value)
        assert server.requests == []


async def test_a_backend_that_needs_no_key_needs_the_one_that_it_names(memory: MemoryKeyring) -> None:
    section = {"backends": [{"provider": "ollama", "api_key_ref": "work"}]}
    async with build_router(section, environ={}) as router:
        with pytest.raises(NoBackendError, match="xp auth set work"):
            await router.complete("llama3", "Hi")


async def test_offline_answers_when_no_name_led_to_a_key(memory: MemoryKeyring) -> None:
    section = {
        "offline": True,
        "backends": [
            {"provider": "openai", "api_key_ref": "work"},
            {"provider": "anthropic", "api_key_ref": "other"},
        ],
    }
    async with build_router(section, environ={}) as router:
        assert (await router.complete("gpt-4o", "Hi")).backend == "offline"
    assert sorted(memory.asked) == ["other", "work"]


async def test_offline_answers_nobody_when_a_key_is_there(memory: MemoryKeyring) -> None:
    keep(memory)
    async with OpenAIEmulator() as server:
        server.script.say("live")
        section = {"offline": True, "backends": [named(server)]}
        async with build_router(section, environ={}) as router:
            assert (await router.complete("gpt-4o", "Hi")).content == "live"
            with pytest.raises(NoBackendError):
                await router.complete("claude-x", "Hi")


class SlowKeyring(MemoryKeyring):
    """One that answers when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.may = threading.Event(), threading.Event()

    def get_password(self, service: str, username: str) -> Any:
        self.reached.set()
        self.may.wait()
        return super().get_password(service, username)


async def test_a_call_that_is_cancelled_takes_the_key_from_nobody(
    use_keyring: Callable[[KeyringBackend], None],
) -> None:
    slow = SlowKeyring()
    use_keyring(slow)
    keep(slow)
    async with OpenAIEmulator() as server:
        server.script.say("one")
        keys = Keys({}, keyring=OSKeyring(seconds=30))
        backend = OpenAIBackend(api_key_ref="work", base_url=server.base_url)
        async with Router([backend], keys=keys) as router:
            first = asyncio.create_task(router.complete("gpt-4o", "Hi"))
            await asyncio.to_thread(slow.reached.wait)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            second = asyncio.create_task(router.complete("gpt-4o", "Hi"))
            slow.may.set()
            assert (await second).content == "one"
    assert slow.asked == ["work"]


async def test_a_call_that_is_cancelled_between_two_keys_leaves_nothing_half_known(
    use_keyring: Callable[[KeyringBackend], None], tmp_path: Path
) -> None:
    slow = SlowKeyring()
    use_keyring(slow)
    backends = [
        OpenAIBackend(name="here", api_key_ref="work", base_url=HERE),
        OpenAIBackend(name="there", api_key_ref="other", base_url=HERE),
        ScriptedBackend(name="next", supported_models=("gpt-4o",), priority=2),
    ]
    keys = Keys(
        {"XDG_CONFIG_HOME": str(tmp_path), "XML_PIPELINE_KEY_WORK": "two words"}, keyring=OSKeyring(30)
    )
    async with Router(backends, keys=keys, retries=0) as router:
        assert len(router.routes("gpt-4o")[0]) == 3
        first = asyncio.create_task(router.complete("gpt-4o", "Hi"))
        await asyncio.to_thread(slow.reached.wait)
        while not backends[0].key_problem:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert len(router.routes("gpt-4o")[0]) == 2
        slow.may.set()
        assert (await router.complete("gpt-4o", "Hi")).backend == "next"
        assert [each.name for each in router.routes("gpt-4o")[0]] == ["next"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"api_key_ref": "work", "api_key_env": "WORK"}, "two places for one key"),
        ({"api_key_ref": "OPENAI_API_KEY"}, "no name of a key"),
        ({"api_key_ref": "../work"}, "no name of a key"),
        ({"api_key_ref": 5}, "no name of a key"),
        ({"api_key_ref": KEY}, "no name of a key"),
    ],
)
def test_what_is_no_reference_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        OpenAIBackend(**fields)
    assert KEY not in str(caught.value)
