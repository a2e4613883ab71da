import Koa from 'koa';

/** A bare Koa server that parses a JSON body and sends it back: what HTTP and JSON alone cost. */
const app = new Koa();
app.use(async (context) => {
  const chunks: Buffer[] = [];
  for await (const chunk of context.req) chunks.push(chunk as Buffer);
  context.body = JSON.parse(Buffer.concat(chunks).toString()) as object;
});
const server = app.listen(0, '127.0.0.1', () => {
  process.stdout.write(`${JSON.stringify(server.address())}\n`);
});
