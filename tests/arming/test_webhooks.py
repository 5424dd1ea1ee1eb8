"""Webhooks over real connections: what is let in, what each refusal says, and that nobody can hold a line."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.journal.test_recovery import came_to
from xml_pipeline import HandlerMetadata, HandlerResponse, Organism, xmlify
from xml_pipeline.arming.armed import Armed
from xml_pipeline.arming.going import Going
from xml_pipeline.arming.server import MOST, WebhookServer
from xml_pipeline.errors import ConfigError
from xml_pipeline.journal.sqlite import SqliteJournal
from xml_pipeline.keys.secret import Secret
from xml_pipeline.pump import PumpSettings
from xml_pipeline.triggers.signature import signature
from xml_pipeline.triggers.trigger import Trigger, Webhook

SECRET = "0123456789abcdef01234567"
NOW = 1_790_000_000.0


@xmlify
@dataclass
class Order:
    item: str
    count: int = 1


@dataclass
class Shop:
    """What came in, and a gate before the answer."""

    orders: list[tuple[str, Order]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, payload: Order, metadata: HandlerMetadata) -> HandlerResponse[Order]:
        self.orders.append((metadata.from_id, payload))
        await self.gate.wait()
        return HandlerResponse.respond(payload)


@dataclass
class Served:
    """A shop that listens, and somebody who posts to it."""

    url: str
    shop: Shop
    http: aiohttp.ClientSession

    async def post(
        self,
        body: bytes | str = '{"item": "tea", "count": 2}',
        *,
        id: str = "msg_1",
        at: float = NOW,
        key: str = SECRET,
        path: str = "/order",
        method: str = "POST",
        **headers: str | None,
    ) -> tuple[int, dict[str, str]]:
        """The status and the words of the answer; a header of None is left out."""
        data = body.encode() if isinstance(body, str) else body
        sent = str(int(at))
        all_headers = {
            "webhook-id": id,
            "webhook-timestamp": sent,
            "webhook-signature": signature(id, sent, data, key.encode()),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        given = {name: value for name, value in all_headers.items() if value is not None}
        async with self.http.request(method, self.url + path, data=data, headers=given) as response:
            assert response.headers["Connection"] == "close"
            assert response.content_type == "application/json"
            return response.status, json.loads(await response.read())


def hook(name: str = "orders", path: str = "/order", **keys: Any) -> Trigger:
    keys.setdefault("if_running", "also")
    return Trigger(name, "shop", Webhook(path, "SHOP_SECRET", Secret(SECRET)), **keys)


@asynccontextmanager
async def serving(
    path: Path, *triggers: Trigger, clock: Callable[[], float] = lambda: NOW, room: int = 1000, **keys: Any
) -> AsyncIterator[Served]:
    shop = Shop()
    organism = Organism(
        "demo",
        journal=SqliteJournal(path / "state.db"),
        doors=["shop"],
        triggers=triggers or [hook()],
        settings=PumpSettings(max_in_flight=room),
        shutdown_seconds=0.0,
    )
    organism.listener(shop.handle, name="shop")
    async with (
        organism,
        Armed(organism, port=0, clock=clock, **keys) as armed,
        aiohttp.ClientSession() as http,
    ):
        url = armed.rows()[0][2].removeprefix("POST ").removesuffix("/order")
        yield Served(url, shop, http)


def run(path: Path, *cases: Callable[[Served], Any], **keys: Any) -> None:
    async def main() -> None:
        async with serving(path, *keys.pop("triggers", ()), **keys) as served:
            for case in cases:
                await case(served)

    asyncio.run(main())


def test_a_signed_delivery_is_a_message(tmp_path: Path) -> None:
    async def case(served: Served) -> None:
        status, said = await served.post()
        assert status == 202
        assert set(said) == {"conversation"}
        await came_to(lambda: served.shop.orders)
        assert served.shop.orders == [("trigger:orders", Order("tea", 2))]

    run(tmp_path, case)


def test_a_delivery_is_accepted_once(tmp_path: Path) -> None:
    async def case(served: Served) -> None:
        first, again = await served.post(), await served.post(at=NOW + 60)
        assert first == again
        at_once = await asyncio.gather(*(served.post(id="msg_2") for _ in range(5)))
        assert len({said["conversation"] for _, said in at_once}) == 1
        assert (await served.post('{"item": "coffee"}'))[0] == 409
        await came_to(lambda: len(served.shop.orders) == 2)

    async def in_the_next_life(served: Served) -> None:
        served.shop.gate.set()
        assert (await served.post())[0] == 202
        await came_to(lambda: len(served.shop.orders) == 2)  # those that were open: nothing new
        assert [each for _, each in served.shop.orders] == [Order("tea", 2)] * 2

    run(tmp_path, case)
    run(tmp_path, in_the_next_life)


REFUSED: dict[str, tuple[dict[str, Any], int]] = {
    "another path": ({"path": "/orders"}, 404),
    "below it": ({"path": "/order/x"}, 404),
    "no path": ({"path": "/"}, 404),
    "a GET": ({"method": "GET"}, 405),
    "a PUT": ({"method": "PUT"}, 405),
    "another secret": ({"key": "another-secret-of-24-letters"}, 401),
    "too old": ({"at": NOW - 301}, 401),
    "from the future": ({"at": NOW + 301}, 401),
    "no id": ({"webhook_id": None}, 401),
    "no time": ({"webhook_timestamp": None}, 401),
    "no signature": ({"webhook_signature": None}, 401),
    "an empty signature": ({"webhook_signature": ""}, 401),
    "another id than signed": ({"webhook_id": "msg_9"}, 401),
    "another time than signed": ({"webhook_timestamp": str(int(NOW) + 1)}, 401),
    "no JSON": ({"body": "item=tea"}, 400),
    "nothing": ({"body": ""}, 400),
    "no object": ({"body": "[1]"}, 400),
    "no UTF-8": ({"body": b'{"item": "\xff"}'}, 400),
    "too deep": ({"body": '{"item":' + "[" * 4000}, 400),
    "not a number": ({"body": '{"item": "tea", "count": NaN}'}, 400),
    "a field too few": ({"body": '{"count": 2}'}, 400),
    "a field too many": ({"body": '{"item": "tea", "price": 1}'}, 400),
    "a wrong type": ({"body": '{"item": "tea", "count": "two"}'}, 400),
    "what XML cannot carry": ({"body": '{"item": "\\u0000"}'}, 400),
    "too large": ({"body": json.dumps({"item": "x" * 5000})}, 413),
}


def test_what_is_refused_says_little(tmp_path: Path) -> None:
    async def case(served: Served) -> None:
        for name, (keys, status) in REFUSED.items():
            got, said = await served.post(**keys)
            assert got == status, name
            assert set(said) == {"error"}, name
            assert len(said["error"]) < 40, name
            for word in ("Order", "item", "shop", "SHOP_SECRET", SECRET):
                assert word not in said["error"], name
        assert served.shop.orders == []
        assert (await served.post())[0] == 202  # the same id was not used up

    run(tmp_path, case, max_bytes=4500)


def test_a_body_without_a_length_is_bounded_too(tmp_path: Path) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 1000

    async def case(served: Served) -> None:
        with suppress(aiohttp.ClientError):  # it may be sending still when the answer comes
            async with served.http.post(served.url + "/order", data=endless()) as response:
                assert response.status == 413
        assert (await served.post())[0] == 202

    run(tmp_path, case, max_bytes=4000)


def test_while_the_last_one_runs(tmp_path: Path) -> None:
    async def case(served: Served) -> None:
        assert (await served.post(id="a"))[0] == 202
        await came_to(lambda: served.shop.orders)
        assert (await served.post(id="b"))[0] == 409
        assert (await served.post(id="a"))[0] == 202  # the same again is no other
        served.shop.gate.set()

        async def accepted() -> bool:
            return (await served.post(id="b"))[0] == 202

        for _ in range(200):
            if await accepted():
                break
            await asyncio.sleep(0.01)
        await came_to(lambda: len(served.shop.orders) == 2)

    run(tmp_path, case, triggers=[hook(if_running="skip")])


def test_when_there_is_no_room(tmp_path: Path) -> None:
    async def case(served: Served) -> None:
        assert (await served.post(id="a"))[0] == 202
        assert (await served.post(id="b"))[0] == 429
        served.shop.gate.set()

    run(tmp_path, case, room=1)


def test_what_it_sends_may_be_said_by_the_file(tmp_path: Path) -> None:
    async def case(served: Served) -> None:
        assert (await served.post("anything at all"))[0] == 202
        await came_to(lambda: served.shop.orders)
        assert served.shop.orders[0][1] == Order("nudge")

    run(tmp_path, case, triggers=[hook(said={"Order": {"item": "nudge"}})])


def test_a_slow_client_is_dropped(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as served:
            host, port = served.url.removeprefix("http://").split(":")
            server = WebhookServer({}, Going(lambda id: ""), 100, lambda: NOW, patience=0.05)
            await server.open(host, 0)
            own = int(server.url.rsplit(":", 1)[1])
            for said in (
                b"",
                b"POST /order HTTP/1.1\r\nHost: x\r\n",
                b"POST / HTTP/1.1\r\nContent-Length: 50\r\n\r\nx",
            ):
                reader, writer = await asyncio.open_connection(host, own)
                writer.write(said)
                try:
                    got = await asyncio.wait_for(reader.read(), 10)
                except ConnectionError:
                    got = b""
                assert b" 202 " not in got
                writer.close()
            await server.close()
            assert int(port) > 0

    asyncio.run(main())


def test_more_than_there_is_room_for_are_turned_away(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as served:
            host, port = served.url.removeprefix("http://").split(":")
            idle = [await asyncio.open_connection(host, int(port)) for _ in range(MOST)]
            reader, writer = await asyncio.open_connection(host, int(port))
            with suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 10) == b""
            for _, each in (*idle, (reader, writer)):
                each.close()
            for _ in range(200):
                try:
                    assert (await served.post())[0] == 202
                    break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.01)
            else:
                raise AssertionError("nobody was let in again")

    asyncio.run(main())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=3))
def test_noise_harms_nobody(tmp_path: Path, noise: list[bytes]) -> None:
    async def main() -> None:
        server = WebhookServer({}, Going(lambda id: ""), 100, lambda: NOW, patience=0.2)
        await server.open("127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
        try:
            for part in noise:
                writer.write(part)
            writer.write_eof()
            answer = await asyncio.wait_for(reader.read(), 10)
        except ConnectionError:
            answer = b""
        assert b"202" not in answer.split(b"\r\n", 1)[0]
        assert b"Traceback" not in answer
        writer.close()
        await server.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("", "has no secret: set the environment variable SHOP_SECRET"),
        ("too-short", "it has 9 bytes, and 24 are needed"),
        ("whsec_not base64", "no base64"),
    ],
)
def test_without_a_secret_it_is_not_armed(tmp_path: Path, secret: str, said: str) -> None:
    trigger = Trigger("orders", "shop", Webhook("/order", "SHOP_SECRET", Secret(secret)))

    async def main() -> None:
        with pytest.raises(ConfigError, match=said) as caught:
            async with serving(tmp_path, trigger):
                pass
        assert not secret or secret not in str(caught.value)
        assert not secret or secret not in repr(trigger)

    asyncio.run(main())


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    async def main() -> None:
        async with serving(tmp_path) as served:
            server = WebhookServer({}, Going(lambda id: ""), 100, lambda: NOW)
            with pytest.raises(ConfigError, match="webhooks cannot be listened for at 127"):
                await server.open("127.0.0.1", int(served.url.rsplit(":", 1)[1]))

    asyncio.run(main())
