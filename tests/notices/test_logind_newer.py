"""What a newer logind says than the one on this machine, and what means nothing whoever says it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from shipper.testing.platforms.logind import PrivateLogind, why_not
from tests.notices.logind_kit import Listening, locked, private_logind, until

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())


class Newer:
    """A logind of our own making on the same bus, to say what the one on this machine never says."""

    def __init__(self, logind: PrivateLogind) -> None:
        self.logind = logind
        self.delay: Any = 5_000_000
        self.preparing: Any = False

    @asynccontextmanager
    async def on(self, name: str = "org.freedesktop.login1") -> AsyncIterator[Newer]:
        from dbus_fast import BusType
        from dbus_fast.aio import MessageBus

        self.bus = await MessageBus(self.logind.address, BusType.SYSTEM).connect()
        self.bus.add_message_handler(self.answer)
        if name:
            await self.bus.request_name(name)
        try:
            yield self
        finally:
            self.bus.disconnect()

    def answer(self, message: Any) -> Any:
        from dbus_fast import Message, MessageType, Variant

        if message.message_type is not MessageType.METHOD_CALL or message.path != "/org/freedesktop/login1":
            return None
        if message.member == "Get":
            value = {"InhibitDelayMaxUSec": self.delay, "PreparingForShutdown": self.preparing}[message.body[1]]
            kind = {bool: "b", int: "t", str: "s"}[type(value)]
            return Message.new_method_return(message, "v", [Variant(kind, value)])
        return Message.new_error(message, "org.freedesktop.login1.Nonsense", "no")

    async def say(self, member: str, signature: str, *body: Any, to: str | None = None) -> None:
        from dbus_fast import Message, MessageType

        await self.bus.send(
            Message(
                destination=to,
                message_type=MessageType.SIGNAL,
                path="/org/freedesktop/login1",
                interface="org.freedesktop.login1.Manager",
                member=member,
                signature=signature,
                body=list(body),
            )
        )


def test_a_newer_logind_says_what_kind_of_end_it_is() -> None:
    """PrepareForShutdownWithMetadata and PrepareForShutdown make one notice; a soft reboot does not end the life."""
    from dbus_fast import Variant

    async def scenario() -> None:
        async with private_logind() as logind:
            await logind.kill_logind()
            async with Newer(logind).on() as newer, Listening(logind.address).on() as ours:
                await until(lambda: ours.board.known, "an answer")
                for kind, ends in (("soft-reboot", False), ("poweroff", True)):
                    await newer.say("PrepareForShutdownWithMetadata", "ba{sv}", True, {"type": Variant("s", kind)})
                    await newer.say("PrepareForShutdown", "b", True)
                    await newer.say("PrepareForShutdown", "b", False)
                    await until(lambda: ours.board.taken_back, "a withdrawal")
                    (notice,) = ours.board.notices
                    assert kind in notice.evidence
                    assert notice.ends_life is ends
                    ours.board.notices.clear()
                    ours.board.taken_back.clear()

    asyncio.run(scenario())


def test_signals_of_the_wrong_shape_and_of_others_mean_nothing() -> None:
    """Nonsense is passed over; what somebody else sends us in logind's name begins no drain."""

    async def scenario() -> None:
        async with private_logind() as logind:
            await logind.kill_logind()
            async with (
                Newer(logind).on() as newer,
                Newer(logind).on(name="") as forger,
                Listening(logind.address).on() as ours,
            ):
                await until(lambda: ours.board.known, "an answer")
                bus: Any = ours.watcher._logind._bus
                for other in (None, bus.unique_name):
                    await forger.say("PrepareForShutdown", "b", True, to=other)
                    await forger.say("NameOwnerChanged", "sss", "org.freedesktop.login1", "", ":1.999", to=other)
                for signature, body in (("", []), ("s", ["true"]), ("u", [1]), ("as", [["x"]])):
                    await newer.say("PrepareForShutdown", signature, *body)
                    await newer.say("PrepareForShutdownWithMetadata", signature, *body)
                await newer.say("PrepareForShutdownWithMetadata", "bs", False, "no metadata")
                await newer.say("PrepareForShutdown", "b", True)
                await until(lambda: ours.board.notices, "the true one")
                assert len(ours.board.notices) == 1
                assert ours.board.taken_back == []

    asyncio.run(scenario())


@pytest.mark.parametrize("delay", ["soon", 2**63, False])
def test_a_delay_that_makes_no_sense_is_none(delay: object) -> None:
    """Then the notice states no time, and the usual one counts."""

    async def scenario() -> None:
        async with private_logind() as logind:
            await logind.kill_logind()
            newer = Newer(logind)
            newer.delay = delay
            async with newer.on(), Listening(logind.address).on() as ours:
                await until(lambda: ours.board.known, "an answer")
                await newer.say("PrepareForShutdown", "b", True)
                await until(lambda: ours.board.notices, "a notice")
                assert ours.board.notices[0].deadline is None

    asyncio.run(scenario())


def test_a_shutdown_that_is_forgotten_with_its_logind_is_taken_back() -> None:
    """A new logind that is preparing for nothing: the notice of the old one no longer stands, and its lock is taken anew."""

    async def scenario() -> None:
        async with private_logind(60) as logind, Listening(logind.address).on() as ours:
            await locked(logind)
            await logind.power_off()
            await until(lambda: ours.board.notices, "a notice")
            await logind.kill_logind()
            await logind.start_logind()
            await until(lambda: ours.board.taken_back, "a withdrawal")
            await locked(logind)

    asyncio.run(scenario())
