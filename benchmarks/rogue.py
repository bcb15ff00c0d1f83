"""A policy server that is good until it is told to be bad in one way.

python -m benchmarks.rogue POLICY ADDRESS [FOLDER OF KEYS]
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import msgspec
import zmq

from deploy.keys import ServerKeys
from deploy.policy import OnnxPolicy
from deploy.policy_server.server import PolicyServer, Request, listen
from deploy.realtime import pinned, realtime, sockets_too
from deploy.wire import VERSION, Action, Message, Refusal, pack

SLOW_S = 0.2  # for each answer: longer than any deadline


def slow(answer: Action) -> Action:
    time.sleep(SLOW_S)
    return answer


def changed(**fields: object) -> Callable[[Action], Action]:
    return lambda answer: msgspec.structs.replace(answer, **fields)


MISCHIEF: dict[str, Callable[[Action], Action]] = {
    "slow": slow,
    "nan": changed(action=(float("nan"), 0.0)),
    "out of range": changed(action=(0.0, 7.0)),
    "stale": lambda answer: msgspec.structs.replace(answer, seq=max(answer.seq - 1, 0)),
    "wrong model": changed(policy_id="0123456789ab"),
    "wrong session": changed(session=0),
    "wrong version": lambda answer: answer,  # see how it is sent
}


class RogueServer(PolicyServer):
    """Answers in the way of `mischief`, once that is set."""

    mischief = ""

    def _answer(self, request: Request) -> Action | Refusal:
        answer = super()._answer(request)
        if self.mischief and isinstance(answer, Action):
            return MISCHIEF[self.mischief](answer)
        return answer

    def _send(self, client: bytes, reply: Message) -> None:
        if self.mischief != "wrong version":
            return super()._send(client, reply)
        header = msgspec.msgpack.decode(pack(reply)[0]) | {"version": VERSION + 1}
        self._socket.send_multipart([client, msgspec.msgpack.encode(header)])
        return None


def main(policy: Path, address: str, keys: ServerKeys | None = None) -> None:
    """Serve until killed; a line on standard input says what to be like from now on."""
    with realtime(), zmq.Context() as context:
        sockets_too(context)
        loaded = OnnxPolicy.load(policy)
        server = RogueServer(loaded, listen(context, address, loaded.spec, keys))

        def heed() -> None:
            for line in sys.stdin:
                server.mischief = line.strip()

        Thread(target=heed, daemon=True).start()
        with pinned():
            server.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], *(ServerKeys.load(Path(folder)) for folder in sys.argv[3:]))
