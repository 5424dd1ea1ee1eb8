"""What a prompt can come to at most: true for any tokeniser that cuts bytes, and for what providers add unseen."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xml_pipeline.errors import BudgetExceededError, InvalidRequestError
from xml_pipeline.llm import Budget, Budgets, LLMRequest, LLMResponse, Price, Router, ToolSpec
from xml_pipeline.llm.accounting.bound import (
    HIDDEN_TOKENS,
    HIDDEN_TOOL_TOKENS,
    MAX_BEGINNINGS,
    PICTURE_TOKENS,
    Extent,
    PromptBound,
    extent_of,
)
from xml_pipeline.llm.accounting.usage import Charge
from xml_pipeline.llm.http.backend import Backend
from xml_pipeline.llm.providers.openai import OpenAIBackend
from xml_pipeline.llm.types import ResponseSchema
from xml_pipeline.testing import run_in_virtual_time

TOOL = ToolSpec("add", "Adds.", {"type": "object", "properties": {"a": {"type": "integer"}}})
THAI = "ภาษาไทยไม่มีช่องว่าง" * 20


def texts(request: LLMRequest) -> list[str]:
    found = [part for message in request.messages for part in (message.get("content") or "",)]
    return [*found, *(json.dumps([one.name, one.description, one.parameters]) for one in request.tools)]


class Counting(Backend):
    """Counts its prompts as a provider with this tokeniser and these hidden texts would.

    Args:
        tokens_per_byte: of its tokeniser; 1 is the densest that byte-level BPE can be.
        hidden, hidden_tools: tokens that it adds unseen, always and with tools.
        output: share of the allowed output that it writes.
    """

    offline = True

    def __init__(
        self,
        tokens_per_byte: float = 1.0,
        hidden: int = 70,
        hidden_tools: int = 530,
        output: float = 0.1,
        latency: float = 0.0,
        **settings: Any,
    ) -> None:
        super().__init__(name="counting", **settings)
        self.tokens_per_byte = tokens_per_byte
        self.hidden = hidden
        self.hidden_tools = hidden_tools
        self.output = output
        self.latency = latency
        self.billed: list[tuple[float, int]] = []

    def serves_model(self, model: str) -> bool:
        return True

    async def _do_completion(self, client: object, request: LLMRequest) -> LLMResponse:
        started = asyncio.get_running_loop().time()
        await asyncio.sleep(self.latency)
        size = sum(len(text.encode()) for text in texts(request))
        template = self.hidden + 5 * len(request.messages) + (self.hidden_tools if request.tools else 0)
        prompt = int(size * self.tokens_per_byte) + template
        output = max(1, int((request.max_tokens or 100) * self.output))
        self.billed.append((started, prompt + output))
        return LLMResponse("x", request.model, {"prompt_tokens": prompt, "completion_tokens": output})

    @property
    def total(self) -> int:
        return sum(tokens for _, tokens in self.billed)


async def until_refused(ask: Callable[[int], Any], most: int = 1000) -> int:
    """How many calls were answered before the first was refused."""
    for number in range(most):
        try:
            await ask(number)
        except BudgetExceededError:
            return number
    raise AssertionError("nothing was refused")


@pytest.mark.parametrize("tools", [(), (TOOL,)], ids=["plain", "tools"])
@pytest.mark.parametrize(
    "text", ["hello", THAI, "😀" * 50, "\x00" * 200], ids=["short", "thai", "emoji", "zeros"]
)
@pytest.mark.parametrize("per_byte", [0.25, 1.0], ids=["english", "dense"])
@pytest.mark.parametrize("limit", [900, 1893, 20_000])
def test_no_script_and_no_hidden_prompt_passes_a_budget(
    tools: Any, text: str, per_byte: float, limit: int
) -> None:
    async def main() -> None:
        for together in (1, 10):
            provider = Counting(per_byte, latency=1)
            router = Router([provider], budgets=Budgets(organism=[Budget(tokens=limit)]))

            async def ask(number: int, router: Router = router, together: int = together) -> None:
                calls = (
                    router.complete("m", f"{number} {one} {text}", tools=tools, max_tokens=50)
                    for one in range(together)
                )
                done = await asyncio.gather(*calls, return_exceptions=True)
                for one in done:
                    if isinstance(one, BaseException):
                        raise one

            await until_refused(ask)
            assert provider.total <= limit
            assert router.get_total_usage().total_tokens == provider.total

    run_in_virtual_time(main())


def test_money_is_bound_in_the_same_way() -> None:
    async def main() -> None:
        provider = Counting(1.0)
        router = Router(
            [provider],
            prices={"*": Price(input=2.0, output=10.0)},
            budgets=Budgets(organism=[Budget(usd=0.01)]),
        )
        await until_refused(lambda number: router.complete("m", f"{number} {THAI}", max_tokens=100))
        assert 0.005 < (router.get_total_usage().cost or 0) <= 0.01

    run_in_virtual_time(main())


def test_a_conversation_that_grows_is_held_to_what_was_counted() -> None:
    """Its bytes alone would be refused after a quarter of the budget."""

    async def main() -> None:
        provider = Counting(0.25, output=0.01)
        router = Router([provider], budgets=Budgets(thread=[], organism=[Budget(tokens=100_000)]))
        history: list[Mapping[str, Any]] = [{"role": "system", "content": "Be brief. " * 400}]

        async def turn(number: int) -> None:
            history.append({"role": "user", "content": f"question {number} " * 20})
            history.append((await router.complete("m", history, max_tokens=200)).message)

        await until_refused(turn)
        assert 95_000 <= provider.total <= 100_000

    run_in_virtual_time(main())


def test_a_new_conversation_with_known_instructions_counts_only_its_own_bytes() -> None:
    async def main() -> None:
        provider = Counting(0.25, output=0.0)
        router = Router([provider], budgets=Budgets(organism=[Budget(tokens=20_000)]))
        instructions = {"role": "system", "content": "Be brief. " * 1000}

        async def ask(number: int) -> None:
            messages = [instructions, {"role": "user", "content": f"question {number}"}]
            await router.complete("m", messages, max_tokens=100)

        assert await until_refused(ask) == 7, "2,500 tokens each; the first reserves 10,000"
        assert 17_000 < provider.total <= 20_000

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    "odd",
    [Counting(1.0, hidden=3000), Counting(3.0), Counting(1.5, hidden=900)],
    ids=["long hidden prompt", "three tokens a byte", "both"],
)
def test_a_provider_above_the_bound_passes_a_budget_once_and_is_known_from_then_on(odd: Counting) -> None:
    async def main() -> None:
        router = Router([odd], budgets=Budgets(organism=[Budget(tokens=40_000)]))
        await until_refused(lambda number: router.complete("m", f"{number} {THAI}", max_tokens=100))
        assert 30_000 < odd.total <= 40_000

    run_in_virtual_time(main())


def test_one_odd_count_is_forgotten_after_a_while() -> None:
    bound, extent = PromptBound(), Extent((1, 2), (128, 200))
    bound.observe(extent, 50_000)
    assert bound.most(extent) >= 50_000
    for _ in range(64):
        bound.observe(extent, 50)
    assert bound.most(extent) <= 200


def test_a_prompt_that_is_counted_higher_than_before_is_not_held_to_the_lower_count() -> None:
    bound, extent = PromptBound(), Extent((1, 2), (128, 1000))
    bound.observe(extent, 30)
    assert bound.most(extent) == 30
    bound.observe(extent, 800)
    assert bound.most(extent) == 1000


def test_what_is_remembered_of_prompts_is_bounded_and_the_newest_is_kept() -> None:
    bound = PromptBound()
    for number in range(3 * MAX_BEGINNINGS):
        bound.observe(Extent((0, number + 1), (128, 10_000)), 40)
    assert len(bound._counted) == MAX_BEGINNINGS
    assert bound.most(Extent((9, 3 * MAX_BEGINNINGS), (128, 10_000))) == 40


def test_the_error_says_what_the_call_could_have_needed() -> None:
    async def main() -> None:
        router = Router([Counting()], budgets=Budgets(organism=[Budget(tokens=1000)]))
        with pytest.raises(BudgetExceededError) as caught:
            await router.complete("m", "x" * 5000, max_tokens=100)
        error = caught.value
        assert error.requested == 5000 + 28 + HIDDEN_TOKENS + 100
        assert "at most 5156 tokens of prompt, counted as bytes" in str(error)
        assert "100 of answer" in str(error)
        assert "shorten the prompt" in str(error)

    run_in_virtual_time(main())


# The extent itself

text_parts = st.text(max_size=60)
calls = st.lists(
    st.builds(
        lambda name, arguments: {
            "id": "1",
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        },
        st.text(min_size=1, max_size=10),
        text_parts,
    ),
    max_size=2,
)
messages = st.lists(
    st.one_of(
        st.builds(lambda text: {"role": "user", "content": text}, text_parts),
        st.builds(
            lambda text, made: {"role": "assistant", "content": text, "tool_calls": made}, text_parts, calls
        ),
        st.builds(lambda text: {"role": "tool", "tool_call_id": "1", "content": text}, text_parts),
        st.builds(
            lambda parts: {"role": "user", "content": [{"type": "text", "text": one} for one in parts]},
            st.lists(text_parts, max_size=3),
        ),
    ),
    min_size=1,
    max_size=6,
)


def all_text(value: Any) -> int:
    """Bytes of every text in a message, wherever it stands."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, Mapping):
        return sum(map(all_text, value.values()))
    return sum(map(all_text, value)) if isinstance(value, list) else 0


