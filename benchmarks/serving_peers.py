"""Other ways to serve a policy, each as its own project does it, around the same ONNX file and session.

    python -m benchmarks.serving_peers NAME POLICY     serves until it is terminated; prints its port first

Each is a server here and a client for the benchmark, that asks for the action of an image and a state. What is not
named stays as their projects have it; nothing that they print, log or check beside is done here, to their advantage.
"""

import asyncio
import io
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple, Protocol

import msgpack
import numpy as np
import zmq
from numpy.typing import NDArray

from deploy.policy import OnnxPolicy
from deploy.policy_server.self_test import warm_up
from deploy.realtime import pinned, realtime, sockets_too
from deploy.sockets import bind, connect

LOOPBACK = "127.0.0.1"
ECHOED = bytes(128)  # as long as an answer of ours
RESEND_MS = 1000
SPLIT = 6 * 4  # bytes of the state at the head of a message of gRPC; the image is the rest

Policy = Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float32]]  # image, state → action (2,)


class Client(Protocol):
    """Asks one server, over a connection that it keeps."""

    def ask(self, image: NDArray[np.uint8], state: NDArray[np.float32]) -> NDArray[np.float32]:
        """The action (2,) for an image (H, W, 3) and a state (S,)."""
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


class Peer(NamedTuple):
    serve: Callable[[Policy], None]
    client: Callable[[int], Client]  # of the server on that port


# Raw ZeroMQ: what it takes to get a frame there and as many bytes as an action back, on sockets as ours are,
# with the kernel asked for the same.


def serve_echo(_: Policy) -> None:
    with realtime(), zmq.Context() as context:
        sockets_too(context)
        socket = bind(context, zmq.ROUTER, f"tcp://{LOOPBACK}:0")
        _announce(int(socket.getsockopt_string(zmq.LAST_ENDPOINT).rsplit(":", 1)[1]))
        with pinned(), socket:
            _echo(socket)


def _echo(socket: zmq.Socket) -> None:
    while True:
        frames = socket.recv_multipart()
        socket.send_multipart([frames[0], ECHOED])


class EchoClient:
    def __init__(self, port: int) -> None:
        self._context = zmq.Context()
        sockets_too(self._context)
        self._socket = connect(self._context, zmq.DEALER, f"tcp://{LOOPBACK}:{port}")
        self._socket.rcvtimeo = RESEND_MS

    def ask(self, image: NDArray[np.uint8], state: NDArray[np.float32]) -> NDArray[np.float32]:
        while True:
            self._socket.send_multipart([ECHOED, state.data, image.data])
            with suppress(zmq.Again):  # on a very busy machine the connection may be lost
                self._socket.recv_multipart()
                return np.zeros(2, np.float32)

    def close(self) -> None:
        self._socket.close()
        self._context.term()


# openpi (Physical-Intelligence/openpi, src/openpi/serving/websocket_policy_server.py, packages/openpi-client):
# websockets without compression; a message is msgpack, an array in it a map of bytes, dtype and shape. The server tells
# its metadata once, then answers each observation by actions and by how long the policy took.


def _openpi_pack(thing: Any) -> Any:
    if isinstance(thing, np.ndarray):
        return {
            b"__ndarray__": True,
            b"data": thing.tobytes(),
            b"dtype": thing.dtype.str,
            b"shape": thing.shape,
        }
    return thing


def _openpi_unpack(thing: dict) -> Any:
    if b"__ndarray__" in thing:
        return np.ndarray(thing[b"shape"], np.dtype(thing[b"dtype"]), thing[b"data"])
    return thing


def serve_openpi(policy: Policy) -> None:
    asyncio.run(_serve_openpi(policy))


async def _serve_openpi(policy: Policy) -> None:
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosed

    async def handle(websocket: ServerConnection) -> None:
        packer = msgpack.Packer(default=_openpi_pack)
        await websocket.send(packer.pack({}))
        try:
            while True:
                seen = msgpack.unpackb(await websocket.recv(), object_hook=_openpi_unpack)
                began_s = time.monotonic()
                answer: dict[str, Any] = {"actions": policy(seen["image"], seen["state"])[None]}
                answer["server_timing"] = {"infer_ms": (time.monotonic() - began_s) * 1e3}
                await websocket.send(packer.pack(answer))
        except ConnectionClosed:
            return

    async with serve(handle, LOOPBACK, 0, compression=None, max_size=None) as server:
        _announce(next(iter(server.sockets)).getsockname()[1])
        await server.serve_forever()


