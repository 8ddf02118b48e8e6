"""The main job by a client in another language, written from docs/PROTOCOL.md alone.

    python-client.py SOCKET ORIGIN

Uses Debian's python3-websockets. Prints one line of JSON: what it has seen.
"""

import asyncio
import json
import os
import secrets
import sys

import websockets


class DaemonError(Exception):
    def __init__(self, error):
        super().__init__(error["message"])
        self.code = error["data"]["code"]
        self.retryable = error["data"]["retryable"]


class Connection:
    """One connection: the hello, then requests and their answers."""

    def __init__(self, socket, hello):
        self.socket = socket
        self.hello = hello
        self.next_id = 1
        self.waiting = {}
        self.reader = asyncio.ensure_future(self.read())

    @classmethod
    async def open(cls, path):
        socket = await websockets.unix_connect(
            path,
            "ws://localhost/",
            subprotocols=["thinpool.v1"],
            compression=None,
            # The daemon may have to start a worker for this user first; the lab's machine is slow.
            open_timeout=120,
        )
        assert socket.subprotocol == "thinpool.v1"
        first = json.loads(await socket.recv())
        assert first["method"] == "hello" and "id" not in first
        return cls(socket, first["params"])

    async def read(self):
        try:
            async for text in self.socket:
                message = json.loads(text)
                if "id" not in message:
                    continue
                waiting = self.waiting.pop(message["id"], None)
                if waiting is None or waiting.done():
                    continue
                if "error" in message:
                    waiting.set_exception(DaemonError(message["error"]))
                else:
                    waiting.set_result(message["result"])
        except websockets.ConnectionClosed:
            pass
        finally:
            for waiting in self.waiting.values():
                if not waiting.done():
                    waiting.set_exception(ConnectionError("cut"))

    def send(self, method, **params):
        request = {"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params}
        answer = asyncio.get_running_loop().create_future()
        self.waiting[self.next_id] = answer
        self.next_id += 1
        return self.socket.send(json.dumps(request)), answer

    async def call(self, method, **params):
        sending, answer = self.send(method, **params)
        await sending
        return await answer

    async def refused(self, method, **params):
        try:
            await self.call(method, **params)
        except DaemonError as error:
            return error.code
        return "done"

    def cut(self):
        """As a crash of this program would: no goodbye."""
        self.socket.transport.abort()


def new_key():
    return secrets.token_hex(16)


async def main(path, origin):
    seen = {}
    client = await Connection.open(path)
    seen["features"] = client.hello["features"]
    name = "python-%d" % os.getpid()
    device = await client.call(
        "device.clone", origin=origin, name=name, idempotencyKey=new_key(), later="ignored"
    )
    seen["owner"] = device["ownerUid"] == os.getuid()
    seen["sizeBytes"] = int(device["sizeBytes"])

    mount = await client.call("mount.create", device=name, idempotencyKey=new_key())
    with open(os.path.join(mount["path"], "file"), "w") as file:
        file.write("written by Python")
    second_key = new_key()
    second = await client.call("mount.create", device=name, idempotencyKey=second_key)
    again = await client.call("mount.create", device=name, idempotencyKey=second_key)
    seen["sameAnswer"] = second == again
    seen["count"] = second["count"]
    seen["keyReused"] = await client.refused(
        "mount.create", device="other", idempotencyKey=second_key
    )
    seen["busy"] = await client.refused("device.remove", name=name)
    seen["unknownMethod"] = await client.refused("device.format", name=name)
    seen["badName"] = await client.refused("device.get", name="../etc")
    seen["forbidden"] = await client.refused("device.remove", name=origin)

    # The connection is lost with a change in flight: the same key again, on a new connection.
    release_key = new_key()
    sending, answer = client.send(
        "mount.release", reference=second["reference"], idempotencyKey=release_key
    )
    await sending
    client.cut()
    try:
        await answer
    except (ConnectionError, DaemonError):
        pass
    earlier = client.hello["session"]
    client = await Connection.open(path)
    resumed = await client.call("session.resume", id=earlier["id"], secret=earlier["secret"])
    seen["graceMs"] = resumed["graceMs"]
    seen["notMine"] = await client.refused(
        "session.resume", id=earlier["id"], secret="A" * len(earlier["secret"])
    )
    released = await client.call(
        "mount.release", reference=second["reference"], idempotencyKey=release_key
    )
    seen["afterCut"] = released["count"]

    with open(os.path.join(mount["path"], "file")) as file:
        seen["text"] = file.read()
    await client.call("mount.release", reference=mount["reference"], idempotencyKey=new_key())
    await client.call("device.remove", name=name, idempotencyKey=new_key())
    devices = await client.call("device.list")
    seen["left"] = [each["name"] for each in devices if each["name"] == name]
    await client.socket.close()
    print(json.dumps(seen))


asyncio.run(main(*sys.argv[1:]))
