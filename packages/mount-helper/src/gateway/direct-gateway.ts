/** The gateway in this very process, for tests: no isolation, the same questions. */
import { Socket } from "node:net";
import type { Certificate } from "./certificate.ts";
import { Gateway } from "./gateway.ts";
import type { GatewayParts, GatewayPort } from "./gateway-process.ts";
import type { FromGateway } from "./messages.ts";

export class DirectGateway implements GatewayPort {
  readonly #gateway: Gateway;
  readonly #remote: GatewayParts["remote"];

  constructor({ remote, listening, origins, certificate }: GatewayParts) {
    this.#remote = remote;
    this.#gateway = new Gateway((message) => void this.#receive(message));
    this.#gateway.setCertificate(certificate);
    this.#gateway.listen(listening, origins);
  }

  setCertificate(certificate: Certificate): void {
    this.#gateway.setCertificate(certificate);
  }

  stopAccepting(): void {
    this.#gateway.stopAccepting();
  }

  end(): Promise<void> {
    this.#gateway.end();
    return Promise.resolve();
  }

  async #receive(message: FromGateway): Promise<void> {
    if (message.type === "note") {
      this.#remote.note(message.reason, message.address);
      return;
    }
    const { id, token, address } = message;
    const fd = await this.#remote.admit(token, address, () => this.#gateway.cut(id));
    if (fd === undefined) this.#gateway.refuse(id);
    else this.#gateway.admit(id, new Socket({ fd, readable: true, writable: true }));
  }
}
