import { Router } from '@koa/router';
import Koa from 'koa';
import { connect } from 'nats';

/** The naive design's door: each call is one NATS request to `naive-executor`. */
const natsUrl = new URL(process.env['NATS_URL'] ?? '');
const bus = await connect({
  servers: natsUrl.host,
  user: natsUrl.username,
  pass: natsUrl.password,
});
const router = new Router();
router.post('/jsonrpc', async (context) => {
  const chunks: Buffer[] = [];
  for await (const chunk of context.req) chunks.push(chunk as Buffer);
  const { id, params } = JSON.parse(Buffer.concat(chunks).toString()) as {
    id: number;
    params: object;
  };
  const reply = await bus.request('naive.execute', JSON.stringify(params), { timeout: 10_000 });
  context.body = { jsonrpc: '2.0', id, result: reply.json<object>() };
});
const app = new Koa();
app.use(router.routes());
const server = app.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify(server.address())}\n`);
});
