import { z } from 'zod';
import type { Route } from './koa-door.ts';
import {
  BYTES,
  BYTES_ANSWERS,
  BYTES_PARAMETERS,
  SECURITY,
  SECURITY_SCHEMES,
} from './openapi-parts.ts';

type Json = Readonly<Record<string, unknown>>;

const ERROR = {
  'application/json': {
    schema: { type: 'object', properties: { error: { type: 'string' } }, required: ['error'] },
  },
};
const TEXT = { 'text/plain': { schema: { type: 'string' } } };
/** Where these lists end says nothing of a route: any of them may answer it. */
const REFUSALS: Readonly<Record<string, readonly [description: string, content: Json]>> = {
  400: [
    'The request cannot be taken: `{"error"}`, or plain text for a body that is no JSON.',
    { ...ERROR, ...TEXT },
  ],
  401: ['No credentials, or wrong ones; plain text.', TEXT],
  403: ['The caller lacks the permission.', ERROR],
  404: ['There is no such thing.', ERROR],
  409: ['It contradicts what is there.', ERROR],
  413: ['The body is too large.', ERROR],
  415: ['The body is not `application/json`; plain text.', TEXT],
  422: ['The body is JSON of another shape; plain text.', TEXT],
  429: ['Too many requests; `Retry-After` tells when to try again.', ERROR],
  501: ['Needs a blockchain.', ERROR],
  503: ['Not now; try again.', ERROR],
  504: ['The outcome is unknown; try again.', ERROR],
};

/** The `paths` of an OpenAPI 3.1 document: the routes of one service, by the schemas that validate. */
export function pathsOf(routes: readonly Route[]): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}');
    const head = route.givesBytes ? { head: headOf(operationOf(route)) } : {};
    paths[path] = { ...paths[path], [route.method]: operationOf(route), ...head };
  }
  return paths;
}

/** A whole document of the paths of all services. */
export function openApiDocument(paths: Json): Json {
  return {
    openapi: '3.1.0',
    info: { title: 'Cairn Admin API', version: '1' },
    paths,
    components: { securitySchemes: SECURITY_SCHEMES },
  };
}

function operationOf(route: Route): Json {
  const { method, path, rule, summary, body, takesBytes } = route;
  const parameters = parametersOf(route);
  const errors = Object.entries(REFUSALS).map(([status, [description, content]]) => [
    status,
    { description, content },
  ]);
  const content = takesBytes ? BYTES : body && json(body, 'input');
  return {
    operationId: `${method}${path.replaceAll(/[^a-z0-9]+/gi, '_')}`,
    summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(content === undefined ? {} : { requestBody: { required: true, content } }),
    responses: { ...successesOf(route), ...(Object.fromEntries(errors) as Json) },
    ...(rule === 'public'
      ? { security: [] }
      : rule === 'credentials'
        ? { description: 'Needs valid credentials.', security: SECURITY }
        : { description: needOf(rule), security: SECURITY, 'x-permission': rule.permission }),
  };
}

function needOf({ permission, on }: Exclude<Route['rule'], string>): string {
  const where = { path: 'on the context of the path', some: 'on the context that it is about' };
  return `Needs the permission \`${permission}\`, ${on === undefined ? 'on all contexts' : where[on]}.`;
}

function successesOf({ answer, line, givesBytes }: Route): Json {
  if (givesBytes) return BYTES_ANSWERS;
  const content = answer && { ...json(answer, 'output'), ...(line && lines(line)) };
  return { 200: { description: 'Done.', ...(content && { content }) } };
}

/** The same without a body. */
function headOf(operation: Json): Json {
  const { content: _, ...found } = BYTES_ANSWERS[200];
  return {
    ...operation,
    operationId: String(operation['operationId']).replace(/^get/, 'head'),
    summary: 'Gives the headers of a blob’s bytes.',
    responses: {
      200: found,
      304: BYTES_ANSWERS[304],
      401: { description: 'No credentials, or wrong ones.' },
      404: { description: 'There is no such thing.' },
    },
  };
}

function parametersOf({ path, query, givesBytes }: Route): readonly Json[] {
  const inPath = [...path.matchAll(/:(\w+)/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }));
  const { properties = {}, required = [] } = query === undefined ? {} : shapeOf(query, 'input');
  const inQuery = Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    schema,
  }));
  return [...inPath, ...inQuery, ...(givesBytes ? BYTES_PARAMETERS : [])];
}

function json(schema: z.ZodType, io: 'input' | 'output'): Json {
  return { 'application/json': { schema: shapeOf(schema, io) } };
}

function lines(schema: z.ZodType): Json {
  return { 'application/x-ndjson': { schema: shapeOf(schema, 'output') } };
}

function shapeOf(schema: z.ZodType, io: 'input' | 'output') {
  const { $schema: _, ...shape } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return shape;
}
