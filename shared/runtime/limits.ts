/** Limits of one execution: the intended numbers of the Calimero runtime. */
export const limits = {
  moduleBytesMax: 20 * 1_048_576,
  /** Source text of an application or script. */
  scriptBytesMax: 4 * 1_048_576,
  /** 64 KiB pages: 64 MiB. */
  memoryPagesMax: 1_024,
  registersMax: 100,
  registerBytesMax: 100 * 1_048_576,
  registersBytesMax: 1_073_741_824,
  /** Calls of the host in one execution. */
  hostCallsMax: 1_000_000,
  /** Fuel for loading an application into an engine, once. */
  prepareFuelMax: 1_000_000_000,
  logsMax: 100,
  logBytesMax: 16_384,
  eventsMax: 100,
  eventKindBytesMax: 100,
  eventDataBytesMax: 16_384,
  keyBytesMax: 32,
  valueBytesMax: 10 * 1_048_576,
  /** Keys and values that one execution may write, each write counted. */
  writtenBytesMax: 32 * 1_048_576,
  outputBytesMax: 16 * 1_048_576,
  /** An error travels as a text, in the dialect's form up to four times as long. */
  errorBytesMax: 65_536,
  artifactBytesMax: 16 * 1_048_576,
} as const;
