import { encodeEvents, type EventDialect, type EventKinds } from '#shared/protocol/websocket.ts';
import type { FrameFormat } from '../delivery/frame-view.ts';
import { encodeTextFrame } from './text-frame.ts';

/** Events as WebSocket text frames: all, or only those of some kinds. */
export function webSocketFormat(dialect: EventDialect, kinds: EventKinds): FrameFormat {
  return {
    key: `ws ${dialect} ${JSON.stringify(kinds)}`,
    encode: (notice) => {
      const frames = encodeEvents(notice, dialect, kinds).map(encodeTextFrame);
      return { bytes: Buffer.concat(frames), count: frames.length };
    },
  };
}
