/** What requests and answers need of a connection to the bus. */
export interface Link {
  /** At most once. `reply` is the subject that answers go to. */
  publish(subject: string, payload: Uint8Array, reply: string | null): void;
  isConnected(): boolean;
  /** The largest message that the server carries. */
  payloadBytesMax(): number;
}
