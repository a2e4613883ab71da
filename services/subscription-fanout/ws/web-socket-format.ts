import { encodeEvents, type EventDialect } from '#shared/protocol/websocket.ts';
import type { FrameFormat } from '../delivery/frame-view.ts';
import { encodeTextFrame } from './text-frame.ts';

/** Events as WebSocket text frames. */
export function webSocketFormat(dialect: EventDialect): FrameFormat {
  return {
    key: `ws ${dialect}`,
    encode: (notice) => {
      const frames = encodeEvents(notice, dialect).map(encodeTextFrame);
      return { bytes: Buffer.concat(frames), count: frames.length };
    },
  };
}
