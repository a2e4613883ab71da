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
} from '#shared/service/authenticate.ts';
import type { TrustedProxies } from '#shared/service/trusted-proxies.ts';
import { authorizeSomewhere } from '#shared/service/authorize.ts';
import type { Clock } from '#shared/util/clock.ts';
import { Gate } from '#shared/util/gate.ts';
import type { FanoutConfig } from '../config.ts';
import { Connection, type ConnectionOptions, POLICY_VIOLATION } from './connection.ts';
import { refuseUpgrade } from './handshake.ts';

const RECHECKS_AT_ONCE = 32;
const PROGRESS_CHECK_MS = 1_000;
const CLOSE_WAIT_MS = 2_000;
const SERVICE_RESTART = 1012;

export interface ConnectionsOptions {
  readonly config: FanoutConfig;
  readonly clock: Clock;
  readonly authenticate: Authenticate;
  readonly proxies: TrustedProxies;
  /** Judges the credentials of an open connection again; null when they are refused now. */
  readonly recheck: (credentials: Credentials) => Promise<Principal | null>;
  readonly connection: Pick<
    ConnectionOptions,
    'registry' | 'format' | 'onDelivered' | 'onCount' | 'onError'
  >;
  /** Called with the number of open connections when it changed. */
  readonly onConnections: (open: number) => void;
}

/** Accepts WebSockets and looks after them: limits, heartbeat, slow consumers, going away. */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #server: WebSocketServer;
  readonly #open = new Map<Connection, Credentials>();
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
    });
  }

  start(): void {
    const { clock, config } = this.#options;
    const beat = () => {
      for (const connection of this.#open.keys()) connection.beat();
      this.recheck().catch(this.#options.connection.onError);
    };
    const checkProgress = () => {
      const nowMs = clock.monotonicMs();
      for (const connection of this.#open.keys()) connection.checkProgress(nowMs, config.lagMs);
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
      authorizeSomewhere(principal, 'context_subscribe');
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

  /** Tells every client to come back later; ends those that do not close in time. */
  async close(): Promise<void> {
    this.#isClosing = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const connection of this.#open.keys())
      connection.close(SERVICE_RESTART, 'service restart');
    const untilMs = this.#options.clock.monotonicMs() + CLOSE_WAIT_MS;
    while (this.#open.size > 0 && this.#options.clock.monotonicMs() < untilMs) await wait(10);
    for (const connection of this.#open.keys()) connection.terminate();
    this.#server.close();
  }

  /** Keys, tokens and rules may have changed: who may not be here any more is told to go. */
  async recheck(): Promise<void> {
    const { recheck, connection: common } = this.#options;
    const gate = new Gate(RECHECKS_AT_ONCE);
    const judged = new Map<string, Promise<Principal | null>>();
    const judge = async (connection: Connection, credentials: Credentials): Promise<void> => {
      const key = JSON.stringify(credentials);
      const judging = judged.get(key) ?? gate.run(() => recheck(credentials));
      judged.set(key, judging);
      const principal = await judging;
      if (principal !== null) connection.become(principal);
      else connection.close(POLICY_VIOLATION, 'the credentials are not valid any more');
    };
    // One that cannot be judged now stays until the next time.
    await Promise.all(
      [...this.#open].map(([connection, credentials]) =>
        judge(connection, credentials).catch(common.onError),
      ),
    );
  }

  #add(webSocket: WebSocket, socket: Duplex, principal: Principal, credentials: Credentials): void {
    const { config, onConnections } = this.#options;
    const connection = new Connection({
      ...this.#options.connection,
      principal,
      webSocket,
      socket,
      subscriptionsMax: config.subscriptionsPerConnectionMax,
      subscribeMs: config.subscribeMs,
      outgoingBytesMax: config.outgoingBytesMax,
    });
    this.#open.set(connection, credentials);
    onConnections(this.#open.size);
    webSocket.on('close', () => {
      this.#open.delete(connection);
      onConnections(this.#open.size);
    });
  }
}
