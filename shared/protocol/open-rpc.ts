import { z } from 'zod';
import { SCRIPT_ENGINES } from '#shared/domain/engine.ts';
import { PERMISSION_OF_CALL } from '#shared/domain/permissions.ts';

/** The parameters of a call, and its result, as `/jsonrpc` takes and gives them. */
const callParamsSchema = z.object({
  contextId: z.string(),
  method: z.string(),
  /** What the application gets, keys sorted, numbers as they were written. */
  argsJson: z.unknown(),
  executorPublicKey: z.string().nullish(),
  requestId: z.string().min(1).nullish(),
  /** Whether the result, or the error of the application, has `fuelUsed`. */
  reportFuel: z.boolean().nullish(),
});

const callResultSchema = z.object({
  output: z.unknown(),
  /** Position and hash of the transaction, when the call left one. */
  sequence: z.string().optional(),
  hash: z.string().optional(),
  /** Decimal, when `reportFuel` was asked for. */
  fuelUsed: z.string().optional(),
});

const playParamsSchema = callParamsSchema.omit({ method: true, argsJson: true }).extend({
  engine: z.enum(SCRIPT_ENGINES),
  script: z.string(),
});

const METHODS = {
  query: 'Asks the application; it may not write.',
  mutate: 'Calls the application and leaves a transaction, also when it fails.',
  execute: 'Calls the application; leaves a transaction when it changed something.',
  play: 'Runs a script on the state of the context, past its application.',
} as const satisfies Record<keyof typeof PERMISSION_OF_CALL, string>;
const NAMES = ['query', 'mutate', 'execute', 'play'] as const;

/** The description of `POST /jsonrpc` (OpenRPC 1.3). */
export function openRpcDocument() {
  const call = paramsOf(callParamsSchema.shape, ['contextId', 'method', 'argsJson']);
  const play = paramsOf(playParamsSchema.shape, ['contextId', 'engine', 'script']);
  return {
    openrpc: '1.3.2',
    info: { title: 'Cairn JSON-RPC', version: '1' },
    methods: NAMES.map((name) => ({
      name,
      summary: METHODS[name],
      description: `Needs the permission ${PERMISSION_OF_CALL[name]} on the context.`,
      'x-permission': PERMISSION_OF_CALL[name],
      paramStructure: 'by-name',
      params: name === 'play' ? play : call,
      result: { name: 'result', schema: shapeOf(callResultSchema) },
    })),
  };
}

function paramsOf(shape: Readonly<Record<string, z.ZodType>>, required: readonly string[]) {
  return Object.entries(shape).map(([name, schema]) => ({
    name,
    required: required.includes(name),
    schema: shapeOf(schema),
  }));
}

function shapeOf(schema: z.ZodType) {
  const { $schema: _, ...shape } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' });
  return shape;
}
