import { connect, type ErrorCode, Events, headers, type Msg, NatsError, type Status } from 'nats';
import { AppError, ERROR_TABLE, type ErrorCode as AppErrorCode } from '#shared/domain/app-error.ts';
import type { Bus } from './bus.ts';

const DEADLINE = 'Cairn-Deadline';
const ERROR = 'Cairn-Error';

export interface NatsOptions {
  /** Null takes the credentials of the URL. */
  readonly user?: string | null;
  readonly password?: string | null;
  /** Where answers come in, if not at the client's own choice. */
  readonly inboxPrefix?: string;
  /** Something went wrong that no caller is told of: a subject that this user may not use. */
  readonly onError?: (reason: string) => void;
  /** PEM texts; null uses TLS only when the server demands it. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string } | null;
}

/** A server that does not answer two of these is not there any more. */
const PING_MS = 5_000;

/** Connects to NATS and keeps reconnecting for ever. Throws when the first connection fails. */
export async function connectNats(
  url: string,
  name: string,
  { user, password, tls, inboxPrefix, onError }: NatsOptions = {},
): Promise<Bus> {
  const connection = await connect({
    ...serversOf(url),
    ...(user == null ? {} : { user }),
    ...(password == null ? {} : { pass: password }),
    ...(tls == null ? {} : { tls: { ...tls } }),
    ...(inboxPrefix === undefined ? {} : { inboxPrefix }),
    name,
    pingInterval: PING_MS,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 250,
    ignoreClusterUpdates: false,
  });
  let connected = true;
  const reconnectListeners: (() => void)[] = [];
  void watchStatus();

  return {
    publish: (subject, payload) => {
      if (!connection.isClosed() && !connection.isDraining()) connection.publish(subject, payload);
    },
    subscribe: (subject, handler) =>
      connection.subscribe(subject, {
        callback: (error, message) => {
          if (error === null) handler(message.data, message.subject);
        },
      }),
    respond: (subject, queue, handler) => {
      const subscription = connection.subscribe(subject, {
        ...(queue === null ? {} : { queue }),
        callback: (error, message) => {
          if (error === null) void answer(message, handler);
        },
      });
      return {
        drain: async () => {
          if (!subscription.isClosed() && !connection.isClosed()) await subscription.drain();
        },
      };
    },
    request: async (subject, payload, { deadlineMs }) => {
      const timeout = deadlineMs - Date.now();
      if (timeout <= 0) throw new AppError('timeout', 'the deadline passed');
      const requestHeaders = headers();
      requestHeaders.set(DEADLINE, String(deadlineMs));
      try {
        const reply = await connection.request(subject, payload, {
          timeout,
          headers: requestHeaders,
        });
        const failure = reply.headers?.get(ERROR);
        if (failure) throw parseFailure(failure);
        return reply.data;
      } catch (error) {
        throw translate(error);
      }
    },
    isConnected: () => connected,
    onReconnect: (listener) => void reconnectListeners.push(listener),
    [Symbol.asyncDispose]: async () => {
      if (connection.isClosed()) return;
      if (connected) await connection.drain();
      else await connection.close();
    },
  };

  async function watchStatus(): Promise<void> {
    for await (const status of connection.status()) {
      if (status.type === Events.Error) onError?.(describeStatus(status));
      if (status.type === Events.Disconnect) connected = false;
      if (status.type === Events.Reconnect) {
        connected = true;
        for (const listener of reconnectListeners) listener();
      }
    }
  }
}

function describeStatus({ data, permissionContext }: Status): string {
  if (permissionContext === undefined) return typeof data === 'string' ? data : 'unknown';
  const { operation, subject } = permissionContext;
  return `${operation} ${subject} is not permitted`;
}

/** One or more URLs, by comma; the credentials of the first are used for all. */
function serversOf(text: string): { servers: string[]; user?: string; pass?: string } {
  const urls = text.split(',').map((part) => new URL(part.trim()));
  const servers = urls.map(({ host }) => host);
  const [{ username, password } = { username: '', password: '' }] = urls;
  if (username === '') return { servers };
  return { servers, user: decodeURIComponent(username), pass: decodeURIComponent(password) };
}

async function answer(
  message: Msg,
  handler: (payload: Uint8Array, deadlineMs: number) => Promise<Uint8Array>,
): Promise<void> {
  const deadlineMs = Number(message.headers?.get(DEADLINE) ?? 0);
  if (deadlineMs !== 0 && deadlineMs < Date.now()) return;
  try {
    message.respond(await handler(message.data, deadlineMs));
  } catch (error) {
    const replyHeaders = headers();
    const translated = translate(error);
    const known =
      translated instanceof AppError ? translated : new AppError('internal', 'internal error');
    replyHeaders.set(
      ERROR,
      encodeURIComponent(
        JSON.stringify({ code: known.code, message: known.message, details: known.details }),
      ),
    );
    message.respond(new Uint8Array(), { headers: replyHeaders });
  }
}

function parseFailure(text: string): AppError {
  const { code, message, details } = JSON.parse(decodeURIComponent(text)) as {
    code: AppErrorCode;
    message: string;
    details: Record<string, string>;
  };
  return new AppError(code in ERROR_TABLE ? code : 'internal', message, details);
}

/** Only what was certainly not delivered is `unavailable`, which callers may try again. */
function translate(error: unknown): unknown {
  if (!(error instanceof NatsError)) return error;
  switch (error.code) {
    case '503' satisfies `${ErrorCode.NoResponders}`:
      return new AppError('unavailable', 'nobody is listening');
    case 'MAX_PAYLOAD_EXCEEDED' satisfies `${ErrorCode.MaxPayloadExceeded}`:
      return new AppError('payload_too_large', 'the message is larger than NATS is set to carry');
    default:
      return new AppError(
        'timeout',
        `no answer over the bus (${error.code}), the outcome is unknown`,
      );
  }
}
