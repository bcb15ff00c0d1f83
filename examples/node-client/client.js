// Asks a Lapwing policy server for actions, written from docs/protocol.md alone.
//
//     node client.js [--server tcp://127.0.0.1:5590] [--frames 10] [--rate-hz 10] [--deadline-ms 50] [--keys FOLDER]
//
// Prints one JSON object a line: what the server said. The frames are grey and get lighter, the car stands.

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { decode, encode } from "@msgpack/msgpack";
import { Dealer } from "zeromq";

const VERSION = 3;
const STANDING = [0, -1]; // steering straight, speed set-point stand still

/** The frames of a message: a msgpack header, then the bytes of each array. */
function pack(message, arrays = []) {
  const headers = arrays.map(({ dtype, shape }) => [dtype, shape]);
  const header = { version: VERSION, message, arrays: headers };
  return [encode(header), ...arrays.map(({ data }) => data)];
}

/** The message in what a server has sent, which never has arrays. */
function unpack(frames) {
  const { version, message } = decode(frames[0]);
  if (version !== VERSION) throw new Error(`the server speaks version ${version}, expected ${VERSION}`);
  return message;
}

/** What the policy sees of a car that stands: an image and the state vector. */
function look(spec, level) {
  const { image_height: height, image_width: width, history } = spec;
  const state = Float32Array.from([0, 0, ...Array(history).fill(STANDING).flat()]); // little-endian on all of Node's CPUs
  return [
    { dtype: "<f4", shape: [state.length], data: Buffer.from(state.buffer) },
    { dtype: "|u1", shape: [height, width, 3], data: Buffer.alloc(height * width * 3, level) },
  ];
}

/** Whether a reply may be driven by: the answer to this frame, of the policy and session agreed upon, and sane. */
function isGood(reply, request, info) {
  return (
    reply.type === "action" &&
    reply.seq === request.seq &&
    reply.captured_at_s === request.captured_at_s &&
    reply.session === info.session &&
    reply.policy_id === info.policy_id &&
    reply.action.length === 2 &&
    reply.action.every((number) => Math.abs(number) <= 1)
  );
}

class Client {
  constructor(address, keys) {
    this.socket = new Dealer({ linger: 0, sendHighWaterMark: 4, heartbeatInterval: 500, heartbeatTimeout: 2000 });
    if (keys) this.lock(keys);
    this.socket.connect(address);
  }

  /** CURVE, with the folder that `lapwing keys` wrote for this client, and its public key beside it (README.md). */
  lock(folder) {
    const key = (name) => readFileSync(`${folder}/${name}`, "utf8").trim();
    this.socket.curveServerKey = key("server.key");
    this.socket.curveSecretKey = key("secret.key");
    this.socket.curvePublicKey = key("public.key");
  }

  async hello() {
    await this.socket.send(pack({ type: "hello" }));
    this.info = unpack(await this.socket.receive());
    return this.info;
  }

  /** The action for a frame, or its refusal, or silence if neither came in time. What else comes is not driven by. */
  async act(seq, arrays, deadlineMs) {
    const request = { type: "act", seq, captured_at_s: performance.now() / 1000 };
    await this.socket.send(pack(request, arrays));
    const until = performance.now() + deadlineMs;
    for (let left = deadlineMs; left > 0; left = until - performance.now()) {
      const reply = await this.receive(left);
      if (reply === null) break;
      if (isGood(reply, request, this.info)) return reply;
      if (reply.type === "refusal" && reply.seq === seq) return reply;
    }
    return { type: "silence", seq };
  }

  async receive(timeoutMs) {
    this.socket.receiveTimeout = Math.ceil(timeoutMs);
    try {
      return unpack(await this.socket.receive());
    } catch (error) {
      if (error.code === "EAGAIN") return null;
      throw error;
    }
  }
}

const { values: options } = parseArgs({
  options: {
    server: { type: "string", default: "tcp://127.0.0.1:5590" },
    frames: { type: "string", default: "10" },
    "rate-hz": { type: "string", default: "10" },
    "deadline-ms": { type: "string", default: "50" },
    keys: { type: "string" },
  },
});
const client = new Client(options.server, options.keys);
const info = await client.hello();
console.log(JSON.stringify(info));
for (let seq = 0; seq < Number(options.frames); seq++) {
  console.log(JSON.stringify(await client.act(seq, look(info.spec, (seq * 5) % 256), Number(options["deadline-ms"]))));
  await sleep(1000 / Number(options["rate-hz"]));
}
client.socket.close();
