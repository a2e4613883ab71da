import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Bus } from '#shared/bus/bus.ts';
import type { Database } from '#shared/store/database.ts';
import type { Clock } from '#shared/util/clock.ts';
import type { Random } from '#shared/util/random.ts';
import type { TrustedProxies } from './trusted-proxies.ts';

/** A part of Cairn with a life: built by its factory, started once, disposed in reverse order. */
export interface Service extends AsyncDisposable {
  readonly name: string;
  start(): Promise<void>;
  /** True when it can serve; false while it starts, drains or misses a dependency. */
  isReady(): boolean;
  /** Reads again what may change without a restart (SIGHUP). Rejects, and changes nothing, for bad input. */
  reload?(): Promise<void>;
  /** What it serves over HTTP, when it does. */
  readonly door?: HttpDoor;
}

/** The HTTP surface of one service; an ingress, or `standalone`, routes paths to it. */
export interface HttpDoor {
  /** Path prefixes, without a trailing slash: `/jsonrpc` also takes `/jsonrpc/…`. */
  readonly prefixes: readonly string[];
  handle(request: IncomingMessage, response: ServerResponse): void;
  /** True for a request whose answer lasts until the service ends it: draining does not wait. */
  stays?(request: IncomingMessage): boolean;
  upgrade?(request: IncomingMessage, socket: Duplex, head: Buffer): void;
}

/** What the composition root hands to every service. */
export interface ServiceDeps {
  readonly database: Database;
  readonly bus: Bus;
  readonly log: Logger;
  readonly metrics: Registry;
  readonly clock: Clock;
  readonly random: Random;
  readonly proxies: TrustedProxies;
}