@settings(max_examples=200, deadline=None)
@given(messages, messages)
def test_the_extent_covers_every_byte_and_is_additive(first: list[Any], then: list[Any]) -> None:
    short, whole = extent_of(LLMRequest("m", first)), extent_of(LLMRequest("m", [*first, *then]))
    assert whole.tokens[-1] >= HIDDEN_TOKENS + all_text([*first, *then]) + 5 * len(first + then)
    assert whole.digests[: len(short.digests)] == short.digests
    assert whole.tokens[: len(short.tokens)] == short.tokens
    assert list(whole.tokens) == sorted(whole.tokens)


@settings(max_examples=100, deadline=None)
@given(messages, messages)
def test_different_prompts_have_different_digests(first: list[Any], other: list[Any]) -> None:
    same = extent_of(LLMRequest("m", first)).digests == extent_of(LLMRequest("m", other)).digests
    assert same == (first == other)


def test_tools_schemas_and_further_options_are_part_of_every_beginning() -> None:
    asked = [{"role": "user", "content": "hello"}]
    variants = [
        LLMRequest("m", asked),
        LLMRequest("m", asked, tools=(TOOL,)),
        LLMRequest("m", asked, tools=(TOOL,), tool_choice="required"),
        LLMRequest("m", asked, response_schema=ResponseSchema("Answer", {"type": "object"})),
        LLMRequest("m", asked, extra={"instructions": "Be brief."}),
        LLMRequest("m", asked, reasoning_effort="high"),
    ]
    extents = [extent_of(one) for one in variants]
    assert len({one.digests[0] for one in extents}) == len(variants)
    assert len({one.digests[1] for one in extents}) == len(variants)
    plain, tools, _, schema, extra, _ = (one.tokens[0] for one in extents)
    assert plain == HIDDEN_TOKENS
    assert tools >= plain + HIDDEN_TOOL_TOKENS + len(json.dumps(TOOL.parameters, separators=(",", ":")))
    assert schema >= plain + len('{"type":"object"}')
    assert extra >= plain + len("Be brief.")


