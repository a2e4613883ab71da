import { z } from 'zod';
import type { Route } from './koa-door.ts';

type Json = Readonly<Record<string, unknown>>;

const ERROR = { type: 'object', properties: { error: { type: 'string' } }, required: ['error'] };
/** Where these lists end says nothing of a route: any of them may answer it. */
const REFUSALS: Readonly<Record<string, string>> = {
  400: 'The request cannot be taken: `{"error"}`, or plain text for a body that is no JSON.',
  401: 'No credentials, or wrong ones; plain text.',
  403: 'The caller lacks the permission.',
  404: 'There is no such thing.',
  409: 'It contradicts what is there.',
  413: 'The body is too large.',
  415: 'The body is not `application/json`; plain text.',
  422: 'The body is JSON of another shape; plain text.',
  429: 'Too many requests; `Retry-After` tells when to try again.',
  501: 'Needs a blockchain.',
  503: 'Not now; try again.',
  504: 'The outcome is unknown; try again.',
};

/** The `paths` of an OpenAPI 3.1 document: the routes of one service, by the schemas that validate. */
export function pathsOf(routes: readonly Route[]): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const route of routes) {
    const path = route.path.replaceAll(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method]: operationOf(route) };
  }
  return paths;
}

/** A whole document of the paths of all services. */
export function openApiDocument(paths: Json): Json {
  return {
    openapi: '3.1.0',
    info: { title: 'Cairn Admin API', version: '1' },
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        wallet: { type: 'apiKey', in: 'header', name: 'signature' },
        node: { type: 'apiKey', in: 'header', name: 'X-Signature' },
      },
    },
  };
}

function operationOf(route: Route): Json {
  const { method, path, rule, summary, body, answer, line } = route;
  const parameters = parametersOf(route);
  const errors = Object.entries(REFUSALS).map(([status, description]) => [
    status,
    { description, content: { 'application/json': { schema: ERROR } } },
  ]);
  return {
    operationId: `${method}${path.replaceAll(/[^a-z0-9]+/gi, '_')}`,
    summary,
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: json(body, 'input') } }),
    responses: {
      200: {
        description: 'Done.',
        ...(answer === undefined
          ? {}
          : { content: { ...json(answer, 'output'), ...(line && lines(line)) } }),
      },
      ...(Object.fromEntries(errors) as Json),
    },
    ...(rule === 'public'
      ? { security: [] }
      : {
          security: [{ bearer: [] }, { wallet: [] }, { node: [] }],
          ...(rule === 'credentials' ? {} : { 'x-permission': rule.permission }),
        }),
  };
}

function parametersOf({ path, query }: Route): readonly Json[] {
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
  return [...inPath, ...inQuery];
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
