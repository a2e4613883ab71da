import { z } from 'zod';
import { secretBytes, secretText } from './secrets.ts';

const port = z.int().min(0).max(65_535);
const file = z.string().min(1).nullable().default(null);

export const nodeSection = z
  .strictObject({
    secretKey: secretBytes(32).describe(
      'Encrypts private keys at rest. Everything that was sealed with it is lost with it.',
    ),
  })
  .describe('What all services of one deployment have in common.');

export const postgresSection = z
  .strictObject({
    url: z
      .string()
      .regex(/^postgres(ql)?:\/\//)
      .meta({ form: 'a URL such as postgres://user@host:5432/database' })
      .describe('The database, with the role that services connect as; it owns nothing.'),
    password: secretText()
      .nullable()
      .default(null)
      .describe('Password of that role; takes the place of one in the URL.'),
    ownerUrl: z
      .string()
      .regex(/^postgres(ql)?:\/\//)
      .nullable()
      .default(null)
      .meta({ form: 'a URL such as postgres://owner@host:5432/database' })
      .describe('The database, with a role that may create roles and tables: for migrations only.'),
    ownerPassword: secretText()
      .nullable()
      .default(null)
      .describe('Password of that role; takes the place of one in the URL.'),
    poolMax: z.int().min(1).max(1_000).default(16).describe('Connections of one process.'),
    tls: z.boolean().default(false).describe('Demands TLS; caFile, too, does.'),
    caFile: file.describe('Certificates that the server is verified by, in PEM.'),
    certFile: file.describe('Certificate of this client, in PEM.'),
    keyFile: file.describe('Key of this client, in PEM.'),
  })
  .describe('The log and everything else that is kept. Postgres 15 or newer.');

export const natsSection = z
  .strictObject({
    url: z
      .string()
      .regex(/^(nats|tls):\/\//)
      .default('nats://127.0.0.1:4222')
      .meta({ form: 'URLs such as nats://host:4222, several by comma' })
      .describe('The servers; NATS 2.9 or newer.'),
    user: z.string().min(1).nullable().default(null).describe('User of this service.'),
    password: secretText().nullable().default(null).describe('Password of that user.'),
    tls: z.boolean().default(false).describe('Demands TLS; caFile, too, does.'),
    caFile: file.describe('Certificates that the servers are verified by, in PEM.'),
    certFile: file.describe('Certificate of this client, in PEM.'),
    keyFile: file.describe('Key of this client, in PEM.'),
  })
  .describe('Carries requests and notices between services; keeps nothing.');

const httpSection = z
  .strictObject({
    host: z.string().min(1).default('127.0.0.1').describe('Address that clients are served at.'),
    port: port.default(2528).describe('Its port; 0 chooses a free one.'),
    trustedProxies: z
      .array(z.union([z.ipv4(), z.ipv6(), z.cidrv4(), z.cidrv6()]))
      .default([])
      .meta({ form: 'a list of addresses and networks such as 10.0.0.0/8' })
      .describe('Proxies whose X-Forwarded-For is believed.'),
  })
  .describe('The doors that clients come to.');

const internalSection = z
  .strictObject({
    host: z.string().min(1).default('127.0.0.1').describe('Address of /livez, /readyz, /metrics.'),
    port: port.default(2529).describe('Its port; 0 chooses a free one.'),
    unreadyMs: z
      .int()
      .min(0)
      .default(0)
      .describe('How long a service goes on after it says that it is not ready, at its end.'),
    stopMs: z
      .int()
      .min(100)
      .default(20_000)
      .describe('How long an orderly end may take before the process is ended.'),
  })
  .describe('What orchestrators and scrapers read; never exposed to clients.');

const logSection = z
  .strictObject({
    level: z
      .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace'])
      .default('info')
      .describe('What is logged, as JSON on standard error.'),
  })
  .describe('The log of the process, not that of a context.');

/** What every service that runs alone reads beside its own section. */
export const processSections = {
  postgres: postgresSection,
  nats: natsSection,
  http: httpSection,
  internal: internalSection,
  log: logSection,
} as const;

/** Every section that a file can have: those above and one for each service. */
export const SECTION_NAMES: readonly string[] = [
  'node',
  ...Object.keys(processSections),
  'auth',
  'admin',
  'rpc-executor',
  'subscription-fanout',
  'sync',
];
