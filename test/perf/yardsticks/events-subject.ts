/** Where the yardsticks of fan-out hear what to send. */
export const EVENTS_SUBJECT = 'bench.events';
