import { createHash, timingSafeEqual } from 'node:crypto';
import { subjects } from '#shared/bus/subjects.ts';
import type { BusSubscription } from '#shared/bus/bus.ts';
import type { Principal, VerifyReply, VerifyRequest } from '#shared/service/authenticate.ts';
import type { Service, ServiceDeps } from '#shared/service/service.ts';

export interface AuthConfig {
  readonly adminToken: string;
  /** Lets callers on this machine in without a token. */
  readonly open: boolean;
}

/** Tells the other services who a caller is. It knows the node's admin token. */
export function createAuthService(deps: ServiceDeps, config: AuthConfig): Service {
  const { bus } = deps;
  let responder: BusSubscription | undefined;
  return {
    name: 'auth',
    isReady: () => responder !== undefined && bus.isConnected(),
    start: async () => {
      responder = bus.respond(subjects.authVerify, 'auth', async (payload) => {
        const request = JSON.parse(Buffer.from(payload).toString()) as VerifyRequest;
        const reply: VerifyReply = { principal: principalOf(request, config) };
        return Buffer.from(JSON.stringify(reply));
      });
    },
    [Symbol.asyncDispose]: async () => {
      responder?.unsubscribe();
      responder = undefined;
    },
  };
}

/** A wrong token is refused also where none is needed: its sender expects it to count. */
function principalOf({ token, isLoopback }: VerifyRequest, config: AuthConfig): Principal | null {
  if (token !== null) {
    return isEqual(token, config.adminToken) ? { id: 'admin', kind: 'admin-token' } : null;
  }
  return config.open && isLoopback ? { id: 'local', kind: 'open' } : null;
}

function isEqual(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}