class OpenpiClient:
    """The client of the openpi-client package where that is installed; else one that sends the same bytes.

    The package asks for NumPy 1, though it runs on 2: `make bench` installs it without what it asks for.
    """

    def __init__(self, port: int) -> None:
        try:
            client = resolve_name("openpi_client.websocket_client_policy:WebsocketClientPolicy")
        except ImportError:
            client = PlainOpenpiClient
        self._client = client(LOOPBACK, port)

    def ask(self, image: NDArray[np.uint8], state: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._client.infer({"image": image, "state": state})["actions"][0]

    def close(self) -> None:
        self._client._ws.close()


class PlainOpenpiClient:
    def __init__(self, host: str, port: int) -> None:
        from websockets.sync.client import connect as open_websocket

        self._packer = msgpack.Packer(default=_openpi_pack)
        opened = open_websocket(f"ws://{host}:{port}", compression=None, max_size=None)
        self._ws = ExitStack().enter_context(opened)
        self._ws.recv()  # metadata

    def infer(self, seen: dict[str, Any]) -> dict[str, Any]:
        self._ws.send(self._packer.pack(seen))
        return msgpack.unpackb(self._ws.recv(), object_hook=_openpi_unpack)


# GR00T (NVIDIA/Isaac-GR00T, gr00t/policy/server_client.py): REQ and REP with one msgpack message each way, an array in
# it as a .npy file; a request names an endpoint. Arrays have a batch and a time axis (getting_started/policy.md).


def _groot_pack(thing: Any) -> Any:
    if isinstance(thing, np.ndarray):
        np.save(file := io.BytesIO(), thing, allow_pickle=False)
        return {"__ndarray_class__": True, "as_npy": file.getvalue()}
    return thing


def _groot_bytes(thing: Any) -> bytes:
    packed = msgpack.packb(thing, default=_groot_pack)
    assert packed is not None  # as its types say of an empty one
    return packed


def _groot_unpack(thing: dict) -> Any:
    if "__ndarray_class__" in thing:
        return np.load(io.BytesIO(thing["as_npy"]), allow_pickle=False)
    return thing


def serve_groot(policy: Policy) -> None:
    def get_action(observation: dict, options: dict | None) -> tuple[dict, dict]:
        action = policy(observation["video"]["front"][0, 0], observation["state"]["car"][0, 0])
        return {"car": action[None, None]}, {}

    endpoints = {"get_action": get_action}
    with zmq.Context() as context, context.socket(zmq.REP) as socket:
        _announce(socket.bind_to_random_port(f"tcp://{LOOPBACK}"))
        while True:
            request = msgpack.unpackb(socket.recv(), object_hook=_groot_unpack)
            result = endpoints[request["endpoint"]](**request["data"])
            socket.send(_groot_bytes(result))


class GrootClient:
    def __init__(self, port: int) -> None:
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REQ)
        self._socket.connect(f"tcp://{LOOPBACK}:{port}")

    def ask(self, image: NDArray[np.uint8], state: NDArray[np.float32]) -> NDArray[np.float32]:
        observation = {"video": {"front": image[None, None]}, "state": {"car": state[None, None]}}
        request = {"endpoint": "get_action", "data": {"observation": observation, "options": None}}
        self._socket.send(_groot_bytes(request))
        action, _ = msgpack.unpackb(self._socket.recv(), object_hook=_groot_unpack)
        return action["car"][0, 0]

    def close(self) -> None:
        self._socket.close(linger=0)
        self._context.term()


# gRPC, one unary call a frame. Bytes instead of generated messages, so that nothing is spent on protobuf.


def serve_grpc(policy: Policy) -> None:
    import grpc

    def act(request: bytes, _: grpc.ServicerContext) -> bytes:
        state, image = np.frombuffer(request[:SPLIT], np.float32), np.frombuffer(request, np.uint8, offset=SPLIT)
        return policy(image.reshape(64, 64, 3), state).tobytes()

    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    methods = {"Act": grpc.unary_unary_rpc_method_handler(act)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("lapwing.Policy", methods),))
    port = server.add_insecure_port(f"{LOOPBACK}:0")
    server.start()
    _announce(port)
    server.wait_for_termination()


class GrpcClient:
    def __init__(self, port: int) -> None:
        import grpc

        self._channel = grpc.insecure_channel(f"{LOOPBACK}:{port}")
        self._act = self._channel.unary_unary("/lapwing.Policy/Act")

    def ask(self, image: NDArray[np.uint8], state: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.frombuffer(self._act(state.tobytes() + image.tobytes(), wait_for_ready=True), np.float32)

    def close(self) -> None:
        self._channel.close()


PEERS = {
    "echo": Peer(serve_echo, EchoClient),
    "openpi": Peer(serve_openpi, OpenpiClient),
    "groot": Peer(serve_groot, GrootClient),
    "grpc": Peer(serve_grpc, GrpcClient),
}


def _announce(port: int) -> None:
    sys.stdout.write(f"serving on tcp://{LOOPBACK}:{port}\n")
    sys.stdout.flush()


def main(name: str, path: str) -> None:
    policy = OnnxPolicy.load(Path(path))
    warm_up(policy)
    PEERS[name].serve(policy)


if __name__ == "__main__":
    main(*sys.argv[1:])
