import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { type WebSocket, WebSocketServer } from 'ws';
import { AppError } from '#shared/domain/app-error.ts';
import type { Principal } from '#shared/domain/permissions.ts';
import {
  type Authenticate,
  type Credentials,
  credentialsOf,
  TOKEN_PROTOCOL,
} from '#shared/service/authenticate.ts';
import type { TrustedProxies } from '#shared/service/trusted-proxies.ts';
import { authorizeSomewhere, isAllowedSomewhere } from '#shared/service/authorize.ts';
import type { Clock } from '#shared/util/clock.ts';
import type { Random } from '#shared/util/random.ts';
import { type Recheck, recheckAll } from '../callers/recheck-all.ts';
import type { FanoutConfig } from '../config.ts';
import { CLOSE } from './close-codes.ts';
import { Connection, type ConnectionOptions } from './connection.ts';
import { refuseUpgrade } from './handshake.ts';

const PROGRESS_CHECK_MS = 1_000;
const CLOSE_WAIT_MS = 2_000;
/** While it goes away: so many that all of them come back elsewhere within a second are no herd. */
const CLOSES_PER_SECOND = 1_000;
const CLOSE_STEP_MS = 20;
const SUBPROTOCOL = 'cairn.v1';

export interface ConnectionsOptions {
  readonly config: FanoutConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly authenticate: Authenticate;
  readonly proxies: TrustedProxies;
  readonly recheck: Recheck;
  readonly connection: Pick<
    ConnectionOptions,
    'registry' | 'formatOf' | 'calls' | 'verify' | 'onDelivered' | 'onCount' | 'onError'
  >;
  /** Called with the number of open connections when it changed. */
  readonly onConnections: (open: number) => void;
}

/** Accepts WebSockets and looks after them: limits, heartbeat, slow consumers, going away. */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #server: WebSocketServer;
  readonly #open = new Set<Connection>();
  #unknown: Connection[] = [];
  readonly #timers: NodeJS.Timeout[] = [];
  #arriving = 0;
  #isClosing = false;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
    this.#server = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: options.config.frameBytesMax,
      handleProtocols: chooseProtocol,
    });
  }

  start(): void {
    const { clock, config } = this.#options;
    const beat = () => {
      for (const connection of this.#open) connection.beat();
      this.recheck().catch(this.#options.connection.onError);
    };
    const checkProgress = () => {
      const nowMs = clock.monotonicMs();
      for (const connection of this.#open) connection.checkProgress(nowMs, config.lagMs);
    };
    this.#timers.push(
      setInterval(beat, config.heartbeatMs),
      setInterval(checkProgress, Math.min(PROGRESS_CHECK_MS, config.lagMs)),
    );
  }

  /** Authenticates an upgrade request and takes the socket over. Never throws. */
  async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const ignore = () => undefined;
    socket.on('error', ignore);
    this.#arriving += 1;
    try {
      if (this.#isClosing) throw new AppError('unavailable', 'the server is going away');
      if (this.#open.size + this.#arriving > this.#options.config.connectionsMax) {
        throw new AppError('overloaded', 'too many connections');
      }
      const principal = await this.#options.authenticate(request);
      this.#admit(principal);
      if (this.#isClosing) throw new AppError('unavailable', 'the server is going away');
      if (socket.destroyed) return;
      socket.off('error', ignore);
      this.#server.handleUpgrade(request, socket, head, (webSocket) =>
        this.#add(webSocket, socket, principal, credentialsOf(request, this.#options.proxies)),
      );
    } catch (error) {
      if (!(error instanceof AppError)) this.#options.connection.onError(error);
      refuseUpgrade(socket, error);
    } finally {
      this.#arriving -= 1;
    }
  }

  /**
   * Tells every client to come back, in random order and spread over up to `drainMs`, so that they
   * do not all do so at once; ends those that do not close in time.
   */
  async close(): Promise<void> {
    const { config, random } = this.#options;
    this.#isClosing = true;
    for (const timer of this.#timers) clearInterval(timer);
    const keys = new Map(
      [...this.#open].map((each) => [each, Buffer.from(random(4)).readUInt32BE()]),
    );
    const order = [...keys].toSorted(([, a], [, b]) => a - b).map(([each]) => each);
    const steps =
      Math.min(config.drainMs, (order.length * 1_000) / CLOSES_PER_SECOND) / CLOSE_STEP_MS;
    const atOnce = Math.ceil(order.length / Math.max(1, Math.floor(steps)));
    for (let index = 0; index < order.length; index += atOnce) {
      if (index > 0) await wait(CLOSE_STEP_MS);
      for (const each of order.slice(index, index + atOnce)) {
        each.close(CLOSE.serviceRestart, 'service restart');
      }
    }
    const untilMs = this.#options.clock.monotonicMs() + CLOSE_WAIT_MS;
    while (this.#open.size > 0 && this.#options.clock.monotonicMs() < untilMs) await wait(10);
    for (const connection of this.#open) connection.terminate();
    this.#server.close();
  }

  async recheck(): Promise<void> {
    await recheckAll(this.#open, this.#options.recheck, this.#options.connection.onError);
  }

  /** Some may come without credentials, and send them first of all. */
  #admit(principal: Principal): void {
    const { unauthenticatedMax } = this.#options.config;
    this.#unknown = this.#unknown.filter((each) => this.#open.has(each) && !each.caller.isKnown);
    const mayWait = principal.kind === 'anonymous' && this.#unknown.length < unauthenticatedMax;
    if (!mayWait) authorizeSomewhere(principal, 'context_subscribe');
  }

  #add(webSocket: WebSocket, socket: Duplex, principal: Principal, credentials: Credentials): void {
    const { clock, config, onConnections } = this.#options;
    const connection = new Connection({
      ...this.#options.connection,
      principal,
      credentials,
      clock,
      webSocket,
      socket,
      authenticateMs: config.authenticateMs,
      callsMax: config.callsPerConnectionMax,
      subscriptionsMax: config.subscriptionsPerConnectionMax,
      subscribeMs: config.subscribeMs,
      outgoingBytesMax: config.outgoingBytesMax,
    });
    this.#open.add(connection);
    if (!isAllowedSomewhere(principal, 'context_subscribe')) this.#unknown.push(connection);
    onConnections(this.#open.size);
    webSocket.on('close', () => {
      this.#open.delete(connection);
      onConnections(this.#open.size);
    });
  }
}

/** Ours where it is offered, else the first, but never what carries a token. */
function chooseProtocol(offered: ReadonlySet<string>): string | false {
  if (offered.has(SUBPROTOCOL)) return SUBPROTOCOL;
  return [...offered].find((name) => !name.startsWith(TOKEN_PROTOCOL)) ?? false;
}
