import { connect, createInbox, Events, type Msg, type Status } from 'nats';
import type { Bus } from './bus.ts';
import type { Link } from './link.ts';
import { Requester } from './requester.ts';
import { Responder } from './responder.ts';

/** What a message takes besides its payload, at most. */
const OVERHEAD_BYTES = 1_024;
const NO_RESPONDERS = 503;

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
  const link: Link = {
    publish: (subject, payload, reply) => {
      if (connection.isClosed() || connection.isDraining()) return;
      connection.publish(subject, payload, reply === null ? {} : { reply });
    },
    isConnected: () => connected && !connection.isClosed(),
    payloadBytesMax: () => (connection.info?.max_payload ?? 1_048_576) - OVERHEAD_BYTES,
  };
  const responder = new Responder(link);
  let requester: Requester | undefined;

  return {
    publish: (subject, payload) => link.publish(subject, payload, null),
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
          const { reply } = message;
          if (error === null && reply)
            receive(() => responder.receive(message.data, reply, handler));
        },
      });
      return {
        drain: async () => {
          if (!subscription.isClosed() && !connection.isClosed()) await subscription.drain();
        },
      };
    },
    request: (subject, payload, { deadlineMs }) => {
      requester ??= openRequester();
      return requester.request(subject, payload, deadlineMs - Date.now());
    },
    isConnected: () => connected,
    onReconnect: (listener) => void reconnectListeners.push(listener),
    [Symbol.asyncDispose]: async () => {
      if (connection.isClosed()) return;
      requester?.flush();
      responder.flush();
      if (connected) await connection.drain();
      else await connection.close();
    },
  };

  /** Only who asks listens for answers: not every service may. */
  function openRequester(): Requester {
    const inbox = createInbox(inboxPrefix);
    const opened = new Requester(link, inbox);
    connection.subscribe(`${inbox}.>`, {
      callback: (error, message) => {
        if (error !== null) return;
        receive(() => opened.receive(message.subject, message.data, isNobody(message)));
      },
    });
    return opened;
  }

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

/** What is no message of ours must not cost the others theirs. */
function receive(take: () => void): void {
  try {
    take();
  } catch {
    // Its sender waits until the deadline.
  }
}

function isNobody({ data, headers }: Msg): boolean {
  return data.length === 0 && headers?.code === NO_RESPONDERS;
}
