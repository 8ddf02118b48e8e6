/**
 * The Unix socket. Who a client is, the kernel says (SO_PEERCRED, SO_PEERGROUPS): a connection about
 * which it leaves a doubt is cut. Nothing is read here.
 */
import type { Server, Socket } from "node:net";
import { createServer } from "node:net";
import { MAX_CONNECTIONS } from "@thinpool/protocol";
import { PeerProcess, peerCredentials, socketFd } from "@thinpool/thinpool";
import type { Logger } from "../log.ts";
import { errorText } from "../log.ts";
import type { Principal } from "../policy/policy.ts";
import type { Back } from "./back.ts";
import type { BoundSocket } from "./socket.ts";
import { bindSocket } from "./socket.ts";

/** Accepted connections above the served ones: those that are about to be told that there are too many. */
const SPARE_CONNECTIONS = 32;

/** Who is at the other end; throws where that is not beyond doubt. */
export type Identify = (socket: Socket) => Principal;

/** Pins the process at the other end; undefined where that can't be, or is not needed. */
export type Pin = (socket: Socket, principal: Principal) => PeerProcess | undefined;

export function pinByKernel(socket: Socket, principal: Principal): PeerProcess | undefined {
  return PeerProcess.of(socketFd(socket), principal);
}

export function identifyByKernel(socket: Socket): Principal {
  return peerCredentials(socketFd(socket));
}

export interface ListenerOptions {
  readonly socketPath: string;
  readonly socketGroup: string | undefined;
  readonly inheritedSocket?: number | undefined;
  readonly back: Back;
  readonly logger: Logger;
  readonly identify: Identify;
  /** For what is done in the caller's own mount namespace. */
  readonly pin: Pin;
}

export class Listener {
  readonly #options: ListenerOptions;
  readonly #server: Server;
  #bound: BoundSocket | undefined;

  private constructor(options: ListenerOptions) {
    this.#options = options;
    // Paused: no byte is read before the front has the socket.
    this.#server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
    this.#server.maxConnections = MAX_CONNECTIONS + SPARE_CONNECTIONS;
    this.#server.on("connection", (socket) => this.#accept(socket));
  }

  static async listen(options: ListenerOptions): Promise<Listener> {
    const listener = new Listener(options);
    listener.#bound = await bindSocket(listener.#server, options);
    return listener;
  }

  /** No new connections; those that are there go on. Removes the socket's file. */
  stopAccepting(): void {
    this.#server.close();
  }

  /** Gives the socket's lock up, once nobody is served any more. */
  release(): void {
    this.stopAccepting();
    this.#bound?.release();
    this.#bound = undefined;
  }

  #accept(socket: Socket): void {
    const { back, identify, pin, logger } = this.#options;
    let principal: Principal;
    let peer: PeerProcess | undefined;
    try {
      principal = identify(socket);
      peer = pin(socket, principal);
    } catch (error) {
      logger.log("warn", "peer-unknown", { error: errorText(error) });
      socket.destroy();
      return;
    }
    back.accept(principal, socket, { peer });
  }
}
