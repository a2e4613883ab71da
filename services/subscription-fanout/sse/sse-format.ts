import { encodeSseEvents } from '#shared/protocol/sse.ts';
import type { EventDialect, EventKinds } from '#shared/protocol/websocket.ts';
import type { FrameFormat } from '../delivery/frame-view.ts';

/** Events as server-sent events, the last one of each transaction without its id and end. */
export function sseFormat(dialect: EventDialect, kinds: EventKinds): FrameFormat {
  return {
    key: `sse ${dialect} ${JSON.stringify(kinds)}`,
    encode: (notice) => {
      const events = encodeSseEvents(notice, dialect, kinds);
      return { bytes: Buffer.from(events.join('\n')), count: events.length };
    },
  };
}
