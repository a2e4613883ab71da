import { readFile } from 'node:fs/promises';
import { Counter, Gauge } from 'prom-client';
import { subjects } from '#shared/bus/subjects.ts';
import type { BusResponder, BusSubscription } from '#shared/bus/bus.ts';
import { keyPairOf } from '#shared/crypto/ed25519.ts';
import { AppError } from '#shared/domain/app-error.ts';
import { publicKeyFromBytes } from '#shared/protocol/ids.ts';
import type { Credentials } from '#shared/service/authenticate.ts';
import { pathsOf } from '#shared/service/koa/openapi.ts';
import { createKoaDoor } from '#shared/service/koa/koa-door.ts';
import type { Service, ServiceDeps } from '#shared/service/service.ts';
import { forgetSpent } from '#shared/store/spent-store.ts';
import { AccessFileError, AccessRules } from './access-rules.ts';
import type { AuthConfig } from './config.ts';
import { authRoutes } from './http.ts';
import { Login } from './login.ts';
import { unknownPrincipals } from './principal-names.ts';
import { RateLimits } from './rate-limits.ts';
import { signHead } from './sign-head.ts';
import { Tokens } from './tokens.ts';
import { Verifier } from './verify.ts';

const HOUSEKEEPING_MS = 3_600_000;
const RELOAD = 'reload';

/** Login by wallet, keys, tokens and access rules; tells the other services who a caller is. */
export function createAuthService(deps: ServiceDeps, config: AuthConfig): Service {
  const { bus, database, log } = deps;
  const nodePublicKey = keyPairOf(config.nodeKey).publicKey;
  const metrics = accessMetrics(deps);
  const responders: BusResponder[] = [];
  let changes: BusSubscription | undefined;
  let rules = AccessRules.none;
  let timer: NodeJS.Timeout | undefined;
  const tokens = new Tokens(deps, config);
  const limits = new RateLimits(config);
  const login = new Login(deps, config, nodePublicKey);
  const verifier = new Verifier({
    deps,
    config,
    nodePublicKey,
    tokens,
    limits,
    rules: () => rules,
  });
  const publishChange = (text = '') => bus.publish(subjects.authChanged, Buffer.from(text));
  const routes = authRoutes({
    deps,
    config,
    login,
    tokens,
    limits,
    verifier,
    nodeKey: publicKeyFromBytes(nodePublicKey),
    onChanged: publishChange,
    reloadAccess: reloadEverywhere,
  });

  let paths: Uint8Array | null = null;

  return {
    name: 'auth',
    door: { prefixes: routes.map(({ path }) => path), handle: createKoaDoor(deps, routes) },
    isReady: () => responders.length > 0 && bus.isConnected(),
    reload: async () => void (await reloadEverywhere()),
    start: async () => {
      await loadRules();
      await tokens.rotate();
      timer = setInterval(() => void keepHouse(), HOUSEKEEPING_MS);
      responders.push(
        bus.respond(subjects.authVerify, 'auth', async (payload) => {
          const credentials = JSON.parse(Buffer.from(payload).toString()) as Credentials;
          return Buffer.from(JSON.stringify(await verifier.verify(credentials)));
        }),
        bus.respond(subjects.authOpenApi, 'auth', async () => {
          paths ??= Buffer.from(JSON.stringify(pathsOf(routes)));
          return paths;
        }),
        bus.respond(subjects.authSignHead, 'auth', async (payload) =>
          signHead(payload, { nodeKey: config.nodeKey, clock: deps.clock }),
        ),
      );
      changes = bus.subscribe(subjects.authChanged, (payload) => {
        if (Buffer.from(payload).toString() === RELOAD) void loadRules().catch(() => undefined);
        else void tokens.reload().catch((error: unknown) => log.warn({ err: error }, 'token keys'));
      });
    },
    [Symbol.asyncDispose]: async () => {
      clearInterval(timer);
      changes?.unsubscribe();
      await Promise.all(responders.splice(0).map((responder) => responder.drain()));
    },
  };

  /** All or nothing: any error keeps the rules that are. */
  async function loadRules(): Promise<readonly string[]> {
    if (config.accessFile === null) return [];
    try {
      const text = await readFile(config.accessFile, 'utf8').catch((error: unknown) => {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
        throw error;
      });
      rules = AccessRules.parse(text);
      metrics.loaded.setToCurrentTime();
    } catch (error) {
      metrics.errors.inc();
      const reason = error instanceof Error ? error.message : 'unreadable';
      log.error({ reason, file: config.accessFile }, 'the access file is not used');
      throw error instanceof AccessFileError
        ? new AppError('invalid_request', `the access file is not used: ${reason}`)
        : error;
    }
    return await warnOfUnknown(config.accessFile);
  }

  /** A typo in a key would otherwise be found by nobody; a key may also come later. */
  async function warnOfUnknown(file: string): Promise<readonly string[]> {
    const unknown = await unknownPrincipals(database, rules.principals);
    const texts = unknown.map((name) => `${name} is no key and no identity that this node knows`);
    for (const text of texts) log.warn({ file }, text);
    return texts;
  }

  /** The access file, on all replicas; gives warnings. Throws AppError `invalid_request`. */
  async function reloadEverywhere(): Promise<readonly string[]> {
    const warnings = await loadRules();
    publishChange(RELOAD);
    return warnings;
  }

  async function keepHouse(): Promise<void> {
    await Promise.all([forgetSpent(database), tokens.rotate()]).catch((error: unknown) => {
      log.warn({ err: error }, 'housekeeping failed');
    });
  }
}

function accessMetrics({ metrics }: ServiceDeps) {
  const registers = [metrics];
  return {
    errors: new Counter({
      name: 'cairn_access_file_errors_total',
      help: 'Times that the access file could not be used.',
      registers,
    }),
    loaded: new Gauge({
      name: 'cairn_access_file_loaded_timestamp_seconds',
      help: 'When the access file was read last.',
      registers,
    }),
  };
}
