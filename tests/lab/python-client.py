"""The main job by a client in another language, written from docs/PROTOCOL.md alone.

    python-client.py SOCKET ORIGIN

Uses Debian's python3-websockets. Prints one line of JSON: what it has seen.
"""

import asyncio
import hashlib
import io
import json
import os
import secrets
import struct
import sys
import tarfile

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
        # What is said of streams, and their parts.
        self.said = asyncio.Queue()
        self.parts = asyncio.Queue()
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
                if isinstance(text, bytes):
                    self.parts.put_nowait(text)
                    continue
                message = json.loads(text)
                if message.get("method", "").startswith("stream."):
                    self.said.put_nowait(message["params"])
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


# Stream, kind (0 a part, 1 the end), three zeroes, offset.
HEADER = struct.Struct(">IB3xQ")


async def said(client, field):
    """The next of stream.opened (it has an offset) or stream.window (it has what was taken)."""
    while True:
        params = await client.said.get()
        if field in params:
            return params


async def send_stream(client, archive, **params):
    sending, answer = client.send("device.import", idempotencyKey=new_key(), **params)
    await sending
    opened = await said(client, "offset")
    stream, offset, window = opened["stream"], int(opened["offset"]), int(opened["window"])
    most = client.hello["limits"]["streamPayloadBytes"]
    while offset < len(archive):
        while offset >= window:
            window = int((await said(client, "taken"))["window"])
        part = archive[offset : min(window, offset + most)]
        await client.socket.send(HEADER.pack(stream, 0, offset) + part)
        offset += len(part)
    await client.socket.send(HEADER.pack(stream, 1, offset))
    return await answer


async def receive_stream(client, name):
    sending, answer = client.send("device.export", name=name, idempotencyKey=new_key())
    await sending
    stream = (await said(client, "offset"))["stream"]
    archive = b""
    kind = 0
    while kind == 0:
        window = len(archive) + client.hello["limits"]["streamWindowBytes"]
        taken = {"stream": stream, "taken": str(len(archive)), "window": str(window)}
        moved = {"jsonrpc": "2.0", "method": "stream.window", "params": taken}
        await client.socket.send(json.dumps(moved))
        message = await client.parts.get()
        number, kind, offset = HEADER.unpack(message[: HEADER.size])
        assert (number, offset) == (stream, len(archive))
        archive += message[HEADER.size :]
    result = await answer
    assert result["sha256"] == hashlib.sha256(archive).hexdigest()
    return archive


def tar_of(files):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    return made.getvalue()


def files_of(archive):
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {e.name: opened.extractfile(e).read() for e in opened if e.isfile()}


async def streams(client, origin):
    name = "python-stream-%d" % os.getpid()
    files = {"folder/large": os.urandom(3 << 20), "small": b"by Python"}
    archive = tar_of(files)
    made = await send_stream(client, archive, name=name, origin=origin)
    same = made["content"]["sha256"] == hashlib.sha256(archive).hexdigest()
    came = files_of(await receive_stream(client, name))
    await client.call("device.remove", name=name, idempotencyKey=new_key())
    return same and came == files


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

    seen["streams"] = await streams(client, origin)
    with open(os.path.join(mount["path"], "file")) as file:
        seen["text"] = file.read()
    await client.call("mount.release", reference=mount["reference"], idempotencyKey=new_key())
    await client.call("device.remove", name=name, idempotencyKey=new_key())
    devices = await client.call("device.list")
    seen["left"] = [each["name"] for each in devices if each["name"] == name]
    await client.socket.close()
    print(json.dumps(seen))


asyncio.run(main(*sys.argv[1:]))