def test_what_was_once_above_the_bound_is_expected_with_a_margin() -> None:
    bound = PromptBound()
    bound.observe(Extent((1,), (100,)), 300)
    assert bound.most(Extent((2,), (100,))) >= 300 + 0.1 * 200


def test_a_read_only_mapping_is_as_large_as_it_is_written() -> None:
    def tokens(value: Any) -> int:
        parts = [{"type": "file", "file": value}]
        return extent_of(LLMRequest("m", [{"role": "user", "content": parts}])).tokens[-1]

    data = {"file_data": "A" * 50_000}
    assert tokens(MappingProxyType(data)) == tokens(data)
    assert tokens(deque(["A" * 50_000])) == tokens(["A" * 50_000])


def test_media_have_their_own_bounds() -> None:
    def tokens(*parts: Mapping[str, Any]) -> int:
        return extent_of(LLMRequest("m", [{"role": "user", "content": [*parts]}])).tokens[-1]

    small = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    large = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    assert tokens(small) == tokens(large)
    assert tokens(small, small) - tokens(small) == PICTURE_TOKENS
    assert tokens({"type": "file", "file": {"file_data": "A" * 50_000}}) > 50_000
    assert tokens({"type": "input_audio", "input_audio": {"data": "A"}}) > PICTURE_TOKENS


def test_what_a_dialect_makes_longer_counts_as_long_as_it_writes_it() -> None:
    request = LLMRequest("m", [{"role": "user", "content": "hello"}], tools=(TOOL,))
    plain = extent_of(request).tokens[0]
    assert extent_of(request, lambda _: {"tools": "x" * 100_000}).tokens[0] > 100_000
    assert extent_of(request, lambda _: {}).tokens[0] == plain
    dialect = OpenAIBackend(api_key="k").dialect
    assert dialect is not None
    assert extent_of(request, lambda one: dialect.encode(one, stream=False).body).tokens[0] >= plain


