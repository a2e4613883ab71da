import { BUS_USERS, inboxPrefixOf, SUBJECTS } from './subjects.ts';

/** What one user may do on the bus. */
export interface BusPermissions {
  readonly user: string;
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
}

/** Made of the table of subjects: requests and notices to send, their answers, and own inboxes. */
export function busPermissions(): readonly BusPermissions[] {
  return BUS_USERS.map((user) => {
    const sent = SUBJECTS.filter(({ from }) => from.includes(user));
    const received = SUBJECTS.filter(({ to }) => to.includes(user));
    const askers = received.flatMap(({ kind, from }) => (kind === 'request' ? from : []));
    const asks = sent.some(({ kind }) => kind === 'request');
    return {
      user,
      publish: [
        ...sent.map(({ subject }) => subject),
        ...[...new Set(askers)].map((asker) => `${inboxPrefixOf(asker)}.>`),
      ],
      subscribe: [
        ...received.map(({ subject }) => subject),
        ...(asks ? [`${inboxPrefixOf(user)}.>`] : []),
      ],
    };
  });
}

/** Name of the variable in the included file that holds a user's password. */
export function passwordVariableOf(user: string): string {
  return `${user.replaceAll('-', '_').toUpperCase()}_PASSWORD`;
}

const HEAD = `# Made by "cairn config nats" of shared/bus/subjects.ts: change that, and make it again.
# Passwords and routes come from files that are never committed: deploy/create-secrets.sh.

include "../../run/secrets/nats-passwords.conf"

port: 4222
http: "127.0.0.1:8222"
max_payload: 8MB
max_pending: 64MB
write_deadline: "5s"
ping_interval: "10s"

# TLS for clients; services then need CAIRN_NATS__CA_FILE.
# tls {
#   cert_file: "/run/secrets/nats.crt"
#   key_file: "/run/secrets/nats.key"
#   ca_file: "/run/secrets/ca.crt"
# }

cluster {
  name: cairn
  port: 6222
  include "../../run/secrets/nats-routes.conf"
}
`;

/** A configuration for each server of the cluster. */
export function natsConfiguration(): string {
  const users = busPermissions().map(
    ({ user, publish, subscribe }) => `    {
      user: ${JSON.stringify(user)}
      password: $${passwordVariableOf(user)}
      permissions {
        publish: ${listOf(publish)}
        subscribe: ${listOf(subscribe)}
      }
    }`,
  );
  return `${HEAD}
authorization {
  timeout: 5
  users: [
${users.join('\n')}
  ]
}
`;
}

function listOf(subjects: readonly string[]): string {
  if (subjects.length === 0) return '{ deny: ">" }';
  return `[\n${subjects.map((subject) => `          ${JSON.stringify(subject)}`).join('\n')}\n        ]`;
}
