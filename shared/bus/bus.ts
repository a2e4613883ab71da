/** Carries requests and notices between services. Losing a message never loses data. */
export interface Bus extends AsyncDisposable {
  /** Fire and forget; at most once. */
  publish(subject: string, payload: Uint8Array): void;
  /** Calls `handler` for each message, in arrival order. */
  subscribe(subject: string, handler: NoticeHandler): BusSubscription;
  /**
   * Answers requests on `subject`; replicas that name the same `queue` share them. The handler's
   * AppError travels back to the caller; anything else arrives there as `internal`.
   */
  respond(subject: string, queue: string | null, handler: RequestHandler): BusResponder;
  /**
   * One request, one answer; a request that arrives after its deadline is not run. One to a queue
   * has to fit in a message, any other may be larger. Throws AppError `unavailable` when nobody listens, `timeout` when the
   * deadline passes, or the AppError that the handler threw.
   */
  request(subject: string, payload: Uint8Array, options: RequestOptions): Promise<Uint8Array>;
  /** True while the connection is up. */
  isConnected(): boolean;
  /** Calls `listener` each time the connection is back after it was lost. */
  onReconnect(listener: () => void): void;
}

export type NoticeHandler = (payload: Uint8Array, subject: string) => void;
export type RequestHandler = (payload: Uint8Array) => Promise<Uint8Array>;

interface RequestOptions {
  /** Unix time in milliseconds after which the answer is of no use. */
  readonly deadlineMs: number;
}

export interface BusSubscription {
  unsubscribe(): void;
}

export interface BusResponder {
  /** Takes no more requests; resolves once those that were on their way have come to the handler. */
  drain(): Promise<void>;
}