@pytest.mark.parametrize("extra", [{"key": {(1, 2): 3}}, "itself"])
async def test_what_is_no_json_is_the_callers_fault(extra: Any) -> None:
    if extra == "itself":
        extra = {}
        extra["self"] = extra
    router = Router([Counting()], budgets=Budgets(organism=[Budget(tokens=5000)]))
    with pytest.raises(InvalidRequestError, match="cannot be written as JSON"):
        await router.complete("m", "hello", extra=extra)
    (meter,) = router._book.meters(Charge())
    assert (meter.spent, meter.reserved) == (0, 0)


# Options that pass the call's own limit


@pytest.mark.parametrize(
    ("extra", "output"),
    [
        ({"max_completion_tokens": 5000}, 5000),
        ({"generationConfig": {"maxOutputTokens": 700, "candidateCount": 3}}, 2100),
        ({"n": 4}, 400),
        ({"options": {"num_predict": 300}}, 300),
        ({"n": True, "top_k": 9000}, 100),
    ],
)
def test_further_options_cannot_raise_the_answer_above_what_is_reserved(
    extra: dict[str, Any], output: int
) -> None:
    async def main() -> None:
        router = Router([Counting()], budgets=Budgets(organism=[Budget(tokens=300)]))
        with pytest.raises(BudgetExceededError) as caught:
            await router.complete("m", "hello" * 50, max_tokens=100, extra=extra)
        assert f"and {output} of answer" in str(caught.value)

    run_in_virtual_time(main())


# Limits a minute


def most_in_a_minute(billed: list[tuple[float, int]]) -> int:
    return max(sum(tokens for at, tokens in billed if start <= at < start + 60 - 1e-6) for start, _ in billed)


@pytest.mark.parametrize("text", ["hello " * 20, THAI[:80]], ids=["english", "thai"])
@pytest.mark.parametrize("tokens_per_byte", [0.25, 1.0])
def test_a_limit_a_minute_holds_from_the_first_call_on(text: str, tokens_per_byte: float) -> None:
    async def main() -> None:
        provider = Counting(tokens_per_byte, latency=2, output=1.0, rate_limit_tpm=4000)
        async with Router([provider]) as router:
            calls = (router.complete("m", f"{one} {text}", max_tokens=50) for one in range(60))
            await asyncio.gather(*calls)
        assert most_in_a_minute(provider.billed) <= 4000
        assert len(provider.billed) == 60

    run_in_virtual_time(main())


def test_what_a_provider_adds_unseen_is_learned_for_limits_too() -> None:
    async def main() -> None:
        provider = Counting(0.25, latency=2, hidden=400, output=1.0, rate_limit_tpm=10_000)
        async with Router([provider]) as router:
            await router.complete("m", "first", max_tokens=50)
            await asyncio.sleep(60)
            provider.billed.clear()
            calls = (router.complete("m", f"{one} {'x' * (one * 7)}", max_tokens=50) for one in range(60))
            await asyncio.gather(*calls)
        assert most_in_a_minute(provider.billed) <= 10_000 * 1.05

    run_in_virtual_time(main())


def test_prompts_of_all_lengths_are_estimated_by_what_was_counted() -> None:
    async def main() -> None:
        provider = Counting(0.5, hidden=300, output=0.0)
        async with Router([provider]) as router:
            for size in (100, 4000, 700, 90, 2500, 6000, 300):
                await router.complete("m", "x" * size)
            (endpoint,) = router._endpoints.values()
            estimator = endpoint.estimator("m")
            for size in (50, 1000, 10_000):
                assert estimator.prompt_tokens(size + 14) == pytest.approx(305 + size / 2, rel=0.1, abs=20)

    run_in_virtual_time(main())


def test_the_meters_hold_nothing_in_the_end() -> None:
    async def main() -> None:
        provider = Counting(1.0, latency=1)
        router = Router([provider], budgets=Budgets(organism=[Budget(tokens=5000)]))
        calls = (router.complete("m", f"{one} hello", max_tokens=300) for one in range(40))
        await asyncio.gather(*calls, return_exceptions=True)
        (meter,) = router._book.meters(Charge())
        assert (meter.reserved, meter.spent) == (0, provider.total)
        assert provider.total > 3500, "and what was freed was used"

    run_in_virtual_time(main())
